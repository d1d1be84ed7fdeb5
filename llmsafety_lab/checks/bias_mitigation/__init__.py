"""The checks of the Bias mitigation lab, in its order."""

from llmsafety_lab.checks.bias_mitigation import measures

EXERCISES = (measures.check_share,)
