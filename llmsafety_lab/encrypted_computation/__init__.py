"""Computing on what nobody may see: shares, masks that cancel, and encryption that keeps sums."""

from llmsafety_lab.encrypted_computation.aggregation import Client, aggregate, expand, pairwise_mask, unmask
from llmsafety_lab.encrypted_computation.paillier import PrivateKey, PublicKey, keys
from llmsafety_lab.encrypted_computation.products import Triple, beaver_triple, multiply
from llmsafety_lab.encrypted_computation.sharing import (
    PRIME,
    additive_shares,
    decode,
    encode,
    random_ring,
    reconstruct,
    shamir_reconstruct,
    shamir_shares,
)

__all__ = [
    "PRIME",
    "Client",
    "PrivateKey",
    "PublicKey",
    "Triple",
    "additive_shares",
    "aggregate",
    "beaver_triple",
    "decode",
    "encode",
    "expand",
    "keys",
    "multiply",
    "pairwise_mask",
    "random_ring",
    "reconstruct",
    "shamir_reconstruct",
    "shamir_shares",
    "unmask",
]
