"""Token ids to training examples: inputs, and targets one position ahead."""

import math
import random
from functools import lru_cache

import torch

from gpt2lib.checks import check_int

Example = tuple[list[int], list[int]]  # ids and targets, of one length
IGNORED = -100  # a target that the loss skips


def sliding_windows(
    ids: torch.Tensor, context_length: int, stride: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """All windows of one long text as (inputs, targets), views of `ids`, no copies.

    targets[n, t] is the id that follows inputs[n, t]. A stride of context_length (the
    default) reads every id once; with a smaller one, windows overlap. An incomplete
    window at the end is dropped.

    Shapes: ids (N,) -> two of (windows, context_length)

    Raises:
        ValueError: ids not (N,), sizes below 1, or too few ids for one window.

    >>> inputs, targets = sliding_windows(torch.arange(6), context_length=2)
    >>> inputs.tolist(), targets.tolist()
    ([[0, 1], [2, 3]], [[1, 2], [3, 4]])
    """
    stride = context_length if stride is None else stride
    check_int("context_length", context_length)
    check_int("stride", stride)
    if ids.ndim != 1:
        raise ValueError(f"ids must be one flat sequence, got shape {tuple(ids.shape)}")
    if len(ids) < context_length + 1:
        raise ValueError(
            f"the text has {len(ids)} tokens, but one window needs "
            f"{context_length + 1} (context_length {context_length} and the token "
            f"after it): use a longer text or a smaller context_length"
        )
    windows = ids.unfold(0, context_length + 1, stride)
    return windows[:, :-1], windows[:, 1:]


class ShuffledWindows:
    """Training windows of a long text, in an order computed from the step.

    No permutation is stored, and training can resume at any step. Windows are visited
    with a stride coprime to their number, so each comes once per pass; a stride near
    the golden ratio keeps those of a batch far apart in the text. Every pass has its
    own stride and offset.

    A window moves back to the start of its document if that is within context_length,
    so a pass reads some tokens twice and skips as many. Every second one starts at the
    preceding <|endoftext|>: prompts come with and without it.

    Args:
        ids: a flat tensor or `TokenShards`.
        document_end: the id of <|endoftext|>; None if the text has none.

    Raises:
        ValueError: too few ids for one window, or a batch_size below 1.
    """

    def __init__(
        self,
        ids,
        context_length: int,
        batch_size: int,
        seed: int = 0,
        document_end: int | None = None,
    ):
        sliding_windows(ids[: context_length + 1], context_length)  # its checks
        check_int("batch_size", batch_size)
        self.ids = ids
        self.context_length = context_length
        self.batch_size = batch_size
        self.seed = seed
        self.document_end = document_end

    def __len__(self) -> int:
        """Number of windows in one pass."""
        return (len(self.ids) - 1) // self.context_length

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of one step, (batch_size, context_length) each."""
        first = step * self.batch_size
        windows = [self._window(first + row) for row in range(self.batch_size)]
        rows = torch.stack(windows)
        return rows[:, :-1], rows[:, 1:]

    def _window(self, number):
        epoch, i = divmod(number, len(self))
        rng = random.Random(f"{self.seed} {epoch}")
        offset = rng.randrange(self.context_length)
        stride = round(len(self) * (0.618 + 0.01 * rng.random()))
        while math.gcd(stride, len(self)) != 1:
            stride += 1
        index = (rng.randrange(len(self)) + i * stride) % len(self)
        last = len(self.ids) - 1 - self.context_length
        start = min(index * self.context_length + offset, last)
        start = self._document_start(start, keep_end=i % 2)
        return self.ids[start : start + self.context_length + 1]

    def _document_start(self, start, keep_end):
        if self.document_end is None:
            return start
        reach = self.ids[max(0, start - self.context_length) : start]
        ends = (reach == self.document_end).nonzero().flatten()
        if len(ends):
            return start - len(reach) + int(ends[-1]) + (0 if keep_end else 1)
        return start - len(reach) if start < self.context_length else start


class PaddedBatches:
    """Batches of examples of different lengths, padded on the right.

    Padding is never a target, and no earlier token attends to it. Examples of similar
    length share a batch, so that padding is short. The order of a pass depends only
    on `seed` and the number of the pass.

    Raises:
        ValueError: no examples, or a batch_size below 1.
    """

    POOL = 8  # examples are sorted by length within so many batches

    def __init__(self, examples: list[Example], batch_size: int, seed: int = 0):
        check_int("batch_size", batch_size)
        if not examples:
            raise ValueError("there are no examples: batches need at least one")
        self.examples = examples
        self.batch_size = batch_size
        self.seed = seed
        self._batches = lru_cache(maxsize=1)(self._batches_of)

    def __len__(self) -> int:
        """Number of batches in one pass."""
        return math.ceil(len(self.examples) / self.batch_size)

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of one step, padded to its longest example.

        Shapes: -> two of (batch_size, T); the last batch of a pass may be smaller
        """
        epoch, number = divmod(step, len(self))
        return pad([self.examples[i] for i in self._batches(epoch)[number]])

    def _batches_of(self, epoch):
        rng = random.Random(f"{self.seed} {epoch}")
        order = rng.sample(range(len(self.examples)), len(self.examples))
        batches, size = [], self.POOL * self.batch_size
        for start in range(0, len(order), size):
            pool = order[start : start + size]
            pool.sort(key=lambda i: len(self.examples[i][0]))
            starts = range(0, len(pool), self.batch_size)
            batches += [pool[i : i + self.batch_size] for i in starts]
        return rng.sample(batches, len(batches))


def pad(examples: list[Example]) -> tuple[torch.Tensor, torch.Tensor]:
    """Stacks (ids, targets) pairs into two tensors, padded on the right.

    Shapes: N pairs of (T_i,) -> two of (N, max T_i)

    >>> pad([([5, 6], [6, 7]), ([8], [9])])[1].tolist()
    [[6, 7], [9, -100]]
    """
    length = max(len(ids) for ids, _ in examples)
    inputs = [ids + [0] * (length - len(ids)) for ids, _ in examples]
    targets = [t + [IGNORED] * (length - len(t)) for _, t in examples]
    return torch.tensor(inputs), torch.tensor(targets)
