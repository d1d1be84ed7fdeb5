"""Exercise 4: masked tokens, by what may never happen and by chi-square."""

from __future__ import annotations

import torch

from llmsafety_lab.checking.answer import Answer
from llmsafety_lab.checking.dice import Dice
from llmsafety_lab.checking.exercise import Mutant, exercise
from llmsafety_lab.checking.expect import expect
from llmsafety_lab.checks.pretraining.chance import unlikely
from llmsafety_lab.checks.pretraining.gaps import both, chosen_of, expect_rates


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
        Mutant(
            "as many in each text",
            "torch.rand(ids.shape, generator=generator) < rate",
            "torch.rand(ids.shape, generator=generator).argsort(1).argsort(1) < rate * ids.shape[1]",
            "same number",
        ),
        Mutant(
            "first token spared",
            "~torch.isin(ids, special)",
            "~torch.isin(ids, special) & (torch.arange(ids.shape[1]) > 0)",
            "place in the text",
        ),
        Mutant("rate ignored", "< rate)", "< 0.15)", "rate"),
        Mutant("seed ignored", "manual_seed(seed)", "manual_seed(0)", "seed"),
        Mutant("mask not used", "(fate < 0.8), mask, ids", "(fate < 0.8), vocabulary, ids", "the argument mask"),
        Mutant("first id never drawn", "torch.randint(vocabulary,", "torch.randint(1, vocabulary,", "evenly"),
        Mutant("last id never drawn", "torch.randint(vocabulary,", "torch.randint(vocabulary - 1,", "evenly"),
        Mutant("one id too many", "torch.randint(vocabulary,", "torch.randint(vocabulary + 1,", "outside"),
        Mutant(
            "two special ids",
            "~torch.isin(ids, special)",
            "(ids != special[0]) & (ids != special[1])",
            "special tokens are chosen",
        ),
        Mutant("thresholds of one rate", "fate < 0.8", "fate < 0.12 / rate", "at a rate of 1.0"),
        Mutant("in place", "return inputs, labels", "return ids.copy_(inputs), labels", "in place"),
        Mutant("floats", "return inputs, labels", "return inputs.float(), labels", "no integers"),
        Mutant("swapped", "return inputs, labels", "return labels, inputs", "the other way round"),
        Mutant(
            "as many in each batch",
            "torch.rand(ids.shape, generator=generator) < rate",
            "torch.rand(ids.numel(), generator=generator).argsort().argsort().view_as(ids) < rate * ids.numel()",
            "in every batch",
        ),
        Mutant(
            "one at the least",
            "    labels = torch",
            "    chosen[:, 0] |= ~chosen.any(1) & ~torch.isin(ids[:, 0], special)\n    labels = torch",
            "none is chosen",
        ),
        Mutant(
            "never the same",
            "    inputs = torch.where(chosen & (fate < 0.8)",
            "    drawn = torch.where(drawn == ids, (ids + 1) % vocabulary, drawn)\n"
            "    inputs = torch.where(chosen & (fate < 0.8)",
            "the one that was there",
        ),
        Mutant(
            "drawn from the text",
            "    inputs = torch.where(chosen & (fate < 0.8)",
            "    drawn = ids.flatten()[torch.randperm(ids.numel(), generator=generator)].view_as(ids)\n"
            "    inputs = torch.where(chosen & (fate < 0.8)",
            "evenly",
        ),
        Mutant(
            "no special id drawn",
            "    inputs = torch.where(chosen & (fate < 0.8)",
            "    drawn = torch.where(torch.isin(drawn, special), special.max() + 1 if len(special) else 0, drawn)\n"
            "    inputs = torch.where(chosen & (fate < 0.8)",
            "evenly",
        ),
        Mutant("sizes of one batch", "(torch.rand(ids.shape, ", "(torch.rand((60, 150), ", "stopped with"),
        Mutant(
            "labels of what has changed",
            "return inputs, labels",
            "return inputs, labels.masked_fill(inputs == ids, -100)",
            "is chosen, too",
        ),
        Mutant(
            "one fate for a text",
            "fate = torch.rand(ids.shape, generator=generator)",
            "fate = torch.rand(len(ids), 1, generator=generator).expand(ids.shape)",
            "one fate",
        ),
        Mutant(
            "seeds torch itself",
            "generator = torch.Generator().manual_seed(seed)",
            "generator = torch.manual_seed(seed)",
            "torch's own generator",
        ),
        Mutant("another rate by default", "rate: float = 0.15", "rate: float = 0.2", "not the rate, 0.15"),
    ),
)
def check_mask(answer: Answer, dice: Dice) -> None:
    vocabulary = dice.integer(24, 30)
    mask, special = vocabulary + dice.integer(1, 9), dice.integer(3, 18) + torch.arange(3)
    ids = dice.integers(0, vocabulary - 1, 60, 150)
    seed = dice.integer(0, 10**6)
    called = answer.trace(ids, special, mask, vocabulary, seed)
    inputs, labels = both(called.value, ids)
    chosen = chosen_of(ids, inputs, labels, special, 0.15)
    expect(
        float(chosen.any(0).double().mean()) > 0.5,
        "The same positions are chosen in each text.",
        expected="a draw for each token of each text",
        got=f"{int(chosen.any(0).sum())} of {ids.shape[1]} positions are ever chosen",
        hint="Draw random numbers of the shape of ids, not one row for all.",
    )
    expect_rates(ids, inputs, chosen, special, mask, vocabulary, 0.15)
    expect(not called.changed, "You have changed ids in place.", hint="Make a new tensor first: ids.clone().")
    expect(
        "generator" not in called.stirred,
        "You draw from torch's own generator, or seed it: what others draw after the call is then another thing.",
        hint="Draw from a generator of your own: torch.Generator().manual_seed(seed).",
    )
    again, other = (both(answer(ids, special, mask, vocabulary, s), ids) for s in (seed, seed + 1))
    expect(
        bool((again[0] == inputs).all() and (again[1] == labels).all()),
        "Two calls with the same seed differ.",
        hint="Draw from torch.Generator().manual_seed(seed).",
    )
    expect(not bool((other[1] == labels).all()), "Two seeds give the same mask: the seed is not used.")
    nothing = special[:0]
    batches = [both(answer(ids, nothing, mask, vocabulary, seed + i, 0.5), ids)[1] != -100 for i in range(5)]
    counts = batches[0].sum(1)
    hint = "Compare a random number for each token with the rate."
    expect(
        len(set(counts.tolist())) > 1,
        "In each text the same number of tokens is chosen.",
        expected="a draw for each token, so that the number varies",
        got=f"{int(counts[0])} in each text",
        hint=hint,
    )
    expect(
        len({int(batch.sum()) for batch in batches}) > 1,
        "For five seeds the same number of tokens is chosen in every batch.",
        expected="a draw for each token, so that the number varies",
        got=f"{int(batches[0].sum())} each time",
        hint=hint,
    )
    inputs, labels = both(answer(ids, special, mask, vocabulary, seed, 1.0), ids)
    chosen = chosen_of(ids, inputs, labels, special, 1.0)
    expect_rates(ids, inputs, chosen, special, mask, vocabulary, 1.0)
    spared = ~chosen & ~torch.isin(ids, special)
    expect(
        not bool(spared.any()),
        "At a rate of 1 some ordinary tokens are not chosen.",
        expected="every token is chosen whose id is not in special",
        got=f"tokens spared at the positions {spared.any(0).nonzero().flatten().tolist()}",
        hint="What is special is said by the ids in special, and not by the place in the text.",
    )
    _check_short_texts(answer, dice, seed)


def _check_short_texts(answer: Answer, dice: Dice, seed: int) -> None:
    """Fail unless many texts of five tokens, of which only two kinds occur in them, are masked as chance allows."""
    ids, nothing, mask, vocabulary, rate = dice.integers(0, 1, 3000, 5), torch.tensor([]).long(), 9, 4, 0.5
    inputs, labels = both(answer(ids, nothing, mask, vocabulary, seed, rate), ids)
    chosen = chosen_of(ids, inputs, labels, nothing, rate)
    expect_rates(ids, inputs, chosen, nothing, mask, vocabulary, rate)
    seen = torch.bincount(chosen.sum(1), minlength=6).tolist()
    expect(
        not unlikely(seen, [1, 5, 10, 10, 5, 1]),
        "How many of a text's five tokens are chosen at a rate of 0.5 is not as a coin for each would have it.",
        expected="0 to 5 of them in about 94, 469, 938, 938, 469, 94 of 3000 texts",
        got=seen,
        hint="There is a text in which none is chosen, too." if seen[0] == 0 else "Each token has a draw of its own.",
    )
