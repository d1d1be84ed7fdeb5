"""Exercise 4: the F1 of spans, against counts of what is correct, predicted and expected."""

from __future__ import annotations

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, came, expect_number
from llmsafety_lab.checks.named_entities.spans import SEQEVAL, TYPES, draw_tags, read_spans


def counted(
    truth: list[list[str]],
    found: list[list[str]],
    outside: bool = False,
    known_only: bool = False,
    strict: bool = False,
) -> dict[str, list[int]]:
    """Return for each type how many spans are correct, predicted and expected.

    With `outside` O counts as a type; with `known_only` each sentence's types are those of its truth.
    """
    totals: dict[str, list[int]] = {}
    for true, guess in zip(truth, found, strict=True):
        sets = [set(read_spans(tags, strict)) for tags in (true, guess)]
        if outside:
            sets = [
                s | {("O", i, i + 1) for i, t in enumerate(tags) if t == "O"}
                for s, tags in zip(sets, (true, guess), strict=True)
            ]
        for kind in {span[0] for spans in sets[: 1 if known_only else 2] for span in spans}:
            one, two = ({span for span in spans if span[0] == kind} for spans in sets)
            row = totals.setdefault(kind, [0, 0, 0])
            totals[kind] = [n + len(s) for n, s in zip(row, (one & two, two, one), strict=True)]
    return totals


def ratio(counts: list[int]) -> float:
    correct, predicted, expected = counts
    return 2 * correct / (predicted + expected) if predicted + expected else 0.0


def _scores(totals: dict[str, list[int]]) -> tuple[float, float]:
    types = [ratio(counts) for counts in totals.values()]
    return ratio([sum(c[i] for c in totals.values()) for i in range(3)]), sum(types) / len(types) if types else 0.0


def _joined(sentences: list[list[str]]) -> list[str]:
    return [tag for tags in sentences for tag in tags]


SWAPPED = {
    "micro": "Micro counts the spans of all types together, then takes F1 once.",
    "macro": "Macro is the mean of the types' F1: each type counts the same, however rare.",
}


def _draw_pair(dice: Dice, when: str) -> tuple[list[list[str]], list[list[str]]]:
    truth = [draw_tags(dice, dice.integer(5, 9)) for _ in range(6)]
    found = [draw_tags(dice, 0, tags) for tags in truth]
    if "two types" in when:
        truth, found = (
            [[tag if not tag.endswith("ORG") else "O" for tag in tags] for tags in side] for side in (truth, found)
        )
    if "lacks" in when:
        truth = [[tag if not tag.endswith("ORG") else "O" for tag in tags] for tags in truth]
        found = [[*tags[:-1], "B-ORG"] for tags in found]
    if "never" in when:
        found = [[tag if not tag.endswith("ORG") else "O" for tag in tags] for tags in found]
    if "strict" in when:
        found = [[*tags[:-1], "O", "I-ORG"] for tags in found]
        truth = [[*tags, "O"] for tags in truth]
    border = [["O", "B-PER"], ["I-PER", "O"]]
    truth, found = [*truth, *border], [*found, *border]
    if "without" in when:
        truth = [["O"] * len(tags) for tags in truth]
    return truth, truth if "right" in when or "without" in when else found


def _wrong_scores(truth: list[list[str]], found: list[list[str]], strict: bool) -> dict[str, tuple[float, float]]:
    """Return micro and macro F1 as the usual mistakes give them."""
    totals = counted(truth, found, strict=strict)
    sums = [sum(counts[i] for counts in totals.values()) for i in range(3)]
    recalls = [counts[0] / counts[2] if counts[2] else 0.0 for counts in totals.values()]
    return {
        "You have O in the average: O is no entity, and there is much of it.": _scores(
            counted(truth, found, True, strict=strict)
        ),
        "In each sentence you forgot the types that only the prediction has: its spans there are false alarms, too.": (
            _scores(counted(truth, found, known_only=True, strict=strict))
        ),
        "This is recall. F1 is 2 * correct / (predicted + expected).": (
            sums[0] / max(sums[2], 1),
            sum(recalls) / max(len(recalls), 1),
        ),
        "Your spans reach from one sentence into the next: read each sentence by itself.": _scores(
            counted([_joined(truth)], [_joined(found)], strict=strict)
        ),
        "You read the spans with another value of strict than was asked for.": _scores(
            counted(truth, found, strict=not strict)
        ),
    }


