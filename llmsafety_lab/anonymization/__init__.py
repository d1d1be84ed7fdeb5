"""Anonymization: what the chapter and its lab use."""

from llmsafety_lab.anonymization.attacks import answers_left, candidates, covers, enumerate_hashes, shared_answers
from llmsafety_lab.anonymization.groups import (
    SUPPRESSED,
    Table,
    classes,
    k_of,
    l_diversity,
    rows_of,
    suppress,
    t_closeness,
    uniqueness,
)
from llmsafety_lab.anonymization.partitions import codes, cut, generalised, mondrian
from llmsafety_lab.anonymization.patterns import (
    CHINESE,
    ENGLISH,
    chinese_id_holds,
    detect,
    iban_holds,
    luhn_holds,
)
from llmsafety_lab.anonymization.pseudonyms import Vault, pseudonym
from llmsafety_lab.anonymization.redaction import Span, hidden, merged, redact, span_counts
from llmsafety_lab.anonymization.templates import filled

__all__ = [
    "CHINESE",
    "ENGLISH",
    "SUPPRESSED",
    "Span",
    "Table",
    "Vault",
    "answers_left",
    "candidates",
    "chinese_id_holds",
    "classes",
    "codes",
    "covers",
    "cut",
    "detect",
    "enumerate_hashes",
    "filled",
    "generalised",
    "hidden",
    "iban_holds",
    "k_of",
    "l_diversity",
    "luhn_holds",
    "merged",
    "mondrian",
    "pseudonym",
    "redact",
    "rows_of",
    "shared_answers",
    "span_counts",
    "suppress",
    "t_closeness",
    "uniqueness",
]
