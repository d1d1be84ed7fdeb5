"""The checks of the Evaluation lab, in its order."""

from llmsafety_lab.checks.evaluation import measures

EXERCISES = (measures.check_share,)
