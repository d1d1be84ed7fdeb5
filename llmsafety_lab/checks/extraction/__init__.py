"""The checks of the Extraction lab, in its order."""

from llmsafety_lab.checks.extraction import measures

EXERCISES = (measures.check_share,)
