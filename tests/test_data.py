"""Windows over one flat tensor."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gpt2lib.data import PaddedBatches, ShuffledWindows, sliding_windows


@given(st.integers(2, 60), st.integers(1, 12), st.integers(1, 15))
def test_windows_equal_slicing_by_hand(length, context_length, stride):
    ids = torch.arange(100, 100 + length)
    if length < context_length + 1:
        with pytest.raises(ValueError, match=f"the text has {length} tokens"):
            sliding_windows(ids, context_length, stride)
        return
    inputs, targets = sliding_windows(ids, context_length, stride)
    starts = range(0, length - context_length, stride)
    assert len(inputs) == len(targets) == len(starts)
    for row, start in enumerate(starts):
        assert inputs[row].equal(ids[start : start + context_length])
        assert targets[row].equal(ids[start + 1 : start + context_length + 1])


def test_windows_are_views():
    ids = torch.arange(1000)
    inputs, targets = sliding_windows(ids, 10, 1)
    place = ids.untyped_storage().data_ptr()
    assert inputs.untyped_storage().data_ptr() == place
    assert targets.untyped_storage().data_ptr() == place


def test_too_short_a_text_names_both_numbers():
    with pytest.raises(ValueError, match="has 5 tokens.*needs 9"):
        sliding_windows(torch.arange(5), context_length=8)


@pytest.mark.parametrize(
    ("ids", "context_length", "stride", "message"),
    [
        (torch.zeros(2, 9), 4, 1, r"one flat sequence, got shape \(2, 9\)"),
        (torch.arange(9), 0, 1, "context_length must be .* >= 1, got 0"),
        (torch.arange(9), 4, 0, "stride must be .* >= 1, got 0"),
        (torch.arange(9), 4, 2.5, "stride must be a whole number .* got 2.5"),
    ],
)
def test_impossible_windows_are_refused(ids, context_length, stride, message):
    with pytest.raises(ValueError, match=message):
        sliding_windows(ids, context_length, stride)


@pytest.mark.parametrize("size", [0, -1, 1.5])
def test_batches_of_nothing_are_refused(size):
    with pytest.raises(ValueError, match=f"batch_size must be .* >= 1, got {size}"):
        ShuffledWindows(torch.arange(9), 4, batch_size=size)
    with pytest.raises(ValueError, match=f"batch_size must be .* >= 1, got {size}"):
        PaddedBatches([([1], [2])], batch_size=size)
