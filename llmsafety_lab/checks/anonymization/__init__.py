"""The checks of the Anonymization lab, in its order."""

from llmsafety_lab.checks.anonymization import classes, closeness, cuts, linkage, pseudonyms, redaction

EXERCISES = (
    pseudonyms.check_pseudonym,
    redaction.check_redact,
    classes.check_k,
    cuts.check_mondrian,
    linkage.check_candidates,
    closeness.check_closeness,
)
