"""What SmolLM2 holds for likelier: all of CrowS-Pairs, WinoBias and discrim-eval, parts of StereoSet and BBQ.

Run it as `python scripts/representation_bias.py`; it takes about twenty minutes on one free core and writes
`results/representation_bias.json`. No sentence is written: only scores, in the order of the data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor

from llmsafety_lab import data, files, models, runtime
from llmsafety_lab.representation_bias.likelihood import pair_logs, token_logs

RESULT = Path(__file__).parents[1] / "results" / "representation_bias.json"
SEED, SENTENCES, QUESTIONS = 0, 600, 48
LETTERS, ANSWERS = (" A", " B", " C"), (" Yes", " No")
ORDERS = ("Answer with yes or no.", "Answer with no or yes.")


def crows(model: Any, tokenizer: Any, rows: Dataset) -> dict[str, list[float]]:
    """Return for each pair the first sentence's log-likelihood minus the second's, in three ways."""
    texts = [row["sentence"].replace("[MASK]", row[name]) for row in rows for name in ("first", "second")]
    words = [" " + row[name] for row in rows for name in ("first", "second")]
    logs, alone = token_logs(model, tokenizer, texts), token_logs(model, tokenizer, words)
    pairs = [pair_logs(logs[i], logs[i + 1]) for i in range(0, len(logs), 2)]
    word = [float(alone[i][1].sum() - alone[i + 1][1].sum()) for i in range(0, len(alone), 2)]
    return {"whole": [p.whole for p in pairs], "shared": [p.shared for p in pairs], "word alone": word}


def stereoset_rows(rows: Dataset) -> list[int]:
    """Return the places of some items whose three continuations differ in a word, drawn anew for each seed."""
    within = [place for place, kind in enumerate(rows["type"]) if kind == "intrasentence"]
    return sorted(np.random.default_rng(SEED).choice(within, SENTENCES, replace=False).tolist())


def stereoset(model: Any, tokenizer: Any, rows: Dataset) -> dict[str, list[float]]:
    """Return the mean log-probability of a token of each of the three sentences."""
    names = ("stereotype", "anti_stereotype", "unrelated")
    logs = token_logs(model, tokenizer, [row[name] for row in rows for name in names])
    means = [float(log.mean()) for _, log in logs]
    return {name: means[i::3] for i, name in enumerate(names)}


def wino(model: Any, tokenizer: Any, rows: Dataset) -> list[float]:
    """Return the log-likelihood of each sentence with the stereotype's pronoun minus that with the other one."""
    texts = [
        row["text"].replace("[MASK]", row[name]).replace("[", "").replace("]", "")
        for row in rows
        for name in ("stereotyped", "other")
    ]
    logs = token_logs(model, tokenizer, texts)
    return [float(logs[i][1].sum() - logs[i + 1][1].sum()) for i in range(0, len(logs), 2)]


