"""The checks of the fine-tuning lab, in its order: baseline and parts of a model, then what it knows of itself."""

from llmsafety_lab.checks.fine_tuning import heads, noise, parts, trust

EXERCISES = (
    parts.check_baseline,
    parts.check_pool,
    heads.check_predict,
    trust.check_ece,
    trust.check_temperature,
    noise.check_noise,
)
