"""The training loop: gradients, AdamW, the learning rate, and resuming.

A step depends only on the weights, the optimizer's state, the seed and the number of
the step, which determines the batch, the learning rate and dropout. These are the
training state: enough to resume a run, with any number of processes.
"""

import dataclasses
import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from gpt2lib.checks import check_whole
from gpt2lib.devices import autocast, move
from gpt2lib.fast import check_not_prepared, speed_up, warn_if_emulated
from gpt2lib.model import GPTModel
from gpt2lib.training.loss import Batch, LossOf, count_tokens
from gpt2lib.training.processes import Processes
from gpt2lib.training.sharding import shard, split_like
from gpt2lib.training.state import copied, read_state, write_state

MAY_CHANGE = ("micro_batch_size", "compile", "shard")  # when a run is resumed
PLAIN = (str, int, float, bool, type(None))  # what a fact can be
MOMENTS = ("exp_avg", "exp_avg_sq")  # as AdamW calls them

# ----------------------------------------------------------------------------- settings


WHOLE = {"steps": 1, "micro_batch_size": 1, "warmup": 0, "seed": 0}  # lowest values


@dataclass(frozen=True)
class TrainingSettings:
    """The settings of a training run, apart from its data and model.

    Args:
        steps: total number of weight updates.
        learning_rate: the peak, reached at the end of the warmup.
        warmup: steps of linear learning-rate warmup; steps // 20 if None.
        final_rate: where the cosine ends, as a fraction of learning_rate.
        weight_decay: applied to matrices only.
        clip: maximum gradient norm.
        micro_batch_size: rows that a process computes at once; all if None. Smaller
            values use less memory and give the same gradient.
        precision: "float32", or "bfloat16" for mixed precision (torch.autocast).
        compile: use torch.compile.
        shard: divide weights, gradients and AdamW's moments over the processes.
        seed: for the order of the data and for dropout.

    Raises:
        ValueError: a value is out of range.
    """

    steps: int
    learning_rate: float = 1e-3
    warmup: int | None = None
    final_rate: float = 0.1
    weight_decay: float = 0.1
    clip: float = 1.0
    micro_batch_size: int | None = None
    precision: str = "float32"
    compile: bool = False
    shard: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, lowest in WHOLE.items():
            if getattr(self, name) is not None or name in ("steps", "seed"):
                check_whole(name, getattr(self, name), lowest)
        for name in ("learning_rate", "clip", "final_rate", "weight_decay"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not value >= 0:
                raise ValueError(
                    f"{name} must be a number >= 0 (an int or float), got {value!r}"
                )
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate}")
        if not self.clip > 0:
            raise ValueError(f"clip must be above 0, got {self.clip}")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(
                "precision must be 'float32' or 'bfloat16' for training, "
                f"got {self.precision!r}"
            )


def learning_rate_at(step: int, settings: TrainingSettings) -> float:
    """The learning rate of a step: linear warmup, then cosine decay.

    >>> run = TrainingSettings(steps=100, learning_rate=1.0, warmup=10)
    >>> [round(learning_rate_at(step, run), 2) for step in (0, 4, 9, 54, 99)]
    [0.1, 0.5, 1.0, 0.56, 0.1]
    """
    warmup = settings.warmup
    if warmup is None:
        warmup = settings.steps // 20
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, settings.steps - 1 - warmup)
    cosine = (1 + math.cos(math.pi * done)) / 2
    return settings.learning_rate * (
        settings.final_rate + (1 - settings.final_rate) * cosine
    )


