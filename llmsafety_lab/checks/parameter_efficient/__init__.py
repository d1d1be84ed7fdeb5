"""The checks of the lab on parameter-efficient tuning, in its order: layers that add little, a prefix, and ranks."""

from llmsafety_lab.checks.parameter_efficient import adapter, importance, lora, merging, prefix, ranks

EXERCISES = (
    merging.check_merge,
    lora.check_lora,
    adapter.check_adapter,
    prefix.check_prefix,
    importance.check_importance,
    ranks.check_allocate,
)
