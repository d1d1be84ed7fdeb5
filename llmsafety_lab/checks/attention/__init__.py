"""The checks of the attention lab, in its order: the operation, models that use it, what can be read off its maps."""

from llmsafety_lab.checks.attention import decoding, maps, operation

EXERCISES = (
    operation.check_scaled_dot_product,
    operation.check_multi_head,
    decoding.check_causality,
    decoding.check_cache,
    maps.check_induction,
    maps.check_rollout,
)
