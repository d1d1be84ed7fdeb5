from __future__ import annotations

import copy
import json
import runpy
from functools import partial
from pathlib import Path

import peft
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from llmsafety_lab import models
from llmsafety_lab.parameter_efficient.adalora import (
    AdaLoRALinear,
    RankAllocator,
    allocate,
    budget_at,
    orthogonality,
    triplet_scores,
    update_importance,
)
from llmsafety_lab.parameter_efficient.layers import (
    Adapter,
    AdapterLinear,
    FrozenLinear,
    IA3Linear,
    LoRALinear,
    fold,
    inject,
    merge,
    trainable_parameters,
)
from llmsafety_lab.parameter_efficient.prefixes import PrefixTuning, PromptTuning, prefix_attention

close = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-5)
TARGETS = {"bert": ["query", "value"], "llama": ["q_proj", "v_proj"]}
MLP = {"bert": "output.dense", "llama": "down_proj"}


def small(kind: str) -> nn.Module:
    """Return a random model whose activations are of a size at which mistakes show."""
    torch.manual_seed(1)
    sizes = {"vocab_size": 61, "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48}
    if kind == "bert":
        model = BertModel(BertConfig(**sizes, num_attention_heads=4, max_position_embeddings=40))
    else:
        model = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=2))
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


def batch() -> dict[str, torch.Tensor]:
    ids = torch.randint(0, 61, (3, 7), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def output(model: nn.Module, inputs: dict | None = None) -> torch.Tensor:
    out = model(**(inputs or batch()))
    return out.logits if "logits" in out else out.last_hidden_state


def loss(out: torch.Tensor) -> torch.Tensor:
    """Return a number on which every output has an influence of its own, but for those at padding."""
    seen = batch()["attention_mask"].bool()
    return (out[seen].sin() * torch.arange(out[seen].numel()).view_as(out[seen]).cos()).sum()


def theirs(model: nn.Module, kind: str, config: type, **options) -> peft.PeftModel:
    task = "FEATURE_EXTRACTION" if kind == "bert" else "CAUSAL_LM"
    return peft.get_peft_model(copy.deepcopy(model), config(task_type=task, **options))


def shake(parameters: list[nn.Parameter]) -> None:
    generator = torch.Generator().manual_seed(3)
    for parameter in parameters:
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)


def counterpart(library: nn.Module, name: str) -> nn.Module:
    return library.base_model.model.get_submodule(name)


def the_same(library: nn.Module, mine: nn.Module, pairs: list[tuple[nn.Parameter, nn.Parameter]]) -> None:
    """Compare output and gradients, with the library's weights shaken and copied into mine."""
    shake([other for other, _ in pairs])
    for other, own in pairs:
        own.data = other.data.clone().view_as(own)
    out_theirs, out_mine = output(library), output(mine)
    tokens = out_mine.shape[1]
    close(out_mine[batch()["attention_mask"].bool()], out_theirs[:, -tokens:][batch()["attention_mask"].bool()])
    loss(out_theirs[:, -tokens:]).backward()
    loss(out_mine).backward()
    assert len(trainable_parameters(mine)) == len(pairs) == len(trainable_parameters(library))
    for other, own in pairs:
        scale = other.grad.abs().max()
        assert scale > 0
        close(own.grad / scale, other.grad.view_as(own) / scale)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_lora_is_that_of_peft(kind: str) -> None:
    model, config = small(kind), {"r": 5, "lora_alpha": 7, "target_modules": TARGETS[kind]}
    plain = output(model).detach()
    library = theirs(model, kind, peft.LoraConfig, **config)
    layers = inject(model, TARGETS[kind], partial(LoRALinear, rank=5, alpha=7))
    assert len(layers) == 4
    close(output(model), plain, rtol=0, atol=0)
    pairs = []
    for name, layer in layers.items():
        other = counterpart(library, name)
        pairs += [(other.lora_A["default"].weight, layer.A), (other.lora_B["default"].weight, layer.B)]
    the_same(library, model, pairs)
    assert not torch.allclose(output(model), plain, atol=1e-2)
    merging(library, model)


