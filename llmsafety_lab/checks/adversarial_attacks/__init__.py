"""The checks of the adversarial attacks lab, in its order: gradient and geometry, the attacks, and what is measured."""

from llmsafety_lab.checks.adversarial_attacks import geometry  # isort: skip
from llmsafety_lab.checks.adversarial_attacks import attacks  # isort: skip
from llmsafety_lab.checks.adversarial_attacks import restarts  # isort: skip
from llmsafety_lab.checks.adversarial_attacks import measures  # isort: skip

__all__ = ["attacks", "geometry", "measures", "restarts"]
