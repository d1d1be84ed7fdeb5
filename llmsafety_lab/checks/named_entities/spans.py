"""Exercise 3: spans from tags, against a reading of the tags one span at a time."""

from __future__ import annotations

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, came, expect

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
            raise Failed("The answer has the wrong form.", expected="a list of (type, start, end)", got=came(reply))
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
