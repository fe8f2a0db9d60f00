"""The verb pretrain: whole runs in processes of their own, killed and gone on with."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from array import array
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice

import command as command_line
import pytest
import torch
from command import is_alive
from safetensors.torch import load_file
from small import SMALL

from gpt2lib import load_model, load_tokenizer, save_model
from gpt2lib.course.stories import stories
from gpt2lib.data import ShuffledWindows
from gpt2lib.finetuning import replace_head
from gpt2lib.tokenizer import ENDOFTEXT, BPETokenizer
from gpt2lib.training import Metrics, corpus, default_learning_rate, write_shard
from gpt2lib.training import pretrain as run_here
from gpt2lib.training.pretraining import _in_batches
from gpt2lib.training.runs import working_folder

resource = pytest.importorskip("resource")  # what follows kills as Unix does
on_cpu = pytest.mark.skipif(
    torch.backends.mps.is_available(), reason="one process would compute on the GPU"
)
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

STEPS, BATCH = 12, 6
TINY = replace(SMALL, vocab_size=300, drop_rate=0.0)
TOKENIZER = BPETokenizer.train("The clock went slow. Was it the tide?" * 30, 300)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "stories.txt"
    path.write_text(ENDOFTEXT.join(islice(stories(seed=1), 50)))
    return path


def arguments(data, out, *options):
    run = ["pretrain", "--data", data, "--out", out, "--steps", STEPS]
    run += ["--batch-size", BATCH, "--context-length", 32, "--checkpoint-every", 4]
    return [*run, *options]


TWO = ("--standalone", "--nproc-per-node", "2")


def torchrun(data, out):
    """What starts a run in two processes."""
    start = [sys.executable, "-m", "torch.distributed.run", *TWO, "-m", "gpt2lib"]
    return [*start, *map(str, arguments(data, out))]


def pretrain(data, out, *options):
    return command_line.run(*arguments(data, out, *options))


def losses(out):
    measured = Metrics(out / "training" / "metrics.jsonl").read()
    return [m["loss"] for m in measured if "loss" in m]


def start(steps, data, out, *options, begin=command_line.begin):
    """A run that goes on in the background and has done some steps already."""
    run = begin(*arguments(data, out, *options))
    while not has_done(steps, out):
        assert run.exitcode is None, "ended before it could be killed"
        time.sleep(0.01)
    return run


def has_done(steps, out):
    """Whether a run has done so many steps, and written the state that is due."""
    due = steps > 4  # it is written beside the next steps
    written = (out / "training" / "checkpoint.pt").exists()
    return len(losses(out)) >= steps and (written or not due)


def kill_after(steps, data, out, *options):
    """Starts a run and kills it once it has done some steps."""
    run = start(steps, data, out, *options)
    run.kill()
    run.join()
    assert run.exitcode == -signal.SIGKILL


def workers_of(run):
    """The processes that torchrun has started, each in a session of its own."""
    listed = subprocess.run(["pgrep", "-P", str(run.pid)], capture_output=True)
    return [int(pid) for pid in listed.stdout.split()]


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
    assert figures["steps"] == STEPS and figures["tokens"] == STEPS * BATCH * 32
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
    count, end = (len(held_out) - 1) // 32, tokenizer.eot_token
    windows = ShuffledWindows(held_out, 32, count, document_end=end)
    inputs, targets = windows.batch(0)
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


@contextmanager
def no_file_larger_than(size):
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def test_a_full_disk_leaves_the_last_checkpoint_good(unbroken, data, tmp_path):
    out = tmp_path / "full"
    kill_after(5, data, out)
    checkpoint = out / "training" / "checkpoint.pt"
    before = checkpoint.read_bytes()
    with no_file_larger_than(len(before) // 2):
        run = pretrain(data, out, "--resume")
    assert run.returncode == 1
    assert "checkpoint.pt could not be written" in run.stderr.splitlines()[-1]
    assert checkpoint.read_bytes() == before
    assert pretrain(data, out, "--resume").returncode == 0
    assert_same_weights(out, unbroken[0])


@pytest.fixture(scope="module")
def small(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("bin") / "small"
    assert pretrain(data, out, "--config", "small").returncode == 0
    return out


def in_several(count, data, out, *options):
    """A whole run in several processes."""
    assert_ended_well(
        command_line.begin_several(count, *arguments(data, out, *options))
    )


@on_cpu
@pytest.mark.parametrize(
    ("count", "options"),
    [
        (2, []),
        (2, ["--shard"]),
        (3, ["--shard", "--micro-batch-size", 1]),
        (2, ["--shard", "--compile"]),
    ],
)
def test_several_processes_do_what_one_does(count, options, small, data, tmp_path):
    out = tmp_path / "several"
    options = ["--config", "small", "--checkpoint-every", STEPS, *options]
    in_several(count, data, out, *options)
    assert losses(out) == pytest.approx(losses(small), abs=1e-5)
    one, several = (load_file(f / "model.safetensors") for f in (small, out))
    assert {n: t.shape for n, t in one.items()} == {
        n: t.shape for n, t in several.items()
    }


@on_cpu
def test_a_sharded_run_goes_on_with_any_number_of_processes(unbroken, data, tmp_path):
    out = tmp_path / "any"
    for count, steps, options in ((3, 5, ["--shard"]), (2, 9, ["--shard"])):
        begin = partial(command_line.begin_several, count)
        run = start(steps, data, out, *options, "--resume", begin=begin)
        workers = workers_of(run)
        run.kill()
        wait_until(lambda workers=workers: not any(map(is_alive, workers)))
    run = pretrain(data, out, "--resume")  # in one process, not sharded
    assert run.returncode == 0, run.stderr
    assert losses(out) == pytest.approx(losses(unbroken[0]), abs=1e-5)
    in_several(2, data, out, "--shard", "--resume")  # nothing is left to do


@on_cpu
def test_a_killed_worker_ends_the_job_and_one_process_goes_on(unbroken, data, tmp_path):
    out = tmp_path / "fewer"
    job = subprocess.Popen(
        torchrun(data, out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    wait_for_steps(5, job, out)
    os.kill(workers_of(job)[-1], signal.SIGKILL)
    _, errors = job.communicate(timeout=900)
    assert job.returncode != 0
    assert "SIGKILL" in errors or "-9" in errors
    begun = torch.load(out / "training" / "checkpoint.pt", weights_only=True)
    assert begun["step"] < STEPS
    run = pretrain(data, out, "--resume")
    assert run.returncode == 0, run.stderr
    assert losses(out) == pytest.approx(losses(unbroken[0]), abs=1e-5)


def launch(data, out, options=TWO):
    """Starts torchrun, which starts its workers again up to ten times."""
    run = arguments(data, out, "--steps", 14, "--resume")
    return command_line.begin_torchrun([*options, "--max-restarts", "10"], *run)


def wait_for_steps(steps, job, out):
    wait_until(lambda: not is_alive(job.pid) or has_done(steps, out), every=0.01)
    assert is_alive(job.pid), "ended before anything could be killed"


@pytest.fixture(scope="module")
def unbroken_in_two(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("bin") / "two"
    in_several(2, data, out, "--steps", 14)
    return out


@on_cpu
def test_killed_workers_are_started_again(unbroken_in_two, data, tmp_path):
    out = tmp_path / "again"
    job = launch(data, out)
    for steps in (2, 6, 11):  # before the first checkpoint, after it, after two
        wait_for_steps(steps, job, out)
        workers = workers_of(job)
        os.kill(workers[steps % 2], signal.SIGKILL)
        wait_until(lambda old=set(workers): not old & set(workers_of(job)))
    assert_ended_well(job)
    assert losses(out) == losses(unbroken_in_two)
    assert_same_weights(out, unbroken_in_two)


def assert_ended_well(job):
    job.join(timeout=900)  # finds hangs only
    assert job.exitcode == 0


@on_cpu
def test_a_lost_machine_is_waited_for(unbroken_in_two, data, tmp_path):
    """Two machines, on this one: the second is killed, and another takes its place."""
    out, port = tmp_path / "lost", command_line.free_port()
    machines = ["--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d"]
    machines += ["--rdzv-endpoint", f"127.0.0.1:{port}"]
    # One that is silent for three seconds is lost; usually it is fifteen.
    machines += ["--rdzv-conf", "keep_alive_interval=1"]
    first = launch(data, out, machines)
    wait_until(lambda: is_open(port))  # it holds the store
    second = launch(data, out, machines)
    wait_for_steps(5, first, out)
    second.kill()
    second.join()
    third = launch(data, out, machines)
    assert_ended_well(first)
    assert_ended_well(third)
    assert losses(out) == losses(unbroken_in_two)
    assert_same_weights(out, unbroken_in_two)


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition, every=0.1):
    """For minutes if need be: what is waited for may take long on a busy machine."""
    until = time.monotonic() + 900
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(every)


def all_below(pid):
    """All processes that a process has started, and those that they have."""
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True)
    below = [int(child) for child in listed.stdout.split()]
    return below + [pid for child in below for pid in all_below(child)]


def test_workers_end_when_torchrun_is_killed(data, tmp_path):
    """A stand-in for torchrun: it has the same place, above the workers."""
    options = ["--steps", 10_000]
    begin = partial(command_line.begin_several, 2)
    run = start(2, data, tmp_path / "out", *options, begin=begin)
    workers = workers_of(run)
    assert len(workers) == 2
    run.kill()
    wait_until(lambda: not any(map(is_alive, workers)))


@pytest.mark.parametrize("processes", [1, 2])
def test_nothing_is_left_of_a_run_killed_while_it_encodes(tmp_path, processes):
    text = "".join(islice(stories(seed=2), 100))
    (tmp_path / "long.txt").write_text(text * 600)
    begin = partial(command_line.begin_several, processes)
    begin = command_line.begin if processes == 1 else begin
    run = begin(*arguments(tmp_path / "long.txt", tmp_path / "out"))
    wanted = 1 if processes == 1 else 3  # a worker; the ranks and, below one, a worker
    wait_until(lambda: run.exitcode is not None or len(all_below(run.pid)) >= wanted)
    left = all_below(run.pid)
    assert run.exitcode is None and len(left) >= wanted
    run.kill()
    run.join()
    wait_until(lambda: not any(map(is_alive, left)))
    assert not (tmp_path / "out/training/tokens/tokens.json").exists()


def test_a_script_must_guard_its_call(data, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os; os.cpu_count = lambda: 1\n"
        "from gpt2lib.training import corpus\n"
        "from gpt2lib.training import pretrain, texts\n"
        "corpus.CHUNK = texts.CHUNK = 1000\n"
        f"pretrain({str(data)!r}, {str(tmp_path / 'out')!r}, steps=1)\n"
    )
    run = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=900,
        env=ENVIRONMENT,
    )
    assert run.returncode == 1
    assert "call pretrain under if __name__" in run.stderr.splitlines()[-1]


def test_of_two_runs_in_one_folder_one_is_refused(data, tmp_path):
    out = tmp_path / "out"
    first = start(1, data, out, "--steps", 10_000)
    for resume in (False, True):
        with pytest.raises(ValueError, match="another run is writing to"):
            run_here(data, out, TINY, steps=12, batch_size=4, resume=resume)
    assert first.exitcode is None
    first.kill()
    first.join()
    with working_folder(out, resume=True):  # a lock ends with its process
        pass


def test_a_folder_that_holds_a_model_is_not_written_over(unbroken, data):
    out, _ = unbroken
    before = (out / "model.safetensors").read_bytes()
    run = pretrain(data, out)
    assert run.returncode == 1 and "--resume" in run.stderr
    assert run.stderr.count("\n") == 1
    assert (out / "model.safetensors").read_bytes() == before


def test_going_on_with_other_settings_is_refused(unbroken, data):
    run = pretrain(data, unbroken[0], "--resume", "--seed", 5)
    assert run.returncode == 1 and "seed 0, not 5" in run.stderr


@pytest.mark.parametrize(
    "cfg", ["pocket", replace(TINY, n_classes=2, tied_head=False)], ids=type
)
def test_a_model_that_cannot_predict_tokens_is_refused(data, tmp_path, cfg):
    with pytest.raises(ValueError, match="must be a GPTConfig that predicts tokens"):
        run_here(data, tmp_path / "out", cfg, steps=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("length", [32, 10**9, 10**18])
def test_a_text_too_short_is_refused(tmp_path, length):
    (tmp_path / "short.txt").write_text("Too short a text to learn from.")
    cfg = replace(TINY, context_length=length)
    with pytest.raises(ValueError, match=f"tokens, but a window needs {length + 1}"):
        run_here(tmp_path / "short.txt", tmp_path / "out", cfg)


def test_a_batch_beyond_all_bounds_is_refused(data, tmp_path):
    with pytest.raises(ValueError, match="a batch of 1000000000 windows"):
        run_here(data, tmp_path / "out", TINY, batch_size=10**9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch-size", 0], "batch_size must be a whole number from 1"),
        (["--steps", 0], "steps must be a whole number from 1"),
        (["--checkpoint-every", 0], "checkpoint_every must be a whole number from 1"),
        (["--micro-batch-size", -1], "micro_batch_size must be a whole number from 1"),
        (["--context-length", 0], "context_length must be an int, at least 1"),
        (["--data", "nowhere.bin"], "no text at nowhere.bin"),
        (["--seed", 2**63], "seed must be a whole number from 0 to 2**63 - 1"),
        (["--out", __file__], "test_pretraining.py is a file"),
        (["--shard"], "this is the only one: start with torchrun"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(data, tmp_path, options, message):
    run = pretrain(data, tmp_path / "out", *options)
    assert run.returncode == 1
    assert message in run.stderr and run.stderr.count("\n") == 1


def test_a_model_without_its_training_is_not_written_over(unbroken, data, tmp_path):
    out = tmp_path / "model"
    shutil.copytree(unbroken[0], out, ignore=shutil.ignore_patterns("training"))
    run = pretrain(data, out, "--resume")
    assert run.returncode == 1 and "already holds " in run.stderr


def test_shards_without_a_tokenizer_are_in_gpt2s_vocabulary(tmp_path):
    try:
        corpus.gpt2_tokenizer()
    except FileNotFoundError:
        pytest.skip("GPT-2's vocabulary is not at hand")
    ids = array("H", (n * 7919 % 50257 for n in range(2000)))
    write_shard(tmp_path / "train.bin", ids)
    out = tmp_path / "out"
    run_here(tmp_path, out, SMALL, steps=2, batch_size=2)
    assert load_model(out).cfg.vocab_size == 50257
    assert load_tokenizer(out).encode("Every effort moves you") == [
        6109,
        3626,
        6100,
        345,
    ]


@pytest.mark.parametrize("rows", [1, 9, 12, 16])
def test_all_held_out_windows_are_judged_however_many_at_once(rows):
    held_out = torch.arange(31 * 8 + 5)
    batches = _in_batches(held_out, 8, rows, document_end=None)
    assert [len(inputs) for inputs, _ in batches][:-1] == [rows] * (30 // rows)
    for judged, whole in zip(zip(*batches), ShuffledWindows(held_out, 8, 31).batch(0)):
        assert torch.cat(judged).equal(whole)


def test_the_rate_is_that_of_the_model_that_is_trained(unbroken, tmp_path):
    out, _ = unbroken
    tokens, steps = out / "training" / "tokens", {"steps": 1, "batch_size": 4}
    run_here(tokens, tmp_path / "on", SMALL, start=out, **steps)
    done = Metrics(tmp_path / "on" / "training" / "metrics.jsonl").read()[0]
    assert done["learning_rate"] == default_learning_rate(load_model(out).cfg.n_params)


def test_training_may_begin_with_a_trained_model(unbroken, tmp_path):
    out, _ = unbroken
    tokens = out / "training" / "tokens"
    again = run_here(tokens, tmp_path / "on", start=out, steps=1, batch_size=4)
    before = Metrics(out / "training" / "metrics.jsonl").read()[-1]["val_loss"]
    assert again["train_loss"] < before + 0.5 < losses(out)[0]


# ------------------------------------------------------- what is tried before the work


def touch(*names):
    def make(out):
        for name in names:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_text("of somebody else")
        return out

    return make


OUTS = {
    "a file": (lambda out: __file__, "is a file"),
    "below a file": (lambda out: f"{__file__}/out", "is a file"),
    "no name": (lambda out: "", "output folder is empty"),
    "spaces": (lambda out: " ", "output folder is empty"),
    "a card": (touch("README.md"), "holds README.md"),
    "a config": (touch("config.json"), "holds config.json"),
    "a tokenizer": (touch("vocab.json"), "holds vocab.json"),
    "a folder": (touch("notes/a.txt"), "holds notes"),
    "another training": (touch("training/plan.txt"), "holds plan.txt"),
    "training a file": (touch("training"), "is a file"),
    "weights": (touch("model.safetensors"), "already holds "),
}


@pytest.mark.parametrize(("make", "message"), OUTS.values(), ids=OUTS)
@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_of_something_else_is_left_alone(
    data, tmp_path, make, message, resume
):
    out = make(tmp_path / "out")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=message):
        run_here(data, out, TINY, resume=resume)
    assert sorted(tmp_path.rglob("*")) == before


def test_hidden_files_are_not_in_the_way(data, tmp_path):
    touch(".gitkeep", ".DS_Store", "training/.nfs01")(tmp_path / "out")
    assert run_here(data, tmp_path / "out", TINY, steps=1, batch_size=2)["steps"] == 1


@pytest.mark.parametrize("error", [OSError("full"), ValueError("half a character")])
def test_what_cannot_be_saved_is_noticed_before_the_work(
    data, tmp_path, monkeypatch, error
):
    def failing(tokenizer, folder):
        if folder != tmp_path / "out/training/tokens":
            raise error
        save(tokenizer, folder)

    save = BPETokenizer.save
    monkeypatch.setattr(BPETokenizer, "save", failing)
    with pytest.raises(type(error), match=str(error)):
        run_here(data, tmp_path / "out", TINY, steps=1)
    assert not losses(tmp_path / "out")


def test_a_model_to_begin_with_must_fit_the_data(unbroken, data, tmp_path):
    out, _ = unbroken
    with pytest.raises(ValueError, match="with another vocabulary than"):
        run_here(data, tmp_path / "on", TINY, start=out, steps=1)
    classifier = replace_head(load_model(out), 2)
    save_model(classifier, tmp_path / "classifier", load_tokenizer(out))
    with pytest.raises(ValueError, match="head for 2 classes"):
        run_here(data, tmp_path / "on", TINY, start=tmp_path / "classifier", steps=1)


def test_a_model_that_no_memory_holds_is_refused(data, tmp_path):
    with pytest.raises(ValueError, match="not enough memory for"):
        run_here(data, tmp_path / "out", replace(TINY, emb_dim=2**40), steps=1)


# --------------------------------------------------- what is not believed when resumed


def finished(data, out, **settings):
    """A run of two steps, in this process."""
    usual = {"steps": 2, "batch_size": 2}
    return run_here(data, out, TINY, **usual | settings)


def test_a_damaged_checkpoint_is_refused_until_it_is_deleted(data, tmp_path):
    out = tmp_path / "out"
    figures = finished(data, out)
    for name in ("model.safetensors", "config.json", "vocab.json", "merges.txt"):
        (out / name).unlink()  # as if it had been killed before
    checkpoint = out / "training" / "checkpoint.pt"
    contents = bytearray(checkpoint.read_bytes())
    contents[len(contents) // 2] ^= 1
    checkpoint.write_bytes(contents)
    with pytest.raises(ValueError, match="is damaged .*delete it to start over"):
        finished(data, out, resume=True)
    checkpoint.unlink()
    again = finished(data, out)
    assert again["val_loss"] == figures["val_loss"]


def test_going_on_with_other_data_is_refused(tmp_path):
    TOKENIZER.save(tmp_path / "data")
    shard = tmp_path / "data" / "train.bin"
    write_shard(shard, array("H", (n * 7 % 280 for n in range(900))))
    finished(shard, tmp_path / "out")
    write_shard(shard, array("H", (n * 11 % 280 for n in range(900))))
    with pytest.raises(ValueError, match="belongs to a run with data"):
        finished(shard, tmp_path / "out", resume=True)


def test_going_on_with_a_text_of_the_same_size_is_refused(data, tmp_path):
    path = tmp_path / "tale.txt"
    path.write_text(data.read_text())
    finished(path, tmp_path / "out")
    path.write_text(data.read_text()[::-1])
    tokens = tmp_path / "out" / "training" / "tokens"
    kept = {file.name: file.read_bytes() for file in tokens.iterdir()}
    with pytest.raises(ValueError, match="started with other texts than"):
        finished(path, tmp_path / "out", resume=True)
    assert {file.name: file.read_bytes() for file in tokens.iterdir()} == kept


def test_a_run_whose_measurements_are_gone_says_so(data, tmp_path):
    finished(data, tmp_path / "out")
    (tmp_path / "out" / "training" / "metrics.jsonl").unlink()
    with pytest.raises(ValueError, match="lacks the measurements of this run"):
        finished(data, tmp_path / "out", resume=True)
