"""Who holds what: records dealt out to clients, alike or not."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int


def unequal_sizes(records: int, clients: int, spread: float, seed: int = 0) -> Int[np.ndarray, " clients"]:
    """Return how many records each client gets: log-normal sizes that sum to all records, none below 1.

    Parameters
    ----------
    records, clients, seed : int
    spread : float
        Deviation of the logarithm of a size; 0 makes them equal.

    Raises
    ------
    ValueError
        If there are fewer records than clients, or no client.
    """
    if not 1 <= clients <= records:
        raise ValueError(f"each client needs a record: {clients} clients, {records} records")
    parts = np.exp(spread * np.random.default_rng([seed, 2]).standard_normal(clients))
    ends = np.floor((records - clients) * parts.cumsum() / parts.sum() + 1e-9).astype(int)
    return np.diff(ends, prepend=0) + 1


def dirichlet_split(
    labels: Int[np.ndarray, " records"], clients: int, alpha: float, seed: int = 0, spread: float = 0.0
) -> list[Int[np.ndarray, " own"]]:
    """Deal records out so that clients differ in their labels: the smaller alpha is, the more.

    Each client draws shares of the classes from a Dirichlet distribution around those of all records, then takes its
    records one by one. A class that has run out is drawn no more, so the last clients take what is left.

    Parameters
    ----------
    labels : Int[np.ndarray, "records"]
        Classes.
    clients : int
    alpha : float
        `np.inf` deals out at random: clients are alike (IID).
    seed : int
    spread : float
        How unequal the clients' numbers of records are, see `unequal_sizes`.

    Returns
    -------
    list of Int[np.ndarray, "own"]
        The records of each client. Every record has one owner.

    Raises
    ------
    ValueError
        If alpha is not positive, or there are fewer records than clients.

    References
    ----------
    Hsu, Qi and Brown 2019, section 3.
    """
    if not alpha > 0:
        raise ValueError(f"alpha is positive, got {alpha}; take np.inf for clients that are alike")
    labels = np.asarray(labels)
    sizes = unequal_sizes(len(labels), clients, spread, seed)
    generator = np.random.default_rng([seed, 3])
    if np.isinf(alpha):
        return [np.sort(part) for part in np.split(generator.permutation(len(labels)), sizes.cumsum()[:-1])]
    classes, counts = np.unique(labels, return_counts=True)
    left = [generator.permutation(np.flatnonzero(labels == one)) for one in classes]
    remaining = counts.copy()
    prior = counts / counts.sum()
    owned = []
    for size in sizes:
        shares = generator.dirichlet(alpha * len(classes) * prior)
        own: list[int] = []
        while len(own) < size:
            open_ = np.where(remaining > 0, np.maximum(shares, 1e-12), 0)
            wanted = generator.multinomial(size - len(own), open_ / open_.sum())
            for one, count in enumerate(np.minimum(wanted, remaining)):
                own.extend(left[one][remaining[one] - count : remaining[one]])
                remaining[one] -= count
        owned.append(np.sort(np.array(own, dtype=int)))
    return owned
