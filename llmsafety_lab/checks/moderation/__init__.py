"""The checks of the Moderation lab, in its order."""

from llmsafety_lab.checks.moderation import measures

EXERCISES = (measures.check_share,)
