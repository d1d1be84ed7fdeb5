"""A language model that stays on the check's side: its forward passes cross the wire, so the check counts them.

The student's side has the model's sizes and no weights. What it calls sends the tokens and the cache to the check and
waits; the check answers with logits and the longer cache.
"""

from __future__ import annotations

import ctypes
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmsafety_lab.checking.expect import Failed, expect
from llmsafety_lab.checking.handles import Handle, SmallModel
from llmsafety_lab.checking.wire import dumps

if TYPE_CHECKING:
    from torch import Tensor, nn

_HERE = threading.local()
_OPTIONS = ("attention_mask", "position_ids", "logits_to_keep")


@dataclass(frozen=True)
class RemoteModel(Handle):
    """The sizes of a `SmallModel` that stays with the check. The seed is not its own, and draws nothing."""

    layers: int = 2
    heads: int = 4
    width: int = 64
    vocabulary: int = 97

    def build(self) -> nn.Module:
        from llmsafety_lab.checking.networks import CausalModel

        small = SmallModel(0, self.layers, self.heads, self.width, self.vocabulary)
        return CausalModel(small.config(), ask)


class Reader:
    """The check's side of a `RemoteModel`: reads tokens with a model, and counts them.

    Parameters
    ----------
    small
        The model.
    most
        How many tokens it reads in all; it stops a check that asks for more.

    Attributes
    ----------
    passes : list of int
        How many tokens each forward pass has read.
    """

    def __init__(self, small: SmallModel, most: int) -> None:
        self.model = small.build()
        self.most = most
        self.remote = RemoteModel(0, small.layers, small.heads, small.width, small.vocabulary)
        self.passes: list[int] = []

    def hear(self, question: Any) -> dict[str, Any]:
        """Answer a question of the student's side, or say what is wrong with it.

        Raises
        ------
        Failed
            If too many tokens have been asked for.
        """
        try:
            ids, cache, options = (question[name] for name in ("ids", "cache", "options"))
            self.passes.append(max(ids.numel(), 1))
            expect(
                sum(self.passes) <= self.most,
                f"The model has been asked to read more than {self.most} tokens.",
                hint="Each token has to be read once.",
            )
            self._refuse_what_does_not_fit(ids, cache, options)
            return self._read(ids, cache, **{name: options[name] for name in _OPTIONS})
        except Failed:
            raise
        except Exception as error:
            return {"error": f"the model cannot read this: {type(error).__name__}: {error}"[:500]}

    def _refuse_what_does_not_fit(self, ids: Any, cache: Any, options: Any) -> None:
        """Raise unless all sizes follow from the tokens: a few bytes could ask for more memory than there is."""
        batch, tokens = ids.shape
        seen = cache[0][0].shape[-2] if cache else 0
        heads, width = self.remote.heads, self.remote.width // self.remote.heads
        shapes = {part.shape for layer in cache for part in layer}
        if (cache and len(cache) != self.remote.layers) or shapes - {(batch, heads, seen, width)} or seen > self.most:
            raise ValueError(f"a cache of other sizes than {heads} heads of width {width}, or of too many tokens")
        mask, places, kept = (options[name] for name in _OPTIONS)
        if mask is not None and mask.shape not in ((batch, seen + tokens), (batch, 1, tokens, seen + tokens)):
            raise ValueError(f"a mask of shape {tuple(mask.shape)} for {seen + tokens} tokens")
        if places is not None and places.shape not in ((1, tokens), (batch, tokens)):
            raise ValueError(f"positions of shape {tuple(places.shape)} for {tokens} tokens")
        if type(kept) is not int or kept < 0:
            raise ValueError("logits_to_keep is a number from 0")

    def _read(self, ids: Tensor, cache: list[list[Tensor]], **options: Any) -> dict[str, Any]:
        """Return the logits of tokens of shape (batch, tokens), and each layer's keys and values so far."""
        import torch
        from transformers import DynamicCache

        past: Any = DynamicCache(ddp_cache_data=[(keys, values) for keys, values in cache]) if cache else DynamicCache()
        with torch.no_grad():
            out = self.model(ids, past_key_values=past, use_cache=True, **options)
        return {"logits": out.logits, "cache": [[layer.keys, layer.values] for layer in past.layers]}


class Errand:
    """A call in a thread of its own, which stops wherever it asks the other side for something.

    Parameters
    ----------
    work
        Returns the call's reply.
    """

    def __init__(self, work: Callable[[], bytes]) -> None:
        self._said: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._heard: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[], bytes]) -> None:
        _HERE.errand = self
        try:
            self._said.put(work())
        except BaseException as error:
            self._said.put(dumps({"error": {"text": type(error).__name__, "where": ""}}))

    def wait(self) -> bytes:
        """Return what the call says next: its reply, or a question."""
        try:
            return self._said.get()
        except KeyboardInterrupt:
            self.end()
            raise

    def resume(self, heard: dict[str, Any]) -> bytes:
        """Go on with the answer to a question."""
        self._heard.put(heard)
        return self.wait()

    def question(self, **fields: Any) -> dict[str, Any]:
        self._said.put(dumps({"asks": fields}))
        return self._heard.get()

    def end(self) -> None:
        """Stop the thread where it stands."""
        self._heard.put({"error": "this call is over"})
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(self._thread.ident or 0), ctypes.py_object(SystemExit)
        )


def ask(**fields: Any) -> dict[str, Any]:
    """Ask the check to read tokens, from within a call that it has made.

    Raises
    ------
    RuntimeError
        If the tokens cannot be read, or no check is waiting.
    """
    errand = getattr(_HERE, "errand", None)
    if errand is None:
        raise RuntimeError(
            "the check's model can be called by the function that is checked, and in its own thread only"
        )
    heard = errand.question(**fields)
    if "error" in heard:
        raise RuntimeError(heard["error"])
    return heard
