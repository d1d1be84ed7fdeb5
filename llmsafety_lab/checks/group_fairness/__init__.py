"""The checks of the Group fairness lab, in its order."""

EXERCISES = ()
