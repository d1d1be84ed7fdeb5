"""A student's answer as a check sees it: something to call, wherever its code runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmsafety_lab.checking.expect import Failed
from llmsafety_lab.checking.remote import Reader
from llmsafety_lab.checking.wire import NotPlain, dumps, loads

Transport = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Called:
    """What one call returned, and what it did besides.

    Parameters
    ----------
    value
        The result.
    seconds
        How long it took, by this side's clock.
    changed
        The arguments that were changed in place: their places, names of keyword arguments, or "self" for the object
        whose method was called. A model is changed when one of its weights is.
    modes, flags
        The models that were left in another mode (train or evaluation), and the models and tensors of which a
        ``requires_grad`` was left otherwise.
    left
        The gradients that the call left in ``.grad``, by argument, then by the weight's name ("" for a tensor).
    stirred
        What was left otherwise outside of the arguments: "gradients" (they are recorded or not), "generator" (torch's
        own, from which others draw).
    traced
        Whether a gradient flows through the result, or the first of several.
    gradients
        The result's gradient by the arguments that were asked for, by argument, then by the weight's name ("" for a
        tensor). None where the result does not depend on it.
    forwards, backwards
        The passes through the models among the arguments, and through "self".
    """

    value: Any
    seconds: float
    changed: list[int | str]
    modes: list[int | str]
    flags: list[int | str]
    left: dict[int | str, dict[str, Any]]
    stirred: list[str]
    traced: bool
    gradients: dict[int | str, dict[str, Any]]
    forwards: int
    backwards: int


class Answer:
    """Calls the student's function, or builds the student's class, and brings back plain data.

    Parameters
    ----------
    name
        The function or class.
    transport
        Carries a request to the student's `Session` and its answer back.
    """

    def __init__(self, name: str, transport: Transport) -> None:
        self.name = name
        self._transport = transport

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the student's function and return its result."""
        return self._call(self.name, args, kwargs)[0]

    def trace(self, *args: Any, by: Sequence[int | str] = (), along: Any = None, **kwargs: Any) -> Called:
        """Call the student's function and return its result with what it did besides.

        Parameters
        ----------
        by
            The arguments, by place or name, by which the gradient of the result is taken: tensors, or handles, by all
            weights of their models. A tensor that is named here comes to the student with ``requires_grad``.
        along
            A tensor by which the result is multiplied before it is summed; by default the sum alone.

        Raises
        ------
        Failed
            If the student's code raised, sent what is not plain data, or returned what a gradient cannot be taken of.
        """
        return self._trace(self.name, args, kwargs, by, along)

    def reading(self, reader: Reader, *args: Any) -> Any:
        """Call the student's function with a model that stays here: `reader` reads what the function gives it."""
        return self._send("call", reader, name=self.name, args=[reader.remote, *args], kwargs={})["ok"]

    def without_gradients(self, *args: Any, **kwargs: Any) -> Any:
        """Call the student's function under ``torch.no_grad()``."""
        return self._call(self.name, args, kwargs, gradients=False)[0]

    def new(self, *args: Any, **kwargs: Any) -> Instance:
        """Build the student's class."""
        return Instance(self, self._call(self.name, args, kwargs, keep=True)[0])

    def ask(self, do: str, **fields: Any) -> Any:
        """Send one request and return its result.

        Raises
        ------
        Failed
            If the student's code raised, or sent what is not plain data.
        """
        return self._send(do, **fields)["ok"]

    def _call(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], **more: Any) -> tuple[Any, Any]:
        reply = self._send("call", name=name, args=list(args), kwargs=dict(kwargs), **more)
        return reply["ok"], reply.get("told")

    def _trace(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        by: Sequence[int | str],
        along: Any,
        **more: Any,
    ) -> Called:
        started = time.perf_counter()
        value, told = self._call(name, args, kwargs, trace=True, by=list(by), along=along, **more)
        seconds = time.perf_counter() - started
        try:
            return Called(value, seconds, **told)
        except TypeError:
            raise Failed(f"{self.name} sent a message of its own instead of a result.") from None

    def _send(self, do: str, reader: Reader | None = None, /, **fields: Any) -> dict[str, Any]:
        reply = self._exchange({"do": do, **fields})
        while reader and type(reply) is dict and "asks" in reply:
            try:
                heard = reader.hear(reply["asks"])
            except Failed:
                self._exchange({"do": "resume", "heard": {"error": "the check is over"}})
                raise
            reply = self._exchange({"do": "resume", "heard": heard})
        if type(reply) is dict and "ok" in reply:
            return reply
        problem = reply.get("error") if type(reply) is dict else None
        if type(problem) is not dict:
            raise Failed(f"{self.name} sent a message of its own instead of a result.")
        text, where = (str(problem.get(key) or "")[:2000] for key in ("text", "where"))
        raise Failed(f"{self.name} stopped with {text}", hint=where)

    def _exchange(self, request: dict[str, Any]) -> Any:
        answered = self._transport(dumps(request))
        try:
            return loads(answered)
        except NotPlain as error:
            raise Failed(f"{self.name} sent {error}.") from None


class Instance:
    """An object of the student's class. Its methods are called as they are named; ``self`` comes back as None."""

    def __init__(self, answer: Answer, number: int) -> None:
        self._answer = answer
        self._number = number

    def load(self, state: Mapping[str, Any]) -> None:
        """Load weights by name into the student's module, as ``load_state_dict`` does."""
        self._answer.ask("assign", object=self._number, state=dict(state))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._answer._call("__call__", args, kwargs, object=self._number)[0]

    def trace(
        self, method: str, *args: Any, by: Sequence[int | str] = ("self",), along: Any = None, **kwargs: Any
    ) -> Called:
        """Call a method, ``"__call__"`` for the object itself, as `Answer.trace` calls a function.

        By default the gradient is by the object's own weights.
        """
        return self._answer._trace(method, args, kwargs, by, along, object=self._number)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **kwargs: self._answer._call(name, args, kwargs, object=self._number)[0]
