"""Measurements for TensorBoard, read back with TensorBoard's own reader."""

import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gpt2lib.__main__ import main
from gpt2lib.training import Metrics, feed_tensorboard


@pytest.fixture
def run(tmp_path):
    metrics = Metrics(tmp_path / "training" / "metrics.jsonl")
    for step in range(1, 6):
        metrics.add(step=step, loss=5.0 - step, tokens=8)
    metrics.add(step=5, val_loss=0.5, note="words are left out")
    return metrics


def scalars(folder):
    read = EventAccumulator(str(folder))
    read.Reload()
    return {
        name: {event.step: event.value for event in read.Scalars(name)}
        for name in read.Tags()["scalars"]
    }


def test_every_number_is_there_at_its_step(run, tmp_path):
    (folder,) = feed_tensorboard(tmp_path)
    expected = {"loss": {1: 4.0, 2: 3.0, 3: 2.0, 4: 1.0, 5: 0.0}, "val_loss": {5: 0.5}}
    assert scalars(folder) == expected | {"tokens": dict.fromkeys(range(1, 6), 8.0)}


def test_a_live_run_is_followed_and_repeated_steps_replace_the_first(run, tmp_path):
    looks = feed_tensorboard(tmp_path, follow=True, every=0)
    folder = next(looks)
    run.add(step=6, loss=-1.0)
    next(looks)
    assert scalars(folder)["loss"][6] == -1.0
    run.cut(4)  # resumed from the training state of step 4
    run.add(step=5, loss=0.25)
    next(looks)
    assert scalars(folder)["loss"] == {1: 4.0, 2: 3.0, 3: 2.0, 4: 1.0, 5: 0.25}
    assert not scalars(folder)["val_loss"]
    next(looks)
    assert scalars(folder)["loss"][5] == 0.25


def test_the_verb_says_what_to_start_and_a_second_look_adds_nothing(
    run, tmp_path, capsys
):
    for _ in range(2):
        assert main(["metrics", str(tmp_path)]) == 0
        assert f"--logdir {tmp_path}/training/tensorboard\n" in capsys.readouterr().out
    folder = tmp_path / "training" / "tensorboard"
    assert scalars(folder)["loss"] == {1: 4.0, 2: 3.0, 3: 2.0, 4: 1.0, 5: 0.0}
    assert len([*folder.glob("events.*")]) == 1


def test_what_is_missing_is_said(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no metrics.jsonl in .*training"):
        next(feed_tensorboard(tmp_path))
    Metrics(tmp_path / "metrics.jsonl").add(step=1, loss=1.0)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match="pip install tensorboard"):
        next(feed_tensorboard(tmp_path))
