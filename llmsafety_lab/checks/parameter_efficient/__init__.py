"""The checks of the lab on parameter-efficient tuning, in its order: layers that add little, a prefix, and ranks."""

from llmsafety_lab.checks.parameter_efficient import layers, prefix, ranks

EXERCISES = (
    layers.check_merge,
    layers.check_lora,
    layers.check_adapter,
    prefix.check_prefix,
    ranks.check_importance,
    ranks.check_allocate,
)
