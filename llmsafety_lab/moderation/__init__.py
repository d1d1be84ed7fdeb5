"""Moderation: filters before and after a model, answering only when sure, and evidence for what is said."""

from llmsafety_lab.moderation.capitals import Question, capital_questions, names_in, plain
from llmsafety_lab.moderation.chat import Reply, replies, written, yes_minus_no
from llmsafety_lab.moderation.guard import INPUT, OUTPUT, Finding, Guard, Rule, Verdict, despelled, word_list
from llmsafety_lab.moderation.meaning import meanings, semantic_entropy
from llmsafety_lab.moderation.retrieval import Cited, citation_scores, retrieve, words_of
from llmsafety_lab.moderation.selective import Curve, calibration_error, promised_threshold, risk_coverage
from llmsafety_lab.moderation.stream import first_alarm, leaked, prefixes, scored_prefixes, stream_threshold
from llmsafety_lab.moderation.thresholds import Tuned, cheapest_threshold, expected_cost, precision_in_traffic, tune

__all__ = [
    "INPUT",
    "OUTPUT",
    "Cited",
    "Curve",
    "Finding",
    "Guard",
    "Question",
    "Reply",
    "Rule",
    "Tuned",
    "Verdict",
    "calibration_error",
    "capital_questions",
    "cheapest_threshold",
    "citation_scores",
    "despelled",
    "expected_cost",
    "first_alarm",
    "leaked",
    "meanings",
    "names_in",
    "plain",
    "precision_in_traffic",
    "prefixes",
    "promised_threshold",
    "replies",
    "retrieve",
    "risk_coverage",
    "scored_prefixes",
    "semantic_entropy",
    "stream_threshold",
    "tune",
    "word_list",
    "words_of",
    "written",
    "yes_minus_no",
]
