"""The benchmarks: that of a GPU with the smallest sizes, and what they are made of."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
import torch
from command import is_alive
from small import SMALL, lively

from benchmarks import card, correctness, gpu, sampling
from benchmarks.__main__ import main, parse
from benchmarks.nanogpt import NanoGPTForm
from benchmarks.programs import NanoGPT, _without_transposition, nanogpt_model
from gpt2lib import GPTModel, save_model

ROOT = Path(__file__).parent.parent


def rows_of(text):
    """The cells of all rows of all tables."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


# ------------------------------------------------------------------------------- gpu


def test_every_line_of_the_gpu_benchmark_runs(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "gpu", "--tiny"])
    assert main(parse()) == 0
    printed = capsys.readouterr()
    assert "FAILED" not in printed.out and "Traceback" not in printed.err
    rows = {row[0]: row for row in rows_of(printed.out)}
    assert rows.keys() >= correctness.CHECKS.keys()
    assert all(rows[name][2] == "ok" for name in correctness.CHECKS)
    timed = [name for name in rows if ": " in name and name not in correctness.CHECKS]
    assert len(timed) == 6 + 4 * 2 + 2 * 3 + 3 + 2
    for name in timed:
        median, fastest = float(rows[name][1]), float(rows[name][2].split(" to ")[0])
        assert median >= fastest > 0
    for program in ("transformers", "nanoGPT's form", "gpt2lib, not compiled"):
        cells = rows[f"training, bfloat16, 4 x 32 tokens: {program}"]
        assert len(cells) == len(gpu.SPEED_COLUMNS) and all(cells)


@pytest.fixture
def tiny(monkeypatch):
    """The smallest sizes; a test adds the checks and the contests."""
    monkeypatch.setattr(correctness, "CHECKS", {})
    monkeypatch.setattr(gpu, "contests", lambda *_: [])
    return correctness.tiny()


def fail(*_):
    raise torch.OutOfMemoryError("CUDA out of memory | tried to allocate\nmuch")


def test_a_check_that_fails_is_a_row_and_the_rest_goes_on(tiny, monkeypatch, capsys):
    checks = {"raises": fail, "differs": lambda _: ("0.5 apart", False)}
    checks["good"] = lambda _: ("0.0 apart", True)
    monkeypatch.setattr(correctness, "CHECKS", checks)
    assert gpu.measure(tiny) == 1
    printed = capsys.readouterr()
    _, raises, differs, good, _ = rows_of(printed.out)
    reason = "FAILED: OutOfMemoryError: CUDA out of memory / tried to allocate"
    assert raises[:3] == ["raises", reason, "FAILED"]
    assert differs[:3] == ["differs", "0.5 apart", "FAILED"]
    assert good[:3] == ["good", "0.0 apart", "ok"]
    assert "2 of 3 checks failed" in printed.out
    assert "Traceback" in printed.err and "Traceback" not in printed.out


def test_a_program_that_fails_is_a_row_and_the_others_go_on(tiny, monkeypatch, capsys):
    calls = []

    def fail_later():
        calls.append(1)
        if len(calls) > 3:
            fail()

    def contest(name):
        builds = {"gpt2lib": int, "transformers": fail}
        functions = {
            name: partial(gpu.Program, lambda f=f: f) for name, f in builds.items()
        }
        functions["late"] = partial(gpu.Program, lambda: fail_later)
        functions["unbuilt"] = partial(gpu.Program, fail)
        return name, {name: make(tokens=8) for name, make in functions.items()}

    made = [partial(contest, "one"), partial(fail, "two"), partial(contest, "three")]
    monkeypatch.setattr(gpu, "contests", lambda *_: made)
    assert gpu.measure(tiny) == 0  # no check failed
    assert len(calls) == 4 + 1  # not called again after a failure
    printed = capsys.readouterr().out
    assert "0 of 0 checks failed, 7 timings" in printed
    rows = {row[0]: row for row in rows_of(printed)[2:]}
    failed = [name for name, row in rows.items() if row[1].startswith("FAILED: OutOf")]
    programs = ("transformers", "late", "unbuilt")
    assert sorted(failed) == sorted(
        [f"{name}: {p}" for name in ("one", "three") for p in programs] + ["two"]
    )
    for name in ("one", "three"):
        assert float(rows[f"{name}: gpt2lib"][1]) >= 0
    assert {len(row) for row in rows.values()} == {len(gpu.SPEED_COLUMNS)}


def test_nothing_is_begun_when_time_is_up(tiny, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "LIMIT", -1)
    monkeypatch.setattr(correctness, "CHECKS", {"good": lambda _: ("", True)})
    assert gpu.measure(tiny) == 1
    said = r"\| FAILED: TimeoutError: not begun, \d+ s had passed \|"
    assert re.search(said, capsys.readouterr().out)


