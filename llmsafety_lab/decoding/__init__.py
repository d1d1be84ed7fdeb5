"""Decoding: what the chapter and its lab use."""

from llmsafety_lab.decoding.constraints import (
    Automaton,
    ban,
    follow,
    lift,
    trie,
)
from llmsafety_lab.decoding.filters import (
    Filter,
    min_p,
    nucleus,
    presence_penalty,
    repetition_penalty,
    temperature,
    top_k,
    top_p,
)
from llmsafety_lab.decoding.measures import (
    bleu,
    distinct_n,
    log_probabilities,
    ngrams,
    repetition,
    self_bleu,
)
from llmsafety_lab.decoding.search import (
    beam_search,
    extend,
    generate,
    greedy,
    sampler,
)
from llmsafety_lab.decoding.speculation import (
    speculate,
)

__all__ = [
    "Automaton",
    "Filter",
    "ban",
    "beam_search",
    "bleu",
    "distinct_n",
    "extend",
    "follow",
    "generate",
    "greedy",
    "lift",
    "log_probabilities",
    "min_p",
    "ngrams",
    "nucleus",
    "presence_penalty",
    "repetition",
    "repetition_penalty",
    "sampler",
    "self_bleu",
    "speculate",
    "temperature",
    "top_k",
    "top_p",
    "trie",
]
