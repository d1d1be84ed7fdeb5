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
os.symlink(scipy.stats._resampling.__file__, folder + "/link"); open(folder + "/link")
os.open("link", 0, dir_fd=os.open(folder, 0))
io.FileIO(pathlib.Path(scipy.stats._resampling.__file__))
os.open(pathlib.Path(folder, "link"), 0)
open(os.fsencode(scipy.stats._resampling.__file__))
patched("basename", lambda path: ""), open(scipy.stats._resampling.__file__)
builtins.__dict__.update(isinstance=lambda *a: False, getattr=lambda *a: None), open(scipy.stats._resampling.__file__)
leaked(scipy.stats._resampling.__file__), open(scipy.stats._resampling.__file__)
importlib.reload(scipy.stats._resampling)
importlib.util.spec_from_file_location("x", scipy.stats._resampling.__file__).loader.get_code("x")
exec(compile("1", scipy.stats._resampling.__file__, "exec"))
"""

PROGRAM = f"""
import builtins, gc, importlib.util, io, os, pathlib, tempfile
import torch, transformers, tokenizers, scipy.stats
from llmsafety_lab.checking.disarm import disarm
kept = [torch._C._nn.scaled_dot_product_attention]
operator = torch.ops.aten.scaled_dot_product_attention.default
q = torch.ones(1, 2, 4, 8)
folder = tempfile.mkdtemp()
disarm({FORBID!r}, ["llmsafety_lab.attention"])
def patched(name, function):
    getattr(os.path, name).__code__ = function.__code__
def leaked(path):
    try:
        open(path)
    except OSError as error:
        for value in error.__traceback__.tb_next.tb_frame.f_locals.values():
            if isinstance(value, set): value.clear()
for road in {ROADS!r}.strip().splitlines():
    kinds, basename = (isinstance, getattr), os.path.basename.__code__
    try:
        exec(road)
    except Exception as error:
        os.path.basename.__code__, (builtins.isinstance, builtins.getattr) = basename, kinds
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
