"""The checks of the Membership inference lab, in its order."""

from llmsafety_lab.checks.membership_inference import measures

EXERCISES = (measures.check_share,)
