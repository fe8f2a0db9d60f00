"""The base class of the tasks that a model can be finetuned for."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch import nn

from gpt2lib.data import Example, PaddedBatches
from gpt2lib.model import GPTModel
from gpt2lib.tokenizer import Tokenizer
from gpt2lib.training.loss import Batch, LossOf, evaluate


class Task(ABC):
    """What `finetune` needs to know about a task. A row is one example, as parsed.

    Attributes:
        name: as on the command line, and in the config.json of the model.
        shares: fractions of the rows for training, validation and test.
        epochs: passes over the training rows, by default.
        rate: factor on the usual learning rate.
        has_base: whether the base model can do the task too, so that its figures are
            reported for comparison.
        training: defaults of `TrainingSettings` that differ from the usual ones.
        settings: further entries for the model's config.json.
        options: what the task lets one choose, with defaults; attributes, too.
    """

    name: str
    shares: tuple[float, float, float] = (0.85, 0.05, 0.1)
    epochs = 3
    rate = 1.0
    has_base = True
    training: dict[str, Any] = {}
    settings: dict = {}
    options: dict[str, Any] = {}

    def __init__(self, tokenizer: Tokenizer, context_length: int, **options: Any):
        self.tokenizer = tokenizer
        self.context_length = context_length
        if unknown := options.keys() - self.options.keys():
            raise TypeError(f"the task {self.name} has no option {unknown.pop()!r}")
        for name, value in (self.options | options).items():
            setattr(self, name, value)

    def chosen(self) -> dict[str, Any]:
        """The options by name; a function, or what can be called, by its own name."""
        values = {name: getattr(self, name) for name in self.options}
        return {n: name_of(v) if callable(v) else v for n, v in values.items()}

    @abstractmethod
    def parse(self, record: Any) -> Any:
        """The row of a record from the data; raises ValueError if it is unusable."""

    @abstractmethod
    def key(self, row: Any) -> str:
        """The text that identifies a row; rows with the same text share a split."""

    def keys(self) -> list[Callable[[Any], str]]:
        """`key`, then finer ones, for data in which too few rows have distinct keys."""
        return [self.key]

    @abstractmethod
    def encode(self, row: Any) -> Example:
        """(ids, targets) to train on, two lists of equal length."""

    def fits(self, row: Any) -> bool:
        """Whether the row fits in the model's context."""
        return len(self.encode(row)[0]) <= self.context_length

    def check(self, splits: dict[str, list]) -> None:  # noqa: B027, optional
        """Raises ValueError if the splits, rows by name, cannot be trained on."""

    def equip(self, model: GPTModel, seed: int = 0) -> GPTModel:
        """Gives the model, in place, what the task needs, such as another head."""
        return model

    def batches(self, model: GPTModel, rows: list, batch_size: int, seed: int) -> Any:
        """What to train on, by `batch(step)`; `model` is untrained.

        Two more are optional: `notes`, which returns measurements of the last batch,
        and `updates`, the number of steps that share one.
        """
        return PaddedBatches([self.encode(row) for row in rows], batch_size, seed)

    def loss_of(self, model: GPTModel) -> nn.Module:
        """What training minimises."""
        return LossOf(model)

    def validate(
        self, model: GPTModel, rows: list, precision: str = "float32"
    ) -> dict[str, float]:
        """Figures by which the best weights of a run are chosen.

        Best is the highest val_accuracy, if there is one, then the lowest val_loss.
        """
        return {"val_loss": evaluate(model, batches_of(self, rows), precision)}

    @abstractmethod
    def measure(self, model: GPTModel, splits: dict[str, list]) -> dict[str, Any]:
        """The figures on the test split, by name."""

    def beside(
        self, model: GPTModel, base: GPTModel, splits: dict[str, list]
    ) -> dict[str, Any]:
        """The figures of the base model, as base_..., and what compares both."""
        before = self.measure(base, splits)
        return {f"base_{name}": value for name, value in before.items()}


def name_of(function: Any) -> str:
    """The name of a function, partial ones too; of an object, that of its class."""
    function = getattr(function, "func", function)  # as functools.partial has it
    return getattr(function, "__name__", type(function).__name__)


def batches_of(job: Task, rows: list) -> list[Batch]:
    """All rows of a task once, as padded batches, for measuring."""
    batches = PaddedBatches([job.encode(row) for row in rows], 64)
    return [batches.batch(step) for step in range(len(batches))]
