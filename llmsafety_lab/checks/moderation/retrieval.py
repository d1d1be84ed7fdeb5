"""Exercise 5: find the passage."""

from __future__ import annotations

import math
import re

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect, expect_list, expect_pair, kind_of

Hits = list[tuple[int, float]]
WORDS = ("river", "port", "bridge", "tower", "market", "the", "of", "old", "north", "sea", "stone", "road")


def _scores(passages: list[str], query: str, k1: float, b: float, slip: str = "") -> list[float]:
    texts = [re.findall(r"\w+", passage if slip == "capitals" else passage.lower()) for passage in passages]
    asked = re.findall(r"\w+", query if slip == "capitals" else query.lower())
    if slip == "set":
        asked = list(dict.fromkeys(asked))
    mean = sum(map(len, texts)) / len(texts)
    found = []
    for text in texts:
        score = 0.0
        for word in asked:
            holding = sum(word in other for other in texts)
            if slip == "occurrences":
                holding = min(len(texts), sum(other.count(word) for other in texts))
            rarity = math.log(1 + max(0, len(texts) - holding + 0.5) / (holding + 0.5))
            if slip == "no rarity":
                rarity = 1.0
            if slip == "plain idf":
                rarity = math.log(len(texts) / holding) if holding else 0.0
            if slip == "no one":
                rarity = math.log(max(1e-12, (len(texts) - holding + 0.5) / (holding + 0.5)))
            times = text.count(word)
            long = k1 * (1 - b + b * (1 if slip == "no length" else len(text) / mean))
            if slip == "mean over text":
                long = k1 * (1 - b + b * mean / max(1, len(text)))
            if slip == "presence":
                times = min(times, 1)
            part = times * (k1 + 1) / (times + long)
            if slip == "no k1 + 1":
                part = times / (times + long)
            if slip == "counts":
                part = float(times)
            score += rarity * part
        found.append(score)
    return found


def _best(passages: list[str], query: str, k: int, k1: float = 1.5, b: float = 0.75, slip: str = "") -> Hits:
    scores = _scores(passages, query, k1, b, slip)
    rows = [row for row, score in enumerate(scores) if score > 0 or slip == "all"]
    rows.sort(key=lambda row: scores[row] if slip == "worst" else -scores[row])
    return [(row, scores[row]) for row in rows[:k]]


SLIPS = {
    "no rarity": "The rarity of a word has no effect: 'the' counts as much as a name.",
    "plain idf": "This is another formula for rarity, log(N / n). Use the one of the text.",
    "no one": "The 1 + inside of the logarithm is missing, so that frequent words count below 0.",
    "occurrences": "n is the number of passages that hold the word, not how often it occurs in all of them.",
    "no length": "The length of a passage has no effect: b is there for it.",
    "mean over text": "The length of the passage is divided by the mean length, not the other way round.",
    "presence": "How often a word occurs in the passage has no effect.",
    "no k1 + 1": "The factor k1 + 1 is missing.",
    "counts": "The count is not damped: k1 lets it grow ever more slowly.",
    "capitals": "Capital letters part a word from itself: compare in lower case.",
    "set": "A word that the query holds twice counts twice.",
    "all": "Passages that share no word with the query are left out.",
    "worst": "The best come first.",
}


