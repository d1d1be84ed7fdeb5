"""Answers that were recorded in one run earn nothing in another: what a check asks comes from its dice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable

import pytest
from test_mutants import EXERCISES, labs, session  # noqa: F401

from llmsafety_lab.checking.answer import Answer, Transport
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Exercise
from llmsafety_lab.checking.result import assess
from llmsafety_lab.checking.wire import loads

Record = list[tuple[bytes, bytes]]


def by_number(record: Record) -> Transport:
    """Answer the first request with the first recorded answer, and so on; in the end with the last."""
    replies = iter(record)
    last = record[-1]
    return lambda request: next(replies, last)[1]


def by_name(record: Record) -> Transport:
    """Answer by number, each method of a class counted by itself."""
    queues: dict[tuple, list[bytes]] = defaultdict(list)
    for request, reply in record:
        queues[kind(request)].append(reply)

    def transport(request: bytes) -> bytes:
        queue = queues[kind(request)] or [record[-1][1]]
        return queue.pop(0) if len(queue) > 1 else queue[0]

    return transport


def by_arguments(record: Record) -> Transport:
    """Answer as before what was asked before, and anything else by number."""
    table, others = dict(record), by_number(record)
    return lambda request: table.get(request) or others(request)


def by_habit(record: Record) -> Transport:
    """Answer always what was answered most often."""
    usual: dict[tuple, Counter[bytes]] = defaultdict(Counter)
    for request, reply in record:
        usual[kind(request)][reply] += 1
    return lambda request: (usual[kind(request)] or Counter([record[-1][1]])).most_common(1)[0][0]


def kind(request: bytes) -> tuple:
    fields = loads(request)
    return fields["do"], fields.get("name")


@pytest.fixture(scope="session")
def recorded(labs) -> Callable[[Exercise], Record]:  # noqa: F811
    """Return what a right answer answers in the notebook, where the dice are known to all."""
    known: dict[str, Record] = {}

    def record(one: Exercise) -> Record:
        if one.id not in known:
            known[one.id] = []
            handle = session(one, labs, labs[one.topic][one.id]).handle

            def transport(request: bytes) -> bytes:
                reply = handle(request)
                known[one.id].append((request, reply))
                return reply

            result = assess(one, Answer(one.answer, transport), Dice(one.id))
            assert result.passed, result.to_text()
        return known[one.id]

    return record


@pytest.mark.parametrize("replay", [by_number, by_name, by_arguments, by_habit])
@pytest.mark.parametrize("one", EXERCISES, ids=lambda one: one.id)
def test_recorded_answers_earn_nothing_under_other_dice(one: Exercise, replay, recorded) -> None:
    for seed in "abc":
        result = assess(one, Answer(one.answer, replay(recorded(one))), Dice(seed))
        assert result.earned == 0, f"{len(recorded(one))} recorded answers earn the points under the dice {seed!r}"
