"""The checks of the safe fine-tuning lab, in its order: what is learnt, how likely it is, steps, price, leash, DPO."""

from llmsafety_lab.checks.safe_fine_tuning import answers, policies, preferences, prices

EXERCISES = (
    answers.check_labels,
    answers.check_log_probs,
    policies.check_policy_gradient,
    prices.check_lagrangian,
    policies.check_kl,
    preferences.check_dpo,
)
