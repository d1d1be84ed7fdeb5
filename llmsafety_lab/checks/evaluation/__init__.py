"""The checks of the lab on evaluation, in its order: error bars, selection, judges, ranking, contamination."""

from llmsafety_lab.checks.evaluation import contamination, judges, ranking, selection, uncertainty

EXERCISES = (
    uncertainty.check_clustered,
    selection.check_best,
    judges.check_kappa,
    judges.check_powered,
    ranking.check_strengths,
    contamination.check_order,
)
