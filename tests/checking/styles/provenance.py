"""Right answers to the lab provenance, in other styles than the solutions'."""

RIGHT: dict[str, list[str]] = {
    "provenance.green_list": [
        """
def green_list(before, vocabulary, gamma=0.25, key=KEY):
    n = int(gamma * vocabulary)
    if gamma <= 0 or gamma >= 1 or n == 0: raise ValueError("gamma")
    g = torch.Generator(); g.manual_seed((before * key) % (2**64 - 1))
    return sorted(torch.randperm(vocabulary, generator=g).tolist()[:n])
""",
        """
def green_list(before, vocabulary, gamma=0.25, key=KEY):
    if not (0 < gamma < 1): raise ValueError("no share")
    g = torch.Generator(device="cpu").manual_seed(key * int(before))
    order = torch.randperm(int(vocabulary), generator=g)
    keep = torch.arange(vocabulary) < int(vocabulary * gamma)
    if not keep.any(): raise ValueError("none")
    return order[keep]
""",
        """
def green_list(before, vocabulary, gamma=0.25, key=KEY):
    assert_ok = 0 < gamma < 1 and int(vocabulary * gamma) > 0
    if not assert_ok:
        raise ValueError(gamma)
    g = torch.Generator()
    g.manual_seed(divmod(before * key, 2**64 - 1)[1])
    return np.asarray(torch.randperm(vocabulary, generator=g))[: int(vocabulary * gamma)]
""",
    ],
    "provenance.count": [
        """
def count_green(ids, vocabulary, gamma=0.25, key=KEY, once=True):
    if len(ids) < 2: raise ValueError("short")
    seen, green, looked = set(), 0, 0
    for i in range(1, len(ids)):
        pair = (ids[i - 1], ids[i])
        if once and pair in seen: continue
        seen.add(pair); looked += 1
        if ids[i] in list(map(int, green_list(ids[i - 1], vocabulary, gamma, key))): green += 1
    return [green, looked]
""",
        """
def count_green(ids, vocabulary, gamma=0.25, key=KEY, once=True):
    from collections import Counter
    counts = Counter(zip(ids, ids[1:]))
    if not counts: raise ValueError("nothing")
    weight = {pair: 1 if once else n for pair, n in counts.items()}
    def green(pair):
        return pair[1] in torch.as_tensor(green_list(pair[0], vocabulary, gamma, key))
    return sum(weight[p] * green(p) for p in counts), sum(weight.values())
""",
        """
def count_green(ids, vocabulary, gamma=0.25, key=KEY, once=True):
    ids = torch.tensor(ids)
    if len(ids) < 2: raise ValueError("one token")
    pairs = torch.stack([ids[:-1], ids[1:]], 1)
    if once: pairs = torch.unique(pairs, dim=0)
    mask = torch.zeros(len(pairs))
    for k, (a, b) in enumerate(pairs.tolist()):
        table = torch.zeros(vocabulary); table[torch.as_tensor(green_list(a, vocabulary, gamma, key))] = 1
        mask[k] = table[b]
    return mask.sum(), len(pairs)
""",
    ],
    "provenance.z": [
        """
def z_score(green, looked, gamma=0.25):
    if looked <= 0: raise ValueError("none")
    if gamma >= 1 or gamma <= 0: raise ValueError("gamma")
    return (green / looked - gamma) / (gamma * (1 - gamma) / looked) ** 0.5
""",
        """
def z_score(green, looked, gamma=0.25):
    from scipy.stats import binom
    if not looked or not 0 < gamma < 1: raise ValueError("bad")
    b = binom(looked, gamma)
    return np.float64((green - b.mean()) / b.std())
""",
        """
def z_score(green, looked, gamma=0.25):
    if looked < 1 or not 0 < gamma < 1: raise ValueError("bad")
    return torch.tensor((green - gamma * looked) * (looked * gamma * (1 - gamma)) ** -0.5, dtype=torch.float64)
""",
    ],
    "provenance.gumbel": [
        """
def gumbel_choice(probabilities, uniforms):
    p, u = probabilities.tolist(), uniforms.tolist()
    if min(p) < 0 or max(p) == 0: raise ValueError("p")
    best = None
    for i in range(len(p)):
        if p[i] > 0:
            s = math.log(u[i]) / p[i] if u[i] > 0 else -math.inf
            if best is None or s > best[0]: best = (s, i)
    return best[1]
""",
        """
def gumbel_choice(probabilities, uniforms):
    if (probabilities < 0).any() or probabilities.sum() == 0: raise ValueError("p")
    gumbel = -torch.log(-torch.log(uniforms.clamp(1e-300, 1 - 1e-16)))
    return (torch.log(probabilities) + gumbel).argmax()
""",
        """
def gumbel_choice(probabilities, uniforms):
    p, u = np.asarray(probabilities), np.asarray(uniforms)
    if np.any(p < 0) or not np.any(p > 0): raise ValueError("p")
    can = np.flatnonzero(p)
    return int(can[np.argmin(-np.log(np.maximum(u[can], 1e-300)) / p[can])])
""",
    ],
    "provenance.tournament": [
        """
def tournament(probabilities, marks):
    if marks.shape[0] != probabilities.shape[0]: raise ValueError("rows")
    p = probabilities.clone()
    for r in range(marks.shape[1]):
        s = sum(float(p[i]) for i in range(len(p)) if marks[i, r] == 1)
        p = torch.stack([p[i] * (2 - s if marks[i, r] == 1 else 1 - s) for i in range(len(p))])
    return p
""",
        """
def tournament(probabilities, marks):
    if len(probabilities) != len(marks): raise ValueError("rows")
    p = probabilities
    for g in marks.double().unbind(1):
        wins = (g[:, None] > g[None]).double() + 0.5 * (g[:, None] == g[None]).double()
        p = 2 * p * (wins @ p)
    return p
""",
        """
def tournament(probabilities, marks):
    if len(probabilities) != len(marks): raise ValueError("rows")
    def go(p, columns):
        if columns.shape[1] == 0: return p
        g = columns[:, 0].to(p)
        return go(p + p * (g - torch.dot(p, g)), columns[:, 1:])
    return go(probabilities.clone(), marks)
""",
    ],
    "provenance.verify": [
        """
def verify(text, credential, key):
    if not credential: return "missing"
    claim = credential["claim"]
    message = json.dumps(claim, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    good = hmac.new(key, message, "sha256").hexdigest() == credential["signature"]
    if not good: return "forged"
    if hashlib.sha256(text.encode()).hexdigest() != claim["sha256"]: return "edited"
    return "valid"
""",
        """
def verify(text, credential, key):
    if credential is None:
        return "missing"
    again = sign(text, {k: v for k, v in credential["claim"].items() if k != "sha256"}, with_key(key))
    mine = with_key(key)(canonical(credential["claim"]))
    if not hmac.compare_digest(mine, bytes.fromhex(credential["signature"])):
        return "forged"
    return "valid" if again["claim"] == dict(credential["claim"]) else "edited"
""",
        """
def verify(text, credential, key):
    match credential:
        case None: return "missing"
        case {"claim": claim, "signature": signature}:
            good = hmac.compare_digest(with_key(key)(canonical(claim)).hex(), signature)
            return {(1, 1): "valid", (1, 0): "edited"}.get((good, claim["sha256"] == digest(text)), "forged")
""",
    ],
}
