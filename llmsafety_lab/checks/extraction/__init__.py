"""The checks of the lab on extraction, in its order: exposure, its fit, ranking, unlearning and its "
"judgement, width."""

from llmsafety_lab.checks.extraction import bits, order, unlearning, width

EXERCISES = (
    bits.check_exposure,
    bits.check_fit,
    order.check_rank,
    unlearning.check_npo,
    unlearning.check_judge,
    width.check_width,
)
