"""NanoGuard: a small encoder that was trained to tell prompt injections from harmless texts.

Its package brings the weights and a tokenizer in a pickle, which would run code when it is read. So the tokens are read
out of the pickle by a reader that knows only plain data, and the network is written out here.
"""

from __future__ import annotations

import io
import itertools
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llmsafety_lab.models._entry import Model
from llmsafety_lab.sources.packages import Carrier

if TYPE_CHECKING:
    import torch


class _Plain(pickle.Unpickler):
    """Reads the state of a tiktoken encoding, and refuses whatever else a pickle could ask for."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("tiktoken.core", "Encoding"):
            return _State
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a tokenizer")


class _State:
    """What an encoding is made of."""

    pat_str: str
    mergeable_ranks: dict[bytes, int]
    special_tokens: dict[str, int]


class Tokens:
    """NanoGuard's byte-level BPE tokenizer; its first token stands in front of every text.

    Parameters
    ----------
    pattern : str
        Cuts a text into pieces, none of which a token crosses.
    ranks : dict of bytes to int
        Each token's id, which is also its rank among the merges.
    first, padding : int
        The ids of the token in front, and of the one that fills up.
    """

    def __init__(self, pattern: str, ranks: dict[bytes, int], first: int, padding: int) -> None:
        import regex

        self.pattern, self.ranks, self.first, self.padding = regex.compile(pattern), ranks, first, padding

    def __call__(self, text: str, longest: int = 512) -> list[int]:
        """Return the ids of a text, at most `longest` of them."""
        ids = [self.first]
        for piece in self.pattern.findall(text):
            ids += self._merged(piece.encode())
        return ids[:longest]

    def _merged(self, piece: bytes) -> list[int]:
        parts = [piece[i : i + 1] for i in range(len(piece))]
        while len(parts) > 1:
            ranks = [self.ranks.get(a + b, len(self.ranks)) for a, b in itertools.pairwise(parts)]
            lowest = min(ranks)
            if lowest == len(self.ranks):
                break
            place = ranks.index(lowest)
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        return [self.ranks[part] for part in parts]


def _network(config: dict[str, Any]) -> torch.nn.Module:
    import torch
    from torch import nn
    from torch.nn.functional import relu, rms_norm, scaled_dot_product_attention

    width, heads = config["n_embd"], config["n_head"]
    size = width // heads

    def norm(x: torch.Tensor) -> torch.Tensor:
        return rms_norm(x, (x.shape[-1],))

    def linear(inside: int, outside: int) -> nn.Linear:
        return nn.Linear(inside, outside, bias=False)

    class NanoGuard(nn.Module):
        """From the ids of one text to its logits (harmless, injection).

        What stands behind the first `real` ids is padding. It is left out of the last mean, and nowhere before it.
        """

        def __init__(self) -> None:
            super().__init__()
            self.transformer = nn.ModuleDict(
                {
                    "wte": nn.Embedding(config["vocab_size"], width),
                    "h": nn.ModuleList(
                        nn.ModuleDict(
                            {
                                "attn": nn.ModuleDict(
                                    {n: linear(width, width) for n in ("c_q", "c_k", "c_v", "c_proj")}
                                ),
                                "mlp": nn.ModuleDict(
                                    {"c_fc": linear(width, 4 * width), "c_proj": linear(4 * width, width)}
                                ),
                            }
                        )
                        for _ in range(config["n_layer"])
                    ),
                }
            )
            self.cls_norm = nn.LayerNorm(width)
            self.cls_head = nn.Linear(width, config["num_classes"])
            self.resid_lambdas = nn.Parameter(torch.ones(config["n_layer"]))
            self.x0_lambdas = nn.Parameter(torch.zeros(config["n_layer"]))

        def forward(self, ids: torch.Tensor, real: int | None = None) -> torch.Tensor:
            rate = 1 / 10_000 ** (torch.arange(0, size, 2) / size)
            turn = torch.outer(torch.arange(ids.shape[1]), rate)
            cos, sin = turn.cos().bfloat16(), turn.sin().bfloat16()  # as it was trained

            def rotated(x: torch.Tensor) -> torch.Tensor:
                one, two = x.chunk(2, -1)
                return norm(torch.cat([one * cos + two * sin, two * cos - one * sin], -1))

            x = start = norm(self.transformer["wte"](ids))  # (1, tokens, width)
            for i, block in enumerate(cast(Any, self.transformer["h"])):
                x = self.resid_lambdas[i] * x + self.x0_lambdas[i] * start
                q, k, v = (
                    block["attn"][name](norm(x)).view(*ids.shape, heads, size).transpose(1, 2)
                    for name in ("c_q", "c_k", "c_v")
                )
                seen = scaled_dot_product_attention(rotated(q), rotated(k), v).transpose(1, 2).reshape(x.shape)
                x = x + block["attn"]["c_proj"](seen)
                x = x + block["mlp"]["c_proj"](relu(block["mlp"]["c_fc"](norm(x))).square())
            return self.cls_head(self.cls_norm(norm(x)[:, :real].mean(1)))

    return NanoGuard()


def _read(folder: Path) -> tuple[Any, Any]:
    import torch

    kept = torch.load(folder / "model.pt", map_location="cpu", weights_only=True)
    model = _network(kept["config"])
    model.load_state_dict(kept["model_state_dict"])
    state = _Plain(io.BytesIO((folder / "tokenizer.pkl").read_bytes())).load()
    first, padding = (state.special_tokens[f"<|reserved_{i}|>"] for i in (0, 1))
    return model.eval(), Tokens(state.pat_str, state.mergeable_ranks, first, padding)


def injection_scores(model: torch.nn.Module, tokens: Tokens, texts: Sequence[str], padded: int = 0) -> list[float]:
    """Return for each text the probability that it is an injection, as NanoGuard sees it.

    Parameters
    ----------
    padded : int
        The length to which a text is filled up. The model's own package takes 512, which costs ten times as much and
        changes the scores, since attention sees the padding.
    """
    import torch

    scores = []
    with torch.no_grad():
        for text in texts:
            ids = tokens(text)
            filled = ids + [tokens.padding] * (padded - len(ids))
            scores.append(float(model(torch.tensor([filled]), len(ids)).softmax(-1)[0, 1]))
    return scores


ENTRY = Model(
    name="nanoguard",
    task="prompt injection or not: an encoder of 4 layers, 4 heads, 512 wide, of 512 tokens at most",
    size=53_687_867,
    licence="MIT",
    citation="Vucurevic, NanoGuard, as metatronnanoguard 0.1.0",
    sources=(
        Carrier(
            ecosystem="pypi",
            package="metatronnanoguard",
            version="0.1.0",
            folder="nanoguard/assets",
            files={
                "model.pt": "80a6f31ce7ff6ccbeff0aa5867ae75ae4b33568b40e83bb5968ed6677ec1262e",
                "tokenizer.pkl": "e81fa2a4d6202a18d05a50dfe8eb101042512056b2d0492c929e8fea4fa02246",
            },
        ),
    ),
    read=_read,
)
