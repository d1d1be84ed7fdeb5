"""The checks of the Representation bias lab, in its order."""

from llmsafety_lab.checks.representation_bias import measures

EXERCISES = (measures.check_share,)
