"""Products of shared secrets, with a random product that was made before (Beaver 1991)."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt64

from llmsafety_lab.encrypted_computation.sharing import additive_shares, random_ring, reconstruct

Product = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Triple(NamedTuple):
    """Shares of two random elements and of their product; each triple serves once."""

    a: UInt64[np.ndarray, " parties *left"]
    b: UInt64[np.ndarray, " parties *right"]
    c: UInt64[np.ndarray, " parties *product"]


def beaver_triple(
    left: tuple[int, ...], right: tuple[int, ...], parties: int, product: Product = np.multiply
) -> Triple:
    """Make a triple as a trusted dealer does, who sees none of the secrets.

    Parameters
    ----------
    left, right : tuple of int
        The shapes of the two factors.
    parties : int
        At least two.
    product : function
        `np.multiply`, or `np.matmul` for a product of matrices.
    """
    a, b = random_ring(left), random_ring(right)
    return Triple(*(additive_shares(one, parties) for one in (a, b, product(a, b))))


def multiply(
    x: UInt64[np.ndarray, " parties *left"],
    y: UInt64[np.ndarray, " parties *right"],
    triple: Triple,
    product: Product = np.multiply,
) -> UInt64[np.ndarray, " parties *product"]:
    """Return shares of the product of two shared secrets.

    The parties open d = x - a and e = y - b, which are uniform whatever x and y are. Then
    xy = c + d b + a e + d e, where each party adds its shares and one of them d e.

    Raises
    ------
    ValueError
        If a factor has not the shape that the triple was made for.
    """
    for name, secret, mask in (("x", x, triple.a), ("y", y, triple.b)):
        if np.shape(secret) != mask.shape:
            raise ValueError(f"the triple was made for {name} of shape {mask.shape}, got {np.shape(secret)}")
    d, e = reconstruct(x - triple.a), reconstruct(y - triple.b)
    shares = np.stack([c + product(d, b) + product(a, e) for a, b, c in zip(*triple, strict=True)])
    shares[0] += product(d, e)
    return shares
