"""Adaptation: a model reads the texts of a task before it learns their labels.

Next-token prediction needs no labels, so rows that are left out of the training split
can teach as well. Source: Howard and Ruder 2018.
"""

import math
import random
from pathlib import Path

import torch

from gpt2lib.data import ShuffledWindows, sliding_windows
from gpt2lib.finetuning.responses import check_are_texts
from gpt2lib.tokenizer import Tokenizer
from gpt2lib.training.loss import Batch, evaluate
from gpt2lib.training.runs import METRICS, Metrics, go_on, run_to_end, total_seconds
from gpt2lib.training.trainer import Trainer
from gpt2lib.weights.vocabulary import end_of_text

WINDOW = 64  # tokens; short windows, few at a time, make many steps of little text
WINDOWS = 8  # per step
ADAPTATION_RATE = 3.0  # factor on finetuning's learning rate


def texts_as_ids(texts: list[str], tokenizer: Tokenizer, seed: int = 0) -> torch.Tensor:
    """The ids of all texts in random order, with <|endoftext|> around each.

    Shapes: -> (tokens,)
    """
    check_are_texts(texts)
    ids = [end_of_text(tokenizer)]
    for text in random.Random(f"texts {seed}").sample(texts, len(texts)):
        ids += [*tokenizer.encode_ordinary(text), end_of_text(tokenizer)]
    return torch.tensor(ids)


def text_windows(
    ids: torch.Tensor, context_length: int, seed: int = 0
) -> ShuffledWindows:
    """Training windows of texts, shorter than the context if these are few."""
    length = min(WINDOW, context_length, len(ids) - 1)
    return ShuffledWindows(ids, length, WINDOWS, seed)


def adapt_to_texts(
    trainer: Trainer, windows: ShuffledWindows, held_out: torch.Tensor, work: Path
) -> dict[str, float]:
    """Trains a model to predict texts, from where an earlier run stopped.

    Args:
        held_out: ids of other texts, to measure on, (tokens,).
        work: the folder for the measurements and the training state.

    Returns: the loss on `held_out` before and after, in nats per token.
    """
    model, precision = trainer.model, trainer.settings.precision
    length = min(windows.context_length, len(held_out) - 1)
    inputs, targets = sliding_windows(held_out, length)
    batches: list[Batch] = list(zip(inputs.split(64), targets.split(64)))

    def validate():
        return {"val_loss": evaluate(model, batches, precision)}

    metrics = Metrics(work / METRICS)
    go_on(trainer, work)
    if not trainer.step:
        metrics.cut(-1)
        metrics.add(step=0, **validate())
    every = math.ceil(trainer.settings.steps / 4)
    measured = run_to_end(trainer, windows.batch, validate, work, every)
    losses = [m["val_loss"] for m in measured if "val_loss" in m]
    seconds = total_seconds([m for m in measured if "val_loss" not in m])
    return {
        "texts_val_loss_before": losses[0],
        "texts_val_loss": losses[-1],
        "texts_seconds": round(seconds, 1),
    }
