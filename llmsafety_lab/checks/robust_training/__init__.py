"""The checks of the robust training lab, in its order: the loss, steps of training, variants, and what is measured."""

from llmsafety_lab.checks.robust_training import losses  # isort: skip
from llmsafety_lab.checks.robust_training import steps  # isort: skip
from llmsafety_lab.checks.robust_training import variants  # isort: skip
from llmsafety_lab.checks.robust_training import measures  # isort: skip

__all__ = ["losses", "measures", "steps", "variants"]