def merging(library: nn.Module, mine: nn.Module) -> None:
    before = output(mine).detach()
    merged = library.merge_and_unload()
    assert fold(mine) == 4
    assert {type(m) for m in mine.modules()} == {type(m) for m in merged.modules()}
    for (name, own), (_, other) in zip(mine.state_dict().items(), merged.state_dict().items(), strict=True):
        assert name in merged.state_dict()
        close(own, other)
    close(output(mine)[:, :5], before[:, :5])
    close(output(mine)[:, :5], output(merged)[:, :5])
    assert not trainable_parameters(mine)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_ia3_is_that_of_peft(kind: str) -> None:
    model = small(kind)
    target = [TARGETS[kind][1], MLP[kind]] if kind == "llama" else ["value", "intermediate.dense"]
    library = theirs(model, kind, peft.IA3Config, target_modules=target, feedforward_modules=target[1:])
    layers = inject(model, target[:1], IA3Linear)
    others = inject(model, target[1:], partial(IA3Linear, inputs=True))
    model.requires_grad_(True)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.endswith(".scale"))
    layers |= others
    the_same(library, model, [(counterpart(library, n).ia3_l["default"], layer.scale) for n, layer in layers.items()])
    merging(library, model)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_adalora_is_that_of_peft(kind: str) -> None:
    model = small(kind)
    library = theirs(
        model, kind, peft.AdaLoraConfig, init_r=4, lora_alpha=6, target_modules=TARGETS[kind], total_step=9, deltaT=2
    )
    layers = inject(model, TARGETS[kind], partial(AdaLoRALinear, rank=4, alpha=6))
    the_same(library, model, adalora_pairs(library, layers))
    merging(library, model)


def adalora_pairs(library: nn.Module, layers: dict[str, nn.Module]) -> list[tuple[nn.Parameter, nn.Parameter]]:
    found = []
    for name, layer in layers.items():
        other = counterpart(library, name)
        found += [(other.lora_A["default"], layer.Q), (other.lora_E["default"], layer.lam)]
        found.append((other.lora_B["default"], layer.P))
    return found


def test_ranks_are_allotted_as_peft_does() -> None:
    model, total, warmup, cooldown, every = small("bert"), 24, 3, 5, 3
    config = {"init_r": 4, "target_r": 2, "lora_alpha": 6, "target_modules": TARGETS["bert"], "orth_reg_weight": 0.0}
    schedule = {"tinit": warmup, "tfinal": cooldown, "deltaT": every, "total_step": total, "beta1": 0.85, "beta2": 0.85}
    library = theirs(model, "bert", peft.AdaLoraConfig, **config, **schedule)
    layers = inject(model, TARGETS["bert"], partial(AdaLoRALinear, rank=4, alpha=6))
    pairs = adalora_pairs(library, layers)
    shake([other for other, _ in pairs])
    for other, own in pairs:
        own.data = other.data.clone().view_as(own)
    allocator = RankAllocator(list(layers.values()), 8, total=total, warmup=warmup, cooldown=cooldown, every=every)
    optimisers = [torch.optim.SGD([pair[i] for pair in pairs], lr=1e-4) for i in (0, 1)]
    counts = []
    for step in range(1, total + 1):
        for net, optimiser in zip((library, model), optimisers, strict=True):
            loss(output(net)).backward()
            optimiser.step()
        library.base_model.update_and_allocate(step)
        budget = allocator.step(step)
        assert budget == library.base_model.rankallocator.budget_schedule(step)[0]
        for optimiser in optimisers:
            optimiser.zero_grad()
        for other, own in pairs:
            close(own.data, other.data.view_as(own), rtol=1e-4, atol=1e-4)
            assert torch.equal(own == 0, other.view_as(own) == 0)
        counts.append(sum(int((layer.lam != 0).sum()) for layer in layers.values()))
    assert counts[:5] == [16] * 5 and counts[-6:] == [8] * 6 and len(set(counts)) > 3
    assert len({int(kept.sum()) for kept in allocator.kept}) > 1


