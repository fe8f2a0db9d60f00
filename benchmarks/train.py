"""One training step of pocket's shape, beside the same model in transformers.

Same weights, same batch, AdamW, clipping; the peer's loop is a plain one.
"""

import tempfile

import torch
import transformers
from torch.nn import functional as F

from benchmarks.timing import report, take_turns
from gpt2lib import POCKET, GPTModel, save_model
from gpt2lib.training import Trainer, TrainingSettings, autocast

ROWS = 16


def main():
    torch.manual_seed(0)
    ids = torch.randint(POCKET.vocab_size, (ROWS, POCKET.context_length + 1))
    batch = ids[:, :-1], ids[:, 1:]
    programs = {}
    for precision in ("float32", "bfloat16"):
        model = GPTModel(POCKET)
        programs[f"gpt2lib, {precision}"] = our_step(model, batch, precision)
        programs[f"transformers, {precision}"] = their_step(model, batch, precision)
    tokens = batch[1].numel()
    title = (
        f"A training step of pocket's shape, {ROWS} x {POCKET.context_length} tokens"
    )
    report(title, take_turns(programs), "transformers, float32", tokens, "tokens")


def our_step(model, batch, precision):
    trainer = Trainer(model, TrainingSettings(steps=10**6, precision=precision))
    return lambda: trainer.train_step(*batch)


def their_step(ours, batch, precision):
    with tempfile.TemporaryDirectory() as folder:
        save_model(ours, folder)
        model = transformers.GPT2LMHeadModel.from_pretrained(folder).train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    inputs, targets = batch

    def step():
        optimizer.zero_grad()
        with autocast(model.device, precision):
            logits = model(inputs).logits
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return step
