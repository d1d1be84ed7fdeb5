"""Evaluation: what the chapter, its lab and the later topics use to say how sure a claim about a model is."""

from llmsafety_lab.evaluation.agreement import best_weight, kappa, prediction_powered, rogan_gladen
from llmsafety_lab.evaluation.contamination import WordModel, order_scores, order_test, overlap
from llmsafety_lab.evaluation.difficulty import rasch
from llmsafety_lab.evaluation.ranking import POINTS, bradley_terry, elo, strength_intervals
from llmsafety_lab.evaluation.scoring import chosen, option_logs
from llmsafety_lab.evaluation.selection import best_on_fresh
from llmsafety_lab.evaluation.uncertainty import clustered_interval, design_effect, items_needed

__all__ = [
    "POINTS",
    "WordModel",
    "best_on_fresh",
    "best_weight",
    "bradley_terry",
    "chosen",
    "clustered_interval",
    "design_effect",
    "elo",
    "items_needed",
    "kappa",
    "option_logs",
    "order_scores",
    "order_test",
    "overlap",
    "prediction_powered",
    "rasch",
    "rogan_gladen",
    "strength_intervals",
]
