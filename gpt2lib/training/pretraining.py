"""Pretraining from start to end: tokens, model, training, Hugging Face folder.

In that folder, `training/` holds what only training needs: the tokens, the training
state and the measurements. It may be deleted once training is done.
"""

import dataclasses
import math
import multiprocessing
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from gpt2lib import files
from gpt2lib.checks import check_whole
from gpt2lib.config import POCKET, GPTConfig
from gpt2lib.data import ShuffledWindows
from gpt2lib.devices import find_device
from gpt2lib.model import GPTModel
from gpt2lib.tokenizer import tokenizer_of
from gpt2lib.training.corpus import make_tokens, open_corpus, tokenizer_hash
from gpt2lib.training.loss import bits_per_byte, evaluate, perplexity, training_memory
from gpt2lib.training.processes import connected, process_count
from gpt2lib.training.runs import (
    CHECKPOINT,
    TOKENS,
    go_on,
    run_to_end,
    total_seconds,
    try_to_save,
    working_folder,
)
from gpt2lib.training.sharding import check_several, in_one_piece
from gpt2lib.training.trainer import Trainer, TrainingSettings
from gpt2lib.weights.loading import load_model
from gpt2lib.weights.saving import save_model

ROWS_AT_ONCE = 16  # in validation


def default_learning_rate(n_params: int) -> float:
    """A good peak rate for a model's size (Kaplan et al. 2020, equation D.1).

    >>> round(default_learning_rate(124_439_808), 5)
    0.00064
    """
    return 0.003239 - 0.0001395 * math.log(n_params)


