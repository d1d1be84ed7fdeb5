"""The checks of the moderation lab, in its order."""

from llmsafety_lab.checks.moderation import meanings, retrieval, selective, streams, thresholds

EXERCISES = (
    thresholds.check_tune,
    streams.check_stream_threshold,
    selective.check_risk_coverage,
    meanings.check_semantic_entropy,
    retrieval.check_retrieve,
)
