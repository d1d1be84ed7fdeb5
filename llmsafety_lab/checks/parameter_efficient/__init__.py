"""The checks of the lab on parameter-efficient tuning, in its order: layers that add little, a prefix, and ranks."""

from llmsafety_lab.checks.parameter_efficient import layers  # isort: skip
from llmsafety_lab.checks.parameter_efficient import prefix  # isort: skip
from llmsafety_lab.checks.parameter_efficient import ranks  # isort: skip

__all__ = ["layers", "prefix", "ranks"]