def test_the_orthogonality_is_what_peft_adds_to_the_loss() -> None:
    model = small("llama")
    library = theirs(
        model, "llama", peft.AdaLoraConfig, init_r=4, target_modules=TARGETS["llama"], total_step=9, orth_reg_weight=1.0
    )
    layers = inject(model, TARGETS["llama"], partial(AdaLoRALinear, rank=4, alpha=8))
    pairs = adalora_pairs(library, layers)
    shake([other for other, _ in pairs])
    for other, own in pairs:
        own.data = other.data.clone().view_as(own)
    ids = batch()["input_ids"]
    added = library(input_ids=ids, labels=ids).loss - library.base_model.model(input_ids=ids, labels=ids).loss
    close(orthogonality(list(layers.values())).mean(), added)


@pytest.mark.parametrize("kind", ["bert", "llama"])
@pytest.mark.parametrize("embedded", [False, True])
def test_prefix_tuning_is_that_of_peft(kind: str, embedded: bool) -> None:
    model = small(kind)
    library = theirs(model, kind, peft.PrefixTuningConfig, num_virtual_tokens=3)
    mine = PrefixTuning(model, 3)
    table = library.prompt_encoder["default"].embedding.weight
    shake([table])
    layers, _, _, heads, length, width = mine.prefix.shape
    as_mine = partial(lambda flat: flat.view(length, layers, 2, heads, width).permute(1, 2, 3, 0, 4).unsqueeze(2))
    mine.prefix.data = as_mine(table.data).clone()
    inputs = batch()
    if embedded:
        inputs["inputs_embeds"] = model.get_input_embeddings()(inputs.pop("input_ids"))
    seen = batch()["attention_mask"].bool()
    ours, others = output(mine, inputs), output(library)
    close(ours[seen], others[seen])
    loss(ours).backward()
    loss(others).backward()
    close(mine.prefix.grad, as_mine(table.grad), rtol=1e-4)
    assert list(trainable_parameters(mine)) == ["prefix"]


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_prompt_tuning_is_that_of_peft(kind: str) -> None:
    model = small(kind)
    library = theirs(model, kind, peft.PromptTuningConfig, num_virtual_tokens=3)
    mine = PromptTuning(model, 3)
    the_same(library, mine, [(library.prompt_encoder["default"].embedding.weight, mine.prompt)])


def test_prefix_attention_is_attention_with_a_cache() -> None:
    model = small("llama").double()
    mine, ids = PrefixTuning(model, 3).double(), batch()["input_ids"]
    seen = {}
    attention = model.model.layers[1].self_attn

    def look(layer: nn.Module, args: tuple, kwargs: dict, out: tuple) -> None:
        x = kwargs["hidden_states"]
        heads = [f(x).view(3, 7, -1, 8).transpose(1, 2) for f in (layer.q_proj, layer.k_proj, layer.v_proj)]
        q, k = apply_rotary_pos_emb(*heads[:2], *kwargs["position_embeddings"])
        k, v, past_k, past_v = (
            t.repeat_interleave(2, dim=1) for t in (k, heads[2], *mine.prefix[1].expand(2, 3, -1, -1, -1))
        )
        seen["mine"] = layer.o_proj(prefix_attention(q, k, v, past_k, past_v).transpose(1, 2).flatten(2))
        seen["its"] = out[0]

    attention.register_forward_hook(look, with_kwargs=True)
    mine(input_ids=ids)
    close(seen["mine"], seen["its"])


def test_an_adapter_by_hand() -> None:
    adapter = Adapter(2, 1)
    x = torch.tensor([[1.0, -2.0]])
    assert torch.equal(adapter(x), x)
    values = {"down.weight": [[2.0, 1.0]], "down.bias": [1.0], "up.weight": [[3.0], [-1.0]], "up.bias": [0.5, 0.0]}
    adapter.load_state_dict({name: torch.tensor(value) for name, value in values.items()})
    # down gives 2 - 2 + 1 = 1, and gelu(1) = 1 * Phi(1) = 0.8413447
    close(adapter(x), torch.tensor([[1 + 3 * 0.8413447 + 0.5, -2 - 0.8413447]]))