# ------------------------------------------------------------------------- optimisation


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """AdamW's parameter groups: weight decay on matrices, none on biases and norms.

    Frozen parameters are left out; a tied output head counts once.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in parameters if p.ndim >= 2]
    vectors = [p for p in parameters if p.ndim < 2]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]


@dataclass(frozen=True)
class Progress:
    """Measurements of one step; loss in nats per token, before the update."""

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens: int
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds


def _check_readable(name, fact):
    """Refuses a fact that a training state could not be read with, or not compared."""
    parts = fact.values() if type(fact) is dict else fact
    if type(fact) in (dict, list, tuple):
        for part in parts:
            _check_readable(name, part)
    elif type(fact) not in PLAIN or fact != fact:
        raise ValueError(
            f"{name} is {fact!r}, a {type(fact).__name__}, which no training state can "
            "hold: give a text, a number, True, False or None"
        )


class Trainer:
    """A model, its optimizer and the number of steps done.

    `run` yields after every step, so that the caller can print, plot, evaluate, save
    or break. The results are in `model` and `history`, after an interrupt too, and
    calling `run` again continues from there.

    Args:
        processes: rank and world size; see `connected`.
        loss: what to minimise, a module like `LossOf`, the default.
        facts: by name, what else must be the same when a run is resumed: texts,
            numbers, True, False or None.

    Raises:
        ValueError: a prepared model, or a fact of another type.
    """

    def __init__(
        self,
        model: GPTModel,
        settings: TrainingSettings,
        processes: Processes | None = None,
        loss: Any = None,
        **facts: object,
    ):
        check_not_prepared(model, "trained")
        warn_if_emulated(settings.precision, model.device)
        self.model = speed_up(model)
        self.settings = settings
        self.processes = processes or Processes()
        self.facts = dataclasses.asdict(settings) | facts
        for name, value in self.facts.items():
            _check_readable(name, value)
        self.step = 0
        self.history: list[Progress] = []
        self.loss = loss or LossOf(model)
        self._loss_of = self._distributed()
        self.optimizer = torch.optim.AdamW(
            decay_groups(model, settings.weight_decay), betas=(0.9, 0.95), fused=True
        )

    def _distributed(self) -> Callable[..., torch.Tensor]:
        """The loss, whose gradients are averaged over all processes."""
        compiled = self.settings.compile
        if self.settings.shard:
            shard(self.model, self.processes.count, compiled)
            return self.loss
        loss_of = torch.compile(self.loss) if compiled else self.loss
        if self.processes.count == 1:
            return loss_of
        return DistributedDataParallel(loss_of, gradient_as_bucket_view=True)

    def run(self, batches: Callable[[int], Batch]) -> Iterator[Progress]:
        """Trains to the last step, yielding `Progress` after each.

        Args:
            batches: step -> the whole batch, for all processes.
        """
        while self.step < self.settings.steps:
            start = time.perf_counter()
            self.train_step(*batches(self.step))
            seconds = time.perf_counter() - start  # with making the batch
            self.history[-1] = dataclasses.replace(self.history[-1], seconds=seconds)
            yield self.history[-1]

    def train_step(self, *batch: torch.Tensor) -> Progress:
        """One update from one batch: inputs, targets, and what else the loss takes.

        Shapes: inputs (B, T), targets (B, T)

        Raises:
            ValueError: the rows cannot be split evenly over the processes.
            FloatingPointError: loss or gradient norm not finite; weights are unchanged.
        """
        start = time.perf_counter()
        tokens = count_tokens(batch[1])
        rate = learning_rate_at(self.step, self.settings)
        loss = self._backward(batch, max(1, self.loss.count(*batch)))
        norm = torch.nn.utils.clip_grad_norm_(
            self.model.parameters(), self.settings.clip
        ).item()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise FloatingPointError(
                f"step {self.step + 1}: the loss is {loss}, the gradient norm {norm}. "
                "The weights are those of the step before; a lower learning rate or a "
                "longer warmup may help"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.step += 1
        seconds = time.perf_counter() - start
        done = Progress(self.step, loss, rate, norm, tokens, seconds)
        self.history.append(done)
        return done

    def _backward(self, batch, units):
        """Gradients of the batch's mean loss, by micro-batches; returns that loss.

        Gradients are averaged over all processes, so each multiplies its own by their
        number. DDP does so once a batch; sharded, after each micro-batch, since whole
        gradients would have to be kept until then.
        """
        count, device = self.processes.count, self.model.device
        if len(batch[0]) != len(batch[1]):
            raise ValueError(
                f"the batch has {len(batch[0])} rows of inputs and {len(batch[1])} of "
                "targets, but must have equally many"
            )
        own = [self._own_rows(tensor) for tensor in batch]
        rows = self.settings.micro_batch_size or len(own[0])
        parts = list(zip(*(tensor.split(rows) for tensor in own), strict=True))
        self.model.train()
        self.optimizer.zero_grad()
        loss = torch.zeros((), device=device)
        with self._randomness():
            for i, tensors in enumerate(parts):
                waiting = count > 1 and not self.settings.shard and i + 1 < len(parts)
                with self._loss_of.no_sync() if waiting else nullcontext():
                    with autocast(device, self.settings.precision):
                        part = self._loss_of(*(move(t, device) for t in tensors))
                        part = part / units
                    (part * count).backward()
                loss += part.detach()
        if count > 1:
            distributed.all_reduce(loss)
        return loss.item()

    def _own_rows(self, batch):
        count = self.processes.count
        if len(batch) % count:
            raise ValueError(
                f"a batch of {len(batch)} rows cannot be split evenly over {count} "
                f"processes: use a multiple of {count}"
            )
        return batch.chunk(count)[self.processes.rank]

    @contextmanager
    def _randomness(self):
        """Seeds dropout from the step; restores the global generator afterwards."""
        device = self.model.device
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            name = f"{self.settings.seed} {self.step} {self.processes.rank}"
            torch.manual_seed(random.Random(name).getrandbits(63))
            yield

    # -------------------------------------------------------------- saving and resuming

    def state(self) -> dict[str, Any]:
        """A copy of the training state, in the CPU's memory.

        All processes must call this; only the first gets the tensors.
        """
        state = {
            "step": self.step,
            "facts": self.facts | dataclasses.asdict(self.model.cfg),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        return copied(state, keep=self.processes.is_first)

    def save(self, path: str | Path) -> None:
        """Writes the training state, whole or not at all; only the first process does.

        Raises:
            OSError: it could not be written; the previous file at `path` is kept.
        """
        state = self.state()
        if self.processes.is_first:
            write_state(state, Path(path))

    def load(self, path: str | Path) -> None:
        """Restores the training state that `save` wrote.

        Raises:
            ValueError: not a training state, or one of another model or other settings.
        """
        state = read_state(path, mapped=self.settings.shard)
        there, same = state["facts"], self.facts | dataclasses.asdict(self.model.cfg)
        other = [
            f"{name} {there.get(name)}, not {here}"
            for name, here in same.items()
            if (there.get(name, here) == here) is not True and name not in MAY_CHANGE
        ]
        if other:
            raise ValueError(
                f"{path} belongs to a run with {'; '.join(other)}: resume it with its "
                "own data and settings, or choose another folder"
            )
        moments = self._moments(path, state)
        own = self.model.state_dict()
        try:
            self.model.load_state_dict(
                {
                    name: split_like(own.get(name), t)
                    for name, t in state["model"].items()
                }
            )
        except RuntimeError as error:
            raise ValueError(f"{path} belongs to another model: {error}") from error
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})
        self.step = state["step"]

    def _moments(self, path, state):
        """AdamW's saved moments, checked; its settings come from the run's."""
        saved, groups = state["optimizer"], self.optimizer.param_groups
        parameters = [p for group in groups for p in group["params"]]
        try:
            moments = saved["state"]  # none for a parameter that got no gradient
            found = {
                i: {name: tuple(tensor.shape) for name, tensor in moments[i].items()}
                for i in moments
            }
            wanted = {
                i: {"step": ()} | dict.fromkeys(MOMENTS, tuple(parameters[i].shape))
                for i in moments
            }
            there, here = (
                [len(group["params"]) for group in part]
                for part in (saved["param_groups"], groups)
            )
            same = found == wanted and there == here
        except (AttributeError, KeyError, TypeError, IndexError):
            same = False
        if not same or (state["step"] and not moments):
            raise ValueError(
                f"{path} belongs to another model: its optimizer has other parameters"
            )
        return {
            i: moments[i]
            | {name: split_like(parameters[i], moments[i][name]) for name in MOMENTS}
            for i in moments
        }
