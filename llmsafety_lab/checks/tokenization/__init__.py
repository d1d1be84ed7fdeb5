"""The checks of the tokenization lab, in its order: learning pairs, coding with them, and a filter that looks twice."""

from llmsafety_lab.checks.tokenization import coding, filters, pairs, streams, training

EXERCISES = (
    pairs.check_merge,
    training.check_train,
    coding.check_encode,
    streams.check_stream,
    filters.check_filter,
)
