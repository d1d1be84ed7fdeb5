"""Secrets cut into shares: additive shares in a ring, Shamir's shares in a field."""

import secrets
from collections.abc import Mapping
from math import prod

import numpy as np
from jaxtyping import Float, UInt64

Ring = UInt64[np.ndarray, "*shape"]

PRIME = 2**521 - 1
"""The field of Shamir's shares: a Mersenne prime with room for a key of 512 bits."""

FRACTION = 16
"""Binary digits behind the point of a number that is written into the ring."""


def encode(values: Float[np.ndarray, "*shape"]) -> Ring:
    """Write real numbers into the ring of integers modulo 2^64, in steps of 2^-16.

    Negative numbers take the upper half of the ring.

    Raises
    ------
    ValueError
        If a number is not finite, or too large for a sum of a few thousand such numbers.
    """
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all() or np.abs(values).max(initial=0) >= 2**30:
        raise ValueError("only finite numbers below 2^30 in absolute value can be written into the ring")
    return np.rint(values * 2**FRACTION).astype(np.int64).view(np.uint64)


def ring(values: object) -> Ring:
    """Return whole numbers as elements of the ring.

    Raises
    ------
    ValueError
        If something is not a whole number from 0 to 2^64 - 1, such as a real number that nobody encoded.
    """
    array = np.asarray(values)
    whole = array.dtype.kind in "ui" or all(isinstance(one, int) and one < 2**64 for one in array.ravel().tolist())
    if not whole or (array < 0).any():
        raise ValueError("the ring holds whole numbers from 0 to 2^64 - 1; write real numbers into it with encode")
    return array.astype(np.uint64)


def decode(ring: Ring, fraction: int = FRACTION) -> Float[np.ndarray, "*shape"]:
    """Read real numbers back from the ring.

    Parameters
    ----------
    ring : array of uint64
    fraction : int
        The digits behind the point. A product of two encoded numbers has twice as many as they.
    """
    return np.asarray(ring, dtype=np.uint64).view(np.int64) / 2**fraction


def random_ring(shape: tuple[int, ...]) -> Ring:
    """Draw elements of the ring uniformly, from the operating system's cryptographic generator."""
    return np.frombuffer(secrets.token_bytes(8 * prod(shape)), dtype=np.uint64).reshape(shape).copy()


def additive_shares(secret: Ring, parties: int) -> UInt64[np.ndarray, " parties *shape"]:
    """Cut a secret into shares that sum to it modulo 2^64.

    Any `parties - 1` of the shares are uniform and independent of the secret.

    Raises
    ------
    ValueError
        If there are fewer than two parties, or the secret is not of the ring.
    """
    _refuse_alone(parties)
    secret = ring(secret)
    random = random_ring((parties - 1, *secret.shape))
    return np.concatenate([random, (secret - reconstruct(random))[None]])


def reconstruct(shares: UInt64[np.ndarray, " parties *shape"]) -> Ring:
    """Return the secret: the sum of its additive shares modulo 2^64.

    Raises
    ------
    ValueError
        If there is no share, or a share is not of the ring.
    """
    if not np.size(shares):
        raise ValueError("there is no share to put together")
    return np.add.reduce(ring(shares), axis=0, keepdims=True)[0]


def shamir_shares(secret: int, threshold: int, parties: int) -> dict[int, int]:
    """Cut a secret into shares of which any `threshold` give it back, and fewer say nothing (Shamir 1979).

    Parameters
    ----------
    secret : int
        From 0 to `PRIME` - 1.
    threshold : int
        How many shares are needed: the polynomial's degree plus one.
    parties : int

    Returns
    -------
    dict
        The polynomial's value at each party's point. The points are 1, 2, ..., since at 0 is the secret.

    Raises
    ------
    ValueError
        If the secret does not fit into the field, or the threshold is not between 1 and the number of parties.
    """
    _refuse_alone(parties)
    if not isinstance(secret, int) or not 0 <= secret < PRIME:
        raise ValueError("a secret is a whole number from 0 to PRIME - 1")
    if not 1 <= threshold <= parties:
        raise ValueError(f"a threshold is between 1 and the number of parties, {parties}; got {threshold}")
    coefficients = [secret, *(secrets.randbelow(PRIME) for _ in range(threshold - 1))]
    return {
        point: sum(coefficient * pow(point, power, PRIME) for power, coefficient in enumerate(coefficients)) % PRIME
        for point in range(1, parties + 1)
    }


def shamir_reconstruct(shares: Mapping[int, int]) -> int:
    """Return the value at 0 of the polynomial through the shares (Lagrange's interpolation modulo `PRIME`).

    With fewer shares than the threshold the result is some other number; nothing tells so.

    Raises
    ------
    ValueError
        If there is no share, a point is 0 modulo the prime or there twice, or something is not a whole number.
    """
    points = [point % PRIME for point in shares]
    if not points or 0 in points or len(set(points)) < len(points):
        raise ValueError("shares have different points, none of them 0, and there is at least one")
    if not all(isinstance(number, int) for number in (*shares, *shares.values())):
        raise ValueError("points and shares are whole numbers of Python")
    secret = 0
    for point, value in shares.items():
        others = [other for other in shares if other != point]
        above = prod(-other for other in others)
        below = prod(point - other for other in others)
        secret += value * above * pow(below, -1, PRIME)
    return secret % PRIME


def _refuse_alone(parties: int) -> None:
    if parties < 2:
        raise ValueError(f"a secret is shared among two parties or more, got {parties}")
