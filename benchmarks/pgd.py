"""PGD as the course writes it, against foolbox's, on the reviews classifier, on one thread.

    python benchmarks/pgd.py

The same model, texts, budget, step size and number of steps, no random start. Both are run in turns; the processor's
time counts, since other programs may be running. The last line is our time over foolbox's, the best of each.
"""

import time
from collections.abc import Callable

import foolbox
import torch
from torch import Tensor, nn

from llmsafety_lab import data, models
from llmsafety_lab.adversarial_attacks.gradients import attack_success_rate, pgd
from llmsafety_lab.adversarial_attacks.texts import Embedded, word_mask

TEXTS, MAX_TOKENS, EPS, STEPS, RUNS = 32, 48, 0.004, 10, 3


class Masked(nn.Module):
    """The classifier for foolbox, which knows no mask: what is added outside of it has no effect."""

    def __init__(self, model: nn.Module, clean: Tensor, mask: Tensor) -> None:
        super().__init__()
        self.model, self.clean, self.mask = model, clean, mask[..., None]
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.model(self.clean + (x - self.clean) * self.mask)


def seconds(attack: Callable[[], Tensor]) -> tuple[float, Tensor]:
    start = time.process_time()
    delta = attack()
    return time.process_time() - start, delta


def main() -> None:
    torch.set_num_threads(1)
    classifier, tokenizer = models.load("reviews-classifier")
    rows = [row for row in data.load("reviews") if row["split"] == "test"][:TEXTS]
    texts, labels = [row["text"] for row in rows], torch.tensor([row["label"] for row in rows])
    encoded = tokenizer(texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
    mask = word_mask(encoded["input_ids"], encoded["attention_mask"], tokenizer.all_special_ids)
    model = Embedded(classifier, encoded["attention_mask"])
    x = classifier.embed(encoded["input_ids"]).detach()
    peer_model = foolbox.PyTorchModel(Masked(model, x, mask), bounds=(-100, 100), device="cpu")
    peer_attack = foolbox.attacks.LinfPGD(abs_stepsize=EPS / 4, steps=STEPS, random_start=False)

    def ours() -> Tensor:
        return pgd(model, x, labels, EPS, steps=STEPS, step=EPS / 4, mask=mask)

    def peer() -> Tensor:
        return (peer_attack(peer_model, x, labels, epsilons=EPS)[1] - x) * mask[..., None]

    print(f"torch {torch.__version__}, foolbox {foolbox.__version__}, one thread, {TEXTS} texts")
    print(f"under infinity, eps {EPS}, {STEPS} steps; best of {RUNS}")
    times: dict[str, list[float]] = {"ours": [], "foolbox": []}
    for _ in range(RUNS):
        for name, attack in (("ours", ours), ("foolbox", peer)):
            spent, delta = seconds(attack)
            times[name].append(spent)
            with torch.no_grad():
                clean, attacked = (model(vectors).argmax(-1) for vectors in (x, x + delta))
            share, low, high = attack_success_rate(labels, clean, attacked)
            print(f"{name:8} {spent:6.2f} s   success {share:.0%} ({low:.0%} to {high:.0%})", flush=True)
        for parameter in classifier.parameters():
            parameter.grad = None
    print(f"ratio {min(times['ours']) / min(times['foolbox']):.2f}")


if __name__ == "__main__":
    main()
