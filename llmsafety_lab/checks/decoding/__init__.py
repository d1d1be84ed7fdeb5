"""The checks of the decoding lab, in its order: one distribution made into another, beam search, and constraints."""

from llmsafety_lab.checks.decoding import beams, constraints, extension, filters, repetition

EXERCISES = (
    filters.check_temperature,
    filters.check_nucleus,
    repetition.check_repetition,
    extension.check_extend,
    beams.check_beam_search,
    constraints.check_constrain,
)
