"""Named entities: labels for sub-words, spans from tags, scores that say what was found, and a tagger on an encoder.

A sentence is a list of tokens; its tags are a list of as many strings: "O", or "B-" or "I-" and a type. A span is a
triple (type, start, end), the end not included.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int
from torch import Tensor

IGNORED = -100
"""The label that torch's cross-entropy leaves out."""

Span = tuple[str, int, int]
Tags = Sequence[str]


def align_labels(word_ids: Sequence[int | None], labels: Sequence[int]) -> list[int]:
    """Give each word's label to its first sub-word, and `IGNORED` to all other positions.

    Parameters
    ----------
    word_ids : sequence of int or None
        For each position the index of its word, as a fast tokenizer's `word_ids()`; None for special tokens, padding.
    labels : sequence of int
        A label for each word.

    Returns
    -------
    list of int
        As long as `word_ids`.

    Raises
    ------
    IndexError
        If a position belongs to a word that has no label.
    """
    aligned, previous = [], None
    for word in word_ids:
        aligned.append(IGNORED if word is None or word == previous else labels[word])
        previous = word
    return aligned


def word_tags(
    predicted: Int[Tensor, "batch positions"], labels: Int[Tensor, "batch positions"], names: Sequence[str]
) -> list[list[str]]:
    """Return the predicted tag of each word: what stands where the labels are not `IGNORED`."""
    return [
        [names[p] for p, label in zip(row.tolist(), true.tolist(), strict=True) if label != IGNORED]
        for row, true in zip(predicted, labels, strict=True)
    ]


def bio_to_spans(tags: Tags, strict: bool = False) -> list[Span]:
    """Return the spans that BIO tags mark.

    Parameters
    ----------
    tags : sequence of str
    strict : bool
        What to do with an I- that continues nothing of its type. False: it starts a span, as in the scorer of
        CoNLL-2000 and -2003 (Tjong Kim Sang and De Meulder 2003). True: it marks nothing, as in seqeval's strict IOB2.

    Returns
    -------
    list of (str, int, int)
        Type, start and end (not included), in order.

    Raises
    ------
    ValueError
        If a tag is neither "O" nor "B-" or "I-" with a type.
    """
    spans: list[Span] = []
    kind, start = "", 0
    for i, tag in enumerate([*tags, "O"]):
        prefix, _, name = tag.partition("-")
        if tag != "O" and (prefix not in ("B", "I") or not name):
            raise ValueError(f"tag {i} is {tag!r}; expected O, or B- or I- with a type")
        if prefix == "I" and name == kind:
            continue
        if kind:
            spans.append((kind, start, i))
        starts = prefix == "B" or (prefix == "I" and not strict)
        kind, start = (name, i) if starts else ("", i)
    return spans


def spans_to_bio(spans: Iterable[Span], length: int) -> list[str]:
    """Return the BIO tags of spans that do not overlap; one that does, or lies outside, is a ValueError."""
    tags = ["O"] * length
    for kind, start, end in spans:
        if not 0 <= start < end <= length or set(tags[start:end]) != {"O"}:
            raise ValueError(f"the span {kind} from {start} to {end} overlaps another, or leaves the {length} words")
        tags[start:end] = [f"B-{kind}", *[f"I-{kind}"] * (end - start - 1)]
    return tags


def f1(correct: int, predicted: int, expected: int) -> float:
    """Return the harmonic mean of precision and recall, from the three counts; of nothing at all it is 0."""
    both = predicted + expected
    return 2 * correct / both if both else 0.0


def span_counts(truth: Tags, predicted: Tags, strict: bool = False) -> dict[str, tuple[int, int, int]]:
    """Return for each type how many spans of a sentence are correct, predicted, and expected.

    A span is correct when type, start and end are.

    Raises
    ------
    ValueError
        If the sentence has other than one predicted tag for each word.
    """
    if len(truth) != len(predicted):
        raise ValueError(f"{len(predicted)} predicted tags for {len(truth)} words")
    true, found = set(bio_to_spans(truth, strict)), set(bio_to_spans(predicted, strict))
    columns = [Counter(span[0] for span in spans) for spans in (true & found, found, true)]
    return {kind: tuple(column[kind] for column in columns) for kind in columns[1] | columns[2]}  # type: ignore[misc]


def span_f1(truth: Sequence[Tags], predicted: Sequence[Tags], strict: bool = False) -> dict[str, Any]:
    """Score spans over all sentences: the measure of CoNLL-2003, equal to seqeval's.

    Parameters
    ----------
    truth, predicted : sequence of sequence of str
        The tags of each sentence.
    strict : bool
        As in `bio_to_spans`.

    Returns
    -------
    dict
        "precision", "recall" and "micro", the F1 of all spans together; "types", the F1 of each type that occurs;
        "macro", the mean of these, in which each type counts the same.

    Raises
    ------
    ValueError
        If the sentences do not fit.
    """
    totals: dict[str, list[int]] = {}
    for true, found in zip(truth, predicted, strict=True):
        for kind, counts in span_counts(true, found, strict).items():
            totals[kind] = [a + b for a, b in zip(totals.get(kind, [0, 0, 0]), counts, strict=True)]
    types = {kind: f1(*counts) for kind, counts in sorted(totals.items())}
    every = [sum(counts[i] for counts in totals.values()) for i in range(3)]
    return {
        "precision": every[0] / every[1] if every[1] else 0.0,
        "recall": every[0] / every[2] if every[2] else 0.0,
        "micro": f1(*every),
        "macro": sum(types.values()) / len(types) if types else 0.0,
        "types": types,
    }


