"""Exercise 6: which tokens an automaton over characters lets pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import Failed, came, either, expect

Edges = dict[int, dict[str, int]]
Lifted = dict[int, dict[int, int]]


def _walk(automaton: Edges, start: int, text: str) -> int | None:
    if not text:
        return start
    after = automaton[start].get(text[0])
    return None if after is None else _walk(automaton, after, text[1:])


def _lifted(automaton: Edges, vocabulary: dict[int, str], leads: Callable[[int, str], int | None]) -> Lifted:
    found: Lifted = {}
    for start in automaton:
        ends = {token: leads(start, text) for token, text in vocabulary.items()}
        found[start] = {token: end for token, end in ends.items() if end is not None}
    return found


def _right(automaton: Edges, vocabulary: dict[int, str]) -> Lifted:
    return _lifted(automaton, vocabulary, lambda start, text: _walk(automaton, start, text) if text else None)


def _wrong(automaton: Edges, vocabulary: dict[int, str]) -> dict[str, Lifted]:
    def begins(start: int, text: str) -> int | None:
        ends = [_walk(automaton, start, text[:n]) for n in range(1, len(text) + 1)]
        fits = [end for end in ends if end is not None]
        return fits[-1] if fits else None

    def standing(start: int, text: str) -> int | None:
        ends = [automaton[start].get(character) for character in text]
        return None if not text or None in ends else ends[-1]

    def stays(start: int, text: str) -> int | None:
        return start if text and _walk(automaton, start, text) is not None else None

    def some(start: int, text: str) -> int | None:
        return _walk(automaton, start, text) if text else None

    def early(start: int, text: str) -> int | None:
        ends = [_walk(automaton, start, text[:n]) for n in range(1, len(text) + 1)]
        return 0 if 0 in ends else some(start, text)

    single = {token: text for token, text in vocabulary.items() if len(text) == 1}
    unlike = {token: text for text, token in {text: token for token, text in vocabulary.items()}.items()}
    return {
        "You looked at the first character only: all of a token's characters must be allowed.": _lifted(
            automaton, vocabulary, lambda start, text: automaton[start].get(text[0]) if text else None
        ),
        "A token that begins well and ends badly must not pass: all of its characters have to fit.": _lifted(
            automaton, vocabulary, begins
        ),
        "You read each character from the state before the token: go on from where the last one led.": _lifted(
            automaton, vocabulary, standing
        ),
        "A token leads to the state after its last character, not to the one where it began.": _lifted(
            automaton, vocabulary, stays
        ),
        "A token without text passes everywhere and leads nowhere: the model could write it for ever. Leave it out.": (
            _lifted(automaton, vocabulary, lambda start, text: _walk(automaton, start, text))
        ),
        "Tokens that lead to state 0 are missing. 0 counts as false: ask whether the state is None.": _lifted(
            automaton, vocabulary, lambda start, text: some(start, text) or None
        ),
        "Your walk stops at state 0. 0 counts as false: ask whether the state is None.": _lifted(
            automaton, vocabulary, early
        ),
        "You strip the tokens. A blank is a character like the others.": _lifted(
            automaton, vocabulary, lambda start, text: some(start, text.strip())
        ),
        "You change the case of the tokens: A is another character than a.": _lifted(
            automaton, vocabulary, lambda start, text: some(start, text.lower())
        ),
        "Tokens of several characters are missing: the model knows few words letter by letter.": _lifted(
            automaton, single, some
        ),
        "Two tokens may have the same text, and both are allowed then: do not look tokens up by their texts.": _lifted(
            automaton, unlike, some
        ),
    }


def _more(automaton: Edges, vocabulary: dict[int, str], exact: Lifted) -> dict[str, Any]:
    """Return what comes of mistakes that a draw need not tell apart."""

    def walk(text: Callable[[str], str]) -> Lifted:
        return _lifted(automaton, vocabulary, lambda start, one: _walk(automaton, start, text(one)) if one else None)

    return {
        "You looked at a token's last character only.": walk(lambda text: text[-1:]),
        "You read each token from its end: its first character comes first.": walk(lambda text: text[::-1]),
        "You looked at a token's first two characters only.": walk(lambda text: text[:2]),
        "A token that leads to a state without a way out is allowed, too: such a state is where the form ends.": (
            {start: {token: to for token, to in edges.items() if automaton[to]} for start, edges in exact.items()}
        ),
        "A blank is a character like the others: tokens of blanks are missing.": {
            start: {token: to for token, to in edges.items() if vocabulary[token].strip()}
            for start, edges in exact.items()
        },
        "Tokens of a single character are missing.": {
            start: {token: to for token, to in edges.items() if len(vocabulary[token]) > 1}
            for start, edges in exact.items()
        },
        "A token leads to the state after its last character: you return the one before it.": {
            start: {token: _walk(automaton, start, vocabulary[token][:-1]) for token in edges}
            for start, edges in exact.items()
        },
    }


def _plain(reply: Any, automaton: Edges) -> Lifted:
    """Return the answer as a dict for each state, or fail."""
    expected = "a dict that holds for each state a dict from allowed tokens to next states"
    if not isinstance(reply, dict) or not all(isinstance(edges, dict) for edges in reply.values()):
        raise Failed("The answer has the wrong form.", expected=expected, got=came(reply))
    missing = [state for state in automaton if state not in reply]
    hint = "The answer has each key of the automaton, and under it the tokens allowed there."
    if set(reply) == set(range(len(automaton))):
        hint = "The states are the keys of the automaton, whatever they are: not numbers from 0 on."
    elif not any(automaton[state] for state in missing):
        hint = "A state without a way out is a state, too: it gets an empty dict."
    expect(not missing, f"State {missing[:1]} is missing.", expected=expected, got=f"states {list(reply)}", hint=hint)
    for edges in reply.values():
        wrong = [token for token in edges if type(token) is not int]
        expect(not wrong, "A key is no token.", expected="ids", got=wrong[:1], hint="The keys are ids, and not texts.")
        odd = [after for after in edges.values() if type(after) is not int]
        hint = "A token that gets stuck is not allowed: leave it out." if odd[:1] == [None] else ""
        expect(not odd, "A token leads to what is no state.", expected="a state", got=repr(odd[:1])[1:-1], hint=hint)
    return reply


@exercise(
    "decoding.constrain",
    "Let only what fits pass",
    points=3,
    difficulty=4,
    importance=4,
    minutes=12,
    answer="lift",
    mutants=(
        Mutant("first character only", "for character in text:", "for character in text[:1]:", "first character only"),
        Mutant(
            "always from the start",
            "state = automaton.get(state, {}).get(character)",
            "state = automaton.get(start, {}).get(character)",
            "from the state before the token",
        ),
        Mutant("empty token", "if text and state is not None:", "if state is not None:", "without text"),
        Mutant(
            "a good beginning is enough",
            "            for character in text:\n"
            "                state = automaton.get(state, {}).get(character)\n"
            "                if state is None:\n",
            "            good = None\n"
            "            for character in text:\n"
            "                state = automaton.get(state, {}).get(character)\n"
            "                good = good if state is None else state\n"
            "                if state is None:\n"
            "                    state = good\n",
            "begins well",
        ),
        Mutant("state not moved", "lifted[start][token] = state", "lifted[start][token] = start", "where it began"),
        Mutant("single characters", "if text and state", "if len(text) == 1 and state", "several characters"),
        Mutant("no way to 0", "if text and state is not None:", "if text and state:", "state 0"),
        Mutant("stops at 0", "                if state is None:", "                if not state:", "state 0"),
        Mutant(
            "stripped",
            "for token, text in vocabulary.items():",
            "for token, text in ((t, w.strip()) for t, w in vocabulary.items()):",
            "strip",
        ),
        Mutant(
            "looked up by text",
            "for token, text in vocabulary.items():",
            "for text, token in {w: t for t, w in vocabulary.items()}.items():",
            "the same text",
        ),
        Mutant("two characters", "for character in text:", "for character in text[:2]:", "first two characters"),
        Mutant("blanks left out", "if text and state", "if text.strip() and state", "of blanks are missing"),
        Mutant(
            "ends left out",
            "if text and state is not None:",
            "if text and state is not None and automaton[state]:",
            "without a way out",
        ),
        Mutant("lower case", "for character in text:", "for character in text.lower():", "case of the tokens"),
        Mutant(
            "states counted", "for start in automaton:", "for start in range(len(automaton)):", "keys of the automaton"
        ),
    ),
)
def check_constrain(answer: Answer, dice: Dice) -> None:
    letters = "abC de"
    for _ in range(300):
        states = dice.integer(4, 6)
        automaton: Edges = {}
        for state in range(states):
            leaving = {letters[dice.integer(0, 5)] for _ in range(3)} if state else {"a", "b", "C"}
            automaton[3 * state] = {letter: 3 * dice.integer(0, states - 1) for letter in sorted(leaving)}
        automaton[3 * states - 3] = {}
        words = {"", *letters}
        while len(words) < 26:
            words.add("".join(letters[dice.integer(0, 5)] for _ in range(dice.integer(2, 3))))
        vocabulary = {7 * number + 3: word for number, word in enumerate([*sorted(words), "a", "b"])}
        exact = _right(automaton, vocabulary)
        wrong = _wrong(automaton, vocabulary)
        every = [exact, *wrong.values()]
        told = exact not in _more(automaton, vocabulary, exact).values()
        if told and len({str(one) for one in every}) == len(every):
            break
    got = _plain(answer(automaton, vocabulary), automaton)
    wrong |= _more(automaton, vocabulary, exact)
    hint = "Walk the automaton character by character from each state; keep a token if you never get stuck."
    if any(len(edges) > len(exact[state]) for state, edges in got.items()):
        hint += " Yours lets tokens pass that get stuck: what happens where no way leads on?"
    if any(len(edges) < len(exact[state]) for state, edges in got.items()):
        hint += " Yours leaves out tokens that fit: does each begin anew at the state that you are asked about?"
    hint = either((words for words, slipped in wrong.items() if got == slipped), hint)
    for state, edges in exact.items():
        expect(
            got[state] == edges,
            f"The tokens allowed in state {state} are wrong, with the automaton {automaton}.",
            expected={vocabulary[token]: after for token, after in edges.items()},
            got={vocabulary.get(token, f"no token {token}"): after for token, after in got[state].items()},
            hint=hint,
        )
