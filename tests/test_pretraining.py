"""The verb pretrain: whole runs in processes of their own, killed and gone on with."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from itertools import islice

import pytest
import torch
from safetensors.torch import load_file

from gpt2lib import load_model, load_tokenizer
from gpt2lib.course.stories import stories
from gpt2lib.tokenizer import ENDOFTEXT
from gpt2lib.training import Metrics

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills as Unix does")

STEPS = 12


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "stories.txt"
    path.write_text(ENDOFTEXT.join(islice(stories(seed=1), 100)))
    return path


def command(data, out, *options, processes=1):
    start = [sys.executable, "-m"]
    if processes > 1:
        start += ["torch.distributed.run", "--standalone", "--nproc-per-node"]
        start += [str(processes), "-m"]
    run = ["gpt2lib", "pretrain", "--data", data, "--out", out, "--steps", STEPS]
    run += ["--batch-size", 4, "--context-length", 32, "--checkpoint-every", 4]
    return [*start, *map(str, [*run, *options])]


def pretrain(data, out, *options, processes=1, **how):
    return subprocess.run(
        command(data, out, *options, processes=processes),
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        **how,
    )


def losses(out):
    measured = Metrics(out / "training" / "metrics.jsonl").read()
    return [m["loss"] for m in measured if "loss" in m]


def kill_after(steps, data, out, *options, processes=1):
    """Starts a run and kills it, all of it, once it has done some steps."""
    run = subprocess.Popen(
        command(data, out, *options, processes=processes),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    while len(losses(out)) < steps:
        assert run.poll() is None, "ended before it could be killed"
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()


@pytest.fixture(scope="module")
def unbroken(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("bin") / "unbroken"
    return out, pretrain(data, out)


def assert_same_weights(one, other):
    one, other = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_text_becomes_a_model_that_opens(unbroken):
    out, run = unbroken
    assert run.returncode == 0, run.stderr
    figures = json.loads(run.stdout)
    assert run.stdout.count("\n") == 1
    assert figures["steps"] == STEPS and figures["tokens"] == STEPS * 4 * 32
    model, tokenizer = load_model(out), load_tokenizer(out)
    assert model.cfg.context_length == 32
    assert model.cfg.vocab_size == tokenizer.n_vocab
    assert losses(out)[-1] < losses(out)[0]


def test_the_figures_are_those_of_the_text_held_out(unbroken):
    out, run = unbroken
    figures = json.loads(run.stdout)
    model, tokenizer = load_model(out), load_tokenizer(out)
    tokens = torch.from_file(
        str(out / "training/tokens/000000.bin"),
        size=(out / "training/tokens/000000.bin").stat().st_size // 2,
        dtype=torch.uint16,
    )[512:].long()
    held_out = tokens[-(len(tokens) // 10) :]
    count = (len(held_out) - 1) // 32
    inputs = held_out[: count * 32].view(count, 32)
    targets = held_out[1 : count * 32 + 1].view(count, 32)
    with torch.no_grad():
        log_probabilities = model(inputs).log_softmax(-1)
    loss = -log_probabilities.gather(-1, targets[..., None]).mean().item()
    text = tokenizer.decode(targets.flatten().tolist()).replace(ENDOFTEXT, "")
    bits = loss * targets.numel() / 0.6931471805599453
    assert figures["val_loss"] == pytest.approx(loss, abs=1e-4)
    assert figures["bits_per_byte"] == pytest.approx(bits / len(text), rel=1e-3)


def test_a_run_killed_again_and_again_ends_as_the_unbroken_one(
    unbroken, data, tmp_path
):
    out = tmp_path / "killed"
    for steps in (1, 6, 9):  # before the first checkpoint, between two, after two
        kill_after(steps, data, out, "--resume")
    run = pretrain(data, out, "--resume")
    assert run.returncode == 0, run.stderr
    assert_same_weights(out, unbroken[0])
    assert losses(out) == losses(unbroken[0])
    assert not list(out.rglob("*.part"))


def test_a_full_disk_leaves_the_last_checkpoint_good(unbroken, data, tmp_path):
    out = tmp_path / "full"
    kill_after(5, data, out)
    checkpoint = out / "training" / "checkpoint.pt"
    before = checkpoint.read_bytes()
    limit = len(before) // 2
    run = pretrain(
        data,
        out,
        "--resume",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert run.returncode == 1
    assert "checkpoint.pt could not be written" in run.stderr.splitlines()[-1]
    assert checkpoint.read_bytes() == before
    assert pretrain(data, out, "--resume").returncode == 0
    assert_same_weights(out, unbroken[0])


def test_two_processes_do_what_one_does(unbroken, data, tmp_path):
    out = tmp_path / "two"
    run = pretrain(data, out, processes=2)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("val_loss") == 1
    assert losses(out) == pytest.approx(losses(unbroken[0]), abs=1e-5)


def test_what_two_began_one_ends(unbroken, data, tmp_path):
    out = tmp_path / "fewer"
    kill_after(5, data, out, processes=2)
    run = pretrain(data, out, "--resume")
    assert run.returncode == 0, run.stderr
    assert losses(out) == pytest.approx(losses(unbroken[0]), abs=1e-5)


def test_a_killed_worker_ends_the_job(data, tmp_path):
    out = tmp_path / "orphan"
    run = subprocess.Popen(
        command(data, out, "--steps", 10_000, processes=2),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    while len(losses(out)) < 2:
        assert run.poll() is None
        time.sleep(0.05)
    children = subprocess.run(
        ["pgrep", "-P", str(run.pid)], capture_output=True, text=True
    ).stdout.split()
    os.kill(int(children[-1]), signal.SIGKILL)
    _, errors = run.communicate(timeout=120)
    assert run.returncode != 0
    assert "SIGKILL" in errors or "-9" in errors


def test_a_folder_that_holds_a_model_is_not_written_over(unbroken, data):
    out, _ = unbroken
    before = (out / "model.safetensors").read_bytes()
    run = pretrain(data, out)
    assert run.returncode == 1 and "--resume" in run.stderr
    assert run.stderr.count("\n") == 1
    assert (out / "model.safetensors").read_bytes() == before


def test_going_on_with_other_settings_is_refused(unbroken, data):
    run = pretrain(data, unbroken[0], "--resume", "--seed", 5)
    assert run.returncode == 1 and "seed 0 there, 5 here" in run.stderr


def test_a_text_too_short_is_refused(tmp_path):
    (tmp_path / "short.txt").write_text("Too short a text to learn from.")
    run = pretrain(tmp_path / "short.txt", tmp_path / "out")
    assert run.returncode == 1
    assert "tokens, but a window needs 33" in run.stderr.splitlines()[-1]
