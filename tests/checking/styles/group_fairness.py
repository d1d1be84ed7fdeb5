"""Right answers to the lab on group fairness, in other styles than the solutions'."""

RIGHT: dict[str, list[str]] = {
    "group_fairness.rates": [
        """
def rates_by_group(y_true, y_pred, groups, names):
    out = {}
    for k in names:
        tp = fp = tn = fn = 0
        for y, d, g in zip(y_true, y_pred, groups):
            if g == k:
                tp += y and d
                fp += (not y) and d
                fn += y and not d
                tn += not y and not d
        s = lambda a, b: a / b if b else None
        n = tp + fp + tn + fn
        out[k] = dict(
            n=n,
            selection=s(tp + fp, n),
            tpr=s(tp, tp + fn),
            fpr=s(fp, fp + tn),
            fnr=s(fn, tp + fn),
            ppv=s(tp, tp + fp),
        )
    return out
""",
        """
import numpy as np


def rates_by_group(y_true, y_pred, groups, names):
    y, d, g = np.array(y_true), np.array(y_pred), np.array(groups)

    def m(x):
        return None if x.size == 0 else np.float32(x.mean())

    return {
        k: dict(
            n=np.int64((g == k).sum()),
            selection=m(d[g == k]),
            tpr=m(d[(g == k) & (y == 1)]),
            fpr=m(d[(g == k) & (y == 0)]),
            fnr=m(1 - d[(g == k) & (y == 1)]),
            ppv=m(y[(g == k) & (d == 1)]),
        )
        for k in names
    }
""",
        """
import pandas as pd


def rates_by_group(y_true, y_pred, groups, names):
    df = pd.DataFrame({"y": y_true, "d": y_pred, "g": groups})
    out = {}
    for name in names:
        s = df[df.g == name]
        f = lambda a: None if len(a) == 0 else a.mean()
        out[name] = {
            "n": len(s),
            "selection": f(s.d),
            "tpr": f(s[s.y == 1].d),
            "fpr": f(s[s.y == 0].d),
            "fnr": f(1 - s[s.y == 1].d),
            "ppv": f(s[s.d == 1].y),
        }
    return out
""",
        """
import torch


def rates_by_group(y_true, y_pred, groups, names):
    y, d = torch.tensor(y_true), torch.tensor(y_pred)
    out = {}
    for k in names:
        m = torch.tensor([g == k for g in groups])

        def sh(hit, of):
            n = int(of.sum())
            return (hit & of).sum() / n if n else None

        out[k] = {
            "n": m.sum(),
            "selection": sh(d == 1, m),
            "tpr": sh(d == 1, m & (y == 1)),
            "fpr": sh(d == 1, m & (y == 0)),
            "fnr": sh(d == 0, m & (y == 1)),
            "ppv": sh(y == 1, m & (d == 1)),
        }
    return out
""",
    ],
    "group_fairness.identity": [
        """
from fractions import Fraction


def remaining_fnr(base_rate, ppv, fpr):
    p, v, f = map(Fraction, (base_rate, ppv, fpr))
    r = float(1 - f * (1 - p) / p * v / (1 - v))
    return r if r > -1e-12 else None
""",
        """
def remaining_fnr(base_rate, ppv, fpr):
    tp = fpr * (1 - base_rate) * ppv / (1 - ppv)
    fnr = (base_rate - tp) / base_rate
    return None if fnr < -1e-12 else max(fnr, 0.0)
""",
        """
import numpy as np


def remaining_fnr(base_rate, ppv, fpr):
    odds = lambda x: x / (1 - x)
    r = np.float64(1 - fpr / odds(base_rate) * odds(ppv))
    return r if r >= -1e-12 else None
""",
        """
def remaining_fnr(base_rate, ppv, fpr):
    tp = fpr * (1 - base_rate) * ppv / (1 - ppv)
    fnr = (base_rate - tp) / base_rate
    return None if fnr < -1e-12 else fnr
""",
    ],
    "group_fairness.four_fifths": [
        """
import numpy as np


def impact_ratios(selected, of):
    rate = {k: selected[k] / of[k] for k in of}
    ref = max(rate, key=rate.get)
    out = {}
    for k in of:
        if k != ref:
            if selected[k] == 0:
                out[k] = (0.0, None, None)
            else:
                r = rate[k] / rate[ref]
                se = np.sqrt((1 - rate[k]) / selected[k] + (1 - rate[ref]) / selected[ref])
                out[k] = [float(r), np.exp(np.log(r) - 1.96 * se), np.exp(np.log(r) + 1.96 * se)]
    return out
""",
        """
import numpy as np
from scipy.stats import norm

Z = norm.ppf(0.975)


def impact_ratios(selected, of):
    rate = {k: selected[k] / of[k] for k in of}
    ref = max(rate, key=rate.get)
    out = {}
    for k in of:
        if k != ref:
            if selected[k] == 0:
                out[k] = (0.0, None, None)
            else:
                r = rate[k] / rate[ref]
                se = np.sqrt((1 - rate[k]) / selected[k] + (1 - rate[ref]) / selected[ref])
                out[k] = (r, np.exp(np.log(r) - Z * se), np.exp(np.log(r) + Z * se))
    return out
""",
        """
import numpy as np


def impact_ratios(selected, of):
    rate = {k: selected[k] / of[k] for k in of}
    ref = max(rate, key=rate.get)
    out = {}
    for k in of:
        if k != ref:
            if selected[k] == 0:
                out[k] = (0.0, None, None)
            else:
                r = rate[k] / rate[ref]
                se = np.sqrt((1 - rate[k]) / selected[k] + (1 - rate[ref]) / selected[ref])
                out[k] = (r, np.exp(np.log(r) - 1.96 * se), np.exp(np.log(r) + 1.96 * se))
    return out
""",
        """
import torch, math


def impact_ratios(selected, of):
    rate = {k: selected[k] / of[k] for k in of}
    ref = max(rate, key=rate.get)
    out = {}
    for k in of:
        if k != ref:
            if selected[k] == 0:
                out[k] = (0.0, None, None)
            else:
                r = rate[k] / rate[ref]
                se = torch.tensor((1 - rate[k]) / selected[k] + (1 - rate[ref]) / selected[ref]).sqrt()
                out[k] = (r, torch.exp(math.log(r) - 1.96 * se), torch.exp(math.log(r) + 1.96 * se))
    return out
""",
    ],
    "group_fairness.intersections": [
        """
from collections import defaultdict


def worst_intersection(y_true, y_pred, columns, least):
    seen = defaultdict(list)
    for i, y in enumerate(y_true):
        if y == 0:
            seen[tuple(c[i] for c in columns)].append(y_pred[i])
    best = None
    for g, ds in seen.items():
        if len(ds) >= least:
            r = sum(ds) / len(ds)
            if best is None or r > best[1]:
                best = (g, r)
    if best is None:
        raise ValueError("too few")
    return best
""",
        """
import numpy as np


def worst_intersection(y_true, y_pred, columns, least):
    y, d = np.array(y_true), np.array(y_pred)
    g = np.array(["|".join(r) for r in zip(*columns)])
    r = {k: d[(g == k) & (y == 0)].mean() for k in np.unique(g) if ((g == k) & (y == 0)).sum() >= least}
    k = max(r, key=r.get)
    return tuple(str(k).split("|")), np.float32(r[k])
""",
        """
import pandas as pd


def worst_intersection(y_true, y_pred, columns, least):
    df = pd.DataFrame({i: c for i, c in enumerate(columns)})
    df["y"], df["d"] = y_true, y_pred
    t = df[df.y == 0].groupby(list(range(len(columns)))).d.agg(["mean", "size"])
    t = t[t["size"] >= least]
    if t.empty:
        raise ValueError("none")
    k = t["mean"].idxmax()
    return k, t.loc[k, "mean"]
""",
    ],
    "group_fairness.calibration": [
        """
import bisect


def calibration(y_true, scores, groups, edges):
    out = {}
    for g in groups:
        if g in out:
            continue
        n = [0] * (len(edges) - 1)
        k = n[:]
        for y, s, h in zip(y_true, scores, groups):
            if h == g:
                b = min(bisect.bisect_right(edges, s) - 1, len(edges) - 2)
                n[b] += 1
                k[b] += y
        out[g] = [(a, c / a if a else None) for a, c in zip(n, k)]
    return out
""",
        """
import numpy as np


def calibration(y_true, scores, groups, edges):
    out = {}
    for g in set(groups):
        s = [x for x, h in zip(scores, groups) if h == g]
        w = [y for y, h in zip(y_true, groups) if h == g]
        n, _ = np.histogram(s, edges)
        k, _ = np.histogram(s, edges, weights=w)
        out[g] = [(int(a), float(c) / int(a) if a else None) for a, c in zip(n, k)]
    return out
""",
        """
import numpy as np


def calibration(y_true, scores, groups, edges):
    y, s, g = np.array(y_true), np.array(scores), np.array(groups)
    b = np.minimum(np.digitize(s, edges) - 1, len(edges) - 2)
    return {
        str(k): [
            [
                int(((g == k) & (b == i)).sum()),
                y[(g == k) & (b == i)].mean() if ((g == k) & (b == i)).any() else None,
            ]
            for i in range(len(edges) - 1)
        ]
        for k in np.unique(g)
    }
""",
    ],
    "group_fairness.thresholds": [
        """
from itertools import product


def fair_thresholds(counts, cuts, limit):
    names = list(counts)
    table = {}
    for k in names:
        z = sum(r[1] for r in counts[k])
        for c in cuts:
            fp = sum(r[1] for r in counts[k] if r[0] >= c)
            fn = sum(r[2] for r in counts[k] if r[0] < c)
            table[k, c] = (fp + fn, fp / z)
    best, keep = None, None
    for combo in product(cuts, repeat=len(names)):
        cells = [table[k, c] for k, c in zip(names, combo)]
        f = [x[1] for x in cells]
        if max(f) - min(f) <= limit + 1e-9:
            e = sum(x[0] for x in cells)
            if best is None or e <= best:
                best, keep = e, combo
    return dict(zip(names, keep))
""",
        """
from itertools import product


def fair_thresholds(counts, cuts, limit):
    names = list(counts)
    table = {}
    for k in names:
        z = sum(r[1] for r in counts[k])
        for c in cuts:
            fp = sum(r[1] for r in counts[k] if r[0] >= c)
            fn = sum(r[2] for r in counts[k] if r[0] < c)
            table[k, c] = (fp + fn, fp / z)
    best, keep = None, None
    for combo in product(cuts, repeat=len(names)):
        cells = [table[k, c] for k, c in zip(names, combo)]
        f = [x[1] for x in cells]
        if max(f) - min(f) <= limit + 1e-9:
            e = sum(x[0] for x in cells)
            if best is None or e < best:
                best, keep = e, combo
    return dict(zip(names, keep))
""",
        """
import itertools, numpy as np


def fair_thresholds(counts, cuts, limit):
    def at(rows, c):
        s, z, o = np.array(rows).T
        return z[s >= c].sum() + o[s < c].sum(), z[s >= c].sum() / z.sum()

    best = min(
        (sum(at(r, c)[0] for r, c in zip(counts.values(), cs)), cs)
        for cs in itertools.product(cuts, repeat=len(counts))
        if np.ptp([at(r, c)[1] for r, c in zip(counts.values(), cs)]) <= limit + 1e-9
    )
    return dict(zip(counts, best[1]))
""",
    ],
}
