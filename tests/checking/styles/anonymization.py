"""Right answers to the lab anonymization, in other styles than the solutions'."""

RIGHT: dict[str, list[str]] = {
    "anonymization.pseudonym": [
        """
def pseudonym(value, key, purpose="", digits=16):
    if type(key) is not bytes or len(key) < 16:
        raise ValueError("key")
    if digits < 8 or digits > 64: raise ValueError("digits")
    v = unicodedata.normalize("NFKC", value).lower().strip()
    if v == "": raise ValueError("empty")
    h = hmac.new(key, digestmod="sha256")
    h.update(purpose.encode()); h.update(b"\\x00"); h.update(v.encode())
    return h.hexdigest()[:digits]
""",
        """
def pseudonym(value, key, purpose="", digits=16):
    if not isinstance(key, bytes) or len(key) < 16 or not 8 <= digits <= 64:
        raise ValueError("bad")
    plain = unicodedata.normalize("NFKC", value).strip().casefold()
    if not plain: raise ValueError
    return hmac.digest(key, (purpose + chr(0) + plain).encode("utf-8"), "sha256").hex()[:digits]
""",
        """
def pseudonym(value, key, purpose="", digits=16):
    if not isinstance(key, bytes) or len(key) < 16 or digits < 8 or digits > 64:
        raise ValueError("bad")
    plain = unicodedata.normalize("NFKC", value).strip().lower()
    if not plain: raise ValueError("x")
    k = key.ljust(64, b"\\0")
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in k) + f"{purpose}\\0{plain}".encode()).digest()
    return hashlib.sha256(bytes(b ^ 0x5c for b in k) + inner).hexdigest()[:digits]
""",
    ],
    "anonymization.redact": [
        """
def redact(text, spans):
    spans = [tuple(s) for s in spans]
    for k, a, b in spans:
        if a < 0 or a >= b or b > len(text): raise ValueError("span")
    groups = []
    for s in sorted(spans, key=lambda s: s[1]):
        if groups and s[1] < max(x[2] for x in groups[-1]): groups[-1].append(s)
        else: groups.append([s])
    for g in reversed(groups):
        best = sorted(g, key=lambda s: (s[1]-s[2], s[1]))[0]
        text = text[:g[0][1]] + "[" + best[0] + "]" + text[max(x[2] for x in g):]
    return text
""",
        """
def redact(text, spans):
    spans = list(spans)
    for _, a, b in spans:
        if not (0 <= a < b <= len(text)): raise ValueError("span")
    parent = list(range(len(spans)))
    def find(i):
        while parent[i] != i: i = parent[i]
        return i
    for i in range(len(spans)):
        for j in range(i):
            if max(spans[i][1], spans[j][1]) < min(spans[i][2], spans[j][2]): parent[find(i)] = find(j)
    by = {}
    for i, s in enumerate(spans): by.setdefault(find(i), []).append(s)
    out, i = "", 0
    starts = {min(s[1] for s in g): g for g in by.values()}
    while i < len(text):
        if i in starts:
            g = starts[i]
            m = max(s[2]-s[1] for s in g)
            kind = min((s[1], s[0]) for s in g if s[2]-s[1] == m)[1]
            out += f"[{kind}]"; i = max(s[2] for s in g)
        else:
            out += text[i]; i += 1
    return out
""",
        """
def redact(text, spans):
    arr = np.zeros(len(text) + 1, dtype=int)
    joint = np.zeros(len(text) + 1, dtype=bool)
    spans = sorted(spans, key=lambda s: (s[1], s[2]))
    for kind, a, b in spans:
        if a < 0 or b > len(text) or b <= a:
            raise ValueError("bad span")
        arr[a:b] += 1
        joint[a + 1 : b] = True
    pieces, i = [], 0
    while i < len(text):
        if not arr[i]:
            pieces.append(text[i]); i += 1; continue
        j = i + 1
        while j < len(text) and arr[j] and joint[j]: j += 1
        inside = [s for s in spans if s[1] >= i and s[2] <= j]
        kind = max(inside, key=lambda s: (s[2] - s[1], -s[1]))[0]
        pieces.append("[%s]" % kind); i = j
    return "".join(pieces)
""",
    ],
    "anonymization.k": [
        """
def k_of(table, quasi):
    import pandas as pd
    f = pd.DataFrame({n: list(v) for n, v in table.items()}).astype(object)
    if not len(quasi) or not len(f): raise ValueError("empty")
    return int(f.groupby(list(quasi), dropna=False).size().min())
""",
        """
def k_of(table, quasi):
    if not quasi: raise ValueError("none")
    rows = list(zip(*[table[q] for q in quasi]))
    if not rows: raise ValueError("no rows")
    return min(rows.count(r) for r in rows)
""",
        """
def k_of(table, quasi):
    if len(quasi) == 0 or len(table[quasi[0]]) == 0: raise ValueError("none")
    m = np.array([[repr(v) for v in table[q]] for q in quasi]).T
    _, counts = np.unique(m, axis=0, return_counts=True)
    return counts.min()
""",
    ],
    "anonymization.mondrian": [
        """
def mondrian(points, k, strict=True):
    points = np.asarray(points, dtype=float)
    if not 1 <= k <= len(points): raise ValueError("k")
    R = points.max(0) - points.min(0)
    def go(rows):
        sub = points[rows]
        w = [(sub[:, j].max() - sub[:, j].min()) / R[j] if R[j] else 0.0 for j in range(points.shape[1])]
        for j in sorted(range(len(w)), key=lambda j: -w[j]):
            if w[j] == 0: continue
            if strict:
                med = sorted(sub[:, j])[(len(rows) + 1) // 2 - 1]
                a = [r for r in rows if points[r, j] <= med]; b = [r for r in rows if points[r, j] > med]
            else:
                s = sorted(rows, key=lambda r: points[r, j]); h = (len(s) + 1) // 2
                a, b = s[:h], s[h:]
            if len(a) >= k and len(b) >= k: return go(a) + go(b)
        return [rows]
    return go(list(range(len(points))))
""",
        """
import torch
def mondrian(points, k, strict=True):
    x = torch.as_tensor(np.asarray(points), dtype=torch.float64)
    n = len(x)
    if k < 1 or k > n: raise ValueError("k")
    span = (x.amax(0) - x.amin(0)); span[span == 0] = 1
    out, todo = [], [torch.arange(n)]
    while todo:
        rows = todo.pop(0); sub = x[rows]; w = (sub.amax(0) - sub.amin(0)) / span
        for j in torch.argsort(w, descending=True, stable=True):
            if w[j] == 0: continue
            order = torch.argsort(sub[:, j], stable=True); h = (len(rows) + 1) // 2
            if strict:
                m = sub[order[h - 1], j]; a, b = rows[sub[:, j] <= m], rows[sub[:, j] > m]
            else: a, b = rows[order[:h]], rows[order[h:]]
            if len(a) >= k and len(b) >= k:
                todo += [a, b]; break
        else: out.append(rows)
    return out
""",
        """
def mondrian(points, k, strict=True):
    import pandas as pd
    f = pd.DataFrame(np.asarray(points, float))
    if k < 1 or k > len(f): raise ValueError("k")
    full = f.max() - f.min(); full = full.replace(0, 1)
    def go(g):
        w = (g.max() - g.min()) / full
        for j in sorted(w.index, key=lambda j: (-w[j], j)):
            if w[j] == 0: break
            s = g.sort_values(j, kind="stable"); h = (len(s) + 1) // 2
            if strict:
                m = s[j].iloc[h - 1]; parts = [g[g[j] <= m], g[g[j] > m]]
            else: parts = [s.iloc[:h], s.iloc[h:]]
            if all(len(p) >= k for p in parts): return go(parts[0]) + go(parts[1])
        return [g.index.tolist()]
    return go(f)
""",
    ],
    "anonymization.candidates": [
        """
def candidates(known, release, quasi):
    for q in quasi:
        if q not in known or q not in release: raise ValueError(q)
    def ok(cell, v):
        if isinstance(cell, str): return cell == "*" or cell == v
        if isinstance(cell, (tuple, list)):
            return v in cell if isinstance(v, str) else min(cell) <= v <= max(cell)
        return cell == v
    rows, people = range(len(release[quasi[0]])), range(len(known[quasi[0]]))
    return [[r for r in rows if all(ok(release[q][r], known[q][p]) for q in quasi)] for p in people]
""",
        """
def candidates(known, release, quasi):
    if any(q not in known or q not in release for q in quasi): raise ValueError("col")
    out = []
    for p in range(len(known[quasi[0]])):
        left = set(range(len(release[quasi[0]])))
        for q in quasi:
            v = known[q][p]
            for r in list(left):
                c = release[q][r]
                if c == "*": continue
                if isinstance(c, tuple):
                    if isinstance(v, str):
                        if v not in c: left.discard(r)
                    elif not (c[0] <= v <= c[1]): left.discard(r)
                elif c != v: left.discard(r)
        out.append(sorted(left))
    return out
""",
        """
def candidates(known, release, quasi):
    try:
        columns = [(known[q], release[q]) for q in quasi]
    except KeyError as e:
        raise ValueError(str(e))
    fit = None
    for mine, cells in columns:
        m = np.zeros((len(mine), len(cells)), bool)
        for j, c in enumerate(cells):
            for i, v in enumerate(mine):
                if isinstance(c, str) and c == "*": m[i, j] = True
                elif isinstance(c, tuple): m[i, j] = (v in c) if isinstance(v, str) else (c[0] <= v <= c[-1])
                else: m[i, j] = c == v
        fit = m if fit is None else fit & m
    return [np.flatnonzero(row) for row in fit]
""",
    ],
    "anonymization.t": [
        """
def t_closeness(table, quasi, sensitive, ordered=False):
    if sensitive in quasi: raise ValueError("s")
    s = list(table[sensitive]); vals = sorted(set(s))
    q = np.array([s.count(v) for v in vals]) / len(s)
    groups = {}
    for i, key in enumerate(zip(*[table[c] for c in quasi])): groups.setdefault(key, []).append(s[i])
    worst = 0.0
    for g in groups.values():
        p = np.array([g.count(v) for v in vals]) / len(g)
        if ordered: d = np.abs(np.cumsum(p - q)).sum() / max(len(vals) - 1, 1)
        else: d = np.abs(p - q).sum() / 2
        worst = max(worst, float(d))
    return worst
""",
        """
def t_closeness(table, quasi, sensitive, ordered=False):
    import pandas as pd
    if sensitive in quasi: raise ValueError("s")
    f = pd.DataFrame(dict(table)); whole = f[sensitive].value_counts(normalize=True).sort_index()
    def d(g):
        gap = g.value_counts(normalize=True).reindex(whole.index, fill_value=0) - whole
        return gap.cumsum().abs().sum() / max(len(whole) - 1, 1) if ordered else gap.abs().sum() / 2
    return max(d(g) for _, g in f.groupby(list(quasi))[sensitive])
""",
        """
def t_closeness(table, quasi, sensitive, ordered=False):
    from scipy.stats import wasserstein_distance
    if sensitive in list(quasi): raise ValueError("s")
    s = table[sensitive]; n = len(s); vals = sorted(set(s)); rank = {v: i for i, v in enumerate(vals)}
    keys = [tuple(table[c][i] for c in quasi) for i in range(n)]
    best = 0
    for key in set(keys):
        g = [s[i] for i in range(n) if keys[i] == key]
        if ordered:
            d = wasserstein_distance([rank[v] for v in g], [rank[v] for v in s]) / max(1, len(vals) - 1)
        else:
            d = sum(max(0, g.count(v) / len(g) - s.count(v) / n) for v in vals)
        best = max(best, d)
    return best
""",
    ],
}
