"""A scorer of offence that reads words by their vectors, trained on the verdicts of another; sentences to try it on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from torch import Tensor, nn

_LISTED_WORDS = (
    "gay black white muslim jewish deaf transgender mexican old blind straight young american male female christian"
)
LISTED = tuple(_LISTED_WORDS.split())
"""The identities that the people who repair the scorer have thought of."""

_UNLISTED_WORDS = (
    "lesbian queer homosexual asian arab indian hindu chinese disabled african catholic bisexual "
    "elderly european canadian buddhist"
)
UNLISTED = tuple(_UNLISTED_WORDS.split())
"""Identities that nobody thought of; the repair is measured on these."""

_PEOPLE_WORDS = "man woman person people girl boy guy men women couple family child kid teenager actor actress director"
_PEOPLE = tuple(_PEOPLE_WORDS.split())
_PERSON = re.compile(rf"(?<!\w)({'|'.join(_PEOPLE)})(?!\w)")
_NAMED = re.compile(rf"(?<!\w)({'|'.join((*LISTED, *UNLISTED))})(?!\w)", re.IGNORECASE)

Vectors = Float[np.ndarray, "words width"]
Bag = tuple[Float[Tensor, "tokens width"], Int[Tensor, " tokens"], Float[Tensor, " texts"]]


def about_people(texts: Sequence[str], most: int = 45) -> list[str]:
    """Return the texts of fewer than `most` words that speak of a person and name no identity of either list."""
    return [text for text in texts if _PERSON.search(text) and not _NAMED.search(text) and len(text.split()) < most]


def said_of(text: str, identity: str) -> str:
    """Return the text with an identity before the first word for a person: "a man" becomes "a deaf man"."""
    return _PERSON.sub(lambda found: f"{identity} {found[0]}", text, count=1)


class MeaningScorer(nn.Module):
    """A score for each word's vector, by a small network that all words share; a text has their sum.

    Parameters
    ----------
    vectors : Float[np.ndarray, "words width"]
        Of all words that it can read, such as GloVe's, or GloVe's with a direction erased. They are not trained.
    rows : mapping
        From a word to its row.
    hidden : int
    """

    def __init__(self, vectors: Vectors, rows: Mapping[str, int], hidden: int = 64) -> None:
        super().__init__()
        self.vectors, self.rows = vectors, rows
        self.word = nn.Sequential(nn.Linear(vectors.shape[1], hidden), nn.ReLU(), nn.Linear(hidden, 1))
        self.bias = nn.Parameter(torch.zeros(()))

    def read(self, texts: Sequence[str]) -> list[list[int]]:
        """Return for each text the rows of its words, without stop words and words that have no vector."""
        return [
            [self.rows[w] for w in re.findall("[a-z]+", text.lower()) if w in self.rows and w not in ENGLISH_STOP_WORDS]
            for text in texts
        ]

    def bag(self, ids: Sequence[Sequence[int]]) -> Bag:
        """Return the vectors of all words, for each the place of its text, and how many words each text has."""
        counts = np.array([len(one) for one in ids])
        words = np.asarray(self.vectors[[row for one in ids for row in one]], dtype=np.float32)
        places = torch.as_tensor(np.repeat(np.arange(len(ids)), counts))
        return torch.as_tensor(words), places, torch.as_tensor(np.maximum(counts, 1), dtype=torch.float32)

    def forward(self, bag: Bag) -> Float[Tensor, " texts"]:
        words, places, counts = bag
        sums = torch.zeros(len(counts)).index_add(0, places, self.word(words)[:, 0])
        return self.bias + sums / counts.sqrt()

    @torch.no_grad()
    def scores(self, texts: Sequence[str]) -> Float[np.ndarray, " texts"]:
        """Return the log-odds of offence."""
        return np.asarray(self(self.bag(self.read(texts))).double())


def fit_scorer(
    vectors: Vectors,
    rows: Mapping[str, int],
    texts: Sequence[str],
    targets: Float[np.ndarray, " texts"],
    seed: int = 0,
    epochs: int = 6,
    batch: int = 128,
) -> MeaningScorer:
    """Return a scorer trained to give each text its target, by least squares.

    Raises
    ------
    ValueError
        If there are no texts, or not as many finite targets.
    """
    wanted = torch.as_tensor(np.asarray(targets, dtype=np.float32))
    if not len(texts) or len(texts) != len(wanted) or not torch.isfinite(wanted).all():
        raise ValueError(f"a finite target for each text is needed; got {len(wanted)} for {len(texts)} texts")
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        scorer = MeaningScorer(vectors, rows)
    optimizer, ids = torch.optim.Adam(scorer.parameters(), lr=3e-3), scorer.read(texts)
    for _ in range(epochs):
        for part in torch.randperm(len(texts), generator=generator).split(batch):
            loss = (scorer(scorer.bag([ids[i] for i in part.tolist()])) - wanted[part]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return scorer.eval()


def erased(vectors: Vectors, rows: Mapping[str, int], words: Sequence[str], directions: int) -> Vectors:
    """Return the vectors without the directions in which some words differ most from their mean: hard debiasing.

    References
    ----------
    Bolukbasi et al. 2016, Man is to Computer Programmer as Woman is to Homemaker?, section 5: the step "neutralize",
    for all words.
    """
    table = np.asarray(vectors, dtype=np.float32)
    some = np.array([table[rows[word]] for word in words])
    if not 1 <= directions < len(some):
        raise ValueError(f"from 1 to {len(some) - 1} directions can be found in {len(some)} words; got {directions}")
    found = np.linalg.svd(some - some.mean(0), full_matrices=False)[2][:directions]
    return table - (table @ found.T) @ found
