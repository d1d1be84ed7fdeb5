"""What a submission sends to the model that stays with the check: sizes that do not fit are refused, not computed."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from llmsafety_lab.checking.handles import SmallModel
from llmsafety_lab.checking.remote import Reader

NOTHING = {"attention_mask": None, "position_ids": None, "logits_to_keep": 0}


def question(tokens: int = 1, cache: Any = (), **options: Any) -> dict[str, Any]:
    return {"ids": torch.zeros(1, tokens, dtype=torch.long), "cache": list(cache), "options": {**NOTHING, **options}}


@pytest.mark.parametrize(
    "asked",
    [
        question(position_ids=torch.zeros(1, 8000, dtype=torch.long)),
        question(50, attention_mask=torch.ones(1, 1_000_000, dtype=torch.bool)),
        question(50, attention_mask=torch.ones(200, 1, 50, 50)),
        question(cache=2 * [2 * [torch.zeros(1, 4, 20_000, 16, dtype=torch.float64)]]),
        question(cache=2 * [2 * [torch.zeros(3000, 4, 1, 16, dtype=torch.float64)]]),
        question(cache=500 * [2 * [torch.zeros(1, 4, 1, 16, dtype=torch.float64)]]),
        question(logits_to_keep=torch.zeros(100_000, dtype=torch.long)),
        question(logits_to_keep=-5),
    ],
)
def test_a_question_whose_sizes_do_not_follow_from_its_tokens_is_refused_at_once(asked: dict[str, Any]) -> None:
    reader = Reader(SmallModel(0), most=100)
    started = time.perf_counter()
    assert "cannot read this" in reader.hear(asked).get("error", "")
    assert time.perf_counter() - started < 1


def test_what_fits_is_read_with_a_mask_positions_and_a_cache() -> None:
    reader = Reader(SmallModel(3), most=100)
    whole = reader.hear(question(6))
    first = reader.hear(question(4, attention_mask=torch.ones(1, 4), position_ids=torch.arange(4)[None]))
    rest = reader.hear(
        question(2, first["cache"], attention_mask=torch.ones(1, 6), position_ids=torch.arange(4, 6)[None])
    )
    torch.testing.assert_close(rest["logits"], whole["logits"][:, 4:])
    assert reader.passes == [6, 4, 2]
