"""What decoding does to text: nine ways to continue the same prompts, measured, beside what the author wrote.

Run it as `python scripts/decoding.py`; it takes about ten minutes on one core and writes `results/decoding.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llmsafety_lab import data, files, models, runtime
from llmsafety_lab.decoding.filters import min_p, repetition_penalty, temperature, top_k, top_p
from llmsafety_lab.decoding.measures import bleu, distinct_n, log_probabilities, repetition
from llmsafety_lab.decoding.search import beam_search, generate, greedy, sampler

RESULT = Path(__file__).parents[1] / "results" / "decoding.json"
SEED, PROMPTS, PROMPT, NEW = 0, 24, 32, 80

FILTERS: dict[str, list[Callable[[Tensor, Tensor], Tensor]]] = {
    "sampling, temperature 1.3": [lambda ids, logits: temperature(logits, 1.3)],
    "sampling": [],
    "sampling, temperature 0.7": [lambda ids, logits: temperature(logits, 0.7)],
    "top-k 40": [lambda ids, logits: top_k(logits, 40)],
    "top-p 0.9": [lambda ids, logits: top_p(logits, 0.9)],
    "min-p 0.1": [lambda ids, logits: min_p(logits, 0.1)],
}
METHODS = ("human", *FILTERS, "greedy, penalty 1.2", "greedy", "beam search, 4 beams")


def passages(tokenizer: Any, works: Sequence[str], count: int, prompt: int, new: int) -> Tensor:
    """Return the middle of each work, cut at a line's start: shape (count, prompt + new)."""
    rows = []
    for work in works[:count]:
        start = work.index("\n", len(work) // 2) + 1
        rows.append(tokenizer(work[start : start + 10 * (prompt + new)].lstrip())["input_ids"][: prompt + new])
    return torch.tensor(rows)


def written(model: Any, ids: Tensor, method: str, new: int, seed: int) -> Tensor:
    """Return the prompts with what a method writes after them."""
    if method == "beam search, 4 beams":
        rows = [beam_search(model, row, 4, new) for row in runtime.progress(ids, "beam search")]
        return torch.stack(rows)
    if method == "greedy":
        return generate(model, ids, new)
    if method == "greedy, penalty 1.2":
        return generate(model, ids, new, greedy, [lambda ids, logits: repetition_penalty(logits, ids, 1.2)])
    return generate(model, ids, new, sampler(torch.Generator().manual_seed(seed)), FILTERS[method])


def measured(model: Any, ids: Tensor, prompt: int) -> dict[str, list[float]]:
    """Return each text's measures, the prompt left out of all of them."""
    texts = ids[:, prompt:].tolist()
    logs = log_probabilities(model, ids)[:, prompt - 1 :].mean(dim=1)
    others = [[*texts[:i], *texts[i + 1 :]] for i in range(len(texts))]
    return {
        "repetition": [repetition(text) for text in texts],
        "distinct-2": [distinct_n([text], 2) for text in texts],
        "self-BLEU": [bleu(text, other, order=2) for text, other in zip(texts, others, strict=True)],
        "log-probability": logs.tolist(),
    }


def main() -> None:
    torch.set_num_threads(1)
    model, tokenizer = models.load("smollm2")
    whole = passages(tokenizer, data.load("shakespeare")["text"], PROMPTS, PROMPT, NEW)
    rows, examples = {}, {}
    for method in runtime.progress(METHODS, "methods"):
        ids = whole if method == "human" else written(model, whole[:, :PROMPT], method, NEW, SEED)
        values = measured(model, ids, PROMPT)
        rows[method] = {name: [round(value, 4) for value in each] for name, each in values.items()}
        examples[method] = tokenizer.decode(ids[0, PROMPT:])
        print(method, {name: round(sum(each) / len(each), 3) for name, each in values.items()}, flush=True)
    kept = {
        **runtime.made_by("decoding", [SEED]),
        "model": "smollm2, from its carrier (weights rounded to four bits)",
        "prompts": PROMPTS,
        "prompt tokens": PROMPT,
        "new tokens": NEW,
        "prompt of the examples": tokenizer.decode(whole[0, :PROMPT]),
        "examples": examples,
        "rows": rows,
    }
    files.replace(RESULT, json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
