"""Exercises 4 and 5: masked tokens and pairs of sentences, by what may never happen and by chi-square."""

from __future__ import annotations

from collections import Counter
from typing import Any

from llmsafety_lab.course.answer import Answer
from llmsafety_lab.course.exercise import Dice, Failed, Mutant, exercise, expect, expect_tensor

CHANCE = 1e-6
"""What a right answer would show less often than this is taken for a mistake."""


def unlikely(seen: list[int], expected: list[float]) -> bool:
    """Say whether counts are too far from what was expected, by chi-square."""
    from scipy.stats import chisquare

    total = sum(expected)
    return bool(chisquare(seen, [sum(seen) * share / total for share in expected]).pvalue < CHANCE)


@exercise(
    "pretraining.mask",
    "Hide tokens as BERT does",
    points=4,
    difficulty=3,
    importance=5,
    minutes=14,
    answer="mask_tokens",
    forbid=("transformers.DataCollatorForLanguageModeling",),
    mutants=(
        Mutant("specials masked", " & ~torch.isin(ids, special)", "", "special"),
        Mutant(
            "loss on unmasked tokens", "labels = torch.where(chosen, ids, -100)", "labels = ids.clone()", "unmasked"
        ),
        Mutant("80/10/10 swapped", "fate < 0.8", "fate < 0.1", "swapped"),
        Mutant("none stay", "fate >= 0.9", "fate >= 0.8", "none stays"),
        Mutant(
            "all become the mask",
            "inputs = torch.where(chosen & (fate < 0.8), mask, ids)\n"
            "    inputs = torch.where(chosen & (fate >= 0.9), drawn, inputs)",
            "inputs = torch.where(chosen, mask, ids)",
            "all chosen",
        ),
        Mutant(
            "labels read after masking",
            "return inputs, labels",
            "return inputs, torch.where(chosen, inputs, -100)",
            "after",
        ),
        Mutant(
            "one mask for the batch",
            "torch.rand(ids.shape, generator=generator) < rate",
            "torch.rand(ids.shape[1], generator=generator) < rate",
            "same positions",
        ),
        Mutant("rate ignored", "< rate)", "< 0.15)", "rate"),
        Mutant("seed ignored", "manual_seed(seed)", "manual_seed(0)", "seed"),
    ),
)
def check_mask(answer: Answer, dice: Dice) -> None:
    vocabulary = dice.integer(24, 30)
    mask, special = vocabulary, dice.integers(0, 1, 2) + dice.integer(3, 20)
    special[1] = special[0] + 1
    ids = dice.integers(0, vocabulary - 1, 60, 150)
    seed = dice.integer(0, 10**6)
    inputs, labels = _both(answer(ids, special, mask, vocabulary, seed), ids)
    chosen = _chosen(ids, inputs, labels, special, mask)
    expect(
        float(chosen.any(0).double().mean()) > 0.5,
        "The same positions are chosen in each text.",
        expected="a draw for each token of each text",
        got=f"{int(chosen.any(0).sum())} of {ids.shape[1]} positions are ever chosen",
        hint="Draw random numbers of the shape of ids, not one row for all.",
    )
    _rates(ids, inputs, chosen, special, mask, vocabulary)
    again, other = (_both(answer(ids, special, mask, vocabulary, s), ids) for s in (seed, seed + 1))
    expect(
        bool((again[0] == inputs).all() and (again[1] == labels).all()),
        "Two calls with the same seed differ.",
        hint="Draw from torch.Generator().manual_seed(seed).",
    )
    expect(not bool((other[1] == labels).all()), "Two seeds give the same mask: the seed is not used.")
    half = _both(answer(ids, special, mask, vocabulary, seed, 0.5), ids)[1] != -100
    share = float(half.sum() / ((ids != special[0]) & (ids != special[1])).sum())
    expect(abs(share - 0.5) < 0.05, "With a rate of 0.5 half of the tokens are chosen.", expected=0.5, got=share)


def _both(reply: Any, ids: Any) -> tuple[Any, Any]:
    if not isinstance(reply, list | tuple) or len(reply) != 2:
        raise Failed("Two tensors are asked for.", expected="(inputs, labels)", got=type(reply).__name__)
    inputs, labels = reply
    return expect_tensor(inputs, ids.shape, "inputs").long(), expect_tensor(labels, ids.shape, "labels").long()


def _chosen(ids: Any, inputs: Any, labels: Any, special: Any, mask: int) -> Any:
    import torch

    chosen = labels != -100
    expect(
        bool(chosen.any()), "Nothing is chosen: all labels are -100.", hint="15% of the tokens keep their id as label."
    )
    expect(
        float(chosen.double().mean()) < 0.9,
        "The loss would be on unmasked tokens, too: nearly every position has a label.",
        expected="-100 where a token was not chosen",
        got=f"labels at {float(chosen.double().mean()):.0%} of the positions",
        hint="At an unmasked position the answer is in plain sight, so the model would learn to copy.",
    )
    expect(
        bool((inputs[~chosen] == ids[~chosen]).all()),
        "A token that was not chosen has changed.",
        hint="Where the label is -100 the input is as it was.",
    )
    hit = chosen & torch.isin(ids, special)
    expect(
        not bool(hit.any()),
        f"{int(hit.sum())} special tokens are chosen.",
        expected="[CLS], [SEP] and padding are never chosen",
        hint="They are no text: exclude them before you draw, or from what was drawn.",
    )
    wrong = chosen & (labels != ids)
    read_late = bool((labels[wrong] == inputs[wrong]).all())
    expect(
        not bool(wrong.any()),
        "A label is not the token that was there.",
        hint="You read the labels after the masking: take them from ids."
        if read_late
        else "The label of a chosen position is its id in ids.",
    )
    return chosen


