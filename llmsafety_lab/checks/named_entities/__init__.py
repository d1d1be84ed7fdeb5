"""The checks of the named entities lab, in its order: labels for sub-words, spans and their scores, what they tell."""

from llmsafety_lab.checks.named_entities import labels, reports, spans

EXERCISES = (
    labels.check_align,
    labels.check_words,
    spans.check_spans,
    spans.check_f1,
    reports.check_interval,
    reports.check_redaction,
)
