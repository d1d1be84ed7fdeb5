"""The checks of the lab on membership inference, in its order: measures, scores, attacks, and the blind one."""

from llmsafety_lab.checks.membership_inference import calibration, likelihood, measures, shift

EXERCISES = (
    measures.check_area,
    measures.check_rate,
    likelihood.check_logit,
    likelihood.check_lira,
    calibration.check_calibrated,
    shift.check_blind,
)
