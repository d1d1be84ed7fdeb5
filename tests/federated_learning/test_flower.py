"""The same client under Flower: its messages and its FedAvg give the weights of `federate`."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable

import pytest
import torch
from torch import nn

from llmsafety_lab.federated_learning import Recipe, federate, flat

pytest.importorskip("flwr")

from llmsafety_lab.federated_learning.flower import client_app, server_app, simulate

SEED, RECIPE = 5, Recipe(0.3, 2, 4)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def records(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, 3, (count,), generator=generator)


CLIENTS = [records(7, 1), records(12, 2)]


def ours(rounds: int) -> torch.Tensor:
    return list(itertools.islice(federate(network(), CLIENTS, RECIPE, seed=SEED), rounds))[-1]


def test_flowers_messages_and_its_average_give_our_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    from flwr.app import Context, Message, RecordDict
    from flwr.serverapp import Grid
    from flwr.supercore.task_identity import TaskIdentity

    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)

    app = client_app(network, lambda place, count: CLIENTS[place], RECIPE, SEED)

    class Here(Grid):
        """Delivers messages to clients in this process."""

        set_run = run = create_message = push_messages = pull_messages = None  # abstract, and not asked for here

        def get_node_ids(self) -> Iterable[int]:
            return [10, 11]

        def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
            for message in messages:
                place = message.metadata.dst_node_id - 10
                config = {"partition-id": place, "num-partitions": len(CLIENTS)}
                yield app(message, Context(1, place + 10, config, RecordDict(), {}))

    found: list[torch.Tensor] = []
    main = server_app(flat(network()), 3, found.append)
    main(Here(), Context(1, 0, {}, RecordDict(), {}))
    torch.testing.assert_close(found[0], ours(3), rtol=0, atol=1e-6)
    assert float((found[0] - flat(network())).norm()) > 0.1


@pytest.mark.skipif(not os.environ.get("FLOWER_ENGINE"), reason="processes of its own: half a minute; FLOWER_ENGINE=1")
def test_flowers_engine_gives_our_weights() -> None:
    torch.testing.assert_close(simulate(network, CLIENTS, RECIPE, 2, SEED), ours(2), rtol=0, atol=1e-6)
