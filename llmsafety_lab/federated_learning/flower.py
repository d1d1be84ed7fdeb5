"""The same clients under Flower: its messages, its simulation engine, its strategies.

This module needs the extra `privacy`; nothing else of the topic does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llmsafety_lab.federated_learning.averaging import Client, Recipe, flat, local_training

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")  # before flwr is imported: it reports its use otherwise

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg


def client_app(
    network: Callable[[], nn.Module], client_of: Callable[[int, int], Client], recipe: Recipe, seed: int = 0
) -> ClientApp:
    """Return Flower's client: it runs `local_training` on the records of its place, in each round with its own seed.

    Parameters
    ----------
    network : callable
        Makes the network; its weights do not matter.
    client_of : callable
        From a client's place, and how many clients there are, to its records.
    recipe : Recipe
    seed : int
        As for `federate`, so that both draw the same orders.
    """
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        place, clients = (cast(int, context.node_config[name]) for name in ("partition-id", "num-partitions"))
        turn = cast(int, message.content["config"]["server-round"])
        weights = message.content.array_records["arrays"].to_torch_state_dict()["weights"]
        torch.set_num_threads(1)
        own = client_of(place, clients)
        trained = local_training(network(), weights, own, recipe, (seed, turn, place))
        arrays = ArrayRecord({"weights": trained})
        metrics = MetricRecord({"num-examples": len(own[1]), "process": os.getpid()})
        return Message(content=RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    return app


def server_app(start: Float[Tensor, " weights"], rounds: int, done: Callable[[Tensor], Any]) -> ServerApp:
    """Return Flower's server: its own FedAvg over all clients, which hands the last weights to `done`.

    Parameters
    ----------
    start : Float[Tensor, "weights"]
    rounds : int
    done : callable
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        strategy = FedAvg(fraction_train=1.0, fraction_evaluate=0.0)
        result = strategy.start(grid, ArrayRecord({"weights": start}), num_rounds=rounds)
        done(result.arrays.to_torch_state_dict()["weights"])

    return app


def simulate(
    network: Callable[[], nn.Module], clients: Sequence[Client], recipe: Recipe, rounds: int, seed: int = 0
) -> Float[Tensor, " weights"]:
    """Return the weights after rounds of all clients in Flower's simulation engine.

    Raises
    ------
    RuntimeError
        If the engine ended without a result.
    """
    from flwr.simulation import run_simulation

    found: list[Tensor] = []
    held = list(clients)
    run_simulation(
        server_app(flat(network()), rounds, found.append),
        client_app(network, lambda place, count: held[place], recipe, seed),
        num_supernodes=len(held),
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}, "init_args": {"num_cpus": 2}},
    )
    if not found:
        raise RuntimeError("Flower's engine ended without a result; its log says why")
    return found[0]
