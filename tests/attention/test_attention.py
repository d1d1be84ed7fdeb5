"""Attention against torch's and transformers' own, and against MiniLM's weights."""

import math

import pytest
import torch
from beartype import beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import jaxtyped
from torch.nn.functional import scaled_dot_product_attention as torch_attention
from transformers.models.llama.modeling_llama import LlamaConfig, LlamaRotaryEmbedding, apply_rotary_pos_emb

from llmsafety_lab import models
from llmsafety_lab.attention import layers
from llmsafety_lab.attention import maps as maps_of
from llmsafety_lab.attention.layers import (
    MultiHeadAttention,
    causal_mask,
    padding_mask,
    rotary,
    scaled_dot_product_attention,
    sinusoidal_positions,
)
from llmsafety_lab.attention.maps import attention_maps, attention_rollout, induction_score

SENTENCE = "The animal did not cross the street because it was too tired."
sizes = st.integers(1, 7)


def close(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


def random(*shape, seed=0, **options):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, **options)


def gradients(attend, inputs, upstream):
    output = attend(*inputs)
    return output, *torch.autograd.grad((output * upstream).sum(), inputs)


@settings(max_examples=60, deadline=None)
@given(
    batch=st.lists(st.integers(1, 3), max_size=2), queries=sizes, keys=sizes, d=sizes, d_v=sizes,
    masked=st.sampled_from(["no", "full", "shared", "keys only"]), spread=st.sampled_from([1, 30]),
    seed=st.integers(0, 2**31),
)  # fmt: skip
def test_equals_torch_forward_and_gradient(batch, queries, keys, d, d_v, masked, spread, seed):
    torch.manual_seed(seed)
    shapes = (*batch, queries, d), (*batch, keys, d), (*batch, keys, d_v)
    inputs = [(spread * torch.randn(shape, dtype=torch.float64)).requires_grad_() for shape in shapes]
    upstream = torch.randn(*batch, queries, d_v, dtype=torch.float64)
    mask = None
    if masked != "no":
        shape = {"full": (*batch, queries, keys), "shared": (queries, keys), "keys only": (1, keys)}[masked]
        mask = torch.rand(shape) < 0.6
        mask[..., 0] |= ~mask.any(dim=-1)
    ours = gradients(lambda q, k, v: scaled_dot_product_attention(q, k, v, mask)[0], inputs, upstream)
    theirs = gradients(lambda q, k, v: torch_attention(q, k, v, attn_mask=mask), inputs, upstream)
    for a, b in zip(ours, theirs, strict=True):
        close(a, b)


