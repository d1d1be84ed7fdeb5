"""Right answers to the lab moderation, in other styles than the solutions'."""

RIGHT: dict[str, list[str]] = {
    "moderation.tune": [
        """
def tune(tuning_scores, tuning_harmful, test_scores, test_harmful, miss, false_alarm, base_rate):
    def cost(scores, harmful, t):
        bad = [s for s, h in zip(scores, harmful) if h]
        good = [s for s, h in zip(scores, harmful) if not h]
        passed = sum(s < t for s in bad) / len(bad)
        blocked = sum(s >= t for s in good) / len(good)
        return base_rate * miss * passed + (1 - base_rate) * false_alarm * blocked
    best, least = math.inf, cost(tuning_scores, tuning_harmful, math.inf)
    for t in sorted(set(tuning_scores), reverse=True):
        now = cost(tuning_scores, tuning_harmful, t)
        if now < least - 1e-10:
            best, least = t, now
    return best, cost(test_scores, test_harmful, best)
""",
        """
def tune(tuning_scores, tuning_harmful, test_scores, test_harmful, miss, false_alarm, base_rate):
    s, y = np.array(tuning_scores), np.array(tuning_harmful)
    tries = np.append(np.unique(s), np.inf)
    stopped = s[None] >= tries[:, None]
    costs = base_rate * miss * (1 - stopped[:, y == 1].mean(1))
    costs += (1 - base_rate) * false_alarm * stopped[:, y == 0].mean(1)
    best = float(tries[np.flatnonzero(costs <= costs.min() + 1e-10)[-1]])
    s, y = np.array(test_scores), np.array(test_harmful)
    missed, alarms = (s[y == 1] < best).mean(), (s[y == 0] >= best).mean()
    return [best, base_rate * miss * missed + (1 - base_rate) * false_alarm * alarms]
""",
        """
def tune(tuning_scores, tuning_harmful, test_scores, test_harmful, miss, false_alarm, base_rate):
    import torch
    def shares(scores, harmful, t):
        s, y = torch.as_tensor(scores, dtype=torch.float64), torch.as_tensor(harmful).bool()
        return (s[y] < t).double().mean().item(), (s[~y] >= t).double().mean().item()
    def price(pair):
        return base_rate * miss * pair[0] + (1 - base_rate) * false_alarm * pair[1]
    def worth(t):
        return round(price(shares(tuning_scores, tuning_harmful, t)), 10), -t
    best = min([math.inf, *tuning_scores], key=worth)
    return Tuned(best, price(shares(test_scores, test_harmful, best)))
""",
    ],
    "moderation.stream": [
        """
def stream_threshold(harmless, share):
    tops = np.sort([np.max(one) for one in harmless])
    k = int(np.ceil(np.round((len(tops) + 1) * (1 - share), 9)))
    return float("inf") if k > len(tops) else float(tops[k - 1])
""",
        """
def stream_threshold(harmless, share):
    tops = sorted([sorted(one)[-1] for one in harmless], reverse=True)
    n = len(tops)
    above = n - math.ceil(round((n + 1) * (1 - share), 9))  # how many of the n may be above
    return tops[above] if above >= 0 else math.inf
""",
        """
def stream_threshold(harmless, share):
    import heapq
    k = -int(-round((len(harmless) + 1) * (1 - share), 9) // 1)
    if k > len(harmless):
        return math.inf
    return heapq.nsmallest(k, (max(one) for one in harmless))[-1]
""",
    ],
    "moderation.risk_coverage": [
        """
def risk_coverage(confidence, right):
    thresholds, coverages, risks = [], [], []
    for t in sorted(set(confidence), reverse=True):
        answered = [r for c, r in zip(confidence, right) if c >= t]
        thresholds.append(t)
        coverages.append(len(answered) / len(right))
        risks.append(sum(1 - r for r in answered) / len(answered))
    return thresholds, coverages, risks
""",
        """
def risk_coverage(confidence, right):
    c, r = np.asarray(confidence, float), np.asarray(right, float)
    levels = np.unique(c)[::-1]
    answered = c[None] >= levels[:, None]
    return [levels, answered.mean(1), 1 - (answered * r).sum(1) / answered.sum(1)]
""",
        """
def risk_coverage(confidence, right):
    values, place = np.unique(-np.asarray(confidence, dtype=float), return_inverse=True)
    counts = np.bincount(place).cumsum()
    wrong = np.bincount(place, 1 - np.asarray(right)).cumsum()
    return Curve(-values, counts / counts[-1], wrong / counts)
""",
    ],
    "moderation.semantic_entropy": [
        """
def semantic_entropy(entails, logs=None):
    classes = []
    for i in range(len(entails)):
        for members in classes:
            if entails[i][members[0]] and entails[members[0]][i]:
                members.append(i)
                break
        else:
            classes.append([i])
    logs = [0.0] * len(entails) if logs is None else list(logs)
    top = max(logs)
    total = sum(math.exp(x - top) for x in logs)
    shares = [sum(math.exp(logs[i] - top) for i in members) / total for members in classes]
    return -sum(p * math.log(p) for p in shares if p)
""",
        """
def semantic_entropy(entails, logs=None):
    import torch
    both = torch.as_tensor(np.asarray(entails, dtype=bool))
    both = both & both.T
    first, label = [], []
    for i in range(len(both)):
        fits = [k for k, j in enumerate(first) if both[i, j]]
        if not fits:
            fits = [len(first)]
            first.append(i)
        label.append(fits[0])
    logs = torch.zeros(len(both)) if logs is None else torch.as_tensor(logs)
    w = torch.softmax(logs.double(), 0)
    p = torch.zeros(len(first), dtype=torch.float64).index_add(0, torch.tensor(label), w)
    return float(torch.special.entr(p).sum())
""",
        """
def semantic_entropy(entails, logs=None):
    table = np.asarray(entails, dtype=bool)
    left, groups = list(range(len(table))), []
    while left:
        lead = left[0]
        groups.append([i for i in left if table[lead, i] and table[i, lead] or i == lead])
        left = [i for i in left if i not in groups[-1]]
    logs = np.zeros(len(table)) if logs is None else np.asarray(logs, float)
    z = np.logaddexp.reduce(logs)
    logp = [np.logaddexp.reduce(logs[g]) - z for g in groups]
    return float(-sum(np.exp(x) * x for x in logp if np.isfinite(x)))
""",
    ],
    "moderation.retrieve": [
        """
def retrieve(passages, query, k=3, k1=1.5, b=0.75):
    texts = [re.findall(r"\\w+", p.lower()) for p in passages]
    mean = sum(len(t) for t in texts) / len(texts)
    result = []
    for row, text in enumerate(texts):
        score = 0
        for w in re.findall(r"\\w+", query.lower()):
            f = text.count(w)
            if f:
                n = sum(w in t for t in texts)
                rare = math.log(1 + (len(texts) - n + 0.5) / (n + 0.5))
                score += rare * f * (k1 + 1) / (f + k1 * (1 - b + b * len(text) / mean))
        if score:
            result.append((row, score))
    result.sort(key=lambda x: x[1], reverse=True)
    return result[:k]
""",
        """
def retrieve(passages, query, k=3, k1=1.5, b=0.75):
    asked = re.findall(r"\\w+", query.lower())
    vocabulary = sorted(set(asked))
    bags = [Counter(re.findall(r"\\w+", p.lower())) for p in passages]
    f = np.array([[bag[w] for w in vocabulary] for bag in bags], dtype=float)
    length = np.array([sum(bag.values()) for bag in bags], dtype=float)[:, None]
    n = (f > 0).sum(0)
    idf = np.log1p((len(bags) - n + 0.5) / (n + 0.5)) * np.array([asked.count(w) for w in vocabulary])
    total = (idf * f * (k1 + 1) / (f + k1 * (1 - b + b * length / length.mean()))).sum(1)
    return [(int(i), float(total[i])) for i in np.argsort(-total, kind="stable")[:k] if total[i] > 0]
""",
        """
def retrieve(passages, query, k=3, k1=1.5, b=0.75):
    import heapq
    docs = [[w.lower() for w in re.findall(r"\\w+", p)] for p in passages]
    N, average = len(docs), np.mean([len(d) for d in docs])
    postings = {}
    for i, d in enumerate(docs):
        for w in d:
            postings.setdefault(w, Counter())[i] += 1
    scores = Counter()
    for w in re.findall(r"\\w+", query):
        found = postings.get(w.lower(), {})
        for i, f in found.items():
            damped = f * (k1 + 1) / (f + k1 * (1 - b + b * len(docs[i]) / average))
            scores[i] += math.log(1 + (N - len(found) + .5) / (len(found) + .5)) * damped
    return [(i, float(s)) for i, s in heapq.nlargest(k, scores.items(), key=lambda x: (x[1], -x[0]))]
""",
    ],
}
