from __future__ import annotations

import json
import runpy
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, get_linear_schedule_with_warmup

from llmsafety_lab.pretraining.loop import decaying, warm_cosine, warm_linear
from llmsafety_lab.pretraining.muon import Muon, orthogonalise
from llmsafety_lab.pretraining.small_lm import FAST, USUAL, Recipe, SmallLM, train

SMALL = {"layers": 2, "heads": 2, "width": 16, "context": 12, "batch": 4, "steps": 30, "warmup": 5}
TEXT = torch.randint(9, (500,), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 16, 64)])
def test_orthogonalising_keeps_the_singular_vectors_and_evens_out_the_values(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, values, vh = torch.linalg.svd(matrices, full_matrices=False)
    assert (values[:, 0] / values[:, -1] > 1.5).all()
    inside = u.mT @ orthogonalise(matrices) @ vh.mT
    diagonal = torch.diagonal(inside, dim1=1, dim2=2)
    torch.testing.assert_close(inside, torch.diag_embed(diagonal))
    well_above_zero = values > 0.05 * values[:, :1]
    assert (diagonal[well_above_zero] > 0.65).all() and (diagonal < 1.25).all()


@pytest.mark.parametrize("shape", [(4, 8), (1, 8, 4)])
def test_only_wide_stacks_of_matrices_are_orthogonalised(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="rows <= columns"):
        orthogonalise(torch.ones(shape))


@pytest.mark.parametrize("shape", [(16, 16), (16, 48), (48, 16)])
def test_muon_is_torchs(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=generator)
    mine, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    ours = Muon([mine], lr=0.1)
    peer = torch.optim.Muon([theirs], lr=0.1, momentum=0.95, weight_decay=0.0, nesterov=True)
    for _ in range(4):
        mine.grad = torch.randn(shape, generator=generator)
        theirs.grad = mine.grad.clone()
        ours.step()
        peer.step()
    moved = (mine - start).norm()
    assert (mine - theirs).norm() < 0.03 * moved, "torch iterates in bfloat16, which has three digits"


def test_a_stack_of_matrices_moves_as_its_matrices_do() -> None:
    generator = torch.Generator().manual_seed(0)
    stack = torch.nn.Parameter(torch.randn(3, 8, 8, generator=generator))
    single = [torch.nn.Parameter(matrix.detach().clone()) for matrix in stack]
    idle = torch.nn.Parameter(torch.ones(8, 8))
    together, apart = Muon([stack, idle]), Muon(single)
    for _ in range(3):
        stack.grad = torch.randn(3, 8, 8, generator=generator)
        for one, gradient in zip(single, stack.grad, strict=True):
            one.grad = gradient.clone()
        together.step()
        apart.step()
    torch.testing.assert_close(stack.detach(), torch.stack([one.detach() for one in single]))
    assert torch.equal(idle.detach(), torch.ones(8, 8))


def test_muon_multiplies_in_the_format_that_the_device_is_fast_at(monkeypatch) -> None:
    used = []

    def spied(matrices: torch.Tensor) -> torch.Tensor:
        used.append(matrices.dtype)
        return orthogonalise(matrices)

    monkeypatch.setattr("llmsafety_lab.pretraining.muon.orthogonalise", spied)
    for dtype in (torch.float32, torch.bfloat16):
        monkeypatch.setattr("llmsafety_lab.runtime.product_dtype", lambda device, dtype=dtype: dtype)
        weight = torch.nn.Parameter(torch.ones(4, 6))
        weight.grad = torch.randn(4, 6)
        Muon([weight]).step()
        assert weight.dtype == torch.float32
    assert used == [torch.float32, torch.bfloat16]


def test_muon_takes_no_vectors() -> None:
    with pytest.raises(ValueError, match="AdamW"):
        Muon([torch.nn.Parameter(torch.ones(4))])


def test_the_linear_schedule_is_transformers_one_step_later_in_the_warm_up() -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    theirs = get_linear_schedule_with_warmup(optimiser, 7, 40)
    for step in range(40):
        expected = theirs.get_last_lr()[0]
        assert warm_linear(step, 40, 7) == pytest.approx(expected + (1 / 7 if step < 7 else 0))
        optimiser.step()
        theirs.step()
    assert warm_linear(0, 10, 0) == 1


def test_the_cosine_falls_from_all_to_its_floor() -> None:
    values = [warm_cosine(step, 100, 10) for step in range(101)]
    assert values[0] == pytest.approx(0.1) and values[9] == values[10] == 1
    assert values[55] == pytest.approx(0.55) and values[100] == pytest.approx(0.1)
    assert all(a > b for a, b in pairwise(values[10:]))


@pytest.mark.parametrize("steps", [1, 2, 7, 40])
def test_fine_tuning_climbs_for_a_tenth_and_falls_to_nothing(steps: int) -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=2.0)
    schedule, rates = decaying(optimiser, steps), []
    for _ in range(steps):
        rates.append(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()
    warm = max(1, steps // 10)
    wanted = [2 * min((i + 1) / warm, (steps - i) / max(1, steps - warm)) for i in range(steps)]
    assert rates == pytest.approx(wanted) and max(rates) == 2 and schedule.get_last_lr() == [0]


@pytest.mark.parametrize("schedule", [warm_linear, warm_cosine])
@pytest.mark.parametrize("warmup", [-1, 10])
def test_a_warm_up_is_shorter_than_the_run(schedule, warmup: int) -> None:
    with pytest.raises(ValueError, match="shorter"):
        schedule(3, 10, warmup)


def test_with_all_switches_off_it_is_gpt2() -> None:
    torch.manual_seed(0)
    mine = SmallLM(11, USUAL)
    sizes = {"n_positions": 64, "n_embd": 128, "n_layer": 4, "n_head": 4}
    theirs = GPT2LMHeadModel(GPT2Config(vocab_size=11, activation_function="gelu", **sizes)).eval()
    state = {name: torch.zeros_like(weight) for name, weight in theirs.state_dict().items() if name.endswith("bias")}
    state |= {"transformer.wte.weight": mine.embed.weight, "lm_head.weight": mine.embed.weight}
    state |= {"transformer.wpe.weight": mine.positions.weight, "transformer.ln_f.weight": mine.norm.weight}
    for i, block in enumerate(mine.blocks):
        state |= {
            f"transformer.h.{i}.ln_1.weight": block.attention_norm.weight,
            f"transformer.h.{i}.attn.c_attn.weight": block.query_key_value.flatten(0, 1).T,
            f"transformer.h.{i}.attn.c_proj.weight": block.out.T,
            f"transformer.h.{i}.ln_2.weight": block.mlp_norm.weight,
            f"transformer.h.{i}.mlp.c_fc.weight": block.up.T,
            f"transformer.h.{i}.mlp.c_proj.weight": block.down.T,
        }
    theirs.load_state_dict(state)
    ids = torch.randint(11, (3, 40))
    torch.testing.assert_close(mine(ids), theirs(ids).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("recipe", [FAST, USUAL])
def test_no_token_sees_its_future(recipe: Recipe) -> None:
    torch.manual_seed(0)
    model = SmallLM(11, recipe)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn_like(weight)
    ids = torch.randint(11, (1, 20))
    other = ids.clone()
    other[0, 12:] = (ids[0, 12:] + 1) % 11
    same = torch.isclose(model(ids), model(other), atol=1e-5).all(-1)[0]
    assert same[:12].all() and not same[12:].any()


def test_an_encoder_sees_both_ways() -> None:
    torch.manual_seed(0)
    model = SmallLM(11, Recipe(**SMALL, causal=False, zero_start=False))
    ids = torch.arange(11)[None]
    other = torch.cat([ids[:, :-1], ids[:, :1]], dim=1)
    assert not torch.isclose(model(ids)[0, 0], model(other)[0, 0]).all()
    with pytest.raises(ValueError, match="context of 12"):
        model(torch.zeros(1, 13, dtype=torch.long))


def test_both_recipes_have_as_many_weights() -> None:
    fast, usual = (sum(weight.numel() for weight in SmallLM(84, recipe).parameters()) for recipe in (FAST, USUAL))
    assert abs(fast / usual - 1) < 0.02


@pytest.mark.parametrize("muon", [True, False])
def test_training_lowers_the_loss_and_says_each_step(muon: bool) -> None:
    torch.manual_seed(0)
    seen = []
    model = SmallLM(9, Recipe(**SMALL | {"steps": 60}, muon=muon, clip=1.0))
    losses = train(model, torch.arange(500) % 9, watch=lambda step, loss: seen.append((step, loss)))
    assert seen == list(enumerate(losses)) and len(losses) == 60
    assert losses[0] == pytest.approx(torch.tensor(9.0).log().item(), abs=1e-4) and losses[-1] < 0.2


RUN = f"""
import sys, time
from pathlib import Path
import torch
from llmsafety_lab import data
from llmsafety_lab.pretraining.small_lm import SmallLM, Recipe, train
torch.manual_seed(0)
torch.set_num_threads(1)
model = SmallLM(9, Recipe(**{SMALL}))
text = torch.randint(9, (500,), generator=torch.Generator().manual_seed(0))
slow = lambda step, loss: time.sleep(0.05)
train(model, text, checkpoint=Path(sys.argv[1]), every=7, watch=slow)
"""


def test_killed_and_resumed_it_ends_at_the_same_loss_to_the_last_bit(tmp_path: Path) -> None:
    def fresh() -> SmallLM:
        torch.manual_seed(0)
        return SmallLM(9, Recipe(**SMALL))

    whole = fresh()
    losses = train(whole, TEXT)
    file = tmp_path / "run.pt"
    process = subprocess.Popen([sys.executable, "-c", RUN, str(file)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not file.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -9
    kept = torch.load(file, weights_only=True)["losses"]
    assert 7 <= len(kept) < 30
    resumed = fresh()
    steps = []
    assert train(resumed, TEXT, checkpoint=file, every=7, watch=lambda step, _: steps.append(step)) == losses
    assert steps == list(range(len(kept), 30))
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
    assert train(fresh(), TEXT, checkpoint=file) == losses, "a finished run is read back, not run again"
    assert [path.name for path in tmp_path.iterdir()] == ["run.pt"]


def test_a_checkpoint_of_a_longer_run_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "run.pt"
    train(SmallLM(9, Recipe(**SMALL)), TEXT, checkpoint=file)
    with pytest.raises(ValueError, match=r"run\.pt is of a run of 30 steps, and this one has 40"):
        train(SmallLM(9, Recipe(**SMALL | {"steps": 40})), TEXT, checkpoint=file)


KEPT = json.loads((Path(__file__).parents[2] / "results" / "pretraining.json").read_text(encoding="utf-8"))


def test_a_kept_row_comes_out_again() -> None:
    """A row in small, kept for this; a processor with bfloat16 rounds otherwise than one without."""
    script = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "pretraining.py"))
    training, validation, alphabet = script["texts"]()
    again, kept = script["run"](script["SMALL"], 0, training, validation, len(alphabet), windows=200), KEPT["slice"]
    assert again["curve"] == pytest.approx(kept["curve"], abs=0.03)
    assert again["loss"] == pytest.approx(kept["loss"], abs=0.03)
    assert again["weights"] == kept["weights"] == KEPT["runs"]["all of them"][0]["weights"]
    assert again["characters"] == kept["characters"]


def test_the_kept_claim_stands() -> None:
    """The fast recipe is not above the usual one's loss, in a quarter of its time; without Muon it is far behind."""
    runs = KEPT["runs"]
    [usual] = runs["the usual recipe"]
    assert all(row["loss"] <= min(1.886, usual["loss"]) for row in runs["all of them"])
    assert all(row["seconds"] < 0.25 * usual["seconds"] for row in runs["all of them"])
    worst = max(row["loss"] for row in runs["all of them"])
    assert all(row["loss"] > worst + 0.05 for name, rows in runs.items() if "instead of Muon" in name for row in rows)
