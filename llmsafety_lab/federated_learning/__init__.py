"""Federated learning: the records stay with their owners, and updates travel."""

from llmsafety_lab.federated_learning.averaging import (
    Client,
    Recipe,
    federate,
    flat,
    gradient,
    load,
    local_training,
    server_step,
    weighted_average,
)
from llmsafety_lab.federated_learning.clients import dirichlet_split, unequal_sizes
from llmsafety_lab.federated_learning.compression import ErrorFeedback, quantise, top_k
from llmsafety_lab.federated_learning.inversion import (
    first_inputs,
    imprint,
    invert_linear,
    match_gradient,
    outside_span,
    read_imprint,
    read_tokens,
    text_gradients,
)
from llmsafety_lab.federated_learning.private import clip, private_average, private_federate
from llmsafety_lab.federated_learning.robust import (
    bounded,
    coordinate_median,
    krum,
    krum_choice,
    krum_scores,
    trimmed_mean,
)
from llmsafety_lab.federated_learning.tasks import Task, census, vectors

__all__ = [
    "Client",
    "ErrorFeedback",
    "Recipe",
    "Task",
    "bounded",
    "census",
    "clip",
    "coordinate_median",
    "dirichlet_split",
    "federate",
    "first_inputs",
    "flat",
    "gradient",
    "imprint",
    "invert_linear",
    "krum",
    "krum_choice",
    "krum_scores",
    "load",
    "local_training",
    "match_gradient",
    "outside_span",
    "private_average",
    "private_federate",
    "quantise",
    "read_imprint",
    "read_tokens",
    "server_step",
    "text_gradients",
    "top_k",
    "trimmed_mean",
    "unequal_sizes",
    "vectors",
    "weighted_average",
]
