"""The checks of the lab on group fairness, in its order."""

from llmsafety_lab.checks.group_fairness import (
    calibration,
    identity,
    intersections,
    rates,
    ratio,
    thresholds,
)

EXERCISES = (
    rates.check_rates,
    identity.check_identity,
    ratio.check_ratio,
    intersections.check_intersections,
    calibration.check_calibration,
    thresholds.check_thresholds,
)
