"""Loss becomes gradients, and gradients a better model; for a minute or for a week.

A step is a function of the weights, the optimizer, the seed and its own number: the
batch, the learning rate and dropout all follow from the number. So a checkpoint needs
no more than that to go on as if nothing had happened, with any number of processes.
"""

import dataclasses
import math
import random
import time
import zipfile
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from gpt2lib import files
from gpt2lib.devices import autocast, move
from gpt2lib.fast import check_not_prepared, speed_up
from gpt2lib.training.loss import LossOf, count_tokens
from gpt2lib.training.processes import Processes

MAY_CHANGE = ("micro_batch_size", "compile")  # when a checkpoint goes on

# ----------------------------------------------------------------------------- settings


def check_whole(name, value, lowest=1):
    """Raises a ValueError unless `value` is a whole number, at least `lowest`."""
    if type(value) is not int or not lowest <= value < 2**63:
        raise ValueError(
            f"{name} must be a whole number from {lowest} to 2**63 - 1, got {value!r}"
        )


WHOLE = {"steps": 1, "micro_batch_size": 1, "warmup": 0, "seed": 0}  # and the lowest


@dataclass(frozen=True)
class TrainingSettings:
    """Every choice of a training run but its data and model.

    Args:
        steps: updates of the weights, from first to last.
        learning_rate: the highest, reached after the warmup.
        warmup: steps in which the rate rises from 0; a twentieth of them if None.
        final_rate: fraction of learning_rate at which the cosine ends.
        weight_decay: pull of the matrices to zero; vectors are left alone.
        clip: longest gradient; longer ones are shortened to it.
        micro_batch_size: rows that a process works on at once; all if None. Smaller
            ones take less memory and give the same gradient.
        precision: "float32", or "bfloat16" where it is safe (autocast).
        compile: let torch.compile make the model faster.
        seed: of the order of the data and of dropout.

    Raises:
        ValueError: a value cannot work.
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
    seed: int = 0

    def __post_init__(self):
        for name, lowest in WHOLE.items():
            if getattr(self, name) is not None or name in ("steps", "seed"):
                check_whole(name, getattr(self, name), lowest)
        for name in ("learning_rate", "clip", "final_rate", "weight_decay"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not value >= 0:
                raise ValueError(f"{name} must be a number from 0, got {value!r}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate}")
        if not self.clip > 0:
            raise ValueError(f"clip must be above 0, got {self.clip}")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(
                f"training knows the precisions float32 and bfloat16, "
                f"got {self.precision!r}"
            )


def learning_rate_at(step, settings):
    """Up in a straight line, then down half a cosine.

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