def test_weights_are_the_softmax_of_the_scores():
    q, k, v = random(2, 3, 4, seed=1), random(2, 5, 4, seed=2), random(2, 5, 6, seed=3)
    output, weights = scaled_dot_product_attention(q, k, v)
    close(weights, torch.softmax(q @ k.mT / 2, dim=-1))
    close(weights.sum(dim=-1), torch.ones(2, 3, dtype=torch.float64))
    close(output, torch.einsum("bqk,bkd->bqd", weights, v))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_large_scores_do_not_overflow(dtype):
    q = torch.tensor([[200.0], [-200.0]], dtype=dtype)
    output, weights = scaled_dot_product_attention(q, q, torch.tensor([[1.0], [2.0]], dtype=dtype))
    assert weights.tolist() == [[1, 0], [0, 1]]
    assert output.tolist() == [[1], [2]]


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from([torch.float16, torch.bfloat16]), spread=st.sampled_from([1, 60, 300]),
    queries=sizes, keys=sizes, d=st.integers(1, 128), masked=st.booleans(), seed=st.integers(0, 2**31),
)  # fmt: skip
def test_half_precision_is_finite_and_as_exact_as_torch(dtype, spread, queries, keys, d, masked, seed):
    """In float16 a score of two rows of 300s passes the largest number, 65,504; torch's is finite all the same."""
    torch.manual_seed(seed)
    q, k = (spread * torch.randn(2, n, d) for n in (queries, keys))
    q, k, v = q.to(dtype), k.to(dtype), torch.randn(2, keys, d).to(dtype)
    mask = None
    if masked:
        mask = torch.rand(queries, keys) < 0.6
        mask[:, 0] |= ~mask.any(dim=-1)
    ours, weights = scaled_dot_product_attention(q, k, v, mask)
    assert ours.dtype == weights.dtype == dtype
    exact = torch_attention(q.double(), k.double(), v.double(), attn_mask=mask)
    torch.testing.assert_close(ours.double(), exact, atol=4 * torch.finfo(dtype).eps, rtol=4 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_query_that_may_look_nowhere_gets_zeros_and_finite_gradients(dtype):
    inputs = [random(2, 3, 4, seed=s).to(dtype).requires_grad_() for s in range(3)]
    mask = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
    output, weights = scaled_dot_product_attention(*inputs, mask)
    assert (output[:, 1] == 0).all() and (weights[:, 1] == 0).all()
    close(weights[:, [0, 2]].sum(dim=-1), torch.ones(2, 2, dtype=dtype), 1e-6)
    assert (weights[:, 0, 1] == 0).all()
    q, k, v = torch.autograd.grad(output.square().sum(), inputs)
    assert all(g.isfinite().all() for g in (q, k, v))
    assert (q[:, 1] == 0).all() and (q[:, 0] != 0).all()


@pytest.mark.parametrize(
    ("shapes", "mask", "message"),
    [
        (((3, 4), (5, 3), (5, 4)), None, "same width"),
        (((3, 4), (5, 4), (6, 4)), None, "a value for each key"),
        (((3, 4), (0, 4), (0, 4)), None, "must be a key"),
        (((2, 3, 4), (5, 4), (5, 4)), None, "leading dimensions"),
        (((4,), (5, 4), (5, 4)), None, r"\(\.\.\., tokens, d\)"),
        (((3, 4), (5, 4), (5, 4)), torch.ones(3, 5), "boolean.*float32"),
        (((3, 4), (5, 4), (5, 4)), torch.ones(5, 3, dtype=torch.bool), r"mask \(5, 3\) does not broadcast"),
        (((3, 4), (5, 4), (5, 4)), torch.ones(2, 3, 5, dtype=torch.bool), "does not broadcast"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(shapes, mask, message):
    with pytest.raises(ValueError, match=message):
        scaled_dot_product_attention(*(torch.zeros(shape) for shape in shapes), mask)


def test_causal_mask():
    assert causal_mask(2, 4).tolist() == [[True, True, True, False], [True, True, True, True]]
    q, k, v = (random(2, 6, 4, seed=s) for s in range(3))
    close(scaled_dot_product_attention(q, k, v, causal_mask(6))[0], torch_attention(q, k, v, is_causal=True))
    with pytest.raises(ValueError, match="3 queries and only 2 keys"):
        causal_mask(3, 2)


def test_sinusoidal_positions_are_the_papers_formula_and_turn_by_a_shift():
    positions = sinusoidal_positions(50, 8).double()
    for position in (0, 1, 49):
        for i in range(4):
            angle = position / 10_000 ** (2 * i / 8)
            close(positions[position, 2 * i].item(), math.sin(angle), 1e-5)
            close(positions[position, 2 * i + 1].item(), math.cos(angle), 1e-5)
    shift = 7
    for i in range(4):
        angle = torch.tensor(shift / 10_000 ** (2 * i / 8), dtype=torch.float64)
        turn = torch.stack([torch.stack([angle.cos(), angle.sin()]), torch.stack([-angle.sin(), angle.cos()])])
        pair = positions[:, 2 * i : 2 * i + 2]
        close(pair[shift:], pair[:-shift] @ turn.T, 1e-5)
    with pytest.raises(ValueError, match="even"):
        sinusoidal_positions(4, 7)


@pytest.mark.parametrize("base", [10_000.0, 100_000.0])
def test_rotary_is_llamas(base):
    x, positions = random(2, 3, 40, 64).float(), torch.arange(100, 140)
    config = LlamaConfig(hidden_size=192, num_attention_heads=3, rope_theta=base)
    cos, sin = LlamaRotaryEmbedding(config)(x, positions[None])
    close(rotary(x, positions, base), apply_rotary_pos_emb(x, x, cos, sin)[0], 1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rotary_finds_far_positions_in_half_precision(dtype):
    x, positions = random(3, 64).to(dtype), torch.tensor([1000, 4097, 8191])
    turned = rotary(x, positions)
    assert turned.dtype == dtype
    close(turned.double(), rotary(x.double(), positions), 0.03)


def test_rotary_keeps_lengths_and_knows_only_distances():
    q, k = random(1, 16, seed=1), random(1, 16, seed=2)
    at = lambda x, position: rotary(x, torch.tensor([position]))  # noqa: E731
    close(at(q, 11).norm(), q.norm())
    close(at(q, 11) @ at(k, 8).T, at(q, 103) @ at(k, 100).T)
    assert abs((at(q, 11) @ at(k, 8).T - at(q, 11) @ at(k, 9).T).item()) > 1e-3
    for x, positions in ((torch.zeros(2, 3), torch.arange(2)), (torch.zeros(2, 4), torch.arange(3))):
        with pytest.raises(ValueError, match="even width and one position"):
            rotary(x, positions)


def twin(d_model, heads):
    """Return torch's multi-head attention, and ours with its weights."""
    torch.manual_seed(0)
    theirs = torch.nn.MultiheadAttention(d_model, heads, batch_first=True, dtype=torch.float64)
    torch.nn.init.normal_(theirs.in_proj_bias)
    ours = MultiHeadAttention(d_model, heads).double()
    pieces = zip(theirs.in_proj_weight.chunk(3), theirs.in_proj_bias.chunk(3), strict=True)
    for linear, (weight, bias) in zip((ours.query, ours.key, ours.value), pieces, strict=True):
        linear.load_state_dict({"weight": weight, "bias": bias})
    ours.out.load_state_dict(theirs.out_proj.state_dict())
    return theirs, ours


def test_multi_head_attention_equals_torchs():
    theirs, ours = twin(12, 3)
    x, memory, causal = random(2, 5, 12, seed=1), random(2, 7, 12, seed=2), causal_mask(5)
    real = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0]])
    for (source, mask), expected in (
        ((None, None), theirs(x, x, x, average_attn_weights=False)),
        ((None, causal), theirs(x, x, x, attn_mask=~causal, average_attn_weights=False)),
        ((memory, None), theirs(x, memory, memory, average_attn_weights=False)),
        ((memory, padding_mask(real)), theirs(x, memory, memory, real == 0, average_attn_weights=False)),
    ):
        for a, b in zip(ours(x, source, mask), expected, strict=True):
            close(a, b)


def test_shared_key_value_heads_equal_torchs():
    module = MultiHeadAttention(24, 6, kv_heads=2, bias=False).double()
    x = random(2, 5, 24)
    q, k, v = module.query(x), module.key(x), module.value(x)
    q, k, v = (t.view(2, 5, -1, 4).transpose(1, 2) for t in (q, k, v))
    expected = torch_attention(q, k, v, is_causal=True, enable_gqa=True).transpose(1, 2).reshape(2, 5, 24)
    close(module(x, mask=causal_mask(5))[0], module.out(expected))


def test_multi_head_attention_refuses_what_cannot_be_meant():
    for sizes in ((10, 3), (12, 6, 4)):
        with pytest.raises(ValueError, match="must divide"):
            MultiHeadAttention(*sizes)
    x = torch.zeros(2, 3, 8)
    with pytest.raises(ValueError, match=r"got \(2, 3, 3\)"):
        MultiHeadAttention(8, 2)(x, mask=torch.ones(2, 3, 3, dtype=torch.bool))
    for module, cache in ((MultiHeadAttention(8, 2, rotary_base=10_000.0), None), (MultiHeadAttention(8, 2), {})):
        with pytest.raises(ValueError, match="cross attention"):
            module(x, x, cache=cache)


@settings(max_examples=20, deadline=None)
@given(pieces=st.lists(st.integers(1, 4), min_size=1, max_size=5), base=st.sampled_from([None, 10_000.0]))
def test_cache_equals_recomputation(pieces, base):
    torch.manual_seed(1)
    module = MultiHeadAttention(16, 4, kv_heads=2, rotary_base=base).double()
    x, cache, outputs, seen = random(2, sum(pieces), 16), {}, [], 0
    for piece in x.split(pieces, dim=1):
        seen += piece.shape[1]
        outputs.append(module(piece, mask=causal_mask(piece.shape[1], seen), cache=cache)[0])
    close(torch.cat(outputs, dim=1), module(x, mask=causal_mask(seen))[0])


def test_minilm_rebuilt_from_its_weights(minilm):
    model, tokenizer = minilm
    batch = tokenizer([SENTENCE, "Hello there!"], padding=True, return_tensors="pt")
    real = batch["attention_mask"].bool()
    with torch.no_grad():
        expected = model(**batch, output_hidden_states=True, output_attentions=True)
        x = expected.hidden_states[0]
        for layer, hidden, maps in zip(
            model.encoder.layer, expected.hidden_states[1:], expected.attentions, strict=True
        ):
            heads = MultiHeadAttention(384, 12)
            own = layer.attention.self
            pieces = {"query": own.query, "key": own.key, "value": own.value, "out": layer.attention.output.dense}
            for name, linear in pieces.items():
                getattr(heads, name).load_state_dict(linear.state_dict())
            attended, weights = heads(x, mask=padding_mask(batch["attention_mask"]))
            x = layer.attention.output.LayerNorm(x + attended)
            x = layer.output.LayerNorm(x + layer.output.dense(torch.nn.functional.gelu(layer.intermediate.dense(x))))
            close(x[real], hidden[real], 1e-4)
            close(weights.transpose(1, 2)[real], maps.transpose(1, 2)[real], 1e-5)


def test_attention_maps_of_real_models(minilm, smollm2):
    tokens, maps = attention_maps(*minilm, SENTENCE)
    assert tokens[:3] == ["[CLS]", "the", "animal"] and tokens[-1] == "[SEP]"
    assert maps.shape == (6, 12, len(tokens), len(tokens))
    close(maps.sum(dim=-1), torch.ones(maps.shape[:-1]), 1e-5)
    model, tokenizer = smollm2
    tokens, maps = attention_maps(model, tokenizer, SENTENCE)
    assert "".join(tokens) == SENTENCE
    assert maps.shape == (30, 9, len(tokens), len(tokens))
    assert (maps.triu(diagonal=1) == 0).all()
    ids = tokenizer(SENTENCE)["input_ids"]
    for same in (ids, torch.tensor(ids)):
        again = attention_maps(model, tokenizer, same)
        assert again[0] == tokens and torch.equal(again[1], maps)


def test_a_fused_model_has_no_maps():
    with pytest.raises(ValueError, match="eager"):
        attention_maps(*models.load("minilm", attn_implementation="sdpa"), SENTENCE)


def test_rollout_by_hand():
    first = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]])
    second = torch.tensor([[[0.0, 1.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    after_one = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    close(attention_rollout(first[None]), after_one)
    close(attention_rollout(torch.stack([first, second])), torch.tensor([[0.625, 0.375], [0.25, 0.75]]))


def test_rollout_rows_sum_to_one(minilm):
    _, maps = attention_maps(*minilm, SENTENCE)
    close(attention_rollout(maps).sum(dim=-1), torch.ones(maps.shape[-1]), 1e-5)
    close(attention_rollout(0 * maps), torch.eye(maps.shape[-1]))


def test_induction_score_of_a_perfect_a_uniform_and_a_copying_head():
    period, tokens = 5, 11
    perfect, uniform, same = torch.zeros(tokens, tokens), torch.full((tokens, tokens), 1 / tokens), torch.zeros(11, 11)
    for query in range(period + 1, tokens):
        perfect[query, query - period + 1] = 1
        same[query, query - period] = 1
    scores = induction_score(torch.stack([perfect, uniform, same])[None], period)
    close(scores, torch.tensor([[1, 1 / tokens, 0]]), 1e-6)
    for wrong in (1, 6):
        with pytest.raises(ValueError, match=f"period of {wrong}"):
            induction_score(uniform, wrong)


@pytest.mark.parametrize("seed", [0, 1])
def test_smollm2_has_induction_heads(smollm2, seed):
    model, tokenizer = smollm2
    period = 24
    once = torch.randint(1000, 40_000, (period,), generator=torch.Generator().manual_seed(seed)).tolist()
    _, repeated = attention_maps(model, tokenizer, once + once)
    scores = induction_score(repeated, period)
    assert scores.max() > 0.5
    assert scores.median() < 0.05
    other = torch.randint(1000, 40_000, (period,), generator=torch.Generator().manual_seed(seed + 100)).tolist()
    _, not_repeated = attention_maps(model, tokenizer, once + other)
    assert induction_score(not_repeated, period).flatten()[scores.argmax()] < 0.1


def test_shapes_are_those_of_the_signatures(minilm):
    typed = jaxtyped(typechecker=beartype)
    x = torch.randn(2, 5, 12)
    for mask in (None, causal_mask(5), padding_mask(torch.ones(2, 5, dtype=torch.long))[:, 0]):
        typed(scaled_dot_product_attention)(x, x, x, mask)
    for mask in (None, causal_mask(5), padding_mask(torch.ones(2, 5, dtype=torch.long))):
        typed(MultiHeadAttention.forward)(MultiHeadAttention(12, 3), x, None, mask)
    typed(MultiHeadAttention.split)(x, 3)
    typed(MultiHeadAttention.merge)(x[:, None])
    typed(causal_mask)(2, 4)
    typed(padding_mask)(torch.ones(2, 5, dtype=torch.long))
    typed(sinusoidal_positions)(5, 12)
    typed(rotary)(x, torch.arange(5))
    _, maps = typed(attention_maps)(*minilm, SENTENCE)
    typed(attention_rollout)(maps)
    typed(induction_score)(maps, 4)
    written = {
        name
        for module in (layers, maps_of)
        for name, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__
    }
    assert written == {
        "MultiHeadAttention", "attention_maps", "attention_rollout", "causal_mask", "induction_score", "padding_mask",
        "rotary", "scaled_dot_product_attention", "sinusoidal_positions",
    }  # fmt: skip
