"""Exercises 3 and 4: spans from tags, and their F1, against a reading of the tags one span at a time."""

from __future__ import annotations

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, expect
from llmsafety_lab.checks.fine_tuning.trust import number

Span = tuple[str, int, int]
TYPES = ("PER", "GEO-LOC", "ORG")
SEQEVAL = "seqeval.metrics.sequence_labeling"


def read_spans(tags: list[str], strict: bool = False) -> list[Span]:
    """Read spans by their beginnings: for each beginning, the I- of the same type that follow."""
    spans: list[Span] = []
    end = 0
    for start, tag in enumerate(tags):
        if start < end or tag == "O" or (strict and tag[0] == "I"):
            continue
        kind, end = tag[2:], start + 1
        while end < len(tags) and tags[end] == f"I-{kind}":
            end += 1
        spans.append((kind, start, end))
    return spans


def draw_tags(dice: Dice, length: int, changed: list[str] | None = None) -> list[str]:
    """Draw a sentence's tags, or a prediction that differs from given ones here and there."""
    every = ["O", *(f"{prefix}-{kind}" for prefix in "BI" for kind in TYPES)]
    if changed is not None:
        return [every[dice.integer(0, 6)] if dice.integer(0, 3) == 0 else tag for tag in changed]
    spans: list[str] = []
    while len(spans) < length:
        kind = TYPES[dice.integer(0, 2)]
        spans += ["O"] * dice.integer(0, 2) + [f"B-{kind}"] + [f"I-{kind}"] * dice.integer(0, 2)
    return spans[:length]


def _wrong_spans(tags: list[str], strict: bool) -> dict[str, list[Span]]:
    right = read_spans(tags, strict)
    merged: list[Span] = []
    for kind, start, end in right:
        if merged and merged[-1][2] == start and merged[-1][0] == kind:
            merged[-1] = (kind, merged[-1][1], end)
        else:
            merged.append((kind, start, end))
    typeless: list[Span] = []
    for i, tag in enumerate(tags):
        if tag[0] == "I" and typeless and typeless[-1][2] == i:
            typeless[-1] = (*typeless[-1][:2], i + 1)
        elif tag[0] == "B" or (tag[0] == "I" and not strict):
            typeless.append((tag[2:], i, i + 1))
    return {
        "You dropped an I- without a B- before it. Where strict is False it starts a span.": read_spans(tags, True),
        "You let an I- start a span although strict is True: it marks nothing then.": read_spans(tags, False),
        "The span that ends with the sentence is missing: the last tag closes it, too.": [
            span for span in right if span[2] < len(tags)
        ],
        "Two spans side by side became one: a B- always starts a new span.": merged,
        "An I- of another type marks nothing where strict is True, and it ends the span before it."
        if strict
        else "You ignore the type: an I- of another type does not continue a span.": typeless,
        "Your ends are one off: the end is the first position after the span.": [(k, a, b - 1) for k, a, b in right],
    }


@exercise(
    "named_entities.spans",
    "From tags to spans",
    points=4,
    difficulty=3,
    importance=5,
    minutes=13,
    answer="bio_to_spans",
    forbid=(
        f"{SEQEVAL}.get_entities",
        "seqeval.metrics.get_entities",
        "seqeval.scheme.Entities",
        "seqeval.metrics.v1.Entities",
    ),
    mutants=(
        Mutant("I- without B- dropped", '(prefix == "I" and not strict)', "False", "I- without a B-"),
        Mutant("strict forgotten", '(prefix == "I" and not strict)', '(prefix == "I")', "strict is True"),
        Mutant("type ignored", 'if prefix == "I" and name == kind:', 'if prefix == "I" and kind:', "ignore the type"),
        Mutant("last span lost", 'enumerate([*tags, "O"])', "enumerate(tags)", "ends with the sentence"),
        Mutant(
            "neighbours joined", 'prefix == "I" and name == kind', 'prefix in "BI" and name == kind', "side by side"
        ),
        Mutant("end included", "spans.append((kind, start, i))", "spans.append((kind, start, i - 1))", "one off"),
        Mutant(
            "cut at every hyphen",
            'prefix, _, name = tag.partition("-")',
            'prefix, name = (*tag.split("-"), "")[:2]',
            "first hyphen",
        ),
        Mutant(
            "strict goes on", "and name == kind:", "and (name == kind or (strict and kind)):", "ends the span before it"
        ),
    ),
)
def check_spans(answer: Answer, dice: Dice) -> None:
    a, b, *_ = (TYPES[(dice.integer(0, 2))] for _ in range(2))
    b = b if b != a else TYPES[(TYPES.index(a) + 1) % 3]
    for when, tags, strict in (
        ("with a span in the middle", ["O", f"B-{a}", f"I-{a}", "O"], False),
        ("with a span at the end", ["O", f"B-{a}", "O", f"B-{b}", f"I-{b}"], False),
        ("with two spans side by side", [f"B-{a}", f"I-{a}", f"B-{a}", "O"], False),
        ("with an I- that nothing starts", ["O", f"I-{a}", f"I-{a}", "O"], False),
        ("with an I- of another type", [f"B-{a}", f"I-{b}", f"I-{b}", "O"], False),
        ("with an I- that nothing starts", ["O", f"I-{a}", f"B-{b}", f"I-{b}", "O"], True),
        ("with an I- of another type", [f"B-{a}", f"I-{b}", f"I-{b}", "O"], True),
        ("with an I- of another type", [f"B-{a}", f"I-{b}", f"I-{a}", "O"], True),
        ("with an I- after an O", [f"B-{a}", "O", f"I-{a}"], True),
        ("without a name", ["O"] * 3, False),
        ("of no words", [], False),
        *(("of random tags", draw_tags(dice, 9, draw_tags(dice, 9)), bool(i % 2)) for i in range(8)),
    ):
        reply = answer(list(tags), strict)
        if not isinstance(reply, list | tuple) or not all(isinstance(x, list | tuple) and len(x) == 3 for x in reply):
            got = "None: is there a return statement?" if reply is None else reply
            raise Failed("The answer has the wrong form.", expected="a list of (type, start, end)", got=got)
        spans, exact = [tuple(span) for span in reply], read_spans(tags, strict)
        slips = [says for says, wrong in _wrong_spans(tags, strict).items() if spans == wrong and wrong != exact]
        if any(type(kind) is not str for kind, *_ in spans):
            slips = ["Each span is (type, start, end), in this order."]
        elif any(kind not in TYPES and kind == kind.upper() for kind, *_ in spans):
            slips = ["A type may hold a hyphen itself: cut a tag at its first hyphen only."]
        expect(
            spans == exact,
            f"The spans of tags {when} are wrong, for {tags} with strict={strict}.",
            expected=exact,
            got=spans,
            hint=slips[0] if slips else "A span starts at a B-, and goes on while an I- of the same type follows.",
        )


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
            got = "None: is there a return statement?" if reply is None else reply
            raise Failed("The answer has the wrong form.", expected='a dict with "micro" and "macro"', got=got)
        scores = [number(reply[key], f'"{key}"') for key in ("micro", "macro")]
        gaps = [abs(got - exact) for got, exact in zip(scores, right, strict=True)]
        if max(gaps) < 1e-9:
            continue
        first = 0 if gaps[0] >= 1e-9 else 1
        hint = f"Spans correct, predicted, expected for each type: {totals}."
        if first == 1 and abs(scores[1] - right[1] * len(totals) / len(TYPES)) < 1e-9:
            hint = "The macro average is over the types that occur in the truth or in the prediction, not over a list."
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
