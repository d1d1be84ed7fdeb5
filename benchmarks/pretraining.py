"""Pretraining a character model on Shakespeare: the chapter's recipe against the usual minimal trainer, on one thread.

    python benchmarks/pretraining.py

The model has 4 layers of 4 heads, width 128, and sees 64 characters; the last tenth of the text is for validation. The
usual trainer is nanoGPT's block with AdamW at 0.001 and a cosine, 2,000 steps of 12 x 64 characters. Reading the data
and measuring the validation loss (all windows of the validation text, for both alike) are outside the time. The last
line is our processor time over the usual trainer's; it counts only if our loss is not above the usual one's, nor above
1.886, and the program fails if it is. Muon's products are in bfloat16 where the processor has units for them, and in
float32 elsewhere; `LLMSAFETY_BFLOAT16=0` in the environment shows the second kind of processor on the first.
"""

import time

import torch

from llmsafety_lab import data, runtime
from llmsafety_lab.pretraining.objectives import character_ids, token_losses
from llmsafety_lab.pretraining.small_lm import FAST, USUAL, Recipe, SmallLM, train

LOSS = 1.886


def run(recipe: Recipe, training: torch.Tensor, vocabulary: int) -> tuple[SmallLM, float, float]:
    """Return the model, and the seconds that building and training it took, of the processor and of the clock."""
    torch.manual_seed(0)
    processor, clock = time.process_time(), time.perf_counter()
    model = SmallLM(vocabulary, recipe)
    train(model, training)
    return model, time.process_time() - processor, time.perf_counter() - clock


def main() -> None:
    torch.set_num_threads(1)
    ids, alphabet = character_ids("\n".join(data.load("shakespeare")["text"]))
    cut = len(ids) * 9 // 10
    facts = runtime.made_by("pretraining", [0])
    print(f"torch {torch.__version__}, one thread of {facts['processor']}, products in {facts['products']}")
    print(f"{len(ids):,} characters, {len(alphabet)} symbols")
    print(f"{'':8} {'weights':>8} {'steps':>6} {'characters':>11} {'CPU s':>7} {'clock s':>8} {'validation loss':>16}")
    seconds, losses = [], []
    for name, recipe in (("usual", USUAL), ("ours", FAST)):
        model, processor, clock = run(recipe, ids[:cut], len(alphabet))
        seconds.append(processor)
        losses.append(float(token_losses(model, ids[cut:], recipe.context).mean()))
        weights = sum(weight.numel() for weight in model.parameters())
        seen = recipe.steps * recipe.batch * recipe.context
        print(f"{name:8} {weights:8,} {recipe.steps:6,} {seen:11,} {processor:7.1f} {clock:8.1f} {losses[-1]:16.4f}")
    if losses[1] > min(LOSS, losses[0]):
        raise SystemExit(f"our loss, {losses[1]:.4f}, is above {min(LOSS, losses[0]):.4f}: there is no ratio")
    print(f"ratio {seconds[1] / seconds[0]:.2f}")


if __name__ == "__main__":
    main()
