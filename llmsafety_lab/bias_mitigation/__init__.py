"""Bias mitigation: what the chapter and its lab use."""

from llmsafety_lab.bias_mitigation.adversary import (
    adversarial_debias,
    adversary_loss,
    debias_step,
    debiased_direction,
)
from llmsafety_lab.bias_mitigation.learners import (
    NOTIONS,
    events,
    fit_linear,
    fit_penalised,
    gap_penalty,
    linear_scores,
    resample,
)
from llmsafety_lab.bias_mitigation.measures import Paid, accuracy_items, frontier, gap_items, who_pays
from llmsafety_lab.bias_mitigation.people import People, adult, compas
from llmsafety_lab.bias_mitigation.reductions import Mixture, costs, prices_of, reduce, violations
from llmsafety_lab.bias_mitigation.texts import augment, mentions, swapped
from llmsafety_lab.bias_mitigation.thresholds import Rule, calibrate, decide, optimal_thresholds

__all__ = [
    "NOTIONS",
    "Mixture",
    "Paid",
    "People",
    "Rule",
    "accuracy_items",
    "adult",
    "adversarial_debias",
    "adversary_loss",
    "augment",
    "calibrate",
    "compas",
    "costs",
    "debias_step",
    "debiased_direction",
    "decide",
    "events",
    "fit_linear",
    "fit_penalised",
    "frontier",
    "gap_items",
    "gap_penalty",
    "linear_scores",
    "mentions",
    "optimal_thresholds",
    "prices_of",
    "reduce",
    "resample",
    "swapped",
    "violations",
    "who_pays",
]
