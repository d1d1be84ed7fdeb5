"""Robust training: what the chapter and its lab use."""

from llmsafety_lab.robust_training.losses import (
    Loss,
    Scalar,
    adversarial_loss,
    ascend,
    divergence,
    fgsm_loss,
    freelb_loss,
    noise_loss,
    plain_loss,
    trades_loss,
    vat_loss,
    virtual_direction,
    word_dropout_loss,
)
from llmsafety_lab.robust_training.runs import (
    CHECKPOINT,
    NAMES,
    Batch,
    batch_of,
    fit_robust,
    holds,
)
from llmsafety_lab.robust_training.small import (
    SmallClassifier,
)

__all__ = [
    "CHECKPOINT",
    "NAMES",
    "Batch",
    "Loss",
    "Scalar",
    "SmallClassifier",
    "adversarial_loss",
    "ascend",
    "batch_of",
    "divergence",
    "fgsm_loss",
    "fit_robust",
    "freelb_loss",
    "holds",
    "noise_loss",
    "plain_loss",
    "trades_loss",
    "vat_loss",
    "virtual_direction",
    "word_dropout_loss",
]
