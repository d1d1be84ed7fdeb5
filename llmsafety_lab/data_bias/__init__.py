"""Data bias: what the chapter and its lab use."""

from llmsafety_lab.data_bias.mentions import (
    GENDERED,
    character_words,
    company,
    distinctive,
    mentions,
    words_of,
)
from llmsafety_lab.data_bias.proxies import (
    auc,
    feature_strengths,
    proxy_strength,
)
from llmsafety_lab.data_bias.rates import (
    Rate,
    group_rates,
    intersections,
    rate_difference,
    representation_ratio,
    rows_needed,
)
from llmsafety_lab.data_bias.strata import (
    Stratified,
    reversals,
    stratify,
)
from llmsafety_lab.data_bias.weights import (
    effective_size,
    kamiran_calders_weights,
    reference_weights,
    resample,
    weighted_rate,
)

__all__ = [
    "GENDERED",
    "Rate",
    "Stratified",
    "auc",
    "character_words",
    "company",
    "distinctive",
    "effective_size",
    "feature_strengths",
    "group_rates",
    "intersections",
    "kamiran_calders_weights",
    "mentions",
    "proxy_strength",
    "rate_difference",
    "reference_weights",
    "representation_ratio",
    "resample",
    "reversals",
    "rows_needed",
    "stratify",
    "weighted_rate",
    "words_of",
]
