"""Pseudonyms by a secret key, and a vault that leads back for those who may."""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from dataclasses import dataclass, field


def pseudonym(value: str, key: bytes, purpose: str = "", digits: int = 16) -> str:
    """Return the pseudonym of a value: the same for the same value, key and purpose, and for nothing else.

    Parameters
    ----------
    value : str
        What identifies somebody. It is brought into one Unicode form (NFKC), lower case, without blanks at its ends.
    key : bytes
        The secret, at least 16 random bytes. Without it nobody can compute a pseudonym, so nobody can try values out.
    purpose : str
        What the pseudonym is for; it goes before the value, with a zero byte between. The same person has different
        pseudonyms for different purposes, so that two recipients cannot join their tables.
    digits : int
        The length, in hexadecimal digits: 8 to 64. With n people two of them share a pseudonym with a probability of
        about n^2 / 2^(4 digits + 1).

    Raises
    ------
    ValueError
        If the value is empty, the key is too short, or the length is not from 8 to 64.

    References
    ----------
    Krawczyk, Bellare and Canetti 1997, RFC 2104: HMAC.
    """
    if not isinstance(key, bytes) or len(key) < 16:
        raise ValueError("a key has at least 16 random bytes, as from secrets.token_bytes(16)")
    plain = unicodedata.normalize("NFKC", value).strip().lower()
    if not plain:
        raise ValueError("there is nothing to give a pseudonym to")
    if not 8 <= digits <= 64:
        raise ValueError(f"a pseudonym has 8 to 64 hexadecimal digits; got {digits}")
    message = f"{purpose}\0{plain}".encode()
    return hmac.new(key, message, hashlib.sha256).hexdigest()[:digits]


@dataclass
class Vault:
    """Gives pseudonyms and keeps the way back. Whoever holds the vault holds personal data.

    Parameters
    ----------
    key : bytes
        At least 16 random bytes.
    purpose : str
        As for `pseudonym`.
    """

    key: bytes = field(repr=False)
    purpose: str = ""
    _values: dict[str, str] = field(default_factory=dict, repr=False)

    def hide(self, value: str) -> str:
        """Return the value's pseudonym and remember whose it is.

        Raises
        ------
        ValueError
            As for `pseudonym`, and if two values collide.
        """
        found = pseudonym(value, self.key, self.purpose)
        before = self._values.setdefault(found, value)
        if pseudonym(before, self.key, digits=64) != pseudonym(value, self.key, digits=64):
            raise ValueError("two values have one pseudonym: take more digits")
        return found

    def reveal(self, found: str) -> str:
        """Return whose pseudonym it is.

        Raises
        ------
        LookupError
            If it was never given, or was forgotten.
        """
        if found not in self._values:
            raise LookupError("this vault does not know that pseudonym, or has forgotten whose it was")
        return self._values[found]

    def forget(self, value: str) -> bool:
        """Drop a value; say whether it was there. Whoever has the key can still compute its pseudonym."""
        return self._values.pop(pseudonym(value, self.key, self.purpose), None) is not None

    def __len__(self) -> int:
        return len(self._values)
