"""Differential privacy: what the chapter, its lab and the later topics on privacy use."""

from llmsafety_lab.differential_privacy.accounting import (
    epsilon_spent,
    noise_for,
    rdp_gaussian,
    rdp_subsampled,
    rdp_to_epsilon,
    shuffled_at_least,
)
from llmsafety_lab.differential_privacy.audit import Audit, audit, p_value, refuted
from llmsafety_lab.differential_privacy.low_rank import LowRank
from llmsafety_lab.differential_privacy.meaning import largest_area, largest_tpr, posterior_bound
from llmsafety_lab.differential_privacy.mechanisms import (
    discrete_laplace,
    gaussian_delta,
    gaussian_sigma,
    possible,
    private_mean,
)
from llmsafety_lab.differential_privacy.networks import ghost_sum, train_private_networks
from llmsafety_lab.differential_privacy.sgd import (
    clipped_sum,
    noised,
    per_sample_gradients,
    poisson_batch,
    private_gradient,
    record_norms,
    train_private,
)

__all__ = [
    "Audit",
    "LowRank",
    "audit",
    "clipped_sum",
    "discrete_laplace",
    "epsilon_spent",
    "gaussian_delta",
    "gaussian_sigma",
    "ghost_sum",
    "largest_area",
    "largest_tpr",
    "noise_for",
    "noised",
    "p_value",
    "per_sample_gradients",
    "poisson_batch",
    "possible",
    "posterior_bound",
    "private_gradient",
    "private_mean",
    "rdp_gaussian",
    "rdp_subsampled",
    "rdp_to_epsilon",
    "record_norms",
    "refuted",
    "shuffled_at_least",
    "train_private",
    "train_private_networks",
]
