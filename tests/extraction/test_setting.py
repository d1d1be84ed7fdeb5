"""The shared setting: what is drawn, what is trained, and that a later chapter can protect it sample by sample."""

import numpy as np
import pytest
import torch
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from llmsafety_lab.extraction import setting
from llmsafety_lab.pretraining import IGNORE


@pytest.fixture(scope="module")
def records():
    return setting.draw(seed=3, members=120, each=2)


@pytest.fixture(scope="module")
def model(records):
    return setting.train(records.training, seed=1, epochs=3)


def test_records_are_disjoint_and_of_one_length(records):
    everything = [*records.members, *records.outsiders, *records.public]
    assert len(set(everything)) == len(everything) == 360
    assert {len(text) for text in everything} == {setting.LENGTH}
    assert len({canary.name for canary in records.canaries}) == len(records.canaries) == 12


def test_canaries_are_in_the_training_set_as_often_as_they_say(records):
    for canary in records.canaries:
        assert records.training.count(canary.text) == canary.copies
    assert len(records.training) == 120 + 2 * sum(setting.COPIES)


def test_a_seed_draws_the_same_and_another_one_not(records):
    assert setting.draw(seed=3, members=120, each=2) == records
    assert setting.draw(seed=4, members=120, each=2).canaries != records.canaries


def test_texts_come_back_from_their_ids(records):
    ids = setting.encode(["ab", records.members[0]])
    assert [setting.decode(row) for row in ids] == ["ab", records.members[0]]
    _, labels = setting.batch_of(ids)
    assert (labels != IGNORE).sum(1).tolist() == [3, setting.LENGTH + 1]


def test_gradients_of_each_record_sum_to_that_of_the_batch(records):
    model = setting.new_model(2)
    with torch.no_grad():
        model.unembed.weight.normal_(std=0.1)  # it starts at 0, and then nothing below it has a gradient
    inputs, labels = setting.batch_of(setting.encode(records.members[:5]))
    weights = {name: weight.detach() for name, weight in model.named_parameters()}

    def loss(weights, row, label):
        logits = functional_call(model, weights, (row[None],))
        return cross_entropy(logits[0], label, ignore_index=IGNORE)

    with sdpa_kernel(SDPBackend.MATH):
        each = vmap(grad(loss), in_dims=(None, 0, 0))(weights, inputs, labels)
    cross_entropy(model(inputs).flatten(0, 1), labels.flatten(), ignore_index=IGNORE).backward()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(each[name].mean(0), weight.grad, atol=1e-6, rtol=1e-4)


def test_losses_of_records_are_those_of_their_characters_one_by_one(records, model):
    text = records.canaries[0].text
    ids = setting.encode([text])[0]
    logs = model(ids[None, :-1])[0].log_softmax(-1).detach()
    wanted = -np.mean([float(logs[i, ids[i + 1]]) for i in range(len(text) + 1)])
    assert setting.record_losses(model, [text])[0] == pytest.approx(wanted, abs=1e-5)


def test_losses_of_codes_are_those_of_whole_texts(records, model):
    canary = records.canaries[-1]
    found = setting.canary_losses(model, canary)
    start = len(canary.prefix)
    for code in (0, 7, 1234, int(canary.code), 9999):
        ids = setting.encode([f"{canary.prefix}{code:04}"])
        wanted = float(setting.character_losses(model, ids)[0, start : start + 4].detach().sum())
        assert found[code] == pytest.approx(wanted, abs=1e-4)
    assert np.exp(-found).sum() <= 1 + 1e-5


def test_training_learns_and_more_copies_are_better_known(records, model):
    measured = setting.measure(model, records)
    assert measured.loss < np.log(setting.VOCABULARY) - 1
    assert 0 < measured.accuracy < 1 and 0 <= measured.tpr[0] <= 1
    assert set(measured.exposure) == set(setting.COPIES)
    assert all(len(bits) == 2 for bits in measured.exposure.values())
    assert max(map(max, measured.exposure.values())) <= np.log2(10_000)


def test_a_model_that_knows_nothing_has_one_bit_of_exposure(records):
    assert setting.exposures(setting.new_model(), records.canaries[:2]).tolist() == pytest.approx([1, 1], abs=0.001)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: setting.draw(members=0), "members"),
        (lambda: setting.encode([]), "no text"),
        (lambda: setting.encode(["x" * 49]), "1 to 48"),
        (lambda: setting.encode(["naïve"]), "ASCII"),
        (lambda: setting.train(["ab"]), "as many texts as a batch"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