def test_limits_that_cannot_be_measured_cost_only_the_shares(
    tiny, monkeypatch, capsys, tmp_path
):
    monkeypatch.setattr(gpu, "Limits", fail)
    tiny = dataclasses.replace(tiny, folder=tmp_path)
    contests = [partial(gpu.prefilling, "prefill", tiny, None, "float32")]
    contests += [partial(gpu.decoding, "decode", tiny, None, 1, "float32")]
    monkeypatch.setattr(gpu, "contests", lambda *_: contests)
    assert gpu.measure(tiny) == 0
    printed = capsys.readouterr().out
    assert "limits of the card: FAILED: OutOfMemoryError" in printed
    timed = [row for row in rows_of(printed) if ": " in row[0]]
    assert len(timed) == 5 and all(row[6] == "" for row in timed)
    assert all(float(row[1]) > 0 for row in timed)


def test_a_batch_is_halved_until_it_fits(monkeypatch):
    tried = []

    def step_of(shape, program, *_):
        tried.append((program, shape.rows))
        return fail if shape.rows > 2 and program == "transformers" else int

    monkeypatch.setattr(gpu, "step_of", step_of)
    setting = dataclasses.replace(correctness.tiny(), rows=16)
    assert gpu.rows_that_fit(setting) == 2
    assert [rows for program, rows in tried if program == "gpt2lib"] == [16, 8, 4, 2]
    title, _ = gpu.training("training", setting, None)
    assert title == "training, 2 x 32 tokens, as 16 did not fit"


def test_another_failure_does_not_halve_the_batch(monkeypatch):
    monkeypatch.setattr(gpu, "step_of", lambda *_: 1 / 0)
    assert gpu.rows_that_fit(correctness.tiny()) == 4


def test_numbers_elsewhere_are_not_read(tiny):
    there, here = torch.ones((), device="meta"), torch.ones(())
    with gpu.unread():
        assert there.item() == 0.5 and here.item() == 1
    assert torch.Tensor.item(here) == 1


def test_training_copies_plainly_when_it_shall():
    from gpt2lib.training import trainer

    with gpu.unpinned():
        assert trainer.move(torch.ones(2), torch.device("meta")).device.type == "meta"
    assert trainer.move is not torch.Tensor.to


def test_without_a_compiler_another_backend_is_taken():
    def program(loss_of):
        return loss_of(torch.ones(1, 3, dtype=int), torch.ones(1, 3, dtype=int))

    backends = ("missing", "eager")
    backend, loss = correctness.compile_with_any(backends, program, GPTModel(SMALL))
    assert backend == "eager" and loss > 0


def test_a_process_that_fails_says_why(tiny, capsys):
    elsewhere = mock.Mock(device=torch.device("meta"))
    with pytest.raises(RuntimeError, match="meta"):
        correctness.one_process_group(dataclasses.replace(tiny, card=elsewhere))
    assert "Traceback" in capsys.readouterr().err


def test_llama_cpp_gets_the_matrices_as_torch_has_them(tmp_path):
    model = lively(GPTModel(SMALL))
    save_model(model, tmp_path)
    tensors = _without_transposition(str(tmp_path))  # as the benchmarks' folders are
    weight = tensors["transformer.h.0.mlp.c_fc.weight"]
    assert weight.equal(model.trf_blocks[0].ff.layers[0].weight)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_one_line_says_what_to_do(capsys):
    assert gpu.main() == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert "no GPU" in printed.err and "--tiny" in printed.err


def test_a_card_is_asked_through_functions_that_torch_has(monkeypatch):
    names = ("get_device_properties", "synchronize", "memory_allocated")
    names += ("reset_peak_memory_stats", "max_memory_allocated", "empty_cache")
    asked = {n: mock.create_autospec(getattr(torch.cuda, n)) for n in names}
    asked["get_device_properties"].return_value = mock.Mock(total_memory=8e9)
    asked["get_device_properties"].return_value.name = "A card"
    for name, function in asked.items():
        monkeypatch.setattr(torch.cuda, name, function)
    one = card.Gpu()
    assert one.describe().startswith("A card, 8 GB, driver ")
    for method in (one.wait, one.allocated, one.reset_peak, one.peak, one.free):
        method()
    assert one.pin(mock.Mock(spec=torch.Tensor)) is not None
    assert all(function.called for function in asked.values())
    public = {name for name in vars(card.Cpu) if not name.startswith("_")}
    assert public == {name for name in vars(card.Gpu) if not name.startswith("_")}


def test_peak_memory_is_that_of_the_program_alone():
    """Counted by hand: 10 held before, 4 + 2 by the program, 5 more while it runs."""

    class Ledger(card.Cpu):
        held = most = 10

        def allocated(self):
            return self.held

        def reset_peak(self):
            self.most = self.held

        def peak(self):
            return self.most

    ledger = Ledger()

    def build():
        ledger.held += 4
        return step

    def step():
        ledger.held = 16  # moments, from the first step on
        ledger.most = max(ledger.most, 21)

    assert gpu.Entrant(ledger, gpu.Program(build)).peak == 11


