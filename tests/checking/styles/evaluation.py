"""Right answers to the lab on evaluation, in other styles than the solutions'."""

RIGHT: dict[str, list[str]] = {
    "evaluation.clustered": [
        """
def clustered_interval(values, clusters, level=0.95):
    groups = {}
    for v, c in zip(values, clusters, strict=True):
        groups.setdefault(c, []).append(float(v))
    if len(groups) < 2:
        raise ValueError("one cluster")
    n, g = sum(map(len, groups.values())), len(groups)
    mean = sum(map(sum, groups.values())) / n
    square = sum(sum(v - mean for v in part) ** 2 for part in groups.values())
    error = (g / (g - 1) * square) ** 0.5 / n
    t = stats.t(g - 1).isf((1 - level) / 2)
    return mean, mean - t * error, mean + t * error
""",
        """
import pandas as pd


def clustered_interval(values, clusters, level=0.95):
    frame = pd.DataFrame({"v": np.array(values, dtype=float), "c": list(clusters)})
    sums = (frame.v - frame.v.mean()).groupby(frame.c).sum()
    if len(sums) == 1:
        raise ValueError("only one cluster")
    se = np.sqrt(len(sums) * sums.var(ddof=0) * len(sums) / (len(sums) - 1)) / len(frame)
    return tuple(np.array([0, *stats.t.interval(level, len(sums) - 1)]) * se + frame.v.mean())
""",
        """
def clustered_interval(values, clusters, level=0.95):
    x = np.array(values, dtype=np.float64)
    c = np.array([str(k) for k in clusters])
    same = c[:, None] == c
    if same.all():
        raise ValueError
    d = x - x.mean()
    g = len(set(c.tolist()))
    error = np.sqrt((np.outer(d, d) * same).sum() * g / (g - 1)) / len(x)
    half = error * stats.t.ppf(1 - (1 - level) / 2, df=g - 1)
    return [x.mean(), x.mean() - half, x.mean() + half]
""",
    ],
    "evaluation.best": [
        """
def best_on_fresh(scores, choosing, level=0.95):
    choose = [i for i, c in enumerate(choosing) if c]
    rest = [i for i, c in enumerate(choosing) if not c]
    if len(choose) == 0 or len(rest) < 2:
        raise ValueError("too few items")
    best, best_mean = None, -1.0
    for k, row in enumerate(scores):
        mean = sum(row[i] for i in choose) / len(choose)
        if mean > best_mean:
            best, best_mean = k, mean
    return best, best_mean, mean_interval([scores[best][i] for i in rest], level)
""",
        """
def best_on_fresh(scores, choosing, level=0.95):
    a, b = scores.T[choosing], scores.T[~choosing]
    if not len(a):
        raise ValueError("nothing to choose by")
    w = np.argmax(a.mean(axis=0))
    return w, a.mean(axis=0)[w], mean_interval(b[:, w], level=level)
""",
        """
def best_on_fresh(scores, choosing, level=0.95):
    if choosing.sum() == 0 or choosing.sum() > len(choosing) - 2:
        raise ValueError("bad split")
    means = np.average(scores, axis=1, weights=choosing.astype(float))
    winner = max(range(len(means)), key=lambda k: means[k])
    left = np.delete(scores[winner], np.flatnonzero(choosing))
    half = stats.t.ppf((1 + level) / 2, len(left) - 1) * left.std(ddof=1) / np.sqrt(len(left))
    return [winner, means[winner], [left.mean(), left.mean() - half, left.mean() + half]]
""",
    ],
    "evaluation.kappa": [
        """
from collections import Counter


def kappa(first, second):
    n = len(first)
    a, b = Counter(list(first)), Counter(list(second))
    agree = sum(x == y for x, y in zip(first, second)) / n
    chance = sum(a[k] * b[k] for k in a) / n**2
    if chance == 1:
        raise ValueError("0 / 0")
    return 1 - (1 - agree) / (1 - chance)
""",
        """
def kappa(first, second):
    names, codes = np.unique(np.concatenate([first, second]), return_inverse=True)
    one, two = codes[: len(first)], codes[len(first) :]
    table = np.zeros((len(names), len(names)))
    np.add.at(table, (one, two), 1 / len(one))
    if len(names) == 1:
        raise ValueError("one label")
    chance = table.sum(0) @ table.sum(1)
    return np.float64((np.trace(table) - chance) / (1 - chance))
""",
        """
import pandas as pd


def kappa(first, second):
    t = pd.crosstab(pd.Series(list(first)), pd.Series(list(second)), normalize=True)
    names = sorted({*t.index, *t.columns})
    if len(names) < 2:
        raise ValueError("kappa is not defined")
    t = t.reindex(index=names, columns=names, fill_value=0).to_numpy()
    e = np.outer(t.sum(1), t.sum(0))
    return float((np.diag(t).sum() - np.diag(e).sum()) / (1 - np.diag(e).sum()))
""",
    ],
    "evaluation.powered": [
        """
import statistics


def prediction_powered(people, judged, rest, weight=1.0, level=0.95):
    gaps = [y - weight * f for y, f in zip(people, judged)]
    middle = weight * statistics.fmean(rest) + statistics.fmean(gaps)
    variance = weight**2 * statistics.variance(rest) / len(rest) + statistics.variance(gaps) / len(gaps)
    z = statistics.NormalDist().inv_cdf((1 + level) / 2)
    return middle, middle - z * variance**0.5, middle + z * variance**0.5
""",
        """
def prediction_powered(people, judged, rest, weight=1.0, level=0.95):
    y, f, r = map(np.asarray, (people, judged, rest))
    theta = y.mean() + weight * (r.mean() - f.mean())
    c = np.cov(y, f)
    v = (c[0, 0] - 2 * weight * c[0, 1] + weight**2 * c[1, 1]) / len(y) + np.var(weight * r, ddof=1) / len(r)
    low, high = stats.norm.interval(level, loc=theta, scale=np.sqrt(v))
    return theta, low, high
""",
        """
def prediction_powered(people, judged, rest, weight=1.0, level=0.95):
    import torch

    y, f, r = (torch.as_tensor(np.array(v, dtype=float)) for v in (people, judged, rest))
    gap = y - weight * f
    error = torch.sqrt((weight * r).var() / len(r) + gap.var() / len(gap))
    z = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor((1 + level) / 2, dtype=torch.float64))
    middle = (weight * r).mean() + gap.mean()
    return [middle.item(), (middle - z * error).item(), (middle + z * error).item()]
""",
    ],
    "evaluation.strengths": [
        """
def bradley_terry(first, second, score, players):
    reach = np.eye(players, dtype=bool)
    for i, j, s in zip(first, second, score):
        reach[i, j] |= s > 0
        reach[j, i] |= s < 1
    for k in range(players):
        reach |= reach[:, k : k + 1] & reach[k]
    if not reach.all():
        raise ValueError("not connected")
    p = np.ones(players)
    points = np.zeros(players)
    for i, j, s in zip(first, second, score):
        points[i] += s
        points[j] += 1 - s
    games = np.zeros((players, players))
    for i, j in zip(first, second):
        games[i, j] += 1
        games[j, i] += 1
    for _ in range(5000):
        p = points / (games / (p[:, None] + p)).sum(1)
        p /= p.sum()
    return list(np.log(p) - np.log(p).mean())
""",
        """
from scipy.optimize import minimize
from scipy.sparse.csgraph import connected_components


def bradley_terry(first, second, score, players):
    i, j, s = np.array(first), np.array(second), np.array(score, dtype=float)
    graph = np.zeros((players, players))
    graph[i[s > 0], j[s > 0]] = 1
    graph[j[s < 1], i[s < 1]] = 1
    if connected_components(graph, connection="strong")[0] > 1:
        raise ValueError("somebody never scored")
    loss = lambda b: np.sum(np.logaddexp(0, b[j] - b[i]) * s + np.logaddexp(0, b[i] - b[j]) * (1 - s))
    b = minimize(loss, np.zeros(players), tol=1e-9).x
    return b - b.mean()
""",
        """
import torch


def bradley_terry(first, second, score, players):
    i, j = torch.as_tensor(np.array(first)), torch.as_tensor(np.array(second))
    s = torch.as_tensor(np.array(score, dtype=float))
    wins = torch.zeros(players, players, dtype=torch.float64)
    wins.index_put_((i, j), s, accumulate=True)
    wins.index_put_((j, i), 1 - s, accumulate=True)
    linked = ((wins > 0).double() + torch.eye(players, dtype=torch.float64)).matrix_power(players)
    if (linked == 0).any():
        raise ValueError("the graph of wins is not strongly connected")
    beta = torch.zeros(players, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([beta], max_iter=500, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(beta[i] - beta[j], s, reduction="sum")
        loss.backward()
        return loss

    optimiser.step(closure)
    return (beta - beta.mean()).detach()
""",
    ],
    "evaluation.order": [
        """
def order_test(published, shuffled):
    mine = sum(published)
    draws = len(shuffled[0])
    count = 1
    for d in range(draws):
        if sum(row[d] for row in shuffled) >= mine - 1e-9:
            count += 1
    return count / (draws + 1)
""",
        """
def order_test(published, shuffled):
    every = np.concatenate([published[:, None], shuffled], axis=1).sum(axis=0)
    return np.mean(every >= every[0] - 1e-9)
""",
        """
def order_test(published, shuffled):
    gaps = (np.asarray(shuffled) - np.asarray(published)[:, None]).sum(0)
    return float(1 - (gaps < -1e-9).sum() / (gaps.size + 1))
""",
    ],
}
