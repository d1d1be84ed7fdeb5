"""The checks of the lab on representation bias, in its order: measure in vectors, take out, measure in a model."""

from llmsafety_lab.checks.representation_bias import associations, divisions, erasing, neutral, stereotypes

EXERCISES = (
    associations.check_association,
    associations.check_effect,
    divisions.check_p_value,
    neutral.check_hard_debias,
    erasing.check_leace,
    stereotypes.check_stereoset,
)
