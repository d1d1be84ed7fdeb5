"""The checks of the lab on bias mitigation, in its order: penalty, prices, adversary, thresholds, who pays, texts."""

from llmsafety_lab.checks.bias_mitigation import adversary, levelling, penalty, prices, texts, thresholds

EXERCISES = (
    penalty.check_penalty,
    prices.check_prices,
    adversary.check_adversary,
    thresholds.check_thresholds,
    levelling.check_levelling,
    texts.check_augment,
)
