"""The checks of the robust training lab, in its order: losses, their variants, and what is measured."""

from llmsafety_lab.checks.robust_training import losses  # isort: skip
from llmsafety_lab.checks.robust_training import variants  # isort: skip

__all__ = ["losses", "variants"]
