"""The checks of the named entities lab, in its order: labels for sub-words, spans and their scores, what they tell."""

from llmsafety_lab.checks.named_entities import labels, reports, scores, spans

EXERCISES = (
    labels.check_align,
    labels.check_words,
    spans.check_spans,
    scores.check_f1,
    reports.check_interval,
    reports.check_redaction,
)
