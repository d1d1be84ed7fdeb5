"""The checks of the lab on data bias, in its order."""

from llmsafety_lab.checks.data_bias import proxies, rates, strata, weights

EXERCISES = (
    rates.check_rates,
    rates.check_difference,
    weights.check_weights,
    weights.check_effective,
    proxies.check_proxy,
    strata.check_standardised,
)
