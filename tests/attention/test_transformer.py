"""The minimal Transformer: SmolLM2 fits into it, the future is hidden, the cache changes nothing, it learns."""

import math

import pytest
import torch
from beartype import beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import jaxtyped

from llmsafety_lab.attention.transformer import Transformer, TransformerConfig


def tiny(**changes):
    torch.manual_seed(0)
    sizes = {"vocabulary": 50, "d_model": 16, "heads": 4, "layers": 2, "context": 24, "kv_heads": 2} | changes
    model = Transformer(TransformerConfig(**sizes)).double()
    for weights in model.parameters():
        torch.nn.init.normal_(weights, std=0.5)
    return model


def random_ids(batch=2, tokens=12, seed=0):
    return torch.randint(50, (batch, tokens), generator=torch.Generator().manual_seed(seed))


def close(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


def from_llama(llama):
    """Lay a Llama's weights into our Transformer."""
    c = llama.config
    config = TransformerConfig(
        c.vocab_size, c.hidden_size, c.num_attention_heads, c.num_hidden_layers, c.max_position_embeddings,
        kv_heads=c.num_key_value_heads, rotary_base=c.rope_parameters["rope_theta"],
    )  # fmt: skip
    with torch.device("meta"):
        model = Transformer(config)
    names = {
        "embed_tokens": "embed", "layers.": "blocks.", "self_attn.": "attention.", "q_proj": "query", "k_proj": "key",
        "v_proj": "value", "o_proj": "out", "input_layernorm": "attention_norm", "post_attention_layernorm": "mlp_norm",
        "gate_proj": "gate", "up_proj": "up", "down_proj": "down",
    }  # fmt: skip
    weights = {"unembed.weight": llama.lm_head.weight}
    for name, value in llama.model.state_dict().items():
        for theirs, ours in names.items():
            name = name.replace(theirs, ours)
        weights[name] = value
    model.load_state_dict(weights, assign=True)
    return model


@pytest.mark.parametrize("text", ["Paris is the capital of", "def add(a, b):\n    return a + b\n\nprint(add(2, 3))"])
def test_smollm2_rebuilt_from_its_weights(smollm2, text):
    llama, tokenizer = smollm2
    ids = tokenizer(text, return_tensors="pt").input_ids
    ours, found, maps = from_llama(llama), [], []
    for block in ours.blocks:
        block.register_forward_hook(lambda _block, _inputs, output: found.append(output))
        block.attention.register_forward_hook(lambda _block, _inputs, output: maps.append(output[1]))
    with torch.no_grad():
        logits = ours(ids)
        expected = llama(ids, output_hidden_states=True, output_attentions=True)
    found[-1] = ours.norm(found[-1])
    for a, b in zip(found, expected.hidden_states[1:], strict=True):
        close(a, b, 1e-4)
    for a, b in zip(maps, expected.attentions, strict=True):
        close(a, b, 1e-4)
    close(logits, expected.logits, 1e-4)


def test_nothing_depends_on_the_future():
    model, ids = tiny(), random_ids()
    for position in (1, 6, 11):
        changed = ids.clone()
        changed[:, position:] = (changed[:, position:] + 1) % 50
        close(model(changed)[:, :position], model(ids)[:, :position])
        assert ((model(changed) - model(ids))[:, position:].abs().amax(dim=-1) > 1e-6).all()


def test_an_encoder_sees_the_future():
    model, ids = tiny(causal=False), random_ids()
    changed = ids.clone()
    changed[:, -1] = (changed[:, -1] + 1) % 50
    assert ((model(changed) - model(ids)).abs().amax(dim=-1) > 1e-6).all()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_cache_equals_recomputation(pieces):
    model, ids = tiny(), random_ids(tokens=sum(pieces))
    cache = model.empty_cache()
    close(torch.cat([model(piece, cache=cache) for piece in ids.split(pieces, dim=1)], dim=1), model(ids))


@pytest.mark.parametrize("causal", [True, False])
def test_padding_changes_nothing(causal):
    model, ids = tiny(causal=causal), random_ids()
    real = torch.ones_like(ids)
    real[0, 8:] = 0
    padded = model(ids, real)
    close(padded[0, :8], model(ids[:1, :8])[0])
    close(padded[1], model(ids[1:])[0])


def test_padding_on_the_left_and_a_cache_go_together():
    model, ids = tiny(), random_ids()
    real = torch.ones_like(ids)
    real[0, :3] = 0
    cache = model.empty_cache()
    logits = torch.cat([model(ids[:, :7], real[:, :7], cache), model(ids[:, 7:], real, cache)], dim=1)
    close(logits[0, 3:], model(ids[:1, 3:])[0])
    close(logits[1], model(ids[1:])[0])


def test_what_cannot_be_meant_is_refused():
    ids = random_ids(tokens=20)
    with pytest.raises(ValueError, match="25 tokens do not fit into a context of 24"):
        tiny()(random_ids(tokens=25))
    model = tiny()
    cache = model.empty_cache()
    model(ids, cache=cache)
    with pytest.raises(ValueError, match="40 tokens do not fit"):
        model(ids, cache=cache)
    encoder = tiny(causal=False)
    with pytest.raises(ValueError, match="only a causal model"):
        encoder(ids, cache=encoder.empty_cache())


def test_it_starts_at_chance_and_learns():
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(vocabulary=50, d_model=32, heads=4, layers=2, context=16))
    ids = random_ids(batch=4, tokens=16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert abs(losses[0] - math.log(50)) < 0.1
    assert losses[-1] < 0.1


def test_every_weight_is_used():
    model = tiny()
    model(random_ids()).square().sum().backward()
    assert all(weights.grad.abs().sum() > 0 for weights in model.parameters())


def test_shapes_are_those_of_the_signatures():
    typed, model, ids = jaxtyped(typechecker=beartype), tiny(), random_ids()
    cache = model.empty_cache()
    typed(Transformer.hidden)(model, ids[:, :5], None, cache)
    typed(Transformer.forward)(model, ids[:, 5:], torch.ones_like(ids), cache)
