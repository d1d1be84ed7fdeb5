"""The checks of the pretraining lab, in its order: the next token, the measure, masked tokens, sentences, the step."""

from llmsafety_lab.checks.pretraining import causal, masking, schedule, sentences, steps

EXERCISES = (
    causal.check_causal_loss,
    schedule.check_schedule,
    causal.check_perplexity,
    masking.check_mask,
    sentences.check_pairs,
    steps.check_orthogonalise,
)
