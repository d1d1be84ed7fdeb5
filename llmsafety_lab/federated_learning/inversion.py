"""What an update gives away: the record behind a linear layer, a record by matching gradients, the words of a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from llmsafety_lab.federated_learning.averaging import load


def invert_linear(weight: Float[Tensor, "out features"], bias: Float[Tensor, " out"]) -> Float[Tensor, " features"]:
    """Return the input of a linear layer from its gradients: exact if one record made them.

    With outputs z = W x + b the gradient of row i of W is (dL/dz_i) x, and that of b_i is dL/dz_i. Of all rows the one
    with the largest gradient of its bias is divided.

    Parameters
    ----------
    weight, bias : Float[Tensor, "out features"], Float[Tensor, "out"]
        The gradients by the layer's weight and bias, of any common factor: an update of one step will do.

    Raises
    ------
    ValueError
        If the shapes do not fit, or all gradients of the bias are 0.

    References
    ----------
    Phong et al. 2018, Privacy-Preserving Deep Learning via Additively Homomorphic Encryption, section 3; Geiping et al.
    2020, Inverting Gradients, proposition 3.1.
    """
    if weight.dim() != 2 or bias.shape != weight.shape[:1]:
        raise ValueError(f"a weight of (out, features) and a bias of (out) are needed: {weight.shape}, {bias.shape}")
    row = int(bias.abs().argmax())
    if not bias[row]:
        raise ValueError("the gradient by the bias is 0 in each output, so nothing of the record is in the weights'")
    return weight[row] / bias[row]


def match_gradient(
    network: nn.Module,
    weights: Float[Tensor, " weights"],
    target: Float[Tensor, " weights"],
    labels: Int[Tensor, " records"],
    features: int,
    steps: int = 100,
    seed: int = 0,
) -> Float[Tensor, "records features"]:
    """Return records whose gradient is like the target: deep leakage from gradients, with known labels.

    Parameters
    ----------
    network : nn.Module
        Twice differentiable, so tanh and not ReLU.
    weights : Float[Tensor, "weights"]
        Those at which the gradient was taken.
    target : Float[Tensor, "weights"]
        The gradient of the mean loss of a few records, or an update divided by minus the learning rate.
    labels : Int[Tensor, "records"]
        Of one record it can be read off the gradient of the last bias: its only negative entry.
    features, steps, seed : int
        Width of a record; rounds of L-BFGS; draws the start.

    References
    ----------
    Zhu, Liu and Han 2019, Deep Leakage from Gradients, algorithm 1; Zhao, Mopuri and Bilen 2020, iDLG.
    """
    parameters = list(load(network, weights).parameters())
    generator = torch.Generator().manual_seed(seed)
    guess = torch.randn(len(labels), features, generator=generator, dtype=target.dtype).requires_grad_()
    search = torch.optim.LBFGS([guess], lr=0.5, max_iter=steps, history_size=20, line_search_fn="strong_wolfe")
    scale = target.square().sum().clamp(min=1e-30)

    def distance() -> Tensor:
        search.zero_grad()
        parts = torch.autograd.grad(cross_entropy(network(guess), labels), parameters, create_graph=True)
        gap = (torch.cat([part.reshape(-1) for part in parts]) - target).square().sum() / scale
        (guess.grad,) = torch.autograd.grad(gap, guess)
        return gap

    search.step(distance)  # type: ignore[no-untyped-call]
    return guess.detach()


def imprint(
    features: int, direction: Float[Tensor, " features"], edges: Float[Tensor, " bins"], classes: int
) -> nn.Sequential:
    """Return a network that a dishonest server sends out: its first layer sorts records into bins.

    Unit i is active for records whose product with the direction exceeds edge i, and all units count the same
    afterwards. So the gradients of neighbouring units differ by the records between their edges.

    Parameters
    ----------
    features, classes : int
    direction : Float[Tensor, "features"]
    edges : Float[Tensor, "bins"]
        Rising.

    References
    ----------
    Fowl et al. 2022, Robbing the Fed, section 3.
    """
    first, last = nn.Linear(features, len(edges)), nn.Linear(len(edges), classes)
    with torch.no_grad():
        first.weight.copy_(direction.expand(len(edges), -1))
        first.bias.copy_(-edges)
        last.weight.copy_(torch.linspace(-1, 1, classes)[:, None].expand(-1, len(edges)) / len(edges))
        last.bias.zero_()
    return nn.Sequential(first, nn.ReLU(), last)


def read_imprint(
    weight: Float[Tensor, "bins features"], bias: Float[Tensor, " bins"], tolerance: float = 1e-6
) -> Float[Tensor, "records features"]:
    """Return what stands in each bin of an imprint: a record, if it is alone there, else a mixture.

    Parameters
    ----------
    weight, bias : Float[Tensor, "bins features"], Float[Tensor, "bins"]
        The gradients by the first layer.
    tolerance : float
        A bin whose difference is below this part of the largest is empty.

    References
    ----------
    Fowl et al. 2022, equation 4.
    """
    none = torch.zeros_like(weight[:1])
    rows = weight - torch.cat([weight[1:], none])
    below = bias - torch.cat([bias[1:], none[:, 0]])
    full = below.abs() > tolerance * below.abs().max()
    return rows[full] / below[full, None]


def outside_span(
    gradient: Float[Tensor, "out features"], candidates: Float[Tensor, "candidates features"], tolerance: float = 2e-6
) -> Float[Tensor, " candidates"]:
    """Return how far each candidate lies outside of the row space of a gradient: 0 inside of it, 1 at right angles.

    The gradient of a linear layer is a sum of products of an output's slope and an input, so its rows lie in the space
    that the inputs span. If there are fewer inputs than features, an input is inside and any other vector is not.

    Parameters
    ----------
    gradient : Float[Tensor, "out features"]
        By the weight of a linear layer.
    candidates : Float[Tensor, "candidates features"]
        Vectors that may have been inputs, none of them 0.
    tolerance : float
        Singular values below this part of the largest count as 0.

    Raises
    ------
    ValueError
        If the gradient is 0.

    References
    ----------
    Petrov et al. 2024, DAGER: Exact Gradient Inversion for Large Language Models, section 4.
    """
    values, basis = torch.linalg.svd(gradient, full_matrices=False)[1:]
    if not values[0]:
        raise ValueError("the gradient is 0: it spans nothing")
    basis = basis[values > tolerance * values[0]]  # (rank, features)
    outside = candidates - candidates @ basis.T @ basis
    return outside.norm(dim=1) / candidates.norm(dim=1)


@torch.no_grad()
def first_inputs(encoder: Any, ids: Int[Tensor, " candidates"], position: int) -> Float[Tensor, "candidates width"]:
    """Return what the first attention layer of a BERT-like encoder reads at a position if a token stands there."""
    return encoder.embeddings(input_ids=ids[:, None], position_ids=torch.tensor([[position]]))[:, 0]


def read_tokens(
    encoder: Any,
    gradient: Float[Tensor, "out width"],
    ids: Int[Tensor, " candidates"],
    positions: int,
    threshold: float = 0.002,
    tolerance: float = 2e-6,
) -> list[list[int]]:
    """Return for each position the tokens whose first-layer input lies in the span of a gradient, the nearest first.

    Parameters
    ----------
    encoder : transformers.BertModel
        With the weights at which the gradient was taken.
    gradient : Float[Tensor, "out width"]
        By the query's weight in its first layer, of one text or of several.
    ids : Int[Tensor, "candidates"]
        Tokens to try: the vocabulary, or what is known to be in the batch.
    positions : int
        How many positions to try.
    threshold : float
        How far outside of the span a token may lie.
    tolerance : float
        See `outside_span`.

    References
    ----------
    Petrov et al. 2024, algorithm 1.
    """
    found: list[list[int]] = []
    for position in range(positions):
        far = outside_span(gradient, first_inputs(encoder, ids, position), tolerance)
        order = far.argsort()
        found.append([int(ids[place]) for place in order[: int((far < threshold).sum())]])
    return found


def text_gradients(
    classifier: nn.Module, names: Sequence[str], batch: tuple[Tensor, Tensor], labels: Int[Tensor, " texts"]
) -> dict[str, Tensor]:
    """Return the gradients by some weights of a text classifier: what a client would send after one step.

    Parameters
    ----------
    classifier : nn.Module
        From ids and mask to logits.
    names : sequence of str
        Of weights, as in `named_parameters`.
    batch : (Int[Tensor, "texts tokens"], Int[Tensor, "texts tokens"])
        Ids and mask.
    labels : Int[Tensor, "texts"]
    """
    known = dict(classifier.named_parameters())
    missing = [name for name in names if name not in known]
    if missing:
        raise ValueError(f"the classifier has no weights named {missing}")
    loss = cross_entropy(classifier(*batch), labels)
    return dict(zip(names, torch.autograd.grad(loss, [known[name] for name in names]), strict=True))
