"""The checks of the Encrypted computation lab, in its order."""

from llmsafety_lab.checks.encrypted_computation import measures

EXERCISES = (measures.check_share,)
