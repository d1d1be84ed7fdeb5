"""Pretraining, written out: what is predicted (next token, masked tokens, next sentence), and how well.

An objective turns text into inputs and labels. A label of `IGNORE` asks for nothing at its position.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

IGNORE = -100
"""The label of a position that the loss leaves out; torch and transformers use the same number."""

Batch = tuple[Tensor, Tensor]


def character_ids(text: str) -> tuple[Int[Tensor, " characters"], str]:
    """Number the characters of a text: the simplest tokenizer.

    Returns
    -------
    ids : integer Tensor, shape (characters,)
    alphabet : str
        Each id's character, in the order of Unicode.

    Raises
    ------
    ValueError
        If the text is empty.
    """
    if not text:
        raise ValueError("an empty text has no characters")
    points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    known, ids = np.unique(points, return_inverse=True)
    return torch.from_numpy(ids.astype(np.int64)), "".join(map(chr, known))


def causal_loss(
    logits: Float[Tensor, "batch tokens vocabulary"], ids: Int[Tensor, "batch tokens"]
) -> Float[Tensor, ""]:
    """Return the mean negative log-likelihood of each token but the first, given those before it.

    Parameters
    ----------
    logits : Tensor, shape (batch, tokens, vocabulary)
        A causal model's scores at each position, made from `ids`. Those at position t are a guess at token t + 1.
    ids : integer Tensor, shape (batch, tokens)

    Returns
    -------
    Tensor, scalar, in nats

    Raises
    ------
    ValueError
        If no token has one before it.
    """
    if ids.shape[1] < 2 or not len(ids):
        raise ValueError(f"a text of {ids.shape[1]} tokens predicts none: {tuple(ids.shape)}")
    guesses = logits[:, :-1].log_softmax(-1)
    targets = ids[:, 1:]
    return -guesses.gather(-1, targets[..., None]).mean()


def mask_tokens(
    ids: Int[Tensor, "batch tokens"],
    special: Int[Tensor, " specials"],
    mask: int,
    vocabulary: int,
    seed: int,
    rate: float = 0.15,
) -> tuple[Int[Tensor, "batch tokens"], Int[Tensor, "batch tokens"]]:
    """Hide some tokens and ask for them: the masked language model of Devlin et al. (2019, section 3.1).

    Parameters
    ----------
    ids : integer Tensor, shape (batch, tokens)
    special : integer Tensor, shape (specials,)
        Ids that are no text ([CLS], [SEP], padding); they are never chosen.
    mask : int
        The id of [MASK].
    vocabulary : int
        A random token is drawn from the ids 0 to vocabulary - 1.
    seed : int
        Equal seeds give equal masks.
    rate : float, optional
        The chance of a token to be chosen.

    Returns
    -------
    inputs : integer Tensor, shape (batch, tokens)
        Of the chosen tokens 80% are `mask`, 10% are random, 10% are what they were.
    labels : integer Tensor, shape (batch, tokens)
        The token where it was chosen, `IGNORE` elsewhere.

    Raises
    ------
    ValueError
        If the rate is no probability, or there is no token to draw.
    """
    if not 0 <= rate <= 1 or vocabulary < 1:
        raise ValueError(f"needs a rate from 0 to 1 and a vocabulary, got {rate} and {vocabulary}")
    generator = torch.Generator().manual_seed(seed)
    chosen = (torch.rand(ids.shape, generator=generator) < rate) & ~torch.isin(ids, special)
    labels = torch.where(chosen, ids, -100)
    fate = torch.rand(ids.shape, generator=generator)
    drawn = torch.randint(vocabulary, ids.shape, generator=generator)
    inputs = torch.where(chosen & (fate < 0.8), mask, ids)
    inputs = torch.where(chosen & (fate >= 0.9), drawn, inputs)
    return inputs, labels


def sentence_pairs(documents: Sequence[Sequence[str]], seed: int) -> list[tuple[str, str, bool]]:
    """Make the examples of next-sentence prediction (Devlin et al. 2019, section 3.1).

    Each sentence but a document's last is a first sentence once. By a coin, its partner is the sentence that follows,
    or one drawn from the sentences of all other documents.

    Parameters
    ----------
    documents : sequence of sequence of str
        Each a list of sentences in their order.
    seed : int

    Returns
    -------
    list of (first, second, whether the second follows)

    Raises
    ------
    ValueError
        If fewer than two documents hold a sentence: nowhere to draw a stranger from.
    """
    if sum(1 for document in documents if document) < 2:
        raise ValueError("need two documents with sentences at least: a stranger comes from another one")
    rng = np.random.default_rng(seed)
    pairs = []
    for number, document in enumerate(documents):
        others = [sentence for i, other in enumerate(documents) if i != number for sentence in other]
        for first, follows in pairwise(document):
            if rng.random() < 0.5:
                pairs.append((first, follows, True))
            else:
                pairs.append((first, others[rng.integers(len(others))], False))
    return pairs


def perplexity(losses: Iterable[Float[Tensor, " tokens"]]) -> float:
    """Return the perplexity of a set of texts: e to the mean loss of a token, each token counting once.

    Parameters
    ----------
    losses : iterable of Tensor, shape (tokens,)
        For each text or batch the negative log-likelihoods of its tokens, in nats. Their lengths may differ.

    Raises
    ------
    ValueError
        If there is no token.
    """
    total, tokens = 0.0, 0
    for loss in losses:
        total += float(loss.sum(dtype=torch.float64))
        tokens += loss.numel()
    if tokens == 0:
        raise ValueError("no token, so no perplexity")
    return math.exp(total / tokens)


def bits_per_character(loss: float, tokens: int, characters: int) -> float:
    """Return the bits that a text takes per character under a model: comparable between tokenizers.

    Parameters
    ----------
    loss : float
        The mean loss of a token in nats.
    tokens, characters : int
        The text's length in both.

    Raises
    ------
    ValueError
        If the text has no character or no token, or the loss is negative or not finite.
    """
    if characters < 1:
        raise ValueError("a text without characters has no bits per character")
    if tokens < 1 or not 0 <= loss < math.inf:
        raise ValueError(f"needs a token, and a finite loss of 0 or more: got {tokens} and {loss}")
    return loss / math.log(2) * tokens / characters


def draw_windows(ids: Int[Tensor, " tokens"], batch: int, length: int, seed: int) -> Int[Tensor, "batch length"]:
    """Cut windows out of a text at random places; equal seeds cut at equal places.

    Raises
    ------
    ValueError
        If the text is shorter than a window, or there is no window or no token in it.
    """
    if batch < 1 or length < 1:
        raise ValueError(f"needs a window, and a token in it: got {batch} of {length} tokens")
    if len(ids) < length:
        raise ValueError(f"a window of {length} tokens does not fit into a text of {len(ids)}")
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randint(len(ids) - length + 1, (batch, 1), generator=generator)
    return ids[starts + torch.arange(length)]


def next_token(ids: Int[Tensor, " tokens"], batch: int, context: int, seed: int = 0) -> Callable[[int], Batch]:
    """Return the batches of a causal model: step -> (inputs, labels), each label the token after its input."""

    def draw(step: int) -> Batch:
        windows = draw_windows(ids, batch, context + 1, 1_000_003 * seed + step)
        return windows[:, :-1], windows[:, 1:]

    return draw


@torch.no_grad()
def token_losses(
    model: nn.Module, ids: Int[Tensor, " tokens"], context: int, windows: int | None = None
) -> Float[Tensor, "windows context"]:
    """Return the negative log-likelihood of a text's tokens, in nats, read in windows that do not overlap.

    A window's early tokens have little before them, which makes the loss a bit larger than the model deserves.

    Parameters
    ----------
    model : Module
        Causal: ids (batch, tokens) to logits (batch, tokens, vocabulary).
    ids : integer Tensor, shape (tokens,)
    context : int
    windows : int, optional
        How many to read, spread evenly over the text; by default all.

    Raises
    ------
    ValueError
        If the text does not fill a window, or has fewer windows than asked for.
    """
    whole = (len(ids) - 1) // context
    if not 0 < (windows or whole) <= whole:
        raise ValueError(f"the text has {whole} windows of {context} tokens; {windows or 'one'} asked for")
    places = torch.linspace(0, whole - 1, windows or whole).long()
    rows = ids[places[:, None] * context + torch.arange(context + 1)]
    training = model.training
    model.eval()
    losses = [cross_entropy(model(part[:, :-1]).mT.float(), part[:, 1:], reduction="none") for part in rows.split(128)]
    model.train(training)
    return torch.cat(losses)
