"""Bias in representations: how it is measured, in vectors and in models, and how it is taken out."""

from llmsafety_lab.representation_bias.association import association, unit, weat_effect, weat_p_value
from llmsafety_lab.representation_bias.erasure import erase, inlp, leace
from llmsafety_lab.representation_bias.likelihood import (
    bbq_bias,
    next_logs,
    pair_logs,
    pair_preference,
    stereoset_scores,
    token_logs,
)
from llmsafety_lab.representation_bias.permutation import share_at_least, share_at_least_drawn
from llmsafety_lab.representation_bias.subspace import bias_direction, equalise, hard_debias, neutralise

__all__ = [
    "association",
    "bbq_bias",
    "bias_direction",
    "equalise",
    "erase",
    "hard_debias",
    "inlp",
    "leace",
    "neutralise",
    "next_logs",
    "pair_logs",
    "pair_preference",
    "share_at_least",
    "share_at_least_drawn",
    "stereoset_scores",
    "token_logs",
    "unit",
    "weat_effect",
    "weat_p_value",
]