# -------------------------------------------------------------------- nanoGPT's form


def tanh(model):
    """GPT-2's GELU; nanoGPT takes the exact one."""
    for module in model.modules():
        if isinstance(module, torch.nn.GELU):
            module.approximate = "tanh"
    return model


def test_nanogpts_form_is_gpt2_with_exact_gelu(tmp_path):
    ours = lively(GPTModel(SMALL)).eval()
    save_model(ours, tmp_path)
    ids = torch.randint(SMALL.vocab_size, (2, 9))
    theirs = NanoGPT(None, tmp_path, "float32", "cpu")
    exact = theirs.model(ids)[0][:, -1]
    with torch.no_grad():
        logits = ours(ids)
        tanh(theirs.model)
        torch.testing.assert_close(theirs.model(ids)[0][:, -1], logits[:, -1])
        assert not torch.equal(exact, logits[:, -1])
        _, loss = theirs.model(ids[:, :-1], ids[:, 1:])
    expected = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()
    )
    torch.testing.assert_close(loss, expected)
    assert theirs.prefill(ids) == logits[:, -1].argmax(dim=-1).tolist()


CHECKOUT = """
from dataclasses import dataclass
from benchmarks.nanogpt import NanoGPTForm
from gpt2lib import GPTConfig as Ours

@dataclass
class GPTConfig:
    block_size: int
    vocab_size: int
    n_layer: int
    n_head: int
    n_embd: int
    dropout: float
    bias: bool

class GPT(NanoGPTForm):
    def __init__(self, config):
        assert config.bias and config.dropout == 0
        shape = config.n_embd, config.n_head, config.n_layer
        super().__init__(Ours(config.vocab_size, config.block_size, *shape))
        print("number of parameters: few")
"""


def test_a_checkout_takes_the_place_of_the_form(tmp_path, monkeypatch, capsys):
    (tmp_path / "model.py").write_text(CHECKOUT)
    monkeypatch.delitem(sys.modules, "model", raising=False)
    made = nanogpt_model(SMALL, tmp_path)
    monkeypatch.delitem(sys.modules, "model")
    assert type(made).__name__ == "GPT" and str(tmp_path) not in sys.path
    assert capsys.readouterr().out == ""  # that is for the tables
    sizes = [sum(p.numel() for p in m.parameters()) for m in (made, NanoGPTForm(SMALL))]
    assert sizes == [SMALL.n_params] * 2


# ------------------------------------------------------------------- killed programs

APART = """
import os, time
from benchmarks.programs import Apart

class Peer:
    def __init__(self):
        print(os.getpid(), flush=True)

if __name__ == "__main__":
    kept = Apart(Peer)
    time.sleep(600)
"""
POOL = """
import os, time
from benchmarks import train

def busy(*program):
    print(os.getpid(), flush=True)
    time.sleep(600)

train._take_steps = busy
if __name__ == "__main__":
    train.peak_memory()
"""

SEVERAL = """
import os, time
from types import SimpleNamespace
import benchmarks
from benchmarks.__main__ import main

def busy(*given):
    print(os.getpid(), flush=True)
    time.sleep(600)

benchmarks.run = busy
if __name__ == "__main__":
    main(SimpleNamespace(names=["load", "bpe"]))
"""


@pytest.mark.parametrize(
    "program", [APART, POOL, SEVERAL], ids=["Apart", "peak_memory", "several"]
)
def test_a_killed_benchmark_takes_its_processes_along(program, tmp_path):
    (tmp_path / "program.py").write_text(program)
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py")],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    try:
        child = int(parent.stdout.readline())
        assert child != parent.pid
    finally:
        parent.kill()
        parent.wait()
    end = time.monotonic() + 60
    while is_alive(child) and time.monotonic() < end:
        time.sleep(0.05)
    alive = is_alive(child)
    if alive:
        os.kill(child, signal.SIGKILL)
    assert not alive


# -------------------------------------------------------------------------- sampling


def test_ids_behind_an_end_are_not_counted():
    ids = torch.tensor([[5, 0, 0], [5, 6, 7], [0, 5, 0]])
    assert sampling.written(ids, end=0) == 2 + 3 + 1


def test_every_line_of_the_sampling_benchmark_runs(monkeypatch, capsys):
    monkeypatch.setattr(sampling, "Limits", lambda: "limits")
    monkeypatch.setattr(sampling, "NEW", 12)
    sampling.main(turns=3, crowds=((2, 2),))
    header, *rows = rows_of(capsys.readouterr().out)
    assert header[-1] == "× transformers"
    names = ["gpt2lib", "gpt2lib, one problem at a time", "transformers"]
    assert [row[0] for row in rows] == names
    assert all(float(row[3].replace(",", "")) > 0 for row in rows)
    assert rows[-1][-1] == "1.00"
