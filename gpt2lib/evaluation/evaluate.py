"""The whole: a model and a task -> figures, beside those of another model."""

import math
from itertools import chain
from pathlib import Path
from typing import Any

from gpt2lib import files
from gpt2lib.checks import check_whole
from gpt2lib.devices import find_device
from gpt2lib.evaluation.figures import Figure, described
from gpt2lib.evaluation.tasks import BENCHMARKS, Benchmark, figures_of
from gpt2lib.tokenizer import tokenizer_of
from gpt2lib.weights.loading import load_model, plan_loading
from gpt2lib.weights.vocabulary import check_tokenizer_fits


def evaluate_task(
    model: str | Path,
    task: str,
    data: str | Path | None = None,
    *,
    beside: str | Path | None = None,
    limit: int | None = None,
    stride: int | None = None,
    skip_bad_rows: bool = False,
    precision: str = "float32",
    device: str | None = None,
) -> dict[str, Any]:
    """The figures of a model, by name: each with `_low` and `_high`, its 95 % interval.

    `items` is the number of rows; a figure of other items has its own `_items`. With
    `beside`, `_beside` is the other model's figure, `_difference` how much ours is
    larger, with its interval, and `_items_needed` how many items would tell the two
    apart; `_published` is the figure that others report for this model. A figure too
    large for a float is None.

    Args:
        model: a name in bin/, or a path.
        task: one of `BENCHMARKS`.
        data: a file or folder; what `download` fetched, or the course's own, if None.
        beside: another model to measure on the same items.
        limit: only the first so many items of each source.
        stride: for perplexity, see `rolling_questions`.
        skip_bad_rows: leave unusable rows out instead of raising.

    Raises:
        FileNotFoundError: no such model or data.
        ValueError: an unknown task, a setting out of range, an unusable row, or a model
            with a classification head.
    """
    if task not in BENCHMARKS:
        raise ValueError(f"task must be one of {', '.join(BENCHMARKS)}, got {task!r}")
    if stride is not None and task != "perplexity":
        raise ValueError(f"stride is for the task perplexity, not for {task}")
    for name, value in (("limit", limit), ("stride", stride)):
        if value is not None:
            check_whole(name, value)
    paths = _sources(BENCHMARKS[task], task, data)
    options = (task, paths, stride, limit, skip_bad_rows)
    ours = _Asked(model, *options)
    result: dict[str, Any] = {"task": task, "model": str(model)}
    result["items"] = len(ours.items)
    if skip_bad_rows:
        result["bad_rows"] = ours.bad
    others: dict[str, Figure] = {}
    if beside is not None:
        theirs = _Asked(beside, *options)
        _check_same_rows(ours, theirs)
        result["beside"] = str(beside)
    figures = ours.figures(precision, device)
    if beside is not None:
        others = theirs.figures(precision, device)
    published = {}
    if data is None:
        published = BENCHMARKS[task].published.get(Path(model).name, {})
    for name, figure in figures.items():
        result |= described(name, figure, others.get(name))
        if len(figure.top) != len(ours.items):
            result[f"{name}_items"] = len(figure.top)
        if name in published:
            result[f"{name}_published"] = published[name]
    return {name: _finite(value) for name, value in result.items()}


def _sources(benchmark: type[Benchmark], task, data):
    """The files to read: those given, or those the task has in data/."""
    if data is not None:
        if not str(data).strip():
            raise ValueError("the path of the data is empty: give a file or a folder")
        return [Path(data)]
    paths = [files.DATA / name for name in benchmark.sources]
    if not paths:
        raise ValueError(f"the task {task} has no data of its own: give some (--data)")
    if missing := [path for path in paths if not path.exists()]:
        raise FileNotFoundError(
            f"no data at {missing[0]}: fetch it with 'python -m gpt2lib download "
            f"{missing[0].name}', or give your own (--data)"
        )
    return paths


class _Asked:
    """A model and its items; what can be refused is, before anything takes long."""

    def __init__(self, name, task, paths, stride, limit, skip_bad_rows):
        self.name = name
        self.path = files.find_model(name)
        cfg, tokenizer = plan_loading(self.path).config, tokenizer_of(self.path)
        if cfg.n_classes:
            raise ValueError(
                f"{name} has a classification head for {cfg.n_classes} classes and "
                "cannot predict text: evaluate the model it was finetuned from"
            )
        check_tokenizer_fits(tokenizer, cfg.vocab_size)
        self.benchmark = BENCHMARKS[task](tokenizer, cfg.context_length, stride)
        try:
            read = [self.benchmark.read(path, skip_bad_rows, limit) for path in paths]
        except ValueError as error:
            raise ValueError(f"for {name}: {error}") from error
        self.items = [*chain.from_iterable(found for found, _ in read)]
        self.bad = sum(bad for _, bad in read)

    def figures(self, precision, device) -> dict[str, Figure]:
        model = load_model(self.path, device=find_device(device), precision=precision)
        return figures_of(model, self.benchmark, self.items, progress=True)


def _check_same_rows(ours, theirs):
    """Refuses a comparison of which one side has left out other rows."""
    if ours.benchmark.used != theirs.benchmark.used:
        raise ValueError(
            f"{ours.name} cannot use {ours.bad} rows and {theirs.name} {theirs.bad}, "
            "and not the same ones, so their items differ: remove the rows that either "
            "cannot use"
        )


def _finite(value):
    """None for infinity, which JSON lacks: exp() overflows at 710 nats a word."""
    return value if not isinstance(value, float) or math.isfinite(value) else None
