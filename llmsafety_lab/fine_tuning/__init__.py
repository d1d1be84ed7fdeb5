"""Fine tuning: what the chapter and its lab use."""

from llmsafety_lab.fine_tuning.batches import like_lengths
from llmsafety_lab.fine_tuning.classifier import (
    AttentionPooling,
    Classifier,
    evaluate,
    fit,
    freeze,
    label_scores,
    mean_pool,
    predict,
)
from llmsafety_lab.fine_tuning.measures import (
    Evaluation,
    baseline,
    expected_calibration_error,
    fit_temperature,
    reliability,
    score,
    suspects,
)
from llmsafety_lab.statistics import interval

__all__ = [
    "AttentionPooling",
    "Classifier",
    "Evaluation",
    "baseline",
    "evaluate",
    "expected_calibration_error",
    "fit",
    "fit_temperature",
    "freeze",
    "interval",
    "label_scores",
    "like_lengths",
    "mean_pool",
    "predict",
    "reliability",
    "score",
    "suspects",
]
