"""What every task that a model is finetuned for has in common."""

from abc import ABC, abstractmethod


class Task(ABC):
    """What `finetune` needs to know of a task. A row is one example, in its own form.

    Attributes:
        name: as on the command line, and in the config.json of the model.
        shares: fractions of the rows for training, validation and test.
        epochs: passes over the training rows, unless the user says otherwise.
        rate: multiplies the usual learning rate.
        has_base: whether the model it begins with can do the task too, so that its
            figures stand beside those of the finetuned one.
        settings: further entries for the model's config.json.
    """

    name: str
    shares = (0.85, 0.05, 0.1)
    epochs = 3
    rate = 1.0
    has_base = True
    settings: dict = {}

    def __init__(self, tokenizer, context_length):
        self.tokenizer = tokenizer
        self.context_length = context_length

    @abstractmethod
    def parse(self, record):
        """The row of a record from the data; ValueError if it cannot be used."""

    @abstractmethod
    def key(self, row):
        """The text by which two rows are the same, so that they share a split."""

    def keys(self):
        """`key`, and finer ones for data in which too few rows have their own."""
        return [self.key]

    @abstractmethod
    def encode(self, row):
        """(ids, targets) to train on, two lists of equal length."""

    def fits(self, row):
        """Whether the model can read the whole row."""
        return len(self.encode(row)[0]) <= self.context_length

    def check(self, splits):  # noqa: B027, nothing to check unless a task says so
        """Raises ValueError if the splits, rows by name, cannot be trained on."""

    def adapt(self, model, seed=0):
        """Gives the model, in place, what the task needs, such as another head."""
        return model

    def validate(self, model, rows):
        """Figures, beside the loss, by which the best moment of a run is chosen."""
        return {}

    @abstractmethod
    def measure(self, model, splits):
        """The figures of the test split, by name."""
