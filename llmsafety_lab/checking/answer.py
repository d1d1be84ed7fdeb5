"""A student's answer as a check sees it: something to call, wherever its code runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from llmsafety_lab.checking.expect import Failed
from llmsafety_lab.checking.wire import NotPlain, dumps, loads

Transport = Callable[[bytes], bytes]


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
        self.seconds = 0.0
        self.changed: list[int] = []
        self.traced = False
        self._transport = transport

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the student's function.

        Then `seconds` holds how long it took, by this side's clock, `changed` the places of the arguments that it
        changed, and `traced` says whether a gradient flows through its result.
        """
        return self._call(self.name, args, kwargs)

    def without_gradients(self, *args: Any, **kwargs: Any) -> Any:
        """Call the student's function under ``torch.no_grad()``."""
        return self._call(self.name, args, kwargs, gradients=False)

    def new(self, *args: Any, **kwargs: Any) -> Instance:
        """Build the student's class."""
        return Instance(self, self._call(self.name, args, kwargs, keep=True))

    def _call(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        keep: bool = False,
        object: int | None = None,
        gradients: bool = True,
    ) -> Any:
        fields = {"name": name, "args": list(args), "kwargs": dict(kwargs), "keep": keep, "object": object}
        return self.ask("call", **fields, gradients=gradients)

    def ask(self, do: str, **fields: Any) -> Any:
        """Send one request and return its result.

        Raises
        ------
        Failed
            If the student's code raised, or sent what is not plain data.
        """
        data = dumps({"do": do, **fields})
        started = time.perf_counter()
        answered = self._transport(data)
        self.seconds = time.perf_counter() - started
        try:
            reply = loads(answered)
        except NotPlain as error:
            raise Failed(f"{self.name} sent {error}.") from None
        if type(reply) is dict and "ok" in reply:
            changed = reply.get("changed")
            self.changed = changed if type(changed) is list else []
            self.traced = reply.get("traced") is True
            return reply["ok"]
        problem = reply.get("error") if type(reply) is dict else None
        if type(problem) is not dict:
            raise Failed(f"{self.name} sent a message of its own instead of a result.")
        text, where = (str(problem.get(key) or "")[:2000] for key in ("text", "where"))
        raise Failed(f"{self.name} stopped with {text}", hint=where)


class Instance:
    """An object of the student's class. Its methods are called as they are named; ``self`` comes back as None."""

    def __init__(self, answer: Answer, number: int) -> None:
        self._answer = answer
        self._number = number

    def load(self, state: Mapping[str, Any]) -> None:
        """Load weights by name into the student's module, as ``load_state_dict`` does."""
        self._answer.ask("assign", object=self._number, state=dict(state))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._answer._call("__call__", args, kwargs, object=self._number)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **kwargs: self._answer._call(name, args, kwargs, object=self._number)
