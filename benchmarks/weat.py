"""WEAT's effect size and p-value: ours against wefe's, on the same vectors of GloVe, on one thread.

    python benchmarks/weat.py

wefe is installed into a folder of its own under `_build`, without its dependencies, and no other program sees it. Our
p-value is exact, or for more than 40 words an upper bound; wefe's is of 1,000 draws. (wefe 1.0.1 draws the words with
replacement, so a word may come twice in a division and another not at all; its p-values are printed, and not compared.)
The last line is our time over wefe's for all ten tests.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from llmsafety_lab import data, models
from llmsafety_lab.representation_bias import weat_effect, weat_p_value

ROOT = Path(__file__).parents[1]
PEER = ("wefe==1.0.1", "gensim==4.4.0", "smart_open==9.0.2", "wrapt==2.5.2", "semantic_version==2.10.0")
SETS = ("target_x", "target_y", "attribute_a", "attribute_b")
DRAWS = 1_000


def peer() -> None:
    """Install wefe into its folder, once, and make it importable here."""
    home = ROOT / "_build" / "wefe"
    if not (home / "ready").exists():
        print(f"installing {PEER[0]} into {home.relative_to(ROOT)}", flush=True)
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(home), *PEER]
        subprocess.run(install, check=True)
        (home / "ready").touch()
    sys.path.append(str(home))


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    value = call()
    return time.process_time() - start, value


def main() -> None:
    peer()
    metrics, query = importlib.import_module("wefe.metrics"), importlib.import_module("wefe.query")
    keyed, model = importlib.import_module("gensim.models"), importlib.import_module("wefe.word_embedding_model")
    vectors, rows = models.load("glove")
    sets = [
        [[w for w in dict.fromkeys(map(str.lower, test[name])) if w in rows] for name in SETS]
        for test in data.load("weat")
    ]
    every = sorted({word for test in sets for words in test for word in words})
    known = keyed.KeyedVectors(vectors.shape[1])
    known.add_vectors(every, np.asarray(vectors[[rows[word] for word in every]]))
    wrapped = model.WordEmbeddingModel(known, "glove")
    ours_s = peers_s = 0.0
    print("test        d: ours   wefe's   wefe's times root((n - 1) / n)     p: ours   wefe's")
    for number, test in enumerate(sets, 1):
        four = [np.asarray(vectors[[rows[word] for word in words]]) for words in test]
        asked = query.Query(test[:2], test[2:])
        spent, p = seconds(partial(weat_p_value, four[0], four[1], four[2], four[3], "greater"))
        ours_s += spent

        options = {"return_effect_size": True, "calculate_p_value": True, "p_value_iterations": DRAWS}
        theirs = partial(metrics.WEAT().run_query, asked, wrapped, **options)
        spent, found = seconds(theirs)
        peers_s += spent
        items, d = len(test[0]) + len(test[1]), weat_effect(*four)
        same = found["effect_size"] * np.sqrt((items - 1) / items)
        print(
            f"{number:>4}     {d:10.6f} {found['effect_size']:8.4f} {same:20.6f} {p:24.2g} {found['p_value']:8.4f}",
            flush=True,
        )
        assert abs(same - d) < 1e-5
    print(f"ours {ours_s:.3f} s, exact; wefe {peers_s:.1f} s for {DRAWS:,} draws")
    print(f"ratio {ours_s / peers_s:.4f}")


if __name__ == "__main__":
    main()
