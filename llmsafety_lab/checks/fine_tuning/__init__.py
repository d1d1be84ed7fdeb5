"""The checks of the fine-tuning lab, in its order: baseline and parts of a model, then what it knows of itself."""

from llmsafety_lab.checks.fine_tuning import parts  # isort: skip
from llmsafety_lab.checks.fine_tuning import heads  # isort: skip
from llmsafety_lab.checks.fine_tuning import trust  # isort: skip
from llmsafety_lab.checks.fine_tuning import noise  # isort: skip

__all__ = ["heads", "noise", "parts", "trust"]
