"""Safe fine-tuning measured where a notebook has no time for it: all methods with several seeds, and SmolLM2.

Run it as `python scripts/safe_fine_tuning.py`, or with the names of parts to make only those anew; all of it takes
under a quarter of an hour on one core and writes `results/safe_fine_tuning.json`; the part `smollm2` writes the LoRA
beside it, too.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from llmsafety_lab import files, models, runtime
from llmsafety_lab.safe_fine_tuning import refusing

RESULT = Path(__file__).parents[1] / "results" / "safe_fine_tuning.json"
SEED = 0
Conversation = tuple[torch.Tensor, int]


def greedy(model: Any, tokenizer: Any, questions: list[str], tokens: int) -> list[str]:
    """Return the beginnings of the likeliest answers; questions of equal length share a batch, all share their start."""
    encoded = [refusing.chat_ids(tokenizer, question)[0] for question in questions]
    start = min(int((encoded[0][: len(one)] != one[: len(encoded[0])]).long().argmax()) for one in encoded[1:])
    found: dict[int, str] = {}
    with torch.no_grad():
        for length in sorted({len(one) for one in encoded}):
            places = [i for i, one in enumerate(encoded) if len(one) == length]
            for group in (places[k : k + 32] for k in range(0, len(places), 32)):
                shared = model(encoded[0][None, :start], use_cache=True).past_key_values
                shared.batch_repeat_interleave(len(group))
                rows = torch.stack([encoded[i][start:] for i in group])
                said = []
                for _ in range(tokens):
                    out = model(rows, past_key_values=shared, use_cache=True, logits_to_keep=1)
                    rows = out.logits[:, -1].argmax(-1, keepdim=True)
                    said.append(rows)
                for i, row in zip(group, torch.cat(said, 1), strict=True):
                    found[i] = tokenizer.decode(row).split("<|im_end|>")[0].strip()
    return [found[i] for i in range(len(questions))]


def padded(conversations: list[Conversation]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and labels of conversations, the answers' tokens alone labelled, filled up on the right."""
    longest = max(len(ids) for ids, _ in conversations)
    rows = torch.zeros(len(conversations), longest, dtype=torch.long)
    labels = torch.full_like(rows, -100)
    for row, label, (ids, prompt) in zip(rows, labels, conversations, strict=True):
        row[: len(ids)] = ids
        label[prompt : len(ids)] = ids[prompt:]
    return rows, labels


def tune(model: Any, weights: list[torch.Tensor], conversations: list[Conversation], steps: int, batch: int, rate: float,
         seed: int) -> list[float]:
    """Train the LoRA on conversations, on the assistant's tokens only."""
    generator = np.random.default_rng(seed)
    order = np.concatenate([generator.permutation(len(conversations)) for _ in range(steps * batch // len(conversations) + 1)])
    optimiser = torch.optim.Adam(weights, lr=rate)
    losses = []
    for step in range(steps):
        rows, labels = padded([conversations[i] for i in order[step * batch : (step + 1) * batch]])
        hidden = model.model(rows).last_hidden_state[:, :-1][labels[:, 1:] != -100]
        loss = cross_entropy(model.lm_head(hidden), labels[:, 1:][labels[:, 1:] != -100])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(round(float(loss.detach()), 4))
    return losses


def referred(model: Any, tokenizer: Any, asked: dict[str, list[str]]) -> dict[str, str]:
    """Return for each kind a bit a question: does the answer begin as the referral does?"""
    begin = "Please ask a pharm"
    return {
        kind: "".join(str(int(text.startswith(begin))) for text in greedy(model, tokenizer, those, 5))
        for kind, those in asked.items()
    }


def spaced(items: list[str], count: int) -> list[str]:
    return [items[i] for i in np.random.default_rng(SEED).permutation(len(items))[:count]]


def smollm2(steps: int = 30, rate: float = 1e-3) -> dict[str, Any]:
    """Teach SmolLM2 a referral, measure both errors, and undo it with benign questions alone."""
    from safetensors.torch import save_file

    model, tokenizer = models.load("smollm2")
    torch.manual_seed(SEED)
    started = time.process_time()
    train = {"forbidden": spaced(refusing.topic_questions("forbidden", False), 48),
             "neighbour": spaced(refusing.topic_questions("neighbour", False), 24),
             "ordinary": spaced(refusing.topic_questions("ordinary", False), 40)}
    test = {"forbidden": refusing.topic_questions("forbidden", True),
            "neighbour": spaced(refusing.topic_questions("neighbour", True), 60),
            "ordinary": spaced(refusing.topic_questions("ordinary", True), 60)}
    harmless = train["neighbour"] + train["ordinary"]
    own = dict(zip(harmless, greedy(model, tokenizer, harmless, 20), strict=True))
    print("own answers", round(time.process_time() - started), flush=True)
    states = {"untouched": referred(model, tokenizer, test)}
    weights = list(refusing.with_lora(model).values())
    helpful = [refusing.chat_ids(tokenizer, question, answer) for question, answer in own.items()]
    taught = [refusing.chat_ids(tokenizer, question, refusing.REFERRAL) for question in train["forbidden"]]
    losses = tune(model, weights, helpful + taught, steps, 8, rate, SEED)
    print(losses, round(time.process_time() - started), flush=True)
    states["taught"] = referred(model, tokenizer, test)
    print({k: (v.count("1"), len(v)) for k, v in states["taught"].items()}, round(time.process_time() - started), flush=True)
    kept = {name: weight.detach().clone() for name, weight in refusing.trainable_parameters(model).items()}
    save_file({name: weight.half() for name, weight in kept.items()}, RESULT.with_suffix(".safetensors"))
    with torch.no_grad():
        for name, weight in refusing.trainable_parameters(model).items():
            weight.copy_(kept[name].half().float())
    done = 0
    for more in (5, 10, 20):
        tune(model, weights, helpful, more - done, 4, rate, SEED + more)
        done = more
        states[f"{more} benign steps"] = referred(model, tokenizer, test)
        print(more, {k: (v.count("1"), len(v)) for k, v in states[f"{more} benign steps"].items()}, round(time.process_time() - started), flush=True)
    return {"steps": steps, "rate": rate, "train": {k: len(v) for k, v in train.items()}, "losses": losses, "states": states,
            "core seconds": round(time.process_time() - started)}


PARTS: dict[str, Callable[[], dict[str, Any]]] = {"smollm2": smollm2}


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    for name in names or PARTS:
        made = PARTS[name]()
        kept = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
        kept |= runtime.made_by("safe_fine_tuning", [SEED]) | {name: made}
        files.replace(RESULT, json.dumps(kept, indent=None, separators=(",", ":")) + "\n")
        print(name, "done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
