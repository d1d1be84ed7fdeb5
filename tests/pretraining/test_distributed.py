"""The script for many processes, on two cores: its losses are those of one process with the joined batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from llmsafety_lab import data
from llmsafety_lab.pretraining.loop import train_lm, warm_linear
from llmsafety_lab.pretraining.objectives import character_ids, next_token
from llmsafety_lab.pretraining.small_lm import FAST, SmallLM

ROOT = Path(__file__).parents[2]
SCRIPT = "scripts/pretrain_distributed.py"
SMALL = ("--steps", "6", "--layers", "1", "--width", "32", "--batch", "6")


def launch(processes: int, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    return subprocess.run(
        [*command, SCRIPT, "--cpu", *options], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )


@pytest.fixture(scope="module")
def alone() -> tuple[list[float], int]:
    ids, alphabet = character_ids("\n".join(data.load("shakespeare")["text"]))
    recipe = replace(FAST, layers=1, width=32, heads=1, muon=False, steps=6, batch=6)
    torch.manual_seed(0)
    model = SmallLM(len(alphabet), recipe)
    adam = torch.optim.AdamW(model.parameters(), lr=0.003, betas=(0.9, 0.95))
    draw = next_token(ids, recipe.batch, recipe.context)
    losses = train_lm(model, draw, [adam], partial(warm_linear, steps=6, warmup=0), 6)
    return losses, sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize("shard", [False, True], ids=["a copy each", "sharded"])
def test_two_processes_train_as_one_with_the_joined_batch(alone: tuple[list[float], int], shard: bool) -> None:
    losses, weights = alone
    done = launch(2, *SMALL, *["--shard"] * shard)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["processes"] == 2
    assert found["losses"] == pytest.approx(losses, abs=1e-4)
    assert losses[-1] < losses[0] - 0.05
    assert found["held"] < 0.6 * weights if shard else found["held"] == weights
