"""Two training steps in a process group of one, and without: python -m THIS DEVICE

NCCL on a GPU, gloo on a CPU. Prints the losses as JSON. gpt2lib itself makes a group
only for more than one process, so the trainer's loss is wrapped here, as it would be.
"""

import json
import sys
import tempfile

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from gpt2lib import GPTConfig, GPTModel
from gpt2lib.training import Trainer, TrainingSettings

SMALL = GPTConfig(256, 64, emb_dim=64, n_heads=2, n_layers=2, drop_rate=0.0)


def losses(device, wrapped):
    """The losses of two steps, and those of the second summed over all processes."""
    torch.manual_seed(0)
    trainer = Trainer(GPTModel(SMALL).to(device), TrainingSettings(2, warmup=0))
    ids = torch.randint(SMALL.vocab_size, (4, SMALL.context_length + 1))
    if wrapped:
        trainer._loss_of = DistributedDataParallel(
            trainer.loss, gradient_as_bucket_view=True
        )
    found = [done.loss for done in trainer.run(lambda _: (ids[:, :-1], ids[:, 1:]))]
    total = torch.tensor(found[-1], dtype=torch.float64, device=device)
    distributed.all_reduce(total)
    return found, total.item()


def main(device):
    """Connects this process with itself, through a file, and compares."""
    backend = "nccl" if device == "cuda" else "gloo"
    with tempfile.TemporaryDirectory() as folder:
        distributed.init_process_group(
            backend, init_method=f"file://{folder}/group", rank=0, world_size=1
        )
        plain, _ = losses(device, wrapped=False)
        wrapped, total = losses(device, wrapped=True)
        distributed.destroy_process_group()
    print(
        json.dumps(
            {"backend": backend, "plain": plain, "wrapped": wrapped, "sum": total}
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
