"""The checks of the decoding lab, in its order: one distribution made into another, beam search, and constraints."""

from llmsafety_lab.checks.decoding import beams, constraints, filters

EXERCISES = (
    filters.check_temperature,
    filters.check_nucleus,
    filters.check_repetition,
    beams.check_extend,
    beams.check_beam_search,
    constraints.check_constrain,
)
