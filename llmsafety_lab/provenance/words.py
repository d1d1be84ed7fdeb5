"""A language model of word pairs, which writes a thousand texts in the time that a transformer takes for one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llmsafety_lab.provenance.green_lists import green_matrix

TOKEN = re.compile(r"[a-z']+|[.,!?]")


@dataclass(frozen=True)
class WordModel:
    """The probability of each word after each other one.

    Parameters
    ----------
    words : list of str
        The vocabulary. Its first entry stands for every other word.
    table : Float[Tensor, "vocabulary vocabulary"]
        A row for the word before, a column for the word after; each row sums to 1.
    """

    words: list[str]
    table: Float[Tensor, "vocabulary vocabulary"]

    def encode(self, text: str) -> list[int]:
        """Return a text's words as ids."""
        place = {word: number for number, word in enumerate(self.words)}
        return [place.get(word, 0) for word in TOKEN.findall(text.lower())]

    def decode(self, ids: Sequence[int]) -> str:
        """Return ids as text."""
        return re.sub(r" ([.,!?])", r"\1", " ".join(self.words[number] for number in ids))

    def cooled(self, temperature: float) -> WordModel:
        """Return the model at another temperature: below 1 it is surer of its words.

        Raises
        ------
        ValueError
            If the temperature is not positive.
        """
        if temperature <= 0:
            raise ValueError(f"a temperature is positive; got {temperature}")
        return WordModel(self.words, (self.table.log() / temperature).softmax(-1))

    def entropy(self, ids: Int[Tensor, "texts tokens"]) -> Float[Tensor, "texts tokens"]:
        """Return the entropy, in nats, of the distribution from which the word after each one is drawn."""
        return -(self.table * self.table.clamp_min(1e-30).log()).sum(-1)[ids]


def learn(texts: Sequence[str], vocabulary: int, trust: float = 20.0) -> WordModel:
    """Return the word pairs of texts: counts, smoothed by the words' own frequencies.

    Parameters
    ----------
    texts : sequence of str
    vocabulary : int
        How many different words are kept, the most frequent ones; all others are one.
    trust : float
        How many observations the words' own frequencies count for.

    Raises
    ------
    ValueError
        If the texts have fewer different words.
    """
    split = [TOKEN.findall(text.lower()) for text in texts]
    ranked = [word for word, _ in Counter(word for row in split for word in row).most_common(vocabulary - 1)]
    if len(ranked) < vocabulary - 1:
        raise ValueError(f"the texts have {len(ranked)} different words, too few for a vocabulary of {vocabulary}")
    place = {word: number for number, word in enumerate(ranked, 1)}
    counts = torch.zeros(vocabulary, vocabulary)
    ids = [torch.tensor([place.get(word, 0) for word in row], dtype=torch.long) for row in split]
    pairs = torch.cat([row[:-1] * vocabulary + row[1:] for row in ids if len(row) > 1])
    counts.view(-1).index_add_(0, pairs, torch.ones(len(pairs)))
    counts[:, 0] = 0  # it never writes the word that stands for the others
    alone = counts.sum(0) + 0.1
    alone[0] = 0
    table = counts + trust * alone / alone.sum()
    return WordModel(["<other>", *ranked], table / table.sum(-1, keepdim=True))


def write_marked(
    model: WordModel, texts: int, tokens: int, delta: float, gamma: float = 0.25, key: int | None = None, seed: int = 0
) -> Int[Tensor, "texts tokens"]:
    """Return texts with a green-list watermark, all written at once.

    Parameters
    ----------
    model : WordModel
    texts, tokens : int
    delta : float
        How far green logits are raised; 0 writes without a watermark.
    gamma : float
    key : int, optional
        By default that of `green_list`.
    seed : int

    Raises
    ------
    ValueError
        If there is no text, or fewer than two tokens.
    """
    if texts < 1 or tokens < 2:
        raise ValueError(f"at least one text of two tokens; got {texts} of {tokens}")
    size = len(model.words)
    table = model.table
    if delta:
        green = green_matrix(size, gamma) if key is None else green_matrix(size, gamma, key)
        table = table * (delta * green).exp()
    dice = torch.Generator().manual_seed(seed)
    column = torch.multinomial(model.table[1:].mean(0), texts, replacement=True, generator=dice)
    written = [column]
    for _ in range(tokens - 1):
        column = torch.multinomial(table[column], 1, generator=dice)[:, 0]
        written.append(column)
    return torch.stack(written, 1)
