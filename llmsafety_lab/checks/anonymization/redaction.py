"""Exercise 2: take spans out of a text, some of which overlap."""

from __future__ import annotations

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect, kind_of
from llmsafety_lab.checks.anonymization.pseudonyms import _refused

Span = tuple[str, int, int]
KINDS = ("PERSON", "EMAIL", "URL", "CARD")


def _groups(spans: list[Span]) -> list[list[Span]]:
    """Join spans that share a character, by comparing each with each until nothing changes."""
    groups = [[span] for span in spans]
    again = True
    while again:
        again = False
        for one in groups:
            for other in groups:
                if one is not other and any(a[1] < b[2] and b[1] < a[2] for a in one for b in other):
                    one += other
                    groups.remove(other)
                    again = True
                    break
            if again:
                break
    return groups


def _redacted(text: str, spans: list[Span], slip: str = "") -> str:
    whole = []
    for group in _groups(spans):
        ordered = sorted(group, key=lambda span: (span[1], -span[2]))
        kind = max(ordered, key=lambda span: span[2] - span[1])[0]
        kind = {"first": ordered[0][0], "last": ordered[-1][0], "skip": ordered[0][0]}.get(slip, kind)
        end = {"skip": ordered[0][2], "inner": ordered[-1][2]}.get(slip, max(span[2] for span in group))
        whole.append((kind, ordered[0][1], end))
    if slip == "each":
        whole = list(set(spans))
    whole.sort(key=lambda span: span[1])
    if slip == "cut off":
        whole = []
        for kind, start, end in sorted(spans, key=lambda span: (span[1], -span[2])):
            if whole and start < whole[-1][2]:
                before, first, last = whole[-1]
                whole[-1] = (kind if end - start > last - first else before, first, last)
            else:
                whole.append((kind, start, end))
    if slip == "touching":
        joined: list[Span] = []
        for span in whole:
            if joined and joined[-1][2] == span[1]:
                longest = max(joined[-1], span, key=lambda one: one[2] - one[1])
                joined[-1] = (longest[0], joined[-1][1], span[2])
            else:
                joined.append(span)
        whole = joined
    if slip == "words":
        for kind, hidden in [(kind, text[start:end]) for kind, start, end in whole]:
            text = text.replace(hidden, f"[{kind}]")
        return text
    if slip in ("shift", "each"):
        for kind, start, end in whole if slip == "shift" else reversed(whole):
            text = text[:start] + f"[{kind}]" + text[end:]
        return text
    pieces, done = "", 0
    for kind, start, end in whole:
        pieces += text[done:start] + f"[{kind}]"
        done = end + (slip == "ends")
    return pieces + text[done:]


def _drawn(dice: Dice) -> tuple[str, list[Span]]:
    """Return a text, and spans of which three overlap in a chain, two are nested, two touch and one recurs."""
    places = [3 + dice.integer(0, 2)]
    for size in (10, 7, 6, 4):
        places.append(places[-1] + size + dice.integer(1, 3))
    text = "".join("abcde "[dice.integer(0, 5)] for _ in range(places[-1] + dice.integer(4, 6)))
    first, second, third, fourth, _ = places
    text = "xyz" + text[3:fourth] + "xyz" + text[fourth + 3 :]
    turn = dice.integer(0, 3)
    one, two, three, four = (*KINDS[turn:], *KINDS[:turn])
    spans = [
        (one, first, first + 3),
        (two, first + 2, first + 8),
        (three, first + 7, first + 10),
        (four, second, second + 7),
        (one, second + 2, second + 4),
        (two, third, third + 3),
        (three, third + 3, third + 6),
        (four, fourth, fourth + 3),
    ]
    order = dice.uniform(len(spans)).argsort().tolist()
    return text, [spans[place] for place in order]


SLIPS = {
    "shift": "After the first replacement all later places have moved. Go from the end, or build the text from pieces.",
    "each": "Overlapping spans are replaced one by one, so that one cuts the mark of another: join them first.",
    "first": "Of overlapping spans the longest names the mark, not the one that begins first.",
    "last": "Of overlapping spans the longest names the mark, not the one that begins last.",
    "touching": "Two spans that only touch share no character: they are two marks.",
    "words": "You replace what the span says wherever it occurs. Only the span's own place was asked for.",
    "skip": "A span that overlaps an earlier one is dropped, and what it alone covers stays readable: join the two.",
    "cut off": "The mark covers the first of the overlapping spans alone, and what the others cover stays readable.",
    "inner": "A span inside of another ends earlier: what the outer one covers behind it stays readable.",
    "ends": "Your ends are one off: text[start:end] does not hold the character at `end`.",
}


