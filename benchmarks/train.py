"""A training step: forward, backward, gradient clipping, AdamW; no dropout.

GPT-2 124M on 4 x 256 tokens and pocket's shape on 16 x 256, compared with other
implementations in a plain loop. On a GPU: GPT-2 124M on 16 x 1,024 tokens, bfloat16
only, compiled. The limit is the machine's matmul rate.
"""

import dataclasses
import multiprocessing
import resource
import sys
from importlib.util import find_spec

import torch
from torch.nn import functional as F

from benchmarks.programs import DEVICE, NanoGPT
from benchmarks.timing import Limits, report, take_turns
from gpt2lib import GPT2_124M, POCKET, GPTModel
from gpt2lib.training import Trainer, TrainingSettings, training_flops
from gpt2lib.training.loss import autocast

SHAPES = {
    "GPT-2 124M": (dataclasses.replace(GPT2_124M, drop_rate=0.0), 4, 256),
    "pocket": (POCKET, 16, 256),
}
GPU = DEVICE == "cuda"
if GPU:
    SHAPES = {"GPT-2 124M": (SHAPES["GPT-2 124M"][0], 16, 1024)}
PRECISIONS = ("bfloat16",) if GPU else ("float32", "bfloat16")


def main(nanogpt=None, turns=3):
    limits = Limits()
    print(limits)
    for shape, (cfg, rows, length) in SHAPES.items():
        programs = ["gpt2lib"]
        programs += ["transformers"] if find_spec("transformers") else []
        programs += ["nanoGPT"] if nanogpt and cfg is not POCKET else []
        keys = [(name, p) for p in PRECISIONS for name in programs]
        if cfg is not POCKET and not GPU:  # first: children inherit our peak memory
            peaks = {key: peak_memory(shape, *key, nanogpt) for key in keys}
            print(
                "\n**Peak memory of the whole process, 3 steps**\n\n| | GB |\n|---|---|"
            )
            for key, peak in peaks.items():
                print(f"| {', '.join(key)} | {peak / 1e9:.2f} |")
        run = {", ".join(key): step_of(shape, *key, nanogpt) for key in keys}
        flops = training_flops(dataclasses.replace(cfg, context_length=length), 1)
        tokens = rows * length
        at_best = {
            ", ".join(key): tokens * flops / limits.rates[key[1]] for key in keys
        }
        report(
            f"A training step of {shape}, {rows} x {length} tokens",
            take_turns(run, turns),
            f"transformers, {PRECISIONS[0]}",
            tokens,
            "tokens",
            at_best,
        )


def step_of(shape, program, precision, nanogpt=None):
    """A function that takes one training step."""
    cfg, rows, length = SHAPES[shape]
    torch.manual_seed(0)
    ids = torch.randint(cfg.vocab_size, (rows, length + 1))
    inputs, targets = ids[:, :-1], ids[:, 1:]
    if program == "gpt2lib":
        settings = TrainingSettings(10**6, precision=precision, compile=GPU)
        trainer = Trainer(GPTModel(cfg).to(DEVICE), settings)
        return lambda: trainer.train_step(inputs, targets)
    if program == "nanoGPT":
        model = NanoGPT(nanogpt).model
        return plain_step(model, lambda *batch: model(*batch)[1], ids, precision)
    model = transformers_model(cfg)

    def loss_of(inputs, targets):
        logits = model(inputs).logits
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    return plain_step(model, loss_of, ids, precision)


def transformers_model(cfg):
    from transformers import GPT2Config, GPT2LMHeadModel

    shape = {"vocab_size": cfg.vocab_size, "n_positions": cfg.context_length}
    shape |= {"n_embd": cfg.emb_dim, "n_head": cfg.n_heads, "n_layer": cfg.n_layers}
    kept = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    return GPT2LMHeadModel(GPT2Config(**shape, **kept)).train().to(DEVICE)


def plain_step(model, loss_of, ids, precision):
    """A step of the usual PyTorch training loop."""
    loss_of = torch.compile(loss_of) if GPU else loss_of
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    batch = [part.contiguous().to(DEVICE) for part in (ids[:, :-1], ids[:, 1:])]

    def step():
        optimizer.zero_grad()
        with autocast(torch.device(DEVICE), precision):
            loss = loss_of(*batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return step


def peak_memory(*program):
    """Peak memory, in bytes, of a fresh process that takes three steps."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_take_steps, program)


def _take_steps(*program):
    step = step_of(*program)
    for _ in range(3):
        step()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