def token_scores(truth: Sequence[Tags], predicted: Sequence[Tags]) -> dict[str, float]:
    """Score the tags of single tokens, for comparison: what a classification report over tokens prints.

    Returns
    -------
    dict of str to float
        "accuracy": the share of right tags, which is also the micro F1 over all tags with O; "micro without O": F1 over
        all tags but O; "macro": mean F1 of the tags, O among them; "entities": the share of right tags where the truth
        is not O.
    """
    if [len(tags) for tags in truth] != [len(tags) for tags in predicted]:
        raise ValueError("a sentence has other than one predicted tag for each word")
    true = [tag for tags in truth for tag in tags]
    found = [tag for tags in predicted for tag in tags]
    right = Counter(t for t, p in zip(true, found, strict=True) if t == p)
    expected, guessed = Counter(true), Counter(found)
    scores = [f1(right[tag], guessed[tag], expected[tag]) for tag in expected | guessed]
    inside = [sum(counts.values()) - counts["O"] for counts in (right, guessed, expected)]
    return {
        "accuracy": sum(right.values()) / len(true) if true else 0.0,
        "micro without O": f1(*inside),
        "macro": sum(scores) / len(scores) if scores else 0.0,
        "entities": inside[0] / inside[2] if inside[2] else 0.0,
    }


def bootstrap_interval(
    counts: Int[np.ndarray, "sentences 3"], draws: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Return an interval for the micro F1 by drawing sentences with replacement (Efron's percentile bootstrap).

    It needs some fifty sentences with spans: of its 95% intervals over ten, about 89 in 100 hold the truth. For few
    sentences take `statistics.ratio_interval(2 * correct, predicted + expected)`.

    Parameters
    ----------
    counts : integer array, shape (sentences, 3)
        For each sentence the spans that are correct, predicted and expected.
    draws : int
        How many sets of sentences are drawn, each as large as the first.
    seed : int
    level : float
        The share of the draws inside the interval.

    Raises
    ------
    ValueError
        If there are no sentences, a count is negative, there is no draw, or the level is not between 0 and 1.
    """
    counts = np.asarray(counts)
    if counts.ndim != 2 or not len(counts) or counts.shape[1] != 3 or not (counts >= 0).all():
        raise ValueError(f"counts have shape {counts.shape}; expected a row of three numbers for each sentence")
    if draws < 1 or not 0 < level < 1:
        raise ValueError(f"needs a draw, and a level between 0 and 1: got {draws} draws and {level}")
    rng = np.random.default_rng(seed)
    drawn = np.empty(draws)
    for i in range(draws):
        correct, predicted, expected = counts[rng.integers(0, len(counts), len(counts))].sum(0)
        drawn[i] = 2 * correct / max(predicted + expected, 1)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def sentence_counts(
    truth: Sequence[Tags], predicted: Sequence[Tags], kind: str | None = None, strict: bool = False
) -> Int[np.ndarray, "sentences 3"]:
    """Return the row of `bootstrap_interval` for each sentence, of one type or of all together."""
    rows = []
    for true, found in zip(truth, predicted, strict=True):
        counts = span_counts(true, found, strict)
        kinds = counts if kind is None else [kind]
        rows.append([sum(counts.get(k, (0, 0, 0))[i] for k in kinds) for i in range(3)])
    return np.array(rows)


def redaction_recall(truth: Sequence[Tags], predicted: Sequence[Tags], kinds: Sequence[str]) -> float:
    """Return the share of true spans that a redactor hides altogether, every word, under whatever type.

    Parameters
    ----------
    truth, predicted : sequence of sequence of str
    kinds : sequence of str
        The types that have to be hidden.

    Raises
    ------
    ValueError
        If there is no span of these types.
    """
    hidden = [
        all(tag != "O" for tag in found[start:end])
        for true, found in zip(truth, predicted, strict=True)
        for kind, start, end in bio_to_spans(true)
        if kind in kinds
    ]
    if not hidden:
        raise ValueError(f"the truth holds no span of {', '.join(kinds)}")
    return sum(hidden) / len(hidden)


def gazetteer(tokens: Sequence[Sequence[str]], tags: Sequence[Tags]) -> dict[tuple[str, ...], str]:
    """Return a dictionary of the entities in tagged sentences: their words, and their most frequent type."""
    seen: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for words, row in zip(tokens, tags, strict=True):
        for kind, start, end in bio_to_spans(row):
            seen[tuple(words[start:end])][kind] += 1
    return {words: kinds.most_common(1)[0][0] for words, kinds in seen.items()}


def longest_match(words: Sequence[str], entries: Mapping[tuple[str, ...], str]) -> list[str]:
    """Tag a sentence by a dictionary of entities: from left to right, the longest entry that fits."""
    longest = max(map(len, entries), default=0)
    spans: list[Span] = []
    start = 0
    while start < len(words):
        ends = range(min(start + longest, len(words)), start, -1)
        end = next((end for end in ends if tuple(words[start:end]) in entries), None)
        if end is not None:
            spans.append((entries[tuple(words[start:end])], start, end))
        start = end or start + 1
    return spans_to_bio(spans, len(words))
