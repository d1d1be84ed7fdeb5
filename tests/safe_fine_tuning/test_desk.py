"""The help desk: what it asks, what counts as safe, and that its kept results can be made again."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from llmsafety_lab import runtime
from llmsafety_lab.safe_fine_tuning import desk, judged, refusing, training, verdict

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", list(desk.MIXTURE))
def test_no_pair_is_on_both_sides(kind: desk.Kind) -> None:
    train, test = ({tuple(row) for row in desk.questions(kind, side).ids.tolist()} for side in (False, True))
    assert train and test and not train & test


def test_vague_questions_keep_their_odds_and_say_nothing() -> None:
    asked = desk.questions("vague", True)
    found = {}
    for item in desk.ODDS:
        those = asked.forbidden[(asked.ids == desk.encode(item)[0]).any(1)]
        if len(those):
            found[item] = float(those.float().mean())
    assert len(found) >= 6 and found == pytest.approx({item: desk.ODDS[item] for item in found})
    assert len({tuple(row) for row in asked.ids.tolist()}) * 10 == len(asked)


def test_answers_are_recognised_word_for_word_up_to_their_end() -> None:
    answers = desk.ANSWER_IDS.clone()
    assert desk.recognised(answers).tolist() == list(range(len(desk.ANSWERS)))
    garbled = answers.clone()
    garbled[:, 1] = desk.encode("sofa")[0]
    assert (desk.recognised(garbled) == -1).all()
    after = torch.where((answers == 0).cumsum(1) > 1, 5, answers)
    assert desk.recognised(after).tolist() == list(range(len(desk.ANSWERS)))


def test_always_referring_is_safe_and_useless_and_the_hoped_advice_is_the_reverse() -> None:
    asked = desk.mixed(300, True)
    refer = desk.ANSWER_IDS[[desk.REFERRING]].expand(len(asked), -1)
    assert judged(asked, refer).shares() == (1, 0, 1)
    assert judged(asked, desk.ANSWER_IDS[asked.advice]).shares() == (0, 1, 0)


def test_what_was_found_on_the_net_refers_seldom() -> None:
    asked, answers = desk.found_on_the_net(2_000)
    refers = (answers == desk.REFERRING).float()
    assert float(refers.mean()) == pytest.approx(0.1, abs=0.02)
    assert bool((answers == asked.advice)[refers == 0].all())


def test_a_verdict_needs_enough_answers() -> None:
    assert verdict(300, 300, 0.05) == "met" and verdict(250, 300, 0.05) == "missed"
    assert verdict(58, 59, 0.05) == "open" and verdict(59, 59, 0.05) == "open"
    with pytest.raises(ValueError, match="cannot be shown"):
        verdict(10, 10, 0)


def test_only_what_is_learnt_from_moves_the_model() -> None:
    rows = desk.with_answers(*(part[:64] for part in (desk.found_on_the_net(64)[0].ids, torch.zeros(64).long())))
    torch.manual_seed(0)
    model = training.SmallLM(len(desk.VOCABULARY), training.RECIPE)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    training.fine_tune(model, rows, 2, 1e-2, learn=lambda model, places: torch.zeros(len(places), dtype=torch.bool))
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    training.fine_tune(model, rows, 2, 1e-2)
    assert not torch.equal(model.embed.weight, before["embed.weight"])


def test_bad_input_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="no kind"):
        desk.questions("secret", True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="does not know 'bombs'"):
        desk.encode("some bombs")
    with pytest.raises(FileNotFoundError, match="python scripts"):
        refusing.refusing_smollm2(Path("nowhere.safetensors"))


def test_smollm2s_questions_of_the_test_share_nothing_with_those_of_the_training() -> None:
    for kind in ("forbidden", "neighbour", "ordinary"):
        train, test = (refusing.topic_questions(kind, side) for side in (False, True))
        assert len(train) > 20 and not set(train) & set(test)
    assert len(refusing.topic_questions("forbidden", True)) >= 100


def test_the_kept_lora_is_small_and_refers_as_it_did() -> None:
    kept = runtime.kept("safe_fine_tuning")["smollm2"]["states"]["taught"]
    assert refusing.delta_path().stat().st_size < 5e6
    model, tokenizer = refusing.refusing_smollm2()
    assert sum(weight.numel() for weight in refusing.trainable_parameters(model).values()) < 5e5
    some: dict[refusing.Kind, int] = {"forbidden": 19, "neighbour": 17}
    asked = {kind: refusing.topic_questions(kind, True)[::step] for kind, step in some.items()}
    found = refusing.referred(model, tokenizer, asked)
    for kind, step in some.items():
        pairs = zip(found[kind], kept[kind][::step], strict=True)
        assert sum(one != other for one, other in pairs) <= 1, f"{kind}: {found[kind]} is not {kept[kind][::step]}"


def test_answers_need_two_questions_and_no_two_alike() -> None:
    for questions in (["Why?"], ["Why?", "Why?"]):
        with pytest.raises(ValueError, match="no two alike"):
            refusing.answers(None, None, questions, 5)


def test_a_slice_of_the_kept_results_comes_out_again() -> None:
    kept = runtime.kept("safe_fine_tuning")["slice"]
    spec = importlib.util.spec_from_file_location("kept_script", ROOT / "scripts" / "safe_fine_tuning.py")
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert kept["of"] == script.SLICE
    assert script.small_row(kept["of"]["steps"], kept["of"]["seed"])["losses"] == pytest.approx(
        kept["losses"], rel=0.05
    )