def _rates(ids: Any, inputs: Any, chosen: Any, special: Any, mask: int, vocabulary: int) -> None:
    import torch

    ordinary = int((~torch.isin(ids, special)).sum())
    count = int(chosen.sum())
    expect(
        not unlikely([count, ordinary - count], [0.15, 0.85]),
        "The share of chosen tokens is not the rate, 0.15.",
        expected=0.15,
        got=count / ordinary,
        hint="Each ordinary token is chosen with the chance rate.",
    )
    hidden = int((inputs[chosen] == mask).sum())
    same = int((inputs[chosen] == ids[chosen]).sum())
    shares = [hidden / count, 1 - (hidden + same) / count, same / count]
    names = f"{shares[0]:.0%} masked, {shares[1]:.0%} another token, {shares[2]:.0%} as it was"
    if shares[0] > 0.99:
        hint = "All chosen tokens become the mask. The model would then never see a chosen token that looks like text."
    elif max(shares) != shares[0]:
        hint = "The 80% are swapped: 80% become the mask, 10% a random token, 10% stay."
    elif shares[2] < 0.03:
        hint = "None stays as it was: 10% do, so that a model cannot take an ordinary token for a wrong one."
    else:
        hint = "Draw one number for each chosen token: below 0.8 the mask, from 0.9 on a random token."
    drawn_same = 1 / vocabulary
    expected = [0.8, 0.1 * (1 - drawn_same), 0.1 * (1 + drawn_same)]
    expect(
        not unlikely([hidden, count - hidden - same, same], expected),
        "What becomes of the chosen tokens is wrong.",
        expected="80% masked, 10% random, 10% as it was",
        got=names,
        hint=hint,
    )
    changed = chosen & (inputs != mask) & (inputs != ids)
    drawn, lost = (
        torch.bincount(side[changed].clamp(0, vocabulary), minlength=vocabulary + 1) for side in (inputs, ids)
    )
    expect(
        int(drawn[vocabulary]) == 0 and int(inputs.min()) >= 0,
        "A random token is outside the vocabulary.",
        expected=f"ids from 0 to {vocabulary - 1}",
    )
    even = [float(lost.sum() - there) for there in lost[:vocabulary]]
    expect(
        not unlikely(drawn[:vocabulary].tolist(), even),
        "The random tokens are not drawn evenly from the vocabulary.",
        expected="each id from 0 to vocabulary - 1 with the same chance",
        got=f"{drawn[:vocabulary].tolist()} times each",
        hint="torch.randint(vocabulary, ids.shape, generator=...).",
    )


@exercise(
    "pretraining.pairs",
    "Next sentence or not",
    points=3,
    difficulty=2,
    importance=2,
    minutes=10,
    answer="sentence_pairs",
    mutants=(
        Mutant("strangers from the same document", " if i != number", "", "its own document"),
        Mutant("always the next", "if rng.random() < 0.5:", "if rng.random() < 2:", "half"),
        Mutant("labels swapped", "follows, True", "follows, False", "label"),
        Mutant(
            "skips every other sentence",
            "pairwise(document):",
            "zip(document[::2], document[1::2], strict=False):",
            "each sentence",
        ),
        Mutant("always the first stranger", "others[rng.integers(len(others))]", "others[0]", "evenly"),
    ),
)
def check_pairs(answer: Answer, dice: Dice) -> None:
    names = dice.integer(100, 900)
    sizes = [300, 5, 1, 6, 300]
    documents = [[f"{names + d} says line {s}." for s in range(size)] for d, size in enumerate(sizes)]
    place = {sentence: (d, s) for d, document in enumerate(documents) for s, sentence in enumerate(document)}
    seed = dice.integer(0, 10**6)
    reply = answer(documents, seed)
    expect(isinstance(reply, list | tuple) and all(len(pair) == 3 for pair in reply), "A list of triples is asked for.")
    pairs = [tuple(pair) for pair in reply]
    expect(
        all(first in place and second in place for first, second, _ in pairs),
        "A sentence of yours is in no document.",
        expected="(first, second, follows)",
    )
    firsts = Counter(first for first, _, _ in pairs)
    expected = Counter(sentence for document in documents for sentence in document[:-1])
    expect(
        firsts == expected,
        "Not each sentence is a first sentence once (but the last of a document, which nothing follows).",
        expected=f"{expected.total()} pairs",
        got=f"{len(pairs)} pairs of {len(firsts)} first sentences",
    )
    true = 0
    drawn: Counter[int] = Counter()
    for first, second, follows in pairs:
        (d, s), (e, t) = place[first], place[second]
        is_next = (e, t) == (d, s + 1)
        expect(
            bool(follows) == is_next,
            f"The label of a pair is wrong: {first!r} and {second!r}.",
            expected=is_next,
            got=follows,
            hint="True where the second follows the first in its document, False for a stranger.",
        ) if is_next or e != d else None
        expect(
            is_next or e != d,
            f"A stranger comes from its own document: {first!r} and {second!r}.",
            expected="a sentence of another document",
            hint="From its own document it might even be the sentence that follows.",
        )
        true += is_next
        if not is_next and d == 0:
            drawn[e] += 1
    expect(
        not unlikely([true, len(pairs) - true], [0.5, 0.5]),
        "About half of the pairs should follow, by a coin for each.",
        expected=0.5,
        got=true / len(pairs),
    )
    expect(
        not unlikely([drawn[1] + drawn[2] + drawn[3], drawn[4]], [12, 300]),
        "The strangers are not drawn evenly from the sentences of all other documents.",
        expected="each sentence with the same chance, so a long document gives more",
        got=f"{dict(drawn)} by document",
    )
    same = answer(documents, seed)
    expect([tuple(pair) for pair in same] == pairs, "Two calls with the same seed differ.")
