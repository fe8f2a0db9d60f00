"""A training run on disk: measured, saved on the way, and continued after a kill."""

import dataclasses
import math
import os

from tqdm import tqdm

from gpt2lib.checkpoint import WEIGHT_FILES
from gpt2lib.training import Metrics

CHECKPOINT = "checkpoint.pt"


def working_folder(out, resume):
    """Where training keeps its own; refuses to write over a model that is there."""
    work = out / "training"
    checkpoint = work / CHECKPOINT
    has_weights = any((out / name).exists() for name in WEIGHT_FILES)
    if has_weights and not checkpoint.exists():
        raise ValueError(f"{out} already holds a model: choose another folder")
    if checkpoint.exists() and not resume:
        raise ValueError(
            f"{out} already holds {CHECKPOINT}: go on with --resume, or choose another "
            "folder"
        )
    work.mkdir(parents=True, exist_ok=True)
    return work


def run_to_end(trainer, batches, judge, work, checkpoint_every):
    """Trains to the last step; the first process measures and saves on the way.

    Args:
        batches: step -> (inputs, targets).
        judge: called at every checkpoint, before it; returns figures by name, among
            them val_loss.

    Returns: all measurements, as `Metrics.read`.

    Raises:
        FloatingPointError: a held-out loss that is not finite.
    """
    metrics, last = Metrics(work / "metrics.jsonl"), trainer.settings.steps
    is_first, parent = trainer.processes.is_first, os.getppid()
    if is_first:
        metrics.cut(trainer.step)
        _sweep(work.parent, work, work / "tokens")
    bar = tqdm(total=last, initial=trainer.step, unit="step", disable=not is_first)
    with bar:
        for done in trainer.run(batches):
            if trainer.processes.count > 1 and os.getppid() != parent:
                raise OSError("torchrun is gone, so its processes stop too")
            if not is_first:
                continue
            metrics.add(**dataclasses.asdict(done))
            bar.set_postfix_str(
                f"loss {done.loss:.3f}, {done.tokens_per_second:,.0f} tokens/s", False
            )
            bar.update()
            if done.step % checkpoint_every == 0 or done.step == last:
                _write_down(judge, trainer.step, metrics)
                trainer.save(work / CHECKPOINT)
    return metrics.read()


def _write_down(judge, step, metrics):
    figures = judge()
    if not math.isfinite(figures["val_loss"]):
        raise FloatingPointError(
            f"step {step}: the held-out loss is {figures['val_loss']}. The last "
            "checkpoint is kept; start again with a lower learning rate"
        )
    metrics.add(step=step, **figures)


def _sweep(*folders):
    """Removes what a process that was killed had begun to write."""
    for folder in folders:
        for left in folder.glob(".*.part"):
            left.unlink()
