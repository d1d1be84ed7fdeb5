"""Parameter efficient: what the chapter and its lab use."""

from llmsafety_lab.parameter_efficient.adalora import (
    AdaLoRALinear,
    RankAllocator,
    allocate,
    budget_at,
    orthogonality,
    triplet_scores,
    update_importance,
)
from llmsafety_lab.parameter_efficient.layers import (
    Adapter,
    AdapterLinear,
    FrozenLinear,
    IA3Linear,
    LoRALinear,
    fold,
    inject,
    merge,
    trainable_parameters,
)
from llmsafety_lab.parameter_efficient.prefixes import PrefixTuning, PromptTuning, prefix_attention

__all__ = [
    "AdaLoRALinear",
    "Adapter",
    "AdapterLinear",
    "FrozenLinear",
    "IA3Linear",
    "LoRALinear",
    "PrefixTuning",
    "PromptTuning",
    "RankAllocator",
    "allocate",
    "budget_at",
    "fold",
    "inject",
    "merge",
    "orthogonality",
    "prefix_attention",
    "trainable_parameters",
    "triplet_scores",
    "update_importance",
]