def test_adapters_stand_where_houlsby_puts_them() -> None:
    model, inputs = small("bert"), batch()
    plain = output(model).detach()
    reference = copy.deepcopy(model)
    layers = inject(model, ["output.dense"], partial(AdapterLinear, bottleneck=6))
    assert sorted(layers) == sorted(
        f"encoder.layer.{i}.{part}output.dense" for i in range(2) for part in ("", "attention.")
    )
    close(output(model), plain, rtol=0, atol=0)
    shake(list(trainable_parameters(model).values()))

    # The same by hooks on the untouched model: what comes out of each of these layers goes through the narrow network.
    for name, layer in layers.items():
        weights = [p.detach() for p in (*layer.adapter.down.parameters(), *layer.adapter.up.parameters())]

        def behind(module: nn.Module, args: tuple, out: torch.Tensor, weights: list = weights) -> torch.Tensor:
            down, down_bias, up, up_bias = weights
            return out + F.linear(F.gelu(F.linear(out, down, down_bias)), up, up_bias)

        reference.get_submodule(name).register_forward_hook(behind)
    close(output(model), output(reference))
    assert not torch.allclose(output(model), plain, atol=1e-2)
    assert fold(model) == 0
    assert inputs["input_ids"].shape == (3, 7)


sizes = st.integers(1, 6)


@settings(deadline=None, max_examples=30)
@given(outputs=sizes, inputs=sizes, rank=sizes, alpha=st.floats(0.1, 32), seed=st.integers(0, 999))
def test_merging_changes_nothing_but_the_cost_and_can_be_undone(outputs, inputs, rank, alpha, seed) -> None:
    torch.manual_seed(seed)
    weight, bias = torch.randn(outputs, inputs).double(), torch.randn(outputs).double()
    layer = LoRALinear(weight, bias, rank, alpha)
    layer.B.data = torch.randn_like(layer.B)
    x = torch.randn(4, inputs).double()
    merged, same_bias = layer.merged()
    close(F.linear(x, merged, same_bias), layer(x))
    close(merge(merged, layer.A, layer.B, -alpha), weight)
    assert torch.linalg.matrix_rank(merged - weight, atol=1e-9, rtol=0) <= rank


def test_only_the_new_weights_are_trained_and_the_base_stays() -> None:
    model = small("bert")
    before = copy.deepcopy(model.state_dict())
    inject(model, TARGETS["bert"], partial(LoRALinear, rank=2, alpha=2))
    trained = trainable_parameters(model)
    assert sum(p.numel() for p in trained.values()) == 4 * 2 * (32 + 32)
    optimiser = torch.optim.AdamW(trained.values(), lr=0.1, weight_decay=0.1)
    for _ in range(2):
        loss(output(model)).backward()
        optimiser.step()
    for name, value in before.items():
        assert torch.equal(model.state_dict()[name], value)
    assert all(p.abs().sum() > 0 for p in trained.values())


def test_a_layer_takes_the_type_of_its_weight() -> None:
    half = torch.randn(4, 3, dtype=torch.bfloat16)
    for make in (
        partial(LoRALinear, rank=2, alpha=1),
        partial(AdaLoRALinear, rank=2, alpha=1),
        IA3Linear,
        partial(AdapterLinear, bottleneck=2),
    ):
        layer = make(half, None)
        assert isinstance(layer, FrozenLinear)
        assert {p.dtype for p in layer.parameters()} == {torch.bfloat16}
        assert layer(torch.randn(2, 3, dtype=torch.bfloat16)).shape == (2, 4)


def test_importance_by_hand() -> None:
    weight, gradient = torch.tensor([2.0, -1.0]), torch.tensor([-0.5, 3.0])
    mean, spread = update_importance(weight, gradient, torch.tensor([0.0, 1.0]), torch.tensor([0.0, 2.0]), 0.9, 0.5)
    close(mean, torch.tensor([0.1 * 1, 0.9 * 1 + 0.1 * 3]))
    close(spread, torch.tensor([0.5 * abs(1 - 0.1), 0.5 * 2 + 0.5 * abs(3 - 1.2)]))


