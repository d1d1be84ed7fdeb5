"""The checks of the decoding lab, in its order: one distribution made into another, beam search, and constraints."""

from llmsafety_lab.checks.decoding import filters  # isort: skip
from llmsafety_lab.checks.decoding import beams  # isort: skip
from llmsafety_lab.checks.decoding import constraints  # isort: skip

__all__ = ["beams", "constraints", "filters"]
