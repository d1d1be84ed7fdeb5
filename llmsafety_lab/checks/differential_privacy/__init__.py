"""The checks of the Differential privacy lab, in its order: a mean, gradients, batches, the account, the audit."""

from llmsafety_lab.checks.differential_privacy import account, auditing, batches, gradients, mean

EXERCISES = (
    mean.check_mean,
    gradients.check_per_record,
    gradients.check_private,
    batches.check_poisson,
    account.check_epsilon,
    auditing.check_audit,
)
