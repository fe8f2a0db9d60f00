"""Windows over one flat tensor, and batches in a seeded order."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gpt2lib.data import GPTDataset, create_dataloader, sliding_windows


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
    ("ids", "context_length", "stride"),
    [
        (torch.zeros(2, 9), 4, 1),
        (torch.arange(9), 0, 1),
        (torch.arange(9), 4, 0),
    ],
)
def test_impossible_windows_are_refused(ids, context_length, stride):
    with pytest.raises(ValueError, match="got"):
        sliding_windows(ids, context_length, stride)


def batches(seed, **settings):
    loader = create_dataloader(torch.arange(101), 4, 5, seed=seed, **settings)
    return [inputs for inputs, _ in loader]


def test_the_order_depends_on_the_seed_alone():
    first = batches(1)
    torch.manual_seed(99)
    assert all(a.equal(b) for a, b in zip(first, batches(1)))
    assert not all(a.equal(b) for a, b in zip(first, batches(2)))


def test_loading_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    batches(3)
    assert torch.get_rng_state().equal(before)


def test_an_epoch_has_every_window_once():
    dataset = GPTDataset(torch.arange(101), 5)
    seen = torch.cat(batches(0)).tolist()
    assert sorted(seen) == [inputs.tolist() for inputs, _ in dataset]


def test_in_order_and_complete_without_shuffling():
    seen = torch.cat(batches(0, shuffle=False))
    assert seen.flatten().equal(torch.arange(100))


def test_fewer_windows_than_a_batch_are_refused():
    with pytest.raises(ValueError, match="gives 2 windows.*needs 4"):
        create_dataloader(torch.arange(11), 4, 5)
