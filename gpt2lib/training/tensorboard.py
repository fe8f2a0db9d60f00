"""A run's measurements for TensorBoard: read from metrics.jsonl, not from the loop."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpt2lib.training.runs import METRICS, TENSORBOARD, Metrics


def feed_tensorboard(
    run: str | Path, follow: bool = False, every: float = 5.0
) -> Iterator[Path]:
    """Writes a run's measurements as TensorBoard's event files; yields their folder.

    Steps that a resumed run repeats replace those that were measured before.

    Args:
        run: the folder that pretrain or finetune writes to.
        follow: yield again and again, each time with what a live run has added.
        every: seconds between two looks at the run.

    Raises:
        FileNotFoundError: the folder has no measurements.
        ValueError: TensorBoard is not installed, or a damaged line.
    """
    metrics, new_writer = _find_metrics(Path(run)), _summary_writer()
    folder, shown = metrics.path.parent / TENSORBOARD, metrics.read()
    for earlier in folder.glob("events.*"):
        earlier.unlink()
    writer = new_writer(folder)
    _add(writer, shown)
    yield folder
    while follow:
        time.sleep(every)
        measured = metrics.read()
        same = next(
            (i for i, pair in enumerate(zip(shown, measured)) if pair[0] != pair[1]),
            min(len(shown), len(measured)),
        )
        if same < len(shown):  # resumed from an earlier step
            writer.close()
            writer = new_writer(folder, purge_step=shown[same]["step"])
        _add(writer, measured[same:])
        shown = measured
        yield folder
    writer.close()


def _add(writer, measured):
    for figures in measured:
        for name, value in figures.items():
            if name != "step" and isinstance(value, int | float):
                writer.add_scalar(name, value, figures["step"])
    writer.flush()


def _find_metrics(run):
    for folder in (run / "training", run):
        if (folder / METRICS).is_file():
            return Metrics(folder / METRICS)
    raise FileNotFoundError(
        f"no {METRICS} in {run / 'training'}: give the folder that pretrain or "
        "finetune writes to"
    )


def _summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError(
            "TensorBoard is not installed: 'python -m pip install tensorboard'"
        ) from error
    return SummaryWriter
