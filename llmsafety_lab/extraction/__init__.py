"""Extraction: what the chapter and its lab use."""

from llmsafety_lab.extraction.candidates import copied, generate, grams, rank_candidates
from llmsafety_lab.extraction.duplicates import deduplicate
from llmsafety_lab.extraction.memorization import discovered, queries_needed, suffix_log_probability
from llmsafety_lab.extraction.ranks import code_losses, exposure, exposure_fit, mean_rank, skew_normal
from llmsafety_lab.extraction.stealing import hidden_width, surrogate_labels
from llmsafety_lab.extraction.unlearning import (
    gradient_ascent,
    gradient_difference,
    judge,
    log_probabilities,
    npo_loss,
    npo_retain,
    unlearn,
)

__all__ = [
    "code_losses",
    "copied",
    "deduplicate",
    "discovered",
    "exposure",
    "exposure_fit",
    "generate",
    "gradient_ascent",
    "gradient_difference",
    "grams",
    "hidden_width",
    "judge",
    "log_probabilities",
    "mean_rank",
    "npo_loss",
    "npo_retain",
    "queries_needed",
    "rank_candidates",
    "skew_normal",
    "suffix_log_probability",
    "surrogate_labels",
    "unlearn",
]
