"""A training run on disk: measured, saved on the way, and continued after a kill."""

import dataclasses
import json
import math
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from gpt2lib import files
from gpt2lib.training.corpus import RECORD
from gpt2lib.weights.vocabulary import TOKENIZER_FILES

CHECKPOINT = "checkpoint.pt"
BEST = "best.safetensors"
METRICS = "metrics.jsonl"
TOKENS = "tokens"
TOKEN_FILES = (RECORD, *TOKENIZER_FILES)


@contextmanager
def working_folder(out, resume, processes=None):
    """A run's folder OUT/training, which no other run may use meanwhile.

    What would fail only after the training is tried here; of several processes the
    first does it.

    Raises:
        ValueError: `out` is no folder to write to, holds what is not of this run, or is
            in use by another.
        OSError: it cannot be written.
    """
    work = Path(out) / "training"
    if processes and not processes.is_first:
        yield work
        return
    _check_out(out, work, resume)
    work.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=out).close()
    try:
        with FileLock(work / ".lock", timeout=0):
            _check_out(out, work, resume)  # another run may have ended in between
            yield work
    except Timeout as error:
        raise ValueError(
            f"another run is writing to {out}: wait for its end, or choose another "
            "folder"
        ) from error


def _check_out(out, work, resume):
    """Refuses to write over anything but a run that is to go on."""
    if str(out).strip() and (work / CHECKPOINT).exists():
        if not resume:
            raise ValueError(
                f"{out} already holds {CHECKPOINT}: go on with --resume, or choose "
                "another folder"
            )
        return
    files.check_free(out, {work.name})
    files.check_free(work, {CHECKPOINT, BEST, METRICS, TOKENS})
    made = {path.name for path in (work / TOKENS).glob("[0-9]*.bin")}
    files.check_free(work / TOKENS, {*made, *TOKEN_FILES})


def try_to_save(tokenizer, work):
    """Fails now if the tokenizer cannot be saved, and not after the training."""
    folder = work / ".trial"
    try:
        if hasattr(tokenizer, "save"):
            tokenizer.save(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # a killed run's, too


def go_on(trainer, work):
    """Loads the last checkpoint, if there is one."""
    if (work / CHECKPOINT).exists():
        trainer.load(work / CHECKPOINT)


def run_to_end(trainer, batches, validate, work, checkpoint_every):
    """Trains to the last step; the first process measures and saves on the way.

    Args:
        batches: step -> (inputs, targets).
        validate: called before every checkpoint; returns figures by name, among them
            val_loss.

    Returns: all measurements, as `Metrics.read`.

    Raises:
        FloatingPointError: a held-out loss that is not finite.
        ValueError: the measurements of a run that went on are gone.
    """
    metrics, last = Metrics(work / METRICS), trainer.settings.steps
    is_first = trainer.processes.is_first
    if is_first:
        metrics.cut(trainer.step)
        _sweep(work.parent, work, work / TOKENS)
    bar = tqdm(total=last, initial=trainer.step, unit="step", disable=not is_first)
    with bar:
        for done in trainer.run(batches):
            if not is_first:
                continue
            speed = {"tokens_per_second": done.tokens_per_second}
            metrics.add(**dataclasses.asdict(done) | speed)
            bar.set_postfix_str(
                f"loss {done.loss:.3f}, {done.tokens_per_second:,.0f} tokens/s", False
            )
            bar.update()
            if done.step % checkpoint_every == 0 or done.step == last:
                _write_down(validate, trainer.step, metrics)
                trainer.save(work / CHECKPOINT)
    measured = metrics.read()
    if is_first and not any("val_loss" in m for m in measured):
        raise ValueError(
            f"{metrics.path} lacks what the run measured: put it back, or delete "
            f"{work} to begin again"
        )
    return measured


def _write_down(validate, step, metrics):
    figures = validate()
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


def total_seconds(steps):
    """How long the measured steps took."""
    return sum(measured.get("seconds", 0.0) for measured in steps)


# ------------------------------------------------------------------------- measurements


class Metrics:
    """A file of JSON lines, one a measurement, that survives a kill at any moment.

    >>> from tempfile import TemporaryDirectory
    >>> folder = TemporaryDirectory()
    >>> metrics = Metrics(Path(folder.name) / "metrics.jsonl")
    >>> metrics.add(step=1, loss=2.5)
    >>> metrics.read()
    [{'step': 1, 'loss': 2.5}]
    """

    def __init__(self, path):
        self.path = Path(path)

    def add(self, **measured):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(measured) + "\n")

    def read(self):
        """All measurements; a last line that was cut off is not one.

        Raises:
            ValueError: a line that is not a JSON object with a step.
        """
        if not self.path.is_file():
            return []
        text = self.path.read_text(encoding="utf-8", errors="replace")
        return [self._parse(*line) for line in enumerate(text.split("\n")[:-1], 1)]

    def _parse(self, number, line):
        try:
            measured = json.loads(line)
            if type(measured["step"]) is int:
                return measured
        except (ValueError, TypeError, KeyError, RecursionError):
            pass
        raise ValueError(
            f"{self.path}, line {number} is no JSON object with a whole number 'step': "
            "remove the line"
        )

    def cut(self, step):
        """Forgets what came after a step, which is about to be done again."""
        kept = [json.dumps(m) + "\n" for m in self.read() if m["step"] <= step]
        files.write_text(self.path, "".join(kept))
