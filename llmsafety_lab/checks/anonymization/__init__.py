"""The checks of the Anonymization lab, in its order."""

from llmsafety_lab.checks.anonymization import measures

EXERCISES = (measures.check_share,)
