"""Plain data between a check and a student's code: JSON, never pickle.

Numbers, strings, bytes, ``None``, lists, tuples, dicts, NumPy arrays and torch tensors pass. So does a `Handle`, the
recipe from which both sides build the same model. Anything else is refused, so nothing that a student's code returns
can bring behaviour of its own into the grader.
"""

from __future__ import annotations

import base64
import json
import math
from typing import Any

from llmsafety_lab.checking.handles import Handle

LIMIT = 16 * 2**20
"""The longest message, in bytes."""
MOST_KEYS = 1000
"""The most keys of one dict: numbers can be chosen so that all of them collide."""

_DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")


class NotPlain(Exception):
    """A value, or a message, that is not plain data."""


def dumps(value: Any) -> bytes:
    """Encode a value.

    Raises
    ------
    NotPlain
        If it is, or holds, something else than plain data, or is longer than `LIMIT`.
    """
    try:
        data = json.dumps(_pack(value)).encode()
    except RecursionError:
        raise NotPlain("lists or dicts nested too deeply") from None
    if len(data) > LIMIT:
        raise NotPlain(f"{len(data) / 2**20:.0f} MB of data, more than the {LIMIT // 2**20} MB that may pass")
    return data


def loads(data: bytes) -> Any:
    """Decode what `dumps` made. The types of what comes back are exactly the plain ones.

    Raises
    ------
    NotPlain
        If the data is not such a message.
    """
    try:
        return _unpack(json.loads(data))
    except Exception as error:
        raise NotPlain(f"a message that is not plain data ({type(error).__name__})") from None


def _pack(value: Any) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind is bytes:
        return {"bytes": base64.b64encode(value).decode()}
    if kind is list or isinstance(value, tuple):
        packed = [_pack(item) for item in value]
        return packed if kind is list else {"tuple": packed}
    if isinstance(value, dict):
        if len(value) > MOST_KEYS:
            raise NotPlain(f"a dict of {len(value)} keys, more than the {MOST_KEYS} that may pass")
        return {"dict": [[_pack(key), _pack(item)] for key, item in value.items()]}
    if Handle.KINDS.get(kind.__name__) is kind:
        return {"model": [kind.__name__, _pack(value.recipe())]}
    return _pack_array(value)


def _pack_array(value: Any) -> Any:
    import numpy as np
    import torch

    if isinstance(value, torch.Tensor):
        tensor = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
        name = str(tensor.dtype).removeprefix("torch.")
        if name in _DTYPES:
            raw = tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
            return {"tensor": [name, list(tensor.shape), base64.b64encode(raw).decode()]}
        raise NotPlain(f"a tensor of {name}")
    if isinstance(value, np.ndarray) and str(value.dtype) in _DTYPES:
        raw = np.ascontiguousarray(value).tobytes()
        return {"array": [str(value.dtype), list(value.shape), base64.b64encode(raw).decode()]}
    if isinstance(value, np.str_) or (isinstance(value, np.generic) and str(value.dtype) in _DTYPES):
        return value.item()
    raise NotPlain(f"an object of type {type(value).__name__}")


def _unpack(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpack(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) != 1:
        raise ValueError("a tag")
    [(tag, body)] = value.items()
    if tag == "tuple":
        return tuple(_unpack(item) for item in body)
    if tag == "bytes":
        return base64.b64decode(body, validate=True)
    if tag == "dict":
        if len(body) > MOST_KEYS:
            raise ValueError("a dict's size")
        return {_unpack(key): _unpack(item) for key, item in body}
    if tag == "model":
        name, recipe = body
        return Handle.KINDS[name](**_unpack(recipe))
    if tag in ("tensor", "array"):
        return _unpack_array(tag, *body)
    raise ValueError(tag)


def _unpack_array(tag: str, name: str, shape: list[int], text: str) -> Any:
    import numpy as np
    import torch

    raw = bytearray(base64.b64decode(text, validate=True))
    if name not in _DTYPES or not all(type(size) is int and size >= 0 for size in shape) or len(shape) > 16:
        raise ValueError("an array's type or shape")
    dtype = getattr(torch, name)
    if math.prod(shape) * dtype.itemsize != len(raw):
        raise ValueError("an array's size")
    flat = torch.frombuffer(raw, dtype=torch.uint8).view(dtype) if raw else torch.empty(0, dtype=dtype)
    if name == "bool" and raw and max(raw) > 1:
        raise ValueError("a truth value")
    tensor = flat.reshape(shape).clone()
    return tensor if tag == "tensor" else np.asarray(tensor.numpy())
