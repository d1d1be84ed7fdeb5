"""Safe fine-tuning: what the chapter and its lab use."""

from llmsafety_lab.safe_fine_tuning.constraints import Lagrangian, projected, tilted
from llmsafety_lab.safe_fine_tuning.desk import Questions
from llmsafety_lab.safe_fine_tuning.labels import after_prompt, answer_log_probs, assistant_labels, sample
from llmsafety_lab.safe_fine_tuning.measures import Report, judged, reported, verdict
from llmsafety_lab.safe_fine_tuning.methods import METHODS, benignly_tuned
from llmsafety_lab.safe_fine_tuning.policy_gradient import group_advantages, grpo_loss, kl_to_reference, reinforce_loss
from llmsafety_lab.safe_fine_tuning.preferences import RewardModel, bradley_terry_loss, dpo_loss
from llmsafety_lab.safe_fine_tuning.refusing import refusing_smollm2
from llmsafety_lab.safe_fine_tuning.training import fine_tune, first_assistant, improve, log_probs, prefer

__all__ = [
    "METHODS",
    "Lagrangian",
    "Questions",
    "Report",
    "RewardModel",
    "after_prompt",
    "answer_log_probs",
    "assistant_labels",
    "benignly_tuned",
    "bradley_terry_loss",
    "dpo_loss",
    "fine_tune",
    "first_assistant",
    "group_advantages",
    "grpo_loss",
    "improve",
    "judged",
    "kl_to_reference",
    "log_probs",
    "prefer",
    "projected",
    "refusing_smollm2",
    "reinforce_loss",
    "reported",
    "sample",
    "tilted",
    "verdict",
]