@exercise(
    "moderation.retrieve",
    "Find the passage that says so",
    points=4,
    difficulty=3,
    importance=4,
    minutes=14,
    answer="retrieve",
    mutants=(
        Mutant(
            "no rarity",
            "rarity = math.log(1 + (total - holding + 0.5) / (holding + 0.5))",
            "rarity = 1.0",
            "rarity of a word has no effect",
        ),
        Mutant(
            "another rarity",
            "rarity = math.log(1 + (total - holding + 0.5) / (holding + 0.5))",
            "rarity = math.log(total / holding) if holding else 0.0",
            "another formula",
        ),
        Mutant("negative rarity", "math.log(1 + (total", "math.log((total", "below 0"),
        Mutant(
            "occurrences",
            "holding = sum(word in count for count in counts)",
            "holding = min(total, sum(count[word] for count in counts))",
            "passages that hold the word",
        ),
        Mutant(
            "length ignored",
            "long = k1 * (1 - b + b * length / mean)",
            "long = k1",
            "length of a passage has no effect",
        ),
        Mutant("length turned round", "b * length / mean", "b * mean / length", "not the other way round"),
        Mutant("presence", "times = count[word]", "times = min(1, count[word])", "has no effect"),
        Mutant("factor missing", "times * (k1 + 1)", "times", "factor k1 + 1"),
        Mutant("undamped", "times * (k1 + 1) / (times + long)", "times", "not damped"),
        Mutant("capital letters", 're.findall(r"\\w+", text.lower())', 're.findall(r"\\w+", text)', "lower case"),
        Mutant(
            "query as a set", "for word in words_of(query):", "for word in dict.fromkeys(words_of(query)):", "twice"
        ),
        Mutant("blanks alone", 're.findall(r"\\w+", text.lower())', "text.lower().split()", "punctuation"),
        Mutant("all of them", "if score > 0]", "if True]", "share no word"),
        Mutant(
            "worst first",
            "key=lambda item: (-item[1], item[0])",
            "key=lambda item: (item[1], item[0])",
            "best come first",
        ),
        Mutant("one too many", "[:k]", "[: k + 1]", "as many"),
        Mutant("defaults", "k1: float = 1.5", "k1: float = 1.2", "k1 = 1.5"),
    ),
)
def check_retrieve(answer: Answer, dice: Dice) -> None:
    for k in (3, 5):
        order = dice.uniform(len(WORDS)).argsort().tolist()
        words = [WORDS[place] for place in order]
        passages = []
        for _ in range(9):
            size = dice.integer(3, 14)
            drawn = [words[min(dice.integer(0, 11), dice.integer(0, 11))] for _ in range(size)]
            passages.append(" ".join(drawn).capitalize() + ".")
        passages += [f"{words[0]}, {words[1]} {words[2]}!", "Nothing here."]
        query = f"{words[0].upper()} {words[3]} {words[7]} {words[0]}?"
        _expect(answer(passages, query, k), passages, query, k)
        k1, b = 1 + float(dice.uniform(1)), 0.3 + 0.5 * float(dice.uniform(1))
        _expect(answer(passages, query, k, k1, b), passages, query, k, k1, b)
        _expect(answer(passages, words[5], 11), passages, words[5], 11)
    expect(list(answer(passages, "zebra", 3)) == [], "For a word that no passage has nothing is found.", expected=[])


def _expect(got: object, passages: list[str], query: str, k: int, k1: float = 1.5, b: float = 0.75) -> None:
    exact = _best(passages, query, k, k1, b)
    hits = [expect_pair(hit, "A hit", expected="(row, score)") for hit in expect_list(got, "The result")]
    asked = f"{query!r} with k = {k}, k1 = {k1:.3g}, b = {b:.3g}"
    for row, score in hits:
        if type(row) is not int or type(score) not in (int, float):
            raise Failed("A hit is a row and a score.", expected="(2, 1.37)", got=f"{kind_of(row)}, {kind_of(score)}")
    if _same(hits, exact):
        return
    hint = next((words for slip, words in SLIPS.items() if _same(hits, _best(passages, query, k, k1, b, slip))), "")
    if not hint and (k1, b) == (1.5, 0.75) and _same(hits, _best(passages, query, k, 1.2, b)):
        hint = "Without k1 and b the defaults are k1 = 1.5 and b = 0.75."
    if not hint and len(hits) != len(exact):
        hint = "There are not as many hits as were asked for; those that share no word with the query are left out."
    raise Failed(
        f"The passages found for {asked} are wrong.",
        expected=[(row, round(score, 4)) for row, score in exact],
        got=[(row, round(score, 4)) for row, score in hits],
        hint=hint
        or "Words are runs of letters and digits, without punctuation; the score is a sum over the query's words.",
    )


def _same(hits: list[tuple[int, float]], exact: Hits) -> bool:
    """Say whether two lists of hits agree; those of equal score may come in any order."""
    if len(hits) != len(exact) or any(abs(a[1] - b[1]) > 1e-6 for a, b in zip(hits, exact, strict=True)):
        return False
    cut = exact[-1][1] if exact else 0.0
    sure = {row for row, score in exact if score > cut + 1e-9}
    return {row for row, score in hits if score > cut + 1e-9} == sure
