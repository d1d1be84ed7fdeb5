"""What chance allows, by chi-square."""

from __future__ import annotations

CHANCE = 1e-6
"""What a right answer would show less often than this is taken for a mistake."""


def unlikely(seen: list[int], expected: list[float]) -> bool:
    """Say whether counts are too far from what was expected, by chi-square."""
    from scipy.stats import chisquare

    total = sum(expected)
    return bool(chisquare(seen, [sum(seen) * share / total for share in expected]).pvalue < CHANCE)
