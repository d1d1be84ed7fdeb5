"""The checks of the Safe fine-tuning lab, in its order."""

from llmsafety_lab.checks.safe_fine_tuning import measures

EXERCISES = (measures.check_share,)