def test_a_triplets_score_by_hand() -> None:
    P, Q = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), torch.tensor([[1.0, 3.0], [10.0, 20.0]])
    close(triplet_scores(P, torch.tensor([100.0, 200.0]), Q), torch.tensor([100.0 + 3 + 2, 200.0 + 4 + 15]))


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), min_size=1, max_size=4), st.integers(0, 16))
def test_what_is_kept_is_never_less_important_than_what_is_not(scores: list[list[int]], budget: int) -> None:
    tensors = [torch.tensor(layer, dtype=torch.float) for layer in scores]
    triplets = sum(map(len, scores))
    if budget > triplets:
        with pytest.raises(ValueError, match="budget"):
            allocate(tensors, budget)
        return
    kept = torch.cat(allocate(tensors, budget))
    everything = torch.cat(tensors)
    assert int(kept.sum()) == budget
    if 0 < budget < triplets:
        assert everything[kept].min() >= everything[~kept].max()


@given(st.integers(0, 30), st.integers(0, 30))
def test_the_budget_only_falls(start: int, final: int) -> None:
    start, final = max(start, final), min(start, final)
    budgets = [budget_at(step, start, final, 3, 4, 20) for step in range(1, 21)]
    assert budgets == sorted(budgets, reverse=True)
    assert set(budgets[:3]) == {start} and set(budgets[-5:]) == {final}


def test_errors() -> None:
    model = small("bert")
    with pytest.raises(ValueError, match="ends in 'q_proj'"):
        inject(model, ["query", "q_proj"], partial(LoRALinear, rank=2, alpha=1))
    assert len(trainable_parameters(model)) == len(list(model.parameters()))
    with pytest.raises(ValueError, match="-1"):
        allocate([torch.ones(2)], -1)
    layer = AdaLoRALinear(torch.ones(2, 2), None, 2, 1)
    allocator = RankAllocator([layer], 1, total=4, warmup=1, cooldown=1)
    with pytest.raises(ValueError, match="before zero_grad"):
        allocator.step(1)


def test_the_real_models_are_changed_as_peft_changes_them() -> None:
    texts = ["A warm, funny film.", "Two hours that you never get back."]
    for name, targets in (("minilm", ["query", "value"]), ("smollm2", ["q_proj", "v_proj"])):
        model, tokenizer = models.load(name)
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        inputs = dict(tokenizer(texts, return_tensors="pt", padding=True))
        inputs.pop("token_type_ids", None)
        library = peft.get_peft_model(copy.deepcopy(model), peft.LoraConfig(r=4, lora_alpha=8, target_modules=targets))
        layers = inject(model, targets, partial(LoRALinear, rank=4, alpha=8))
        for path, layer in layers.items():
            other = counterpart(library, path)
            layer.A.data = other.lora_A["default"].weight.data
            layer.B.data = 0.05 * torch.randn_like(layer.B)
            other.lora_B["default"].weight.data = layer.B.data.clone()
        seen = inputs["attention_mask"].bool()
        with torch.no_grad():
            close(output(model, inputs)[seen], output(library, inputs)[seen], rtol=1e-4, atol=1e-4)
            before = output(model, inputs)
            assert fold(model) == len(layers)
            close(output(model, inputs), before, rtol=1e-4, atol=1e-3)


def test_a_kept_row_comes_out_again() -> None:
    script = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "parameter_efficient.py"))
    kept = json.loads(script["RESULT"].read_text())
    assert set(kept["quality"]) == set(script["METHODS"]) and len(kept["quality"]["full"]) > 1
    rows = script["reviews"]()
    assert differences(script["words"](rows, "train"), kept["baselines"]["words, 480 reviews"]) <= 5
    assert kept["slice"]["of"] == script["SLICE"]
    again = script["small_row"](kept["tune"], *models.load("minilm"), rows)
    assert again["losses"] == pytest.approx(kept["slice"]["losses"], abs=0.01)
    assert differences(again["right"], kept["slice"]["right"]) <= 3


def differences(one: str, other: str) -> int:
    """Return in how many places two rows of bits differ; another processor may round the other way in a few."""
    return sum(a != b for a, b in zip(one, other, strict=True))


def test_the_best_learning_rates_lie_between_others() -> None:
    script = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "parameter_efficient.py"))
    for name, tried in json.loads(script["RESULT"].read_text())["tune"].items():
        place = script["RATES"].index(float(max(tried, key=tried.get)))
        assert {str(rate) for rate in script["RATES"][place - 1 : place + 2]} <= set(tried), name
