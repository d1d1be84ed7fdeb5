"""Membership inference: what the chapter, its lab and the later topics on privacy use."""

from llmsafety_lab.membership_inference.attacks import (
    calibrated,
    leave_one_out,
    lira_attack,
    rmia_attack,
    shokri_attack,
    yeom_attack,
)
from llmsafety_lab.membership_inference.blind import blind_scores
from llmsafety_lab.membership_inference.census import census_features
from llmsafety_lab.membership_inference.labels_only import masked, steadiness
from llmsafety_lab.membership_inference.measures import Roc, area, auc, best_accuracy, roc_curve_log, tpr_at_fpr
from llmsafety_lab.membership_inference.scores import logit_scaled, losses, min_k, zlib_ratio
from llmsafety_lab.membership_inference.shadows import Networks, Recipe, draw_members, train_networks

__all__ = [
    "Networks",
    "Recipe",
    "Roc",
    "area",
    "auc",
    "best_accuracy",
    "blind_scores",
    "calibrated",
    "census_features",
    "draw_members",
    "leave_one_out",
    "lira_attack",
    "logit_scaled",
    "losses",
    "masked",
    "min_k",
    "rmia_attack",
    "roc_curve_log",
    "shokri_attack",
    "steadiness",
    "tpr_at_fpr",
    "train_networks",
    "yeom_attack",
    "zlib_ratio",
]
