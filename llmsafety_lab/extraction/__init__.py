"""Extraction: what the chapter and its lab use."""

from llmsafety_lab.extraction.exposure import code_losses, exposure, exposure_fit, mean_rank, skew_normal

__all__ = ["code_losses", "exposure", "exposure_fit", "mean_rank", "skew_normal"]
