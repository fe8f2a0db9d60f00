"""Prefill: from a prompt of 1,024 tokens to the logits of the next token.

GPT-2 124M with random weights. Each weight serves 1,024 positions at once, so the limit
is the machine's matmul rate. Every program computes the last position's logits only.
"""

import tempfile

import torch

from benchmarks.programs import installed
from benchmarks.timing import Limits, report, take_turns
from gpt2lib import GPT2_124M, GPTModel, save_model

LENGTH = 1024


def main(nanogpt=None, turns=5):
    limits = Limits()
    print(limits)
    cfg = GPT2_124M
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        save_model(GPTModel(cfg), folder)
        programs = installed("prefill", folder, nanogpt)
    ids = torch.randint(cfg.vocab_size, (1, LENGTH))
    run = {
        name: lambda program=program: program.prefill(ids)
        for name, (program, _) in programs.items()
    }
    flops = flops_of(cfg, LENGTH)
    at_best = {
        name: flops / limits.rates.get(precision, limits.rates["float32"])
        for name, (_, precision) in programs.items()
        if precision != "int8"
    }
    report(
        f"Prefill of {LENGTH} tokens",
        take_turns(run, turns, pause=0.3),
        "transformers, float32",
        LENGTH,
        "tokens",
        at_best,
    )


def flops_of(cfg, length):
    """Floating-point operations of one prompt."""
    matrices = 12 * cfg.n_layers * cfg.emb_dim**2  # blocks only; the head runs once
    attention = cfg.n_layers * cfg.emb_dim * length  # causal: half of them on average
    return 2 * length * (matrices + attention) + 2 * cfg.vocab_size * cfg.emb_dim
