"""The two tasks of the topic: reviews as vectors of a frozen encoder, and people of the census."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from llmsafety_lab import data, models
from llmsafety_lab.federated_learning.averaging import Client, load
from llmsafety_lab.fine_tuning import mean_pool
from llmsafety_lab.membership_inference import census_features


@dataclass(frozen=True)
class Task:
    """Records to train on and to test on, with the network that reads them.

    Parameters
    ----------
    x, y : Float[Tensor, "records features"], Int[Tensor, "records"]
    test_x, test_y : Float[Tensor, "tested features"], Int[Tensor, "tested"]
    hidden : int
        Units of the network's hidden layer; 0 for a linear one.
    """

    x: Float[Tensor, "records features"]
    y: Int[Tensor, " records"]
    test_x: Float[Tensor, "tested features"]
    test_y: Int[Tensor, " tested"]
    hidden: int = 0

    def network(self, seed: int = 0) -> nn.Module:
        """Return a network with weights drawn from a seed; those of a linear one are 0."""
        features, classes = self.x.shape[1], int(self.y.max()) + 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if self.hidden:
                return nn.Sequential(nn.Linear(features, self.hidden), nn.Tanh(), nn.Linear(self.hidden, classes))
            linear = nn.Linear(features, classes)
        for weight in linear.parameters():
            nn.init.zeros_(weight)
        return linear

    def deal(self, owned: list[Int[np.ndarray, " own"]]) -> list[Client]:
        """Return each client's records."""
        return [(self.x[own], self.y[own]) for own in map(torch.as_tensor, owned)]

    @torch.no_grad()
    def right(self, network: nn.Module, weights: Float[Tensor, " weights"]) -> float:
        """Return the share of test records whose class a network with these weights finds."""
        return float((load(network, weights)(self.test_x).argmax(1) == self.test_y).float().mean())


@torch.inference_mode()
def vectors(texts: Sequence[str], batch: int = 32) -> Float[Tensor, "texts width"]:
    """Return the vector of each text by MiniLM as it is, scaled so that an entry's square is 1 on average."""
    encoder, tokenizer = models.load("minilm")
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    found = torch.empty(len(texts), encoder.config.hidden_size)
    for at in range(0, len(order), batch):
        places = order[at : at + batch]
        tokens = tokenizer(
            [texts[place] for place in places], padding=True, truncation=True, max_length=48, return_tensors="pt"
        )
        pooled = mean_pool(encoder(**tokens).last_hidden_state, tokens["attention_mask"])
        found[places] = normalize(pooled) * pooled.shape[1] ** 0.5
    return found


def census(train: int, tested: int = 4_000, seed: int = 0, hidden: int = 32) -> Task:
    """Return people of the census as a task for a network with one hidden layer.

    Raises
    ------
    ValueError
        If there are not as many.
    """
    rows = data.load("adult")
    if train + tested > len(rows):
        raise ValueError(f"there are {len(rows)} people, not {train + tested}")
    chosen = np.random.default_rng(seed).permutation(len(rows))[: train + tested]
    people = rows[chosen.tolist()]
    x = torch.as_tensor(census_features(people), dtype=torch.float32)
    y = torch.tensor(people["label"])
    return Task(x[:train], y[:train], x[train:], y[train:], hidden)
