"""The checks of the adversarial attacks lab, in its order: gradient and geometry, the attacks, and what is measured."""

from llmsafety_lab.checks.adversarial_attacks import attacks, budget, geometry, measures, restarts

EXERCISES = (
    geometry.check_gradient,
    budget.check_project,
    attacks.check_fgsm,
    restarts.check_pgd,
    measures.check_success,
    measures.check_tokens,
)
