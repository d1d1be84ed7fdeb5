"""Right answers to the lab data_bias, in other styles than the solutions'."""

RIGHT: dict[str, list[str]] = {
    "data_bias.rates": [
        """
def rates(labels, groups):
    out = {}
    for g in set(groups):
        xs = [int(y) for y, a in zip(labels, groups) if a == g]
        n, k, z = len(xs), sum(xs), 1.96
        p = k / n
        d = 1 + z*z/n
        c = (p + z*z/(2*n)) / d
        h = z * math.sqrt(p*(1-p)/n + z*z/(4*n*n)) / d
        out[g] = [p, c - h, c + h]
    return out
""",
        """
import pandas as pd
def rates(labels, groups):
    t = pd.Series(labels).groupby(pd.Series(groups)).agg(["sum", "size"])
    z = 1.959964
    p = t["sum"] / t["size"]
    c = (t["sum"] + z**2/2) / (t["size"] + z**2)
    h = z / (t["size"] + z**2) * np.sqrt(t["sum"]*(1-p) + z**2/4)
    return {g: (float(p[g]), float(c[g]-h[g]), float(c[g]+h[g])) for g in t.index}
""",
        """
import torch
def rates(labels, groups):
    y = torch.tensor(labels, dtype=torch.float32)
    out = {}
    for g in set(groups):
        m = torch.tensor([a == g for a in groups])
        n = m.sum().float(); p = y[m].mean(); z = 1.96
        d = 1 + z**2/n
        h = z*torch.sqrt(p*(1-p)/n + z**2/(4*n**2))/d
        c = (p + z**2/(2*n))/d
        out[g] = torch.stack([p, c-h, c+h])
    return out
""",
    ],
    "data_bias.difference": [
        """
def difference(first, second):
    p, q = np.asarray(first), np.asarray(second)
    d = p[0]-q[0]
    low = d - np.sqrt((p[0]-p[1])**2 + (q[2]-q[0])**2)
    return np.array([d, low, d + np.sqrt((p[2]-p[0])**2 + (q[0]-q[1])**2)])
""",
        """
def difference(first, second):
    p1, l1, u1 = first
    p2, l2, u2 = second
    return [p1-p2, p1-p2-((p1-l1)**2+(u2-p2)**2)**.5, p1-p2+((u1-p1)**2+(p2-l2)**2)**.5]
""",
        """
import torch
def difference(first, second):
    p, q = torch.tensor(first, dtype=torch.float64), torch.tensor(second, dtype=torch.float64)
    d = p[0]-q[0]
    return torch.stack([d, d-torch.hypot(p[0]-p[1], q[2]-q[0]), d+torch.hypot(p[2]-p[0], q[0]-q[1])])
""",
    ],
    "data_bias.weights": [
        """
def weights(labels, groups):
    n = len(labels); from collections import Counter
    y, a, ya = Counter(labels.tolist()), Counter(groups), Counter(zip(labels.tolist(), groups))
    return [y[l]*a[g]/(n*ya[l, g]) for l, g in zip(labels.tolist(), groups)]
""",
        """
import pandas as pd
def weights(labels, groups):
    t = pd.DataFrame({"y": labels, "a": groups})
    cell = t.groupby(["y", "a"])["y"].transform("size")
    y = t.groupby("y")["y"].transform("size")
    a = t.groupby("a")["y"].transform("size")
    return (y*a/len(t)/cell).to_numpy(dtype=np.float32)
""",
        """
import torch
def weights(labels, groups):
    y, names = torch.from_numpy(labels).double(), sorted(set(groups))
    a = torch.tensor([names.index(g) for g in groups])
    w = torch.zeros(len(y), dtype=torch.float64)
    for k in range(len(names)):
        for v in (0, 1):
            m = (a == k) & (y == v)
            w[m] = (a == k).double().mean()*(y == v).double().mean()/m.double().mean()
    return w
""",
    ],
    "data_bias.effective": [
        """
def effective(weights, groups):
    out = {}
    for g in set(groups):
        w = [float(x) for x, a in zip(weights, groups) if a == g]
        out[g] = sum(w)**2/sum(x*x for x in w)
    return out
""",
        """
def effective(weights, groups):
    g = np.array(groups); w = weights.astype(np.float32)
    return {str(a): w[g==a].sum()**2/(w[g==a]**2).sum() for a in np.unique(g)}
""",
        """
import torch
def effective(weights, groups):
    out = {}
    for a in set(groups):
        w = torch.tensor([x for x, b in zip(weights, groups) if b == a])
        out[a] = len(w)/(1 + w.var(correction=0)/w.mean()**2)
    return out
""",
    ],
    "data_bias.proxy": [
        """
def proxy(features, group, fold):
    out = []
    for k in sorted(set(fold.tolist())):
        m = LogisticRegression().fit(features[fold != k], group[fold != k])
        s = m.decision_function(features[fold == k]); g = group[fold == k]
        d = s[g == 1][:, None] - s[g == 0][None]
        out.append(float((d > 0).mean() + (d == 0).mean()/2))
    return sum(out)/len(out)
""",
        """
from sklearn.metrics import auc, roc_curve
def proxy(features, group, fold):
    total, n = 0, 0
    for k in np.unique(fold):
        m = LogisticRegression(); m.fit(X=features[fold != k], y=group[fold != k])
        f, t, _ = roc_curve(group[fold == k], m.predict_log_proba(features[fold == k])[:, 1])
        total += auc(f, t)
        n += 1
    return np.float64(total/n)
""",
        """
from sklearn.model_selection import PredefinedSplit
import torch
def proxy(features, group, fold):
    codes = np.unique(fold, return_inverse=True)[1]
    a = []
    for tr, te in PredefinedSplit(codes).split():
        m = LogisticRegression().fit(features[tr], group[tr])
        a.append(roc_auc_score(group[te], m.predict_proba(features[te])[:, 1]))
    return torch.tensor(a).mean()
""",
    ],
    "data_bias.standardised": [
        """
def standardised(labels, groups, strata):
    s = np.array(strata); gaps, n, keep = [], [], np.zeros(len(s), bool)
    for k in sorted(set(strata)):
        m = s == k
        a, b = labels[m & (groups == 1)], labels[m & (groups == 0)]
        if len(a) and len(b):
            gaps.append(a.mean() - b.mean()); n.append(m.sum()); keep |= m
    crude = labels[keep & (groups == 1)].mean() - labels[keep & (groups == 0)].mean()
    mean = float(np.dot(gaps, n) / np.sum(n))
    return crude, mean, bool(all(np.sign(g) == -np.sign(crude) for g in gaps))
""",
        """
def standardised(labels, groups, strata):
    s = np.array(strata); gaps, n, keep = [], [], np.zeros(len(s), bool)
    for k in sorted(set(strata)):
        m = s == k
        a, b = labels[m & (groups == 1)], labels[m & (groups == 0)]
        if len(a) and len(b):
            gaps.append(a.mean() - b.mean()); n.append(m.sum()); keep |= m
    crude = labels[keep & (groups == 1)].mean() - labels[keep & (groups == 0)].mean()
    mean = float(np.dot(gaps, n) / np.sum(n))
    return [float(crude), mean, int((crude > 0 and max(gaps) < 0) or (crude < 0 and min(gaps) > 0))]
""",
        """
import pandas as pd
def standardised(labels, groups, strata):
    t = pd.DataFrame({"y": labels, "g": groups, "s": strata})
    both = t.groupby("s")["g"].nunique(); t = t[t["s"].isin(both[both == 2].index)]
    r = t.groupby(["s", "g"])["y"].mean().unstack(); gap = r[1] - r[0]; n = t["s"].value_counts()
    c = t[t.g == 1].y.mean() - t[t.g == 0].y.mean()
    return c, (gap * n).sum() / n.sum(), np.bool_((gap * c < 0).all())
""",
    ],
}