def pretrain(
    data: str | Path,
    out: str | Path,
    cfg: GPTConfig = POCKET,
    *,
    steps: int | None = None,
    batch_size: int = 32,
    checkpoint_every: int = 250,
    resume: bool = False,
    start: str | Path | None = None,
    device: str | torch.device | None = None,
    **settings: Any,
) -> dict[str, float] | None:
    """Trains a model from random weights and returns the measured figures.

    Under torchrun every process calls this; only the first writes and returns figures.

    Args:
        data: a text file, `.jsonl` file, `.bin` token shard, or a folder of them.
        out: the folder to create, in Hugging Face layout.
        cfg: the model's shape; its vocab_size becomes that of the tokenizer.
        steps: one pass over the data if None.
        batch_size: windows of cfg.context_length per step, over all processes.
        checkpoint_every: steps between validations; each saves the training state.
        resume: continue from the training state, if there is one.
        start: a trained model to start from, by name or path, instead of random
            weights of cfg; the data must have been tokenized with its tokenizer.
        device: where to train; the best available if None.
        settings: other fields of `TrainingSettings`.

    Raises:
        ValueError: unusable data or settings, or a folder that holds something else.
        OSError: the folder cannot be written, a file changed, a process was killed.
        FloatingPointError: the loss or gradient norm is not finite.
    """
    _check(cfg, batch_size, steps, checkpoint_every, settings)
    seed = settings.get("seed", 0)
    with connected() as processes, working_folder(out, resume, processes) as work:
        device = _device(processes, device)
        tokens, goes_on = work / TOKENS, (work / CHECKPOINT).exists()
        fingerprint = _make_tokens(processes, data, tokens, cfg.vocab_size, goes_on)
        corpus = open_corpus(data, tokens)
        if processes.is_first:
            try_to_save(corpus.tokenizer, work)
        model = _model(cfg, start, corpus, batch_size, seed)
        length, end = model.cfg.context_length, corpus.tokenizer.eot_token
        batches = ShuffledWindows(corpus.training, length, batch_size, seed, end)
        settings.setdefault("learning_rate", default_learning_rate(model.cfg.n_params))
        settings["steps"] = steps or max(1, len(batches) // batch_size)
        facts = {"batch_size": batch_size, "training_tokens": len(corpus.training)}
        facts |= {"data": fingerprint}
        model = model.to(device)
        trainer = Trainer(model, TrainingSettings(**settings), processes, **facts)
        go_on(trainer, work)
        rows = trainer.settings.micro_batch_size or ROWS_AT_ONCE
        validation = _in_batches(corpus.validation, length, rows, end)

        def validate():
            return {"val_loss": evaluate(model, validation, trainer.settings.precision)}

        metrics = run_to_end(trainer, batches.batch, validate, work, checkpoint_every)
        if not (whole := in_one_piece(model, processes.is_first)):
            return None
        _save(whole, out, corpus.tokenizer)
        return _figures(metrics, validation, corpus.tokenizer)


def _check(cfg, batch_size, steps, checkpoint_every, settings):
    """Refuses at once what would otherwise fail only after tokenizing."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ValueError(
            "a worker that encodes texts has run this script again: call pretrain "
            'under if __name__ == "__main__":'
        )
    if not isinstance(cfg, GPTConfig) or cfg.n_classes:
        raise ValueError(f"cfg must be a GPTConfig that predicts tokens, got {cfg!r}")
    check_whole("batch_size", batch_size)
    check_whole("checkpoint_every", checkpoint_every)
    TrainingSettings(**{"steps": 1 if steps is None else steps} | settings)
    count = process_count()
    if settings.get("shard"):
        check_several(count)
    if batch_size % count:
        raise ValueError(
            f"a batch of {batch_size} windows cannot be split evenly over {count} "
            f"processes: use a multiple of {count}"
        )


def _make_tokens(processes, *args):
    """`make_tokens` in the first process; the others wait for up to a day."""
    if processes.count == 1:
        return make_tokens(*args)
    group = distributed.new_group(backend="gloo", timeout=timedelta(days=1))
    result = [make_tokens(*args) if processes.is_first else None]
    distributed.broadcast_object_list(result, group=group)
    return result[0]


def _model(cfg, start, corpus, batch_size, seed):
    """The untrained or given model, after checking that it fits the corpus."""
    vocab_size = corpus.tokenizer.n_vocab
    if not start:
        cfg = dataclasses.replace(cfg, vocab_size=vocab_size)
        _check_lengths(corpus, cfg.context_length, batch_size)
        return _random_model(cfg, seed)
    path = files.find_model(start)
    model = load_model(path)
    if model.cfg.n_classes:
        raise ValueError(
            f"{start} has a classification head for {model.cfg.n_classes} classes, but "
            "must predict tokens: start from the model it was finetuned from"
        )
    if tokenizer_hash(tokenizer_of(path)) != tokenizer_hash(corpus.tokenizer):
        raise ValueError(
            f"the data was tokenized with another vocabulary than that of {start}: "
            "tokenize it with that model's tokenizer"
        )
    _check_lengths(corpus, model.cfg.context_length, batch_size)
    return model


def _check_lengths(corpus, context_length, batch_size):
    for part, ids in (("training", corpus.training), ("validation", corpus.validation)):
        if len(ids) <= context_length:
            raise ValueError(
                f"the {part} split has {len(ids)} tokens, but a window needs "
                f"{context_length + 1}: use a longer text or a smaller context length"
            )
    windows = len(corpus.training) // context_length
    if batch_size > 100 * windows:
        raise ValueError(
            f"a batch of {batch_size} windows is over a hundred times the text, which "
            f"has {windows}: use a smaller batch"
        )


def _random_model(cfg, seed):
    """A new model, whose weights depend only on `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return GPTModel(cfg)
        except RuntimeError as error:  # torch raises it if memory runs out
            raise ValueError(
                f"not enough memory for {cfg.n_params:,} parameters, which take "
                f"{training_memory(cfg) / 1e9:,.0f} GB to train: choose a smaller model"
            ) from error


def _device(processes, name):
    if processes.count == 1:
        return find_device(name)
    usual = "cuda" if torch.cuda.is_available() else "cpu"  # gloo supports no other
    if name not in (None, usual):
        raise ValueError(
            f"{processes.count} processes train on {usual} here, not on {name!r}: "
            "leave out --device"
        )
    return torch.device(usual)


def _in_batches(ids, context_length, rows, document_end):
    """All validation windows once, in batches; windows are as in training."""
    count = (len(ids) - 1) // context_length
    windows = ShuffledWindows(ids, context_length, count, document_end=document_end)
    rows = min(rows, ROWS_AT_ONCE)
    return list(zip(*(part.split(rows) for part in windows.batch(0))))


def _save(model, out, tokenizer):
    """Saves the Hugging Face folder; a tokenizer that cannot be saved is GPT-2's."""
    save_model(model, out, tokenizer if hasattr(tokenizer, "save") else None)


def _figures(metrics, validation, tokenizer):
    """The figures of the whole run."""
    steps = [m for m in metrics if "loss" in m]
    val_loss = [m["val_loss"] for m in metrics if "val_loss" in m][-1]
    targets = torch.cat([targets.flatten() for _, targets in validation]).tolist()
    bytes_ = sum(
        len(tokenizer.decode_single_token_bytes(id))
        for id in targets
        if id != tokenizer.eot_token
    )
    seconds = total_seconds(steps)
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
