"""The package of the course *Large Language Models: Theory, Practice, Ethics and Safety*."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

try:
    __version__ = version("llmsafety-lab")
except PackageNotFoundError:
    __version__ = "0"

__all__ = ["check"]


def __getattr__(name: str) -> Any:
    if name == "check":
        from llmsafety_lab.checking.notebook import check

        return check
    raise AttributeError(f"module 'llmsafety_lab' has no attribute {name!r}")
