"""What is forbidden is switched off itself: by no other name, copy or way round does an answer come to it."""

from __future__ import annotations

import subprocess
import sys

FORBID = [
    "torch.nn.functional.scaled_dot_product_attention",
    "torch.nn.MultiheadAttention",
    "aten::scaled_dot_product_attention",
    "aten::_scaled_dot_product_attention_math",
    "tokenizers.models.BPE",
    "tokenizers.Tokenizer",
    "scipy.stats.bootstrap",
    "transformers.TopPLogitsWarper",
    "transformers.GenerationMixin.generate",
]

ROADS = """
torch._C._nn.scaled_dot_product_attention(q, q, q)
kept[0](q, q, q)
torch.nn.modules.activation.MultiheadAttention(8, 2)
type("Mine", (torch.nn.MultiheadAttention,), {})(8, 2)
torch.nn.TransformerEncoderLayer(8, 2)
operator.redispatch(torch._C.DispatchKeySet(torch._C.DispatchKey.CPU), q, q, q)
tokenizers.tokenizers.models.BPE()
tokenizers.tokenizers.Tokenizer.from_str("{}")
tokenizers.models.Model.__subclasses__()[0].from_file("a", "b")
scipy.stats._resampling.bootstrap(([1, 2, 3],), min)
transformers.generation.logits_process.TopPLogitsWarper(0.5)
transformers.generation.utils.GenerationMixin.generate.__wrapped__(None)
gc.get_objects()
gc.get_referrers(q)
open(scipy.stats._resampling.__file__)
os.open(os.path.relpath(scipy.stats._resampling.__file__), 0)
importlib.reload(scipy.stats._resampling)
importlib.util.spec_from_file_location("x", scipy.stats._resampling.__file__).loader.get_code("x")
exec(compile("1", scipy.stats._resampling.__file__, "exec"))
"""

PROGRAM = f"""
import gc, importlib.util, os
import torch, transformers, tokenizers, scipy.stats
from llmsafety_lab.checking.disarm import disarm
kept = [torch._C._nn.scaled_dot_product_attention]
operator = torch.ops.aten.scaled_dot_product_attention.default
q = torch.ones(1, 2, 4, 8)
disarm({FORBID!r}, ["llmsafety_lab.attention"])
for road in {ROADS!r}.strip().splitlines():
    try:
        exec(road)
    except Exception as error:
        if "write yourself" in str(error) or "look through" in str(error): continue
        print(road, "->", repr(error))
    else:
        print(road)
from llmsafety_lab.attention.layers import rotary
try:
    rotary(q)
except Exception as error:
    print("rotary", error)
print(torch.softmax(q, -1).sum().item(), torch.nn.Linear(8, 8)(q).shape[-1])
"""


def test_no_road_leads_to_what_is_forbidden_and_the_rest_works() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    wanted = ["rotary llmsafety_lab.attention.layers.rotary is what this exercise asks you to write yourself.", "8.0 8"]
    assert done.stdout.splitlines() == wanted, done.stdout + done.stderr[-2000:]