@exercise(
    "anonymization.redact",
    "Black out what overlaps",
    points=3,
    difficulty=3,
    importance=4,
    minutes=12,
    answer="redact",
    mutants=(
        Mutant(
            "each for itself",
            'pieces += [text[done:start], f"[{kind}]"]\n        done = end',
            "done = end\n    for kind, start, end in sorted(set(map(tuple, spans)), key=lambda span: -span[1]):\n"
            '        text = text[:start] + f"[{kind}]" + text[end:]\n    return text',
            "cuts the mark",
        ),
        Mutant(
            "places move",
            'pieces += [text[done:start], f"[{kind}]"]\n        done = end',
            'text = text[:start] + f"[{kind}]" + text[end:]',
            "have moved",
        ),
        Mutant("first names it", "kind if end - start > longest else before", "before", "begins first"),
        Mutant("last names it", "kind if end - start > longest else before", "kind", "begins last"),
        Mutant("touching is overlapping", "start < found[-1][2]:", "start <= found[-1][2]:", "only touch"),
        Mutant("later ones dropped", "max(last, end)", "last", "stays readable"),
        Mutant("inner end wins", "max(last, end)", "end", "readable"),
        Mutant(
            "compared with the last alone",
            "found[-1] = (kind if end - start > longest else before, first, max(last, end))",
            "found[-1] = (kind if end - start > longest else before, first, max(last, end))\n"
            "            if end < last:\n"
            "                found += [(before, end, last)]",
            "overlap",
        ),
        Mutant("unsorted", "sorted(spans, key=lambda span: (span[1], -span[2]))", "spans", "any order"),
        Mutant("the rest lost", "[*pieces, text[done:]]", "pieces", "after the last span"),
        Mutant("one too many", "done = end", "done = end + 1", "one off"),
        Mutant(
            "longest so far",
            "kind if end - start > longest else before",
            "kind if end - start > last - first else before",
            "cover together",
        ),
        Mutant("before the text", "if not 0 <= start < end:", "if start >= end:", "before the text"),
        Mutant("beyond the text", "if end > len(text):", "if end > 10**9:", "ValueError"),
        Mutant("empty spans", "if not 0 <= start < end:", "if start < 0:", "ValueError"),
        Mutant("no brackets", 'f"[{kind}]"', "kind", "brackets"),
    ),
)
def check_redact(answer: Answer, dice: Dice) -> None:
    text, spans = _drawn(dice)
    for given, place in ((spans, "some of which overlap"), (sorted(spans, key=lambda s: s[1]), "in their order")):
        exact = _redacted(text, given)
        got = answer(text, given)
        expect(isinstance(got, str), "A redacted text is a text.", expected=exact, got=kind_of(got))
        wrong = {words: _redacted(text, given, slip) for slip, words in SLIPS.items()}
        hint = next((words for words, slip in wrong.items() if slip == got and slip != exact), "")
        if not hint and "[" not in got:
            hint = "A mark is the type in brackets, such as [PERSON]."
        elif not hint and exact.startswith(got):
            hint = "What comes after the last span is missing."
        elif not hint:
            hint = "Spans come in any order. Sort them, join those that share a character, let nothing stay readable."
        expect(got == exact, f"{text!r} with the spans {given}, {place}, is wrong.", expected=exact, got=got, hint=hint)
    alone = [("PERSON", 0, 3), ("EMAIL", 3, 5)]
    expect(answer("abcdefg", alone) == "[PERSON][EMAIL]fg", "Two spans that only touch are two marks.", got=alone)
    expect(answer("abc", []) == "abc", "A text without spans stays as it is.", expected="abc")
    expect(answer("abc", [("CARD", 0, 3)]) == "[CARD]", "A span may be the whole text.", expected="[CARD]")
    chain = [("URL", 0, 4), ("EMAIL", 3, 7), ("CARD", 6, 11)]
    got = answer("abcdefghijklm", chain)
    expect(
        got == "[CARD]lm",
        f"{chain} are one mark, and the longest span names it: CARD, 5 characters.",
        expected="[CARD]lm",
        got=got,
        hint="Compare the lengths of the spans, not of what several of them cover together.",
    )
    same = [("URL", 2, 6), ("CARD", 4, 8)]
    expect(answer("abcdefghi", same) == "ab[URL]i", "Of two spans of equal length the earlier one names the mark.")
    _refused(
        lambda: answer("abc", [("CARD", 1, 9)]), "A span that ends after the text was taken: expected a ValueError."
    )
    _refused(
        lambda: answer("abc", [("CARD", -2, 2)]), "A span that begins before the text was taken: expected a ValueError."
    )
    _refused(lambda: answer("abc", [("CARD", 2, 2)]), "An empty span was taken: expected a ValueError.")
