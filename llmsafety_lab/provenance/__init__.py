"""Provenance: what the chapter and its lab use."""

from llmsafety_lab.provenance.attacks import dilute, neighbours, steal, substitute
from llmsafety_lab.provenance.credentials import canonical, digest, hide, reveal, sign, verify, with_key
from llmsafety_lab.provenance.detectors import curvature, least_base, right_accusations, surprise
from llmsafety_lab.provenance.green_lists import (
    KEY,
    count_green,
    diluted_z,
    expected_green,
    green_list,
    green_matrix,
    z_score,
)
from llmsafety_lab.provenance.gumbel import gumbel_choice, gumbel_test, keyed_uniforms
from llmsafety_lab.provenance.licences import CLASSES, allowed, licence_class
from llmsafety_lab.provenance.seeds import accumulate, generator
from llmsafety_lab.provenance.tournaments import g_values, play, tournament
from llmsafety_lab.provenance.words import WordModel, learn, write_marked
from llmsafety_lab.provenance.writing import (
    Choose,
    by_green_lists,
    by_gumbel,
    by_tournaments,
    fresh_places,
    gumbel_numbers,
    tournament_marks,
    unmarked,
    write,
)

__all__ = [
    "CLASSES",
    "KEY",
    "Choose",
    "WordModel",
    "accumulate",
    "allowed",
    "by_green_lists",
    "by_gumbel",
    "by_tournaments",
    "canonical",
    "count_green",
    "curvature",
    "digest",
    "dilute",
    "diluted_z",
    "expected_green",
    "fresh_places",
    "g_values",
    "generator",
    "green_list",
    "green_matrix",
    "gumbel_choice",
    "gumbel_numbers",
    "gumbel_test",
    "hide",
    "keyed_uniforms",
    "learn",
    "least_base",
    "licence_class",
    "neighbours",
    "play",
    "reveal",
    "right_accusations",
    "sign",
    "steal",
    "substitute",
    "surprise",
    "tournament",
    "tournament_marks",
    "unmarked",
    "verify",
    "with_key",
    "write",
    "write_marked",
    "z_score",
]