def decay_groups(model, weight_decay):
    """AdamW's parameter groups: matrices decay; biases and norms, being vectors, don't.

    Parameters that take no gradient are left out; a tied head counts once.
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
    """What one step did. Loss in nats per token, before the update."""

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens: int
    seconds: float

    @property
    def tokens_per_second(self):
        return self.tokens / self.seconds


class Trainer:
    """A model, its optimizer and the number of steps they have done.

    `run` is a loop to look into: it yields after every step, and whoever iterates may
    print, plot, evaluate, save or break. What was done stays in `model` and `history`,
    after an interrupt too, and `run` goes on from there.

    Args:
        processes: which of how many processes this is; see `connected`.
        facts: what else must be the same when a checkpoint goes on, by name.
    """

    def __init__(self, model, settings, processes=None, **facts):
        check_not_prepared(model, "trained")
        self.model = speed_up(model)
        self.settings = settings
        self.processes = processes or Processes()
        self.facts = dataclasses.asdict(settings) | facts
        self.step = 0
        self.history = []
        self.optimizer = torch.optim.AdamW(
            decay_groups(model, settings.weight_decay), betas=(0.9, 0.95), fused=True
        )
        self._loss_of = LossOf(model)
        if settings.compile:
            self._loss_of = torch.compile(self._loss_of)
        if self.processes.count > 1:
            self._loss_of = DistributedDataParallel(
                self._loss_of, gradient_as_bucket_view=True
            )

    def run(self, batches):
        """Trains to the last step, yielding `Progress` after each.

        Args:
            batches: step -> (inputs, targets), the whole batch of all processes.
        """
        while self.step < self.settings.steps:
            yield self.train_step(*batches(self.step))

    def train_step(self, inputs, targets):
        """One update from one batch; the loss is averaged over its tokens.

        Shapes: inputs (B, T), targets (B, T)

        Raises:
            ValueError: rows that cannot be shared out among the processes.
            FloatingPointError: loss or gradient is not finite; weights are untouched.
        """
        start = time.perf_counter()
        tokens = count_tokens(targets)
        rate = learning_rate_at(self.step, self.settings)
        loss = self._backward(inputs, targets, max(1, tokens))
        norm = torch.nn.utils.clip_grad_norm_(
            self.model.parameters(), self.settings.clip
        ).item()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise FloatingPointError(
                f"step {self.step + 1}: the loss is {loss}, its gradient {norm}. "
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

    def _backward(self, inputs, targets, tokens):
        """Gradients of the whole batch's mean loss, in small parts; returns the loss.

        DDP averages the processes' gradients, so each scales its share up by their
        number.
        """
        count, device = self.processes.count, self.model.device
        inputs, targets = self._own_rows(inputs), self._own_rows(targets)
        rows = self.settings.micro_batch_size or len(inputs)
        parts = list(zip(inputs.split(rows), targets.split(rows)))
        self.model.train()
        self.optimizer.zero_grad()
        loss = torch.zeros((), device=device)
        with self._randomness():
            for i, (inputs, targets) in enumerate(parts):
                waiting = count > 1 and i + 1 < len(parts)
                with self._loss_of.no_sync() if waiting else nullcontext():
                    with autocast(device, self.settings.precision):
                        part = self._loss_of(
                            move(inputs, device), move(targets, device)
                        )
                        part = part / tokens
                    (part * count).backward()
                loss += part.detach()
        if count > 1:
            distributed.all_reduce(loss)
        return loss.item()

    def _own_rows(self, batch):
        count = self.processes.count
        if len(batch) % count:
            raise ValueError(
                f"a batch of {len(batch)} rows cannot be shared out among {count} "
                f"processes: use a multiple of {count}"
            )
        return batch.chunk(count)[self.processes.rank]

    @contextmanager
    def _randomness(self):
        """Dropout's seed follows from the step; the global generator is left alone."""
        device = self.model.device
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            name = f"{self.settings.seed} {self.step} {self.processes.rank}"
            torch.manual_seed(random.Random(name).getrandbits(63))
            yield

    # ------------------------------------------------------------------- stop and go on

    def save(self, path):
        """Writes all that `load` needs to go on exactly, whole or not at all.

        Raises:
            OSError: it could not be written; what was at `path` before is still there.
        """
        state = {
            "step": self.step,
            "facts": self.facts | dataclasses.asdict(self.model.cfg),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with files.atomic_write(path) as temporary:
            try:
                torch.save(state, temporary)
            except RuntimeError as error:  # torch's name for a full disk
                raise OSError(
                    f"{path} could not be written, is the disk full? The one before, "
                    f"if any, is kept ({str(error).splitlines()[0]})"
                ) from error

    def load(self, path):
        """Goes back, or on, to where `save` was called.

        Raises:
            ValueError: not such a file, or one of another model or other settings.
        """
        state = _read_checkpoint(path)
        there, same = state["facts"], self.facts | dataclasses.asdict(self.model.cfg)
        other = [
            f"{name} {there.get(name)} there, {here} here"
            for name, here in same.items()
            if (there.get(name, here) == here) is not True and name not in MAY_CHANGE
        ]
        if other:
            raise ValueError(
                f"{path} belongs to a run with {'; '.join(other)}: go on with the data "
                "and settings it began with, or choose another folder"
            )
        moments = self._moments(path, state)
        try:
            self.model.load_state_dict(state["model"])
        except RuntimeError as error:
            raise ValueError(f"{path} belongs to another model: {error}") from error
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})
        self.step = state["step"]

    def _moments(self, path, state):
        """AdamW's state in a checkpoint; its settings follow from the run's."""
        moments, parameters = state["optimizer"].get("state"), []
        for group in self.optimizer.param_groups if state["step"] else ():
            parameters += group["params"]
        shapes = [tuple(p.shape) for p in parameters]
        wanted = [{"step": (), "exp_avg": s, "exp_avg_sq": s} for s in shapes]
        try:
            found = [
                {name: tuple(tensor.shape) for name, tensor in moments[i].items()}
                for i in range(len(moments))
            ]
        except (AttributeError, KeyError, TypeError):
            found = None
        if found != wanted:
            raise ValueError(
                f"{path} belongs to another model: its optimizer has other parameters"
            )
        return moments


CHECKPOINT_PARTS = {"step": int, "facts": dict, "model": dict, "optimizer": dict}


def _read_checkpoint(path):
    """What `Trainer.save` wrote, if its checksums, which torch ignores, are right."""
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                if damaged := archive.testzip():
                    raise ValueError(f"{damaged} is not as it was written")
            file.seek(0)
            state = torch.load(file, map_location="cpu", weights_only=True)
            for name, kind in CHECKPOINT_PARTS.items():
                if not isinstance(state.get(name), kind):
                    raise ValueError(f"no {name}")
        except Exception as error:  # a damaged file makes parsers stumble in many ways
            reason = str(error).split("\n")[0] or type(error).__name__
            raise ValueError(
                f"{path} is damaged or not a training checkpoint ({reason}): delete it "
                "to begin again"
            ) from error
    return state
