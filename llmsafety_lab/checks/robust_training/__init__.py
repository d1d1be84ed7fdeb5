"""The checks of the robust training lab, in its order: the loss, steps of training, variants, and what is measured."""

from llmsafety_lab.checks.robust_training import direction, freelb, losses, measures, steps, trades

EXERCISES = (
    losses.check_loss,
    steps.check_step,
    freelb.check_freelb,
    trades.check_trades,
    direction.check_direction,
    measures.check_report,
)
