"""The checks of the tokenization lab, in its order: learning pairs, coding with them, and a filter that looks twice."""

from llmsafety_lab.checks.tokenization import pairs  # isort: skip
from llmsafety_lab.checks.tokenization import training  # isort: skip
from llmsafety_lab.checks.tokenization import coding  # isort: skip
from llmsafety_lab.checks.tokenization import filters  # isort: skip

__all__ = ["coding", "filters", "pairs", "training"]
