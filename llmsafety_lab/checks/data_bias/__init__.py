"""The checks of the lab on data bias, in its order."""

EXERCISES = ()
