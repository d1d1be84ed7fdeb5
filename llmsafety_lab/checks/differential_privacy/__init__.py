"""The checks of the Differential privacy lab, in its order."""

from llmsafety_lab.checks.differential_privacy import measures

EXERCISES = (measures.check_share,)
