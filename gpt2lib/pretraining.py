"""A text becomes a trained GPT-2: tokens, model, training, Hugging Face folder.

In that folder `training/` holds what only training needs: the tokens, the last
checkpoint and the measurements. It may be deleted once the model is good.
"""

import dataclasses
import math
import os
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed

from gpt2lib.config import POCKET
from gpt2lib.corpus import open_corpus, prepare
from gpt2lib.data import ShuffledWindows
from gpt2lib.devices import perform_non_cpu_backend_check
from gpt2lib.model import GPTModel
from gpt2lib.runs import CHECKPOINT, run_to_end, working_folder
from gpt2lib.training import (
    Trainer,
    TrainingSettings,
    bits_per_byte,
    connected,
    evaluate,
    perplexity,
)
from gpt2lib.weights import load_model, save_model

ROWS_AT_ONCE = 16  # when judging


def default_learning_rate(n_params):
    """A good highest rate for a model's size (Kaplan et al. 2020, equation D.1).

    >>> round(default_learning_rate(124_439_808), 5)
    0.00064
    """
    return 0.003239 - 0.0001395 * math.log(n_params)


def pretrain(
    data,
    out,
    cfg=POCKET,
    *,
    steps=None,
    batch_size=32,
    checkpoint_every=250,
    resume=False,
    start=None,
    **settings,
):
    """Trains a model from random weights and returns the measured figures.

    Under torchrun every process calls this; the first alone writes.

    Args:
        data: a text file, `.jsonl` file, `.bin` token shard, or a folder of them.
        out: the folder to make; a Hugging Face folder in the end.
        cfg: the model's shape; the vocabulary's size follows the tokenizer.
        steps: one pass over the data if None.
        batch_size: windows of cfg.context_length a step, over all processes.
        checkpoint_every: steps between checkpoints and judgements.
        resume: go on from the last checkpoint, if there is one.
        start: a trained model to begin with, by name or path, instead of random
            weights of cfg; the data must have been tokenized with its tokenizer.
        settings: other fields of `TrainingSettings`.

    Raises:
        ValueError: the data, a setting, or a folder that holds another model.
        FloatingPointError: the loss or its gradient is not finite.
    """
    _check(batch_size, steps, checkpoint_every, settings)
    work, seed = working_folder(Path(out), resume), settings.get("seed", 0)
    with connected() as processes:
        _prepare_once(processes, data, work / "tokens", cfg.vocab_size)
        corpus = open_corpus(data, work / "tokens")
        cfg = dataclasses.replace(cfg, vocab_size=corpus.tokenizer.n_vocab)
        model = load_model(start) if start else _random_model(cfg, seed)
        length, end = model.cfg.context_length, corpus.tokenizer.eot_token
        _check_lengths(corpus, length)
        batches = ShuffledWindows(corpus.training, length, batch_size, seed, end)
        settings.setdefault("learning_rate", default_learning_rate(model.cfg.n_params))
        settings["steps"] = steps or max(1, len(batches) // batch_size)
        trainer = Trainer(
            model.to(_device(processes)),
            TrainingSettings(**settings),
            processes,
            batch_size=batch_size,
            training_tokens=len(corpus.training),
        )
        if resume and (work / CHECKPOINT).exists():
            trainer.load(work / CHECKPOINT)
        rows = settings.get("micro_batch_size") or ROWS_AT_ONCE
        validation = _in_batches(corpus.validation, length, rows, end)

        def judge():
            return {"val_loss": evaluate(model, validation, trainer.settings.precision)}

        metrics = run_to_end(trainer, batches.batch, judge, work, checkpoint_every)
        if processes.is_first:
            _save(model, out, corpus.tokenizer)
            return _figures(metrics, validation, corpus.tokenizer)


def _check(batch_size, steps, checkpoint_every, settings):
    """Refuses at once what would fail only after the tokens are made."""
    numbers = {"batch_size": batch_size, "checkpoint_every": checkpoint_every}
    for name, value in (numbers | {"steps": 1 if steps is None else steps}).items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    TrainingSettings(**{"steps": 1} | settings)
    count = int(os.environ.get("WORLD_SIZE", 1))
    if batch_size % count:
        raise ValueError(
            f"a batch of {batch_size} windows cannot be shared out among {count} "
            f"processes: use a multiple of {count}"
        )


def _prepare_once(processes, *args):
    """`prepare` by the first process, while the others wait, for a day if need be."""
    waiting = None
    if processes.count > 1:
        waiting = distributed.new_group(backend="gloo", timeout=timedelta(days=1))
    if processes.is_first:
        prepare(*args)
    if waiting:
        distributed.barrier(waiting)


def _check_lengths(corpus, context_length):
    for part, ids in (("to learn", corpus.training), ("held out", corpus.validation)):
        if len(ids) <= context_length:
            raise ValueError(
                f"the part {part} has {len(ids)} tokens, but a window needs "
                f"{context_length + 1}: use a longer text or a smaller context length"
            )


def _random_model(cfg, seed):
    """A new model; its weights depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GPTModel(cfg)


def _device(processes):
    if processes.count > 1 and not torch.cuda.is_available():
        return "cpu"  # gloo knows no other
    return perform_non_cpu_backend_check()


def _in_batches(ids, context_length, rows, document_end):
    """One pass over the held-out ids, in windows like those of training."""
    count = (len(ids) - 1) // context_length
    windows = ShuffledWindows(ids, context_length, count, document_end=document_end)
    rows = min(rows, ROWS_AT_ONCE)
    return list(zip(*(part.split(rows) for part in windows.batch(0))))


def _save(model, out, tokenizer):
    """The Hugging Face folder. Without tokenizer files it is known by size: GPT-2's."""
    save_model(model, out, tokenizer if hasattr(tokenizer, "save") else None)


def _figures(metrics, validation, tokenizer):
    """What the run measured, all told."""
    steps = [m for m in metrics if "loss" in m]
    val_loss = [m["val_loss"] for m in metrics if "val_loss" in m][-1]
    targets = torch.cat([targets.flatten() for _, targets in validation]).tolist()
    bytes_ = sum(
        len(tokenizer.decode_single_token_bytes(id))
        for id in targets
        if id != tokenizer.eot_token
    )
    seconds = sum(m["tokens"] / m["tokens_per_second"] for m in steps)
    tokens = sum(m["tokens"] for m in steps)
    return {
        "steps": steps[-1]["step"],
        "tokens": tokens,
        "seconds": round(seconds, 1),
        "tokens_per_second": round(tokens / seconds),
        "train_loss": steps[-1]["loss"],
        "val_loss": val_loss,
        "perplexity": perplexity(val_loss),
        "bits_per_byte": bits_per_byte(val_loss, len(targets), bytes_),
    }
