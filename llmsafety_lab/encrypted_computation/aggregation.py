"""Secure aggregation: a server learns the sum of its clients' vectors, and of no vector more (Bonawitz et al. 2017)."""

import hashlib
import secrets
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt64

from llmsafety_lab.encrypted_computation.sharing import ring, shamir_reconstruct, shamir_shares

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

Vector = UInt64[np.ndarray, " length"]


def expand(seed: bytes, length: int) -> Vector:
    """Stretch a seed to a vector of the ring that nobody without the seed can tell from chance (SHAKE-256)."""
    return np.frombuffer(hashlib.shake_256(seed).digest(8 * length), dtype="<u8").astype(np.uint64)


def pairwise_mask(me: int, seeds: Mapping[int, bytes], length: int) -> Vector:
    """Return the sum of a client's pairwise masks: plus towards larger numbers, minus towards smaller ones.

    Over all clients the masks cancel.

    Parameters
    ----------
    me : int
        The client's number.
    seeds : mapping of int to bytes
        The seed that this client shares with each of the others, by their numbers.
    length : int

    Raises
    ------
    ValueError
        If a client shares a seed with itself.
    """
    if me in seeds:
        raise ValueError(f"client {me} shares a seed with itself")
    mask = np.zeros(length, dtype=np.uint64)
    for other, seed in seeds.items():
        mask = mask + expand(seed, length) if other > me else mask - expand(seed, length)
    return mask


class Client:
    """A client of one round of secure aggregation: a key for pairs, and a seed of its own."""

    def __init__(self, number: int) -> None:
        if number < 1:
            raise ValueError(f"clients are numbered from 1, since a share at 0 would be the secret; got {number}")
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        self.number = number
        self._key = X25519PrivateKey.generate()
        self._seed = secrets.token_bytes(32)
        self._held: dict[int, tuple[int, int]] = {}
        self._revealed = False

    @property
    def public(self) -> bytes:
        """The public key, which the server passes on."""
        return self._key.public_key().public_bytes_raw()

    def share(self, clients: Collection[int], threshold: int) -> dict[int, tuple[int, int]]:
        """Return, for each client, a share of this one's key and one of its seed.

        On the way through the server they are encrypted; that step is left out here.
        """
        secrets_ = (self._key.private_bytes_raw(), self._seed)
        cut = [shamir_shares(int.from_bytes(secret), threshold, max(clients)) for secret in secrets_]
        return {client: (cut[0][client], cut[1][client]) for client in clients}

    def hold(self, sender: int, shares: tuple[int, int]) -> None:
        """Keep the shares that another client sent."""
        self._held[sender] = shares

    def masked(self, vector: Vector, keys: Mapping[int, bytes]) -> Vector:
        """Return the vector plus this client's own mask plus its masks with each client in `keys`.

        Raises
        ------
        ValueError
            If the vector is not of the ring, or has not one dimension.
        """
        vector = _vector(vector, self.number)
        seeds = {other: agreed(self._key, key) for other, key in keys.items() if other != self.number}
        length = len(vector)
        return vector + expand(self._seed, length) + pairwise_mask(self.number, seeds, length)

    def reveal(self, arrived: Collection[int]) -> dict[int, int]:
        """Return this client's share of each client's seed, or, of one that dropped out, of its key.

        Raises
        ------
        RuntimeError
            At a second call: whoever got both shares of one client could read its vector.
        """
        if self._revealed:
            raise RuntimeError(f"client {self.number} has revealed its shares; it does so once a round")
        self._revealed = True
        return {sender: shares[sender in arrived] for sender, shares in self._held.items()}


def _vector(vector: Vector, client: int) -> Vector:
    if np.ndim(vector) != 1:
        raise ValueError(f"the vector of client {client} has one dimension; got shape {np.shape(vector)}")
    return ring(vector)


def agreed(mine: "X25519PrivateKey", theirs: bytes) -> bytes:
    """Return the seed that two clients agree on: each from its own key and the other's public key."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

    return hashlib.sha256(mine.exchange(X25519PublicKey.from_public_bytes(theirs))).digest()


def unmask(
    masked: Mapping[int, Vector], revealed: Mapping[int, Mapping[int, int]], keys: Mapping[int, bytes], threshold: int
) -> Vector:
    """Return the sum of the vectors that arrived, as the server computes it.

    Parameters
    ----------
    masked : mapping of int to vector
        What arrived.
    revealed : mapping of int to mapping of int to int
        By client, its shares of the others' seeds and keys, as `Client.reveal` returns them.
    keys : mapping of int to bytes
        The public keys of all clients that took part at first.
    threshold : int
        How many shares rebuild a secret.

    Raises
    ------
    ValueError
        If nothing arrived, vectors have different lengths, or fewer clients than the threshold revealed their shares.
    """
    if len({len(vector) for vector in masked.values()}) != 1:
        lengths = sorted({len(vector) for vector in masked.values()})
        raise ValueError(f"vectors of one length are needed, and at least one; got lengths {lengths}")
    if len(revealed) < threshold:
        raise ValueError(f"{threshold} clients are needed to remove the masks, and {len(revealed)} answered")
    total = np.add.reduce(np.stack(list(masked.values())), axis=0)
    for client in keys:
        shares = {holder: held[client] for holder, held in list(revealed.items())[:threshold]}
        secret = shamir_reconstruct(shares).to_bytes(32)
        if client in masked:
            total = total - expand(secret, len(total))
        else:
            from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

            key = X25519PrivateKey.from_private_bytes(secret)
            total = total + pairwise_mask(client, {other: agreed(key, keys[other]) for other in masked}, len(total))
    return total


def aggregate(vectors: Mapping[int, Vector], threshold: int, dropped: Collection[int] = ()) -> Vector:
    """Run one round in this process, where some clients drop out after the keys were exchanged.

    Raises
    ------
    ValueError
        If fewer clients than the threshold are left, or the threshold is half of the clients or less: then a server
        that tells each half a different story gets both shares of a client.
    """
    if not len(vectors) / 2 < threshold <= len(vectors) - len(set(dropped)):
        raise ValueError(
            f"the threshold is more than half of {len(vectors)} clients, and so many have to stay; got {threshold}"
        )
    clients = {number: Client(number) for number in vectors}
    keys = {number: client.public for number, client in clients.items()}
    for number, client in clients.items():
        for receiver, shares in client.share(keys, threshold).items():
            clients[receiver].hold(number, shares)
    arrived = {number: clients[number].masked(vectors[number], keys) for number in vectors if number not in dropped}
    revealed = {number: clients[number].reveal(arrived) for number in arrived}
    return unmask(arrived, revealed, keys, threshold)
