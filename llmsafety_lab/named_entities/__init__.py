"""Named entities: what the chapter and its lab use."""

from llmsafety_lab.named_entities.model import (
    TokenClassifier,
    fit,
    predict,
)
from llmsafety_lab.named_entities.spans import (
    IGNORED,
    Span,
    Tags,
    align_labels,
    bio_to_spans,
    bootstrap_interval,
    f1,
    gazetteer,
    longest_match,
    redaction_recall,
    sentence_counts,
    span_counts,
    span_f1,
    spans_to_bio,
    token_scores,
    word_tags,
)

__all__ = [
    "IGNORED",
    "Span",
    "Tags",
    "TokenClassifier",
    "align_labels",
    "bio_to_spans",
    "bootstrap_interval",
    "f1",
    "fit",
    "gazetteer",
    "longest_match",
    "predict",
    "redaction_recall",
    "sentence_counts",
    "span_counts",
    "span_f1",
    "spans_to_bio",
    "token_scores",
    "word_tags",
]
