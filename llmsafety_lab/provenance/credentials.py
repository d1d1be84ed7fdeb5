"""Content credentials: who says what about a text, bound to it by a hash and to them by a signature."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any

Signer = Callable[[bytes], bytes]
FRAME = "\ufeff"
"""The sign before the invisible characters, a blank of no width."""


def digest(text: str) -> str:
    """Return a text's SHA-256, in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def canonical(claim: Mapping[str, Any]) -> bytes:
    """Return a claim as bytes: the same bytes for the same claim, in whatever order its fields come."""
    return json.dumps(claim, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def with_key(key: bytes) -> Signer:
    """Return a signer that needs no library: HMAC with SHA-256. Who can check it can also forge it.

    Raises
    ------
    ValueError
        If the key is shorter than 16 bytes.
    """
    if len(key) < 16:
        raise ValueError(f"a key of {len(key)} bytes can be guessed: take 16 or more")
    return lambda message: hmac.new(key, message, hashlib.sha256).digest()


def sign(text: str, facts: Mapping[str, Any], signer: Signer) -> dict[str, Any]:
    """Return a credential of a text: a claim, which holds the facts and the text's hash, and its signature.

    Parameters
    ----------
    text : str
    facts : mapping
        What is said of the text, as JSON can hold it: who, with which tool, how.
    signer : callable
        From bytes to a signature: `with_key(key)`, or the `sign` of an Ed25519 private key.

    Raises
    ------
    ValueError
        If the facts have a field "sha256", which the text's hash needs.

    References
    ----------
    C2PA Technical Specification: claim, assertions, hard binding, claim signature; here as JSON instead of CBOR.
    """
    if "sha256" in facts:
        raise ValueError('the field "sha256" is the text\'s hash; give the fact another name')
    claim = {**facts, "sha256": digest(text)}
    return {"claim": claim, "signature": signer(canonical(claim)).hex()}


def verify(text: str, credential: Mapping[str, Any] | None, key: bytes) -> str:
    """Return what a credential proves of a text: "missing", "forged", "edited" or "valid".

    The signature comes first: while nobody vouches for the claim, its hash proves nothing.

    Parameters
    ----------
    text : str
    credential : mapping or None
        What `sign` made with `with_key(key)`; None where the text came without one.
    key : bytes
    """
    if credential is None:
        return "missing"
    expected = with_key(key)(canonical(credential["claim"])).hex()
    if not hmac.compare_digest(expected, credential["signature"]):
        return "forged"
    return "valid" if credential["claim"]["sha256"] == digest(text) else "edited"


def hide(text: str, payload: bytes) -> str:
    """Return a text with bytes at its end that nobody sees: each is one of Unicode's 256 variation selectors.

    References
    ----------
    C2PA Technical Specification 2.4, Embedding Manifests into Unstructured Text, without its header.
    """
    return text + FRAME + "".join(chr(0xFE00 + byte if byte < 16 else 0xE0100 + byte - 16) for byte in payload)


def reveal(text: str) -> tuple[str, bytes | None]:
    """Return the text without what `hide` added, and the bytes; None where there are none."""
    visible, frame, hidden = text.rpartition(FRAME)
    codes = [ord(letter) for letter in hidden]
    if not frame or not all(0xFE00 <= code < 0xFE10 or 0xE0100 <= code < 0xE01F0 for code in codes):
        return text, None
    return visible, bytes(code - 0xFE00 if code < 0xE0000 else code - 0xE0100 + 16 for code in codes)
