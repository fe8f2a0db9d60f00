"""Ids become windows: what the model reads, and what it should have said."""

import torch
from torch.utils.data import DataLoader, Dataset


def sliding_windows(ids, context_length, stride=None):
    """All windows of one long text as (inputs, targets), views of `ids`, no copies.

    targets[n, t] is the id that follows inputs[n, t]. A stride of context_length (the
    default) reads every id once; a smaller one overlaps. What is left over at the
    end and too short for a window is not used.

    Shapes: ids (N,) -> two of (windows, context_length)

    Raises:
        ValueError: ids not flat, sizes below 1, or too few ids for one window.

    >>> inputs, targets = sliding_windows(torch.arange(6), context_length=2)
    >>> inputs.tolist(), targets.tolist()
    ([[0, 1], [2, 3]], [[1, 2], [3, 4]])
    """
    stride = context_length if stride is None else stride
    if context_length < 1 or stride < 1:
        raise ValueError(
            f"context_length and stride must be at least 1, "
            f"got {context_length} and {stride}"
        )
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


class GPTDataset(Dataset):
    """`sliding_windows` as a torch data set of (inputs, targets) pairs.

    Shapes: ids (N,) -> item: two of (context_length,)
    """

    def __init__(self, ids, context_length, stride=None):
        self.inputs, self.targets = sliding_windows(ids, context_length, stride)

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        return self.inputs[index], self.targets[index]


def create_dataloader(
    ids, batch_size, context_length, stride=None, shuffle=True, seed=0
):
    """Batches of windows, in an order that depends on `seed` alone.

    Shapes: ids (N,) -> yields two of (batch_size, context_length)

    Raises:
        ValueError: as `sliding_windows`, or fewer windows than one batch.
    """
    dataset = GPTDataset(ids, context_length, stride)
    if len(dataset) < batch_size:
        raise ValueError(
            f"the text gives {len(dataset)} windows, but a batch needs {batch_size}: "
            "use a longer text, a smaller stride or a smaller batch_size"
        )
    order = torch.Generator().manual_seed(seed)
    return DataLoader(dataset, batch_size, shuffle, generator=order, drop_last=shuffle)