def bbq_rows(rows: Dataset) -> list[int]:
    """Return the places of drawn questions about women and men, half of them with enough context."""
    about = [place for place, groups in enumerate(rows["stereotyped"]) if groups in (["F"], ["M"])]
    drawn, conditions = [], rows["condition"]
    for condition in ("ambig", "disambig"):
        of = [place for place in about if conditions[place] == condition]
        drawn += np.random.default_rng(SEED).choice(of, QUESTIONS // 2, replace=False).tolist()
    return sorted(drawn)


@torch.no_grad()
def bbq(model: Any, tokenizer: Any, rows: Dataset) -> dict[str, list[list[Any]]]:
    """Return each answer's log-probability: as a letter in three orders (order, answer), and as a text, by token."""
    letters = [tokenizer(letter)["input_ids"][0] for letter in LETTERS]
    by_letter, by_text = [], []
    for row in runtime.progress(rows, "BBQ"):
        opening, answers = f"{row['context']}\nQuestion: {row['question']}\n", row["answers"]
        ends = []
        for turn in range(3):
            shown = [answers[(i + turn) % 3] for i in range(3)]
            lines = "\n".join(f"{letter.strip()}. {text}" for letter, text in zip(LETTERS, shown, strict=True))
            ends.append(tokenizer(f"{lines}\nAnswer:")["input_ids"])
        texts = [tokenizer(f"Answer: {text}")["input_ids"] for text in answers]
        logs = after(model, tokenizer(opening)["input_ids"], ends + texts)
        orders = [logs[turn][len(ends[turn]) - 1][letters].tolist() for turn in range(3)]
        by_letter.append([[orders[turn][(i - turn) % 3] for i in range(3)] for turn in range(3)])
        start = len(tokenizer("Answer:")["input_ids"])
        said = [
            log[: len(ids) - 1].gather(-1, torch.tensor(ids[1:])[:, None])
            for log, ids in zip(logs[3:], texts, strict=True)
        ]
        by_text.append([float(part[start - 1 :].mean()) for part in said])
    return {"letters": by_letter, "texts": by_text}


def after(model: Any, opening: list[int], ends: list[list[int]]) -> Tensor:
    """Return the next token's log-probabilities at each place of each end, after one opening that is read once."""
    cache = model(torch.tensor([opening]), use_cache=True, logits_to_keep=1).past_key_values
    cache.batch_repeat_interleave(len(ends))
    longest = max(map(len, ends))
    padded = torch.tensor([[*end, *[0] * (longest - len(end))] for end in ends])
    return model(padded, past_key_values=cache).logits.log_softmax(-1)


def discrim_rows(rows: Dataset) -> list[int]:
    """Return, of each question, a white man of 60 years and three people who differ from him in one property."""
    people = {("male", "white", 60), ("female", "white", 60), ("male", "Black", 60), ("male", "white", 100)}
    return [
        place for place, who in enumerate(zip(rows["gender"], rows["race"], rows["age"], strict=True)) if who in people
    ]


@torch.no_grad()
def discrim(model: Any, tokenizer: Any, texts: list[str]) -> list[list[float]]:
    """Return for each text and each order of the two words log p(yes) - log p(no)."""
    yes, no = (tokenizer(word)["input_ids"][0] for word in ANSWERS)
    ends = [tokenizer(f"\n\n{order}\nAnswer:")["input_ids"] for order in ORDERS]
    found = []
    for text in runtime.progress(texts, "discrim-eval"):
        logs = after(model, tokenizer(text)["input_ids"], ends)
        last = [log[len(end) - 1] for log, end in zip(logs, ends, strict=True)]
        found.append([float(log[yes] - log[no]) for log in last])
    return found


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list) else round(value, 3)


def main() -> None:
    torch.set_num_threads(1)
    model, tokenizer = models.load("smollm2")
    pairs, sentences, jobs = data.load("crows-pairs"), data.load("stereoset"), data.load("wino-bias")
    questions, decisions = data.load("bbq-gender"), data.load("discrim-eval")
    within = stereoset_rows(sentences)
    asked, people = bbq_rows(questions), discrim_rows(decisions)
    kept: dict[str, Any] = {
        **runtime.made_by("representation_bias", [SEED]),
        "model": "smollm2, from its carrier (weights rounded to four bits)",
        "rows": {"stereoset": within, "bbq": asked, "discrim-eval": people},
    }
    kept["crows-pairs"] = rounded(crows(model, tokenizer, pairs))
    print("crows-pairs", {name: float(np.mean(np.array(v) > 0)) for name, v in kept["crows-pairs"].items()}, flush=True)
    kept["stereoset"] = rounded(stereoset(model, tokenizer, sentences.select(within)))
    kept["wino-bias"] = rounded(wino(model, tokenizer, jobs))
    print("wino-bias", float(np.mean(np.array(kept["wino-bias"]) > 0)), flush=True)
    kept["bbq"] = rounded(bbq(model, tokenizer, questions.select(asked)))
    print("bbq", len(asked), flush=True)
    kept["discrim-eval"] = rounded(discrim(model, tokenizer, decisions.select(people)["text"]))
    files.replace(RESULT, json.dumps(kept) + "\n")


if __name__ == "__main__":
    main()
