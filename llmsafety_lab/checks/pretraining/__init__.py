"""The checks of the pretraining lab, in its order: the next token, the measure, masked tokens, sentences, the step."""

from llmsafety_lab.checks.pretraining import causal  # isort: skip
from llmsafety_lab.checks.pretraining import masking  # isort: skip
from llmsafety_lab.checks.pretraining import sentences  # isort: skip
from llmsafety_lab.checks.pretraining import steps  # isort: skip

__all__ = ["causal", "masking", "sentences", "steps"]
