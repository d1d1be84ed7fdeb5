"""The task of `reviews.yaml` for inspect-ai: `inspect eval reviews.py -T path=reviews.jsonl --model hf/...`."""

from __future__ import annotations

from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import Sample, json_dataset
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import pattern
from inspect_ai.solver import generate


def sample(row: dict[str, Any]) -> Sample:
    """Return a review as a question with its answer."""
    asked = f"Review: {row['text']}\nIs this review positive or negative? Answer with one word."
    return Sample(input=asked, target=row["answer"], id=row["id"])


@task
def reviews(path: str) -> Task:
    """Ask of each review in a file whether it is positive; the first word of the two in the answer counts."""
    return Task(
        dataset=json_dataset(path, sample),
        solver=generate(),
        scorer=pattern(r"(positive|negative)", ignore_case=True),
        config=GenerateConfig(max_tokens=5),
    )