@exercise(
    "named_entities.f1",
    "Score what was found",
    points=3,
    difficulty=3,
    importance=5,
    minutes=12,
    answer="span_f1",
    forbid=(
        "sklearn.metrics.f1_score",
        *(
            f"{home}.{name}"
            for home in ("seqeval.metrics", SEQEVAL)
            for name in ("f1_score", "classification_report", "performance_measure")
        ),
        f"{SEQEVAL}.precision_recall_fscore_support",
        "seqeval.metrics.v1.classification_report",
        "seqeval.metrics.v1.precision_recall_fscore_support",
    ),
    mutants=(
        Mutant(
            "O in the average",
            "    true, found = set(bio_to_spans(truth, strict)), set(bio_to_spans(predicted, strict))\n",
            "    true, found = (\n"
            "        {*bio_to_spans(tags, strict), *(('O', i, i + 1) for i, tag in enumerate(tags) if tag == 'O')}\n"
            "        for tags in (truth, predicted)\n"
            "    )\n",
            "O in the average",
        ),
        Mutant("false types forgotten", "columns[1] | columns[2]", "columns[2]", "only the prediction has"),
        Mutant("recall alone", "2 * correct / both if both", "correct / expected if expected", "recall"),
        Mutant("macro is micro", "sum(types.values()) / len(types)", "f1(*every)", "each type counts the same"),
        Mutant(
            "micro is macro", '"micro": f1(*every)', '"micro": sum(types.values()) / max(len(types), 1)', "together"
        ),
        Mutant("strict ignored", "span_counts(true, found, strict)", "span_counts(true, found)", "value of strict"),
        Mutant("found types only", "sorted(totals.items())}", "sorted(totals.items()) if counts[1]}", "never found"),
        Mutant("three types", "sum(types.values()) / len(types)", "sum(types.values()) / 3", "that occur"),
        Mutant(
            "one long sentence",
            "    totals: dict[str, list[int]] = {}\n",
            "    totals: dict[str, list[int]] = {}\n"
            "    truth, predicted = ([[tag for tags in side for tag in tags]] for side in (truth, predicted))\n",
            "from one sentence into the next",
        ),
        Mutant("nothing is perfect", "if both else 0.0", "if both else 1.0", "nothing was found"),
    ),
)
def check_f1(answer: Answer, dice: Dice) -> None:
    for when in (
        "of random tags",
        "where the prediction has a type that the truth lacks",
        "of two types, though there are more elsewhere",
        "where a type is never found",
        "that are all right",
        "with strict=True",
        "without names",
    ):
        strict = "strict" in when
        for _ in range(60):
            truth, found = _draw_pair(dice, when)
            totals = counted(truth, found, strict=strict)
            right, mistakes = _scores(totals), _wrong_scores(truth, found, strict)
            if truth == found or all(
                len({round(value, 9) for value in (right[i], *column)}) == 1 + len(column)
                for i, column in enumerate(zip(*mistakes.values(), strict=True))
            ):
                break
        reply = answer(truth, found, strict=True) if strict else answer(truth, found)
        if not isinstance(reply, dict) or not {"micro", "macro"} <= set(reply):
            raise Failed("The answer has the wrong form.", expected='a dict with "micro" and "macro"', got=came(reply))
        scores = [expect_number(reply[key], f'"{key}"') for key in ("micro", "macro")]
        gaps = [abs(got - exact) for got, exact in zip(scores, right, strict=True)]
        if max(gaps) < 1e-9:
            continue
        first = 0 if gaps[0] >= 1e-9 else 1
        hint = f"Spans correct, predicted, expected for each type: {totals}."
        if first == 1 and abs(scores[1] - right[1] * len(totals) / len(TYPES)) < 1e-9:
            hint = "The macro average is over the types that occur in the truth or in the prediction, not over a list."
        reached = [ratio(counts) for counts in totals.values() if counts[1]]
        if first == 1 and reached and abs(scores[1] - sum(reached) / len(reached)) < 1e-9:
            hint = "A type that is never found counts, too: its F1 is 0."
        if not totals:
            hint = "If nothing is there to find and nothing was found, F1 is 0."
        if abs(scores[first] - right[1 - first]) < 1e-9:
            hint = list(SWAPPED.values())[first]
        for says, wrong in mistakes.items():
            if max(abs(got - value) for got, value in zip(scores, wrong, strict=True)) < 1e-9:
                hint = says
        raise Failed(
            f'"{list(SWAPPED)[first]}" of sentences {when} is wrong.',
            expected=right[first],
            got=scores[first],
            hint=hint,
        )
