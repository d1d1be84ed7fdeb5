"""A check's questions and its verdict do not depend on the global random generators, whatever runs beside it."""

from __future__ import annotations

import contextlib
import random
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from llmsafety_lab.checking import handles
from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import find
from llmsafety_lab.checking.result import Result, assess
from llmsafety_lab.checking.session import Session
from llmsafety_lab.course.book import masters

ROOT = masters.root()
WITH_MODELS = ("attention.causality", "decoding.beam_search")
SMALL = handles.SmallModel(seed=5, layers=1, width=32)


@contextlib.contextmanager
def stirred() -> Iterator[None]:
    """Draw from, and seed, every global generator in another thread."""
    done = threading.Event()
    turns = 0

    def stir() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            torch.manual_seed(turns)
            np.random.seed(turns)
            random.seed(turns)
            torch.nn.MultiheadAttention(32, 2)

    thread = threading.Thread(target=stir)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(interval)
    assert turns > 1


def test_a_small_model_has_the_same_weights_whatever_stirs_the_global_generator() -> None:
    quiet = SMALL.build().state_dict()
    with stirred():
        for _ in range(2):
            handles._build.cache_clear()
            built = SMALL.build().state_dict()
            assert all(torch.equal(built[name], weights) for name, weights in quiet.items())


def test_building_a_small_model_leaves_the_global_generator_where_it_was() -> None:
    handles._build.cache_clear()
    before = torch.get_rng_state()
    SMALL.build()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("exercise_id", WITH_MODELS)
def test_a_check_beside_a_thread_that_stirs_every_global_generator_gives_the_same_result(
    exercise_id: str, monkeypatch
) -> None:
    monkeypatch.setattr(handles, "_build", handles._build.__wrapped__)  # the two sides build it each for itself
    asked = find(exercise_id)
    solutions = masters.solutions(ROOT / "labs" / f"{asked.topic}.md")
    namespace: dict = {"__name__": "__main__"}
    exec("import math\nimport torch\nfrom torch import nn, Tensor\nfrom torch.nn import functional as F", namespace)
    for solution in solutions.values():
        exec(compile(solution, "<cell 1>", "exec"), namespace)

    def graded() -> Result:
        return assess(asked, Answer(asked.answer, Session(namespace).handle), Dice(asked.id))

    quiet = graded()
    assert quiet.passed, quiet.to_text()
    with stirred():
        assert graded() == quiet
