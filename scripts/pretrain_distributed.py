"""Pretrain the chapter's character model on several processes: graphics cards with NCCL, or processor cores with gloo.

    torchrun --nproc-per-node 2 scripts/pretrain_distributed.py --steps 220
    torchrun --nproc-per-node 8 scripts/pretrain_distributed.py --shard --precision bf16 --width 1024 --layers 16

Each process computes the gradient of its own share of the batch, and the shares' gradients are averaged, so that the
result is that of one process on the joined batch. With `--shard` the weights, gradients and optimiser's state are split
among the processes, too (FSDP). AdamW moves all weights here: Muon needs whole matrices, which a shard is not.
"""

import argparse
import json
from dataclasses import replace
from functools import partial

import torch
from accelerate import Accelerator
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from llmsafety_lab import data
from llmsafety_lab.pretraining.loop import train_lm, warm_linear
from llmsafety_lab.pretraining.objectives import Batch, character_ids, next_token
from llmsafety_lab.pretraining.small_lm import FAST, SmallLM


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=220)
    parser.add_argument("--batch", type=int, default=12, help="of all processes together")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--rate", type=float, default=0.003)
    parser.add_argument("--precision", choices=("no", "bf16"), default="no")
    parser.add_argument("--shard", action="store_true", help="split weights, gradients and state (FSDP)")
    parser.add_argument("--cpu", action="store_true", help="processor cores, even where there is a graphics card")
    return parser.parse_args()


def sharded(model: SmallLM, accelerator: Accelerator, precision: str) -> torch.nn.Module:
    """Split a model's weights among the processes, block by block: the next block is gathered when it is needed."""
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16 if precision == "bf16" else None)
    mesh = torch.distributed.init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    model.to(accelerator.device)
    for part in (*model.blocks, model):
        fully_shard(part, mesh=mesh, mp_policy=policy)
    return model


def main() -> None:
    options = arguments()
    accelerator = Accelerator(cpu=options.cpu, mixed_precision=options.precision)
    if options.batch % accelerator.num_processes:
        raise SystemExit(f"a batch of {options.batch} does not divide among {accelerator.num_processes} processes")
    ids, alphabet = character_ids("\n".join(data.load("shakespeare")["text"]))
    sizes = {"layers": options.layers, "width": options.width, "heads": options.width // 32}
    recipe = replace(FAST, **sizes, muon=False, steps=options.steps, batch=options.batch, warmup=options.steps // 20)
    torch.manual_seed(0)
    model: torch.nn.Module = SmallLM(len(alphabet), recipe)
    model = sharded(model, accelerator, options.precision) if options.shard else accelerator.prepare(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=options.rate, betas=(0.9, 0.95))
    whole = next_token(ids, recipe.batch, recipe.context)

    def draw(step: int) -> Batch:
        """Return this process's share of the step's batch."""
        share = slice(accelerator.process_index, None, accelerator.num_processes)
        inputs, labels = (part[share].to(accelerator.device) for part in whole(step))
        return inputs, labels

    share = partial(warm_linear, steps=recipe.steps, warmup=recipe.warmup)
    mine = train_lm(model, draw, [optimiser], share, recipe.steps)
    losses = accelerator.reduce(torch.tensor(mine, device=accelerator.device), "mean")
    held = sum(weight.to_local().numel() if options.shard else weight.numel() for weight in model.parameters())
    if accelerator.is_main_process:
        print(json.dumps({"processes": accelerator.num_processes, "losses": losses.tolist(), "held": held}))
    # The model goes before the process group: a group that dies with the model can wait for its own thread for ever.
    del model, optimiser
    accelerator.free_memory()
    accelerator.end_training()


if __name__ == "__main__":
    main()
