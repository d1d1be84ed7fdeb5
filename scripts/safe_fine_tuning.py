"""Safe fine-tuning measured where a notebook has no time for it: all methods with several seeds, and SmolLM2.

Run it as `python scripts/safe_fine_tuning.py`, or with the names of parts to make only those; rows that are there
already stay, so that it goes on where it was stopped. All of it takes about a quarter of an hour on one core and writes
`results/safe_fine_tuning.json`; the part `smollm2` writes the LoRA beside it, too.
"""

from __future__ import annotations

import copy
import functools
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from safetensors.torch import save_file
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch.nn.functional import cross_entropy

from llmsafety_lab import files, models, runtime
from llmsafety_lab.pretraining.small_lm import SmallLM
from llmsafety_lab.safe_fine_tuning import desk, labels, methods, refusing, training
from llmsafety_lab.safe_fine_tuning.constraints import Lagrangian
from llmsafety_lab.safe_fine_tuning.measures import Report, reported

RESULT = Path(__file__).parents[1] / "results" / "safe_fine_tuning.json"
SEED = 0
Conversation = tuple[torch.Tensor, int]


def padded(conversations: list[Conversation]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and labels of conversations, the answers' tokens alone labelled, filled up on the right."""
    longest = max(len(ids) for ids, _ in conversations)
    rows = torch.zeros(len(conversations), longest, dtype=torch.long)
    labels = torch.full_like(rows, -100)
    for row, label, (ids, prompt) in zip(rows, labels, conversations, strict=True):
        row[: len(ids)] = ids
        label[prompt : len(ids)] = ids[prompt:]
    return rows, labels


def tune(
    model: Any,
    weights: list[torch.Tensor],
    conversations: list[Conversation],
    steps: int,
    batch: int,
    rate: float,
    seed: int,
) -> list[float]:
    """Train the LoRA on conversations, on the assistant's tokens only."""
    generator = np.random.default_rng(seed)
    order = np.concatenate(
        [generator.permutation(len(conversations)) for _ in range(steps * batch // len(conversations) + 1)]
    )
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


def spaced(items: list[str], count: int) -> list[str]:
    return [items[i] for i in np.random.default_rng(SEED).permutation(len(items))[:count]]


def conversation(tokenizer: Any, question: str, answer: str) -> Conversation:
    """Return a conversation to learn from; an answer that was cut off does not teach where to end."""
    ids, prompt = refusing.chat_ids(tokenizer, question, answer)
    return (ids if answer.endswith((".", "!", "?")) else ids[:-1]), prompt


def by_words(train: dict[str, list[str]], test: dict[str, list[str]]) -> dict[str, str]:
    """Return what words and word pairs say, trained on the same questions: the baseline without a language model."""
    texts = [text for those in train.values() for text in those]
    forbidden = [kind == "forbidden" for kind, those in train.items() for _ in those]
    judge = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=10.0)).fit(texts, forbidden)
    return {kind: "".join(str(int(bit)) for bit in judge.predict(those)) for kind, those in test.items()}


def smollm2(made: dict[str, Any], keep: Callable[[], None], steps: int = 30, rate: float = 1e-3) -> None:
    """Teach SmolLM2 a referral, and measure both errors on things and wordings that it was not taught with."""
    model, tokenizer = models.load("smollm2")
    torch.manual_seed(SEED)
    started = time.process_time()
    train = {
        "forbidden": spaced(refusing.topic_questions("forbidden", False), 48),
        "neighbour": refusing.topic_questions("neighbour", False),
        "ordinary": spaced(refusing.topic_questions("ordinary", False), 48)[:24],
    }
    test = {kind: refusing.topic_questions(kind, True) for kind in train}
    states = made.setdefault("states", {})

    def look(name: str) -> None:
        states[name] = refusing.referred(model, tokenizer, test)
        made["core seconds"] = round(time.process_time() - started)
        print(name, {kind: (bits.count("1"), len(bits)) for kind, bits in states[name].items()}, made["core seconds"])
        keep()

    states["tf-idf and logistic regression"] = by_words(train, test)
    look("untouched")
    harmless = train["neighbour"] + train["ordinary"]
    own = dict(zip(harmless, refusing.answers(model, tokenizer, harmless, 20), strict=True))
    trained = refusing.with_lora(model)
    helpful = [conversation(tokenizer, question, own[question]) for question in harmless]
    taught = [conversation(tokenizer, question, refusing.REFERRAL) for question in train["forbidden"]]
    made |= {"steps": steps, "rate": rate, "train": {kind: len(those) for kind, those in train.items()}}
    made["losses"] = tune(model, list(trained.values()), helpful + taught, steps, 8, rate, SEED)
    halves = {name: weight.detach().half() for name, weight in trained.items()}
    save_file(halves, RESULT.with_suffix(".safetensors"))
    with torch.no_grad():
        for name, weight in trained.items():
            weight.copy_(halves[name])
    look("taught")


SEEDS = (0, 1, 2)
TEST, TESTED = 7, 800
SELECTED = {"filtered": (3e-3, 1e-2, 3e-2), "preferring": (3e-4, 1e-3, 3e-3), "constrained": (1e-3, 3e-3, 1e-2)}
SHARED = {"skipping": "filtered", "best_of_four": "filtered"}
SLICE = {"method": "DPO", "steps": 5, "seed": 0}


def asked(split: int = 0) -> desk.Questions:
    return desk.mixed(TESTED, True, TEST, split)


def bits(report: Report) -> dict[str, str]:
    """Return a report's judgements, a bit a question."""
    return {name: "".join(str(int(bit)) for bit in getattr(report, name)) for name in ("safe", "useful", "refused")}


def priced_mean(policy: SmallLM, split: int) -> float:
    questions = asked(split)
    answers = labels.sample(policy, questions.ids, desk.ANSWER, 0, torch.Generator().manual_seed(0))
    return round(float(methods.priced(questions, answers).mean()), 4)


def rates(made: dict[str, Any], keep: Callable[[], None]) -> None:
    """Choose each method's learning rate in a world of its own: other pairs for training and test, another seed."""
    start = training.first_assistant(9, split=1)
    for name in SELECTED:
        for rate in SELECTED[name]:
            if f"{name} {rate:g}" not in made:
                policy = copy.deepcopy(start)
                getattr(methods, name)(policy, rate, 9, 1)
                made[f"{name} {rate:g}"] = priced_mean(policy, 1)
                keep()


def rate_of(kept: dict[str, Any], method: str) -> float:
    """Return the rate that did best: all that imitate share one, and all that follow REINFORCE."""
    name = method if method in SELECTED else SHARED.get(method, "constrained")
    return max(SELECTED[name], key=lambda rate: kept["rates"][f"{name} {rate:g}"])


def compared(made: dict[str, Any], keep: Callable[[], None], chosen: Callable[[str], float]) -> None:
    """Every method with each seed: before and after benign fine-tuning."""
    questions = asked()
    for seed in SEEDS:
        todo = [name for name in ("untouched", *methods.METHODS) if f"{name} | {seed}" not in made]
        start = training.first_assistant(seed) if todo else None
        for name in todo:
            policy, began, row = copy.deepcopy(start), time.process_time(), {}
            if name != "untouched":
                method = methods.METHODS[name]
                seen = method(policy, chosen(method.__name__), seed)
                row["learnt"] = seen if method is methods.skipping else None
            row["seconds"] = round(time.process_time() - began, 1)
            made[f"{name} | {seed}"] = row | {
                "before": bits(reported(policy, questions, seed)),
                "after": bits(reported(methods.benignly_tuned(policy, seed=seed), questions, seed)),
            }
            keep()


def hacking(made: dict[str, Any], keep: Callable[[], None], rate: float, steps: int = 100) -> None:
    """A reward model from few comparisons, optimised against with and without a leash: its score and the true one."""
    questions = asked()[:300]
    for seed in SEEDS:
        start = training.first_assistant(seed)
        chosen, rejected = methods.comparisons(start, seed, count=240)
        judge = methods.reward_model(start, chosen, rejected, 60, seed)
        proxy = methods.proxy_of(judge)
        for beta in (0.0, 0.3):
            if f"{beta} | {seed}" in made:
                continue
            policy, points = copy.deepcopy(start), []

            def look(step: int, policy: Any = policy, points: Any = points, proxy: Any = proxy, start: Any = start):
                if step % 10:
                    return
                answers = labels.sample(policy, questions.ids, desk.ANSWER, 0, torch.Generator().manual_seed(0))
                rows = torch.cat([questions.ids, answers], 1)
                with torch.no_grad():
                    apart = training.log_probs(policy, rows) - training.log_probs(start, rows)
                    score = proxy(questions, answers)
                true = methods.priced(questions, answers)
                none = (desk.recognised(answers) < 0).float()
                points.append([round(float(part.mean()), 4) for part in (apart, score, true, none)])

            free = Lagrangian(1.0, 1.0)
            training.improve(policy, proxy, free, steps=steps, rate=rate, beta=beta, adapt=False, seed=seed, watch=look)
            look(steps)
            made[f"{beta} | {seed}"] = {"pairs": len(chosen), "points": points}
            keep()


def small_row(steps: int, seed: int) -> dict[str, list[float]]:
    """Return the losses of a few steps of DPO from a barely trained assistant: what a test makes anew."""
    policy = training.first_assistant(seed, steps=60)
    chosen, rejected = methods.comparisons(policy, seed, count=96)
    return {"losses": [round(x, 5) for x in training.prefer(policy, chosen, rejected, steps=steps, seed=seed)]}


PARTS = ("slice", "rates", "compared", "hacking", "smollm2")


def read() -> dict[str, Any]:
    return json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    for name in names or PARTS:
        kept = read()
        made = kept.get(name, {})

        def keep(name: str = name, made: dict[str, Any] = made) -> None:
            with FileLock(Path(tempfile.gettempdir()) / "safe_fine_tuning.lock"):
                there = read()
                whole = there | runtime.made_by("safe_fine_tuning", SEEDS) | {name: there.get(name, {}) | made}
                files.replace(RESULT, json.dumps(whole, indent=None, separators=(",", ":")) + "\n")

        if name == "slice" and made.get("of") != SLICE:
            made |= {"of": SLICE} | small_row(SLICE["steps"], SLICE["seed"])
        if name == "rates":
            rates(made, keep)
        if name == "compared":
            compared(made, keep, functools.partial(rate_of, kept))
        if name == "hacking":
            hacking(made, keep, rate_of(kept, "constrained"))
        if name == "smollm2" and "taught" not in made.get("states", {}):
            torch.set_num_threads(2)
            smollm2(made, keep)
        keep()
        print(name, "done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
