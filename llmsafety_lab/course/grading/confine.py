"""Limits on the running process, and another user for it: set before any of a student's code runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/student",
    "TMPDIR": "/student",
    "USER": "student",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}
"""All of the environment that a student's code has."""


def limit(limits: Mapping[str, Any]) -> None:
    """Bound what this process may use beyond what it holds already, as `sandbox.Limits` says, where the system can."""
    try:
        import resource
    except ImportError:
        return
    try:
        with open("/proc/self/statm") as file:
            held = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        held = 4 << 30
    seconds = int(limits["seconds"]) + 1
    for name, most in (
        ("RLIMIT_AS", held + limits["memory"]),
        ("RLIMIT_CPU", seconds),
        ("RLIMIT_NPROC", limits["threads"]),
        ("RLIMIT_FSIZE", limits["disk"]),
        ("RLIMIT_NOFILE", 128),
        ("RLIMIT_CORE", 0),
    ):
        resource.setrlimit(getattr(resource, name), (most, most))


def become(uid: int) -> None:
    """Give up the superuser's rights for good."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
