"""A training run's folder: measurements, training state, resuming after a kill."""

import dataclasses
import json
import math
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from gpt2lib import files
from gpt2lib.tokenizer import Tokenizer
from gpt2lib.training.corpus import RECORD
from gpt2lib.training.loss import Batch
from gpt2lib.training.processes import Processes
from gpt2lib.training.state import StateWriter
from gpt2lib.training.trainer import Trainer
from gpt2lib.weights.vocabulary import TOKENIZER_FILES

CHECKPOINT = "checkpoint.pt"
BEST = "best.safetensors"
METRICS = "metrics.jsonl"
TOKENS = "tokens"
ADAPTATION = "adaptation"
TENSORBOARD = "tensorboard"
TOKEN_FILES = (RECORD, *TOKENIZER_FILES)


@contextmanager
def working_folder(
    out: str | Path, resume: bool, processes: Processes | None = None
) -> Iterator[Path]:
    """A run's folder, OUT/training; refuses to overwrite an existing model.

    Checks now what would otherwise fail only after training, and locks the folder
    against other runs. Of several processes, the first does so.

    Raises:
        ValueError: `out` is not a folder, holds files of anything else, or is in use by
            another run.
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
            f"another run is writing to {out}: wait until it ends, or choose "
            "another folder"
        ) from error


def _check_out(out, work, resume):
    """Refuses to overwrite anything but a run that is resumed."""
    begun = (work / CHECKPOINT, work / ADAPTATION / CHECKPOINT)
    if str(out).strip() and any(path.exists() for path in begun):
        if not resume:
            raise ValueError(
                f"{out} already holds {CHECKPOINT}: continue with --resume, or choose "
                "another folder"
            )
        return
    files.check_free(out, {work.name})
    files.check_free(work, {CHECKPOINT, BEST, METRICS, TOKENS, ADAPTATION, TENSORBOARD})
    files.check_free(work / ADAPTATION, {CHECKPOINT, METRICS, TENSORBOARD})
    made = {path.name for path in (work / TOKENS).glob("[0-9]*.bin")}
    files.check_free(work / TOKENS, {*made, *TOKEN_FILES})


def try_to_save(tokenizer: Tokenizer, work: Path) -> None:
    """Fails now, not after training, if the tokenizer cannot be saved."""
    folder = work / ".trial"
    try:
        if hasattr(tokenizer, "save"):
            tokenizer.save(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # or one of a killed run


def go_on(trainer: Trainer, work: Path) -> None:
    """Loads the training state, if there is one."""
    if (work / CHECKPOINT).exists():
        trainer.load(work / CHECKPOINT)


def run_to_end(
    trainer: Trainer,
    batches: Callable[[int], Batch],
    validate: Callable[[], dict[str, float]],
    work: Path,
    checkpoint_every: int,
    notes: Callable[[], dict[str, float]] = dict,
) -> list[dict]:
    """Trains to the last step; the first process writes what is measured and saved.

    The training state is copied in memory, and written to disk beside the next steps.

    Args:
        batches: step -> the batch, as `Trainer.run`.
        validate: called before the training state is saved, in the first process or, if
            the model is sharded, in all; returns figures by name, including val_loss.
        notes: called after each step; returns further measurements of it.

    Returns: all measurements, as `Metrics.read`.

    Raises:
        FloatingPointError: the held-out loss is not finite.
        ValueError: the measurements of a resumed run are missing.
    """
    metrics, last = Metrics(work / METRICS), trainer.settings.steps
    is_first = trainer.processes.is_first
    if is_first:
        metrics.cut(trainer.step)
        _sweep(work.parent, work, work / TOKENS)
    bar = tqdm(total=last, initial=trainer.step, unit="step", disable=not is_first)
    with bar, StateWriter() as writer:
        for done in trainer.run(batches):
            if is_first:
                speed = {"tokens_per_second": done.tokens_per_second}
                metrics.add(**dataclasses.asdict(done) | speed | notes())
                postfix = (
                    f"loss {done.loss:.3f}, {done.tokens_per_second:,.0f} tokens/s"
                )
                bar.set_postfix_str(postfix, False)
            bar.update()
            if done.step % checkpoint_every == 0 or done.step == last:
                if is_first or trainer.settings.shard:
                    figures = _checked(validate(), done.step)
                writer.wait()  # so that memory holds one copy, not two
                state = trainer.state()
                if is_first:
                    metrics.add(step=done.step, **figures)
                    writer.write(state, work / CHECKPOINT)
    measured = metrics.read()
    if is_first and not any("val_loss" in m for m in measured):
        raise ValueError(
            f"{metrics.path} lacks the measurements of this run: restore it, or delete "
            f"{work} to start over"
        )
    return measured


def _checked(figures, step):
    if not math.isfinite(figures["val_loss"]):
        raise FloatingPointError(
            f"step {step}: the held-out loss is {figures['val_loss']}. The last "
            "training state is kept; start over with a lower learning rate"
        )
    return figures


def _sweep(*folders):
    """Removes files that a killed process left incomplete."""
    for folder in folders:
        for left in folder.glob(".*.part"):
            left.unlink()


def total_seconds(steps: list[dict]) -> float:
    """Total duration of the measured steps."""
    # Runs begun by an earlier version recorded the speed only.
    return sum(m.get("seconds") or m["tokens"] / m["tokens_per_second"] for m in steps)


# ------------------------------------------------------------------------- measurements


class Metrics:
    """A file with one JSON object per measurement, which survives a kill at any time.

    >>> from tempfile import TemporaryDirectory
    >>> folder = TemporaryDirectory()
    >>> metrics = Metrics(Path(folder.name) / "metrics.jsonl")
    >>> metrics.add(step=1, loss=2.5)
    >>> metrics.read()
    [{'step': 1, 'loss': 2.5}]
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def add(self, **measured: object) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(measured) + "\n")

    def read(self) -> list[dict]:
        """All measurements; an incomplete last line is ignored.

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
            f"{self.path}, line {number} is not a JSON object with a whole number "
            "'step': remove the line"
        )

    def cut(self, step: int) -> None:
        """Drops the measurements after a step, since those steps will be repeated."""
        kept = [json.dumps(m) + "\n" for m in self.read() if m["step"] <= step]
        files.write_text(self.path, "".join(kept))
