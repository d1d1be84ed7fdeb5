"""The checks of the provenance lab, in its order."""

from llmsafety_lab.checks.provenance import counts, credentials, gumbel, lists, tournaments

EXERCISES = (
    lists.check_green_list,
    counts.check_count,
    counts.check_z,
    gumbel.check_choice,
    tournaments.check_tournament,
    credentials.check_verify,
)
