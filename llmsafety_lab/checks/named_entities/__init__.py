"""The checks of the named entities lab, in its order: labels for sub-words, spans and their scores, what they tell."""

from llmsafety_lab.checks.named_entities import labels  # isort: skip
from llmsafety_lab.checks.named_entities import spans  # isort: skip
from llmsafety_lab.checks.named_entities import reports  # isort: skip

__all__ = ["labels", "reports", "spans"]
