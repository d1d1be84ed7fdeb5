"""Group fairness: rates by group and the gaps between them, with intervals, identities and thresholds."""

from llmsafety_lab.group_fairness.calibration import Bin, calibration_by_group, implied_fpr
from llmsafety_lab.group_fairness.individuals import (
    Pair,
    counterfactual_gaps,
    intersections,
    lipschitz_pairs,
    worst_group,
)
from llmsafety_lab.group_fairness.intervals import chance_below, group_bootstrap, ratio_interval
from llmsafety_lab.group_fairness.rates import (
    Rates,
    demographic_parity_difference,
    demographic_parity_ratio,
    equal_opportunity_difference,
    equalized_odds_difference,
    error_rates,
    four_counts,
    predictive_parity_difference,
    rates_of,
    selection_rates,
)
from llmsafety_lab.group_fairness.thresholds import (
    ScoreCounts,
    accuracy_of,
    best_thresholds,
    four_counts_at,
    score_counts,
)

__all__ = [
    "Bin",
    "Pair",
    "Rates",
    "ScoreCounts",
    "accuracy_of",
    "best_thresholds",
    "calibration_by_group",
    "chance_below",
    "counterfactual_gaps",
    "demographic_parity_difference",
    "demographic_parity_ratio",
    "equal_opportunity_difference",
    "equalized_odds_difference",
    "error_rates",
    "four_counts",
    "four_counts_at",
    "group_bootstrap",
    "implied_fpr",
    "intersections",
    "lipschitz_pairs",
    "predictive_parity_difference",
    "rates_of",
    "ratio_interval",
    "score_counts",
    "selection_rates",
    "worst_group",
]
