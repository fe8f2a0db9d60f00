"""A training step: forward, backward, gradient clipping, AdamW; no dropout.

GPT-2 124M on 4 x 256 tokens and pocket's shape on 16 x 256, compared with other
implementations in a plain loop. On a GPU: GPT-2 124M on 16 x 1,024 tokens, bfloat16
only, compiled. The limit is the machine's matmul rate.
"""

import dataclasses
import multiprocessing
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch.nn import functional as F

from benchmarks.card import Cpu, find_card
from benchmarks.programs import DEVICE, end_with_parent, nanogpt_model
from benchmarks.timing import Limits, report, take_turns
from gpt2lib import GPT2_124M, POCKET, GPTConfig, GPTModel
from gpt2lib.training import Trainer, TrainingSettings, training_flops
from gpt2lib.training.loss import autocast

GPU = DEVICE == "cuda"


@dataclass(frozen=True)
class Shape:
    """What a step trains: a model's shape, rows x length ids, where, how."""

    cfg: GPTConfig
    rows: int
    length: int
    device: str = DEVICE
    compile: bool = GPU

    @property
    def tokens(self):
        return self.rows * self.length

    def shortest_step(self, rate):
        """Seconds of a step of nothing but matrix products, at `rate` FLOP/s."""
        cfg = dataclasses.replace(self.cfg, context_length=self.length)
        return training_flops(cfg, self.tokens) / rate

    def batch(self):
        """Random inputs and targets, in the CPU's memory."""
        torch.manual_seed(0)
        ids = torch.randint(self.cfg.vocab_size, (self.rows, self.length + 1))
        return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()


TRAINED = dataclasses.replace(GPT2_124M, drop_rate=0.0)
SHAPES = {"GPT-2 124M": Shape(TRAINED, 4, 256), "pocket": Shape(POCKET, 16, 256)}
if GPU:
    SHAPES = {"GPT-2 124M": Shape(TRAINED, 16, 1024)}
PRECISIONS = ("bfloat16",) if GPU else ("float32", "bfloat16")


def main(nanogpt=None, turns=3):
    limits = Limits()
    print(limits)
    for title, shape in SHAPES.items():
        programs = ["gpt2lib"]
        programs += ["transformers"] if find_spec("transformers") else []
        programs += ["nanoGPT"] if nanogpt and shape.cfg is not POCKET else []
        keys = [(name, p) for p in PRECISIONS for name in programs]
        if shape.cfg is not POCKET and not GPU:  # first: children inherit our peak
            peaks = {key: peak_memory(shape, *key, nanogpt) for key in keys}
            print(
                "\n**Peak memory of the whole process, 3 steps**\n\n| | GB |\n|---|---|"
            )
            for key, peak in peaks.items():
                print(f"| {', '.join(key)} | {peak / 1e9:.2f} |")
        run = {", ".join(key): waiting(step_of(shape, *key, nanogpt)) for key in keys}
        at_best = {
            ", ".join(key): shape.shortest_step(limits.rates[key[1]]) for key in keys
        }
        report(
            f"A training step of {title}, {shape.rows} x {shape.length} tokens",
            take_turns(run, turns),
            f"transformers, {PRECISIONS[0]}",
            shape.tokens,
            "tokens",
            at_best,
        )


def step_of(shape, program, precision, nanogpt=None):
    """A function that takes one training step, and leaves a GPU working on it."""
    if program == "gpt2lib":
        trainer, batch = trainer_of(shape, precision), shape.batch()
        return lambda: trainer.train_step(*batch)
    if program == "transformers":
        model = transformers_model(shape.cfg)

        def loss_of(inputs, targets):
            logits = model(inputs, use_cache=False).logits
            return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    else:
        model = nanogpt_model(shape.cfg, nanogpt)

        def loss_of(inputs, targets):
            return model(inputs, targets)[1]

    return plain_step(shape, model, loss_of, precision)


def waiting(step):
    """The same step, until the GPU is done with it."""
    return lambda: (step(), find_card().wait())


def trainer_of(shape, precision):
    """A `Trainer` of an untrained model."""
    settings = TrainingSettings(10**6, precision=precision, compile=shape.compile)
    return Trainer(GPTModel(shape.cfg).to(shape.device), settings)


def transformers_model(cfg):
    """An untrained GPT2LMHeadModel without dropout."""
    from transformers import GPT2Config, GPT2LMHeadModel

    shape = {"vocab_size": cfg.vocab_size, "n_positions": cfg.context_length}
    shape |= {"n_embd": cfg.emb_dim, "n_head": cfg.n_heads, "n_layer": cfg.n_layers}
    kept = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    return GPT2LMHeadModel(GPT2Config(**shape, **kept)).train()


def plain_step(shape, model, loss_of, precision):
    """A step of the usual PyTorch training loop; nobody reads the loss."""
    device = torch.device(shape.device)
    model.to(device)
    loss_of = torch.compile(loss_of) if shape.compile else loss_of
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    batch = [part.to(device) for part in shape.batch()]

    def step():
        optimizer.zero_grad()
        with autocast(device, precision):
            loss = loss_of(*batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def peak_memory(*program):
    """Peak memory, in bytes, of a fresh process that takes three steps."""
    with multiprocessing.get_context("spawn").Pool(1, end_with_parent) as pool:
        return pool.apply(_take_steps, program)


def _take_steps(*program):
    step = step_of(*program)
    for _ in range(3):
        step()
    return Cpu().peak()
