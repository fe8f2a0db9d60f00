"""A GPU: first whether it computes what the CPU does, then how fast.

Two tables for README.md, row by row as they are known. A check or a program that fails
is a row that says so, its traceback goes to standard error, and the rest goes on. With
--tiny the same lines run with the smallest sizes, on a CPU if there is no GPU.
"""

import dataclasses
import functools
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from unittest import mock

import torch

from benchmarks import correctness, decode, prefill
from benchmarks.card import Cpu
from benchmarks.programs import NanoGPT, Ours, Transformers
from benchmarks.timing import Limits, speed_up, take_turns
from benchmarks.train import Shape, step_of, trainer_of
from gpt2lib import GPTModel

LIMIT = 440  # seconds after which nothing new is begun, to end within eight minutes
THEIRS = "transformers"
CHECK_COLUMNS = ("check", "result", "ok", "took s")
SPEED_COLUMNS = ("what", "median ms", "min to max", "tokens/s", "× {}", "× {}")
SPEED_COLUMNS += ("of the limit", "peak GB", "took s")


def main(nanogpt=None, tiny=False):
    """Prints both tables; returns the exit code, 1 if a check failed."""
    setting = correctness.tiny() if tiny else correctness.Setting()
    if type(setting.card) is Cpu and not tiny:
        print(
            "no GPU here that PyTorch can use through CUDA: run this on a machine "
            "with one, or add --tiny to try every line of it on the CPU",
            file=sys.stderr,
        )
        return 2
    with tempfile.TemporaryDirectory() as folder:
        setting = dataclasses.replace(setting, nanogpt=nanogpt, folder=folder)
        return measure(setting)


def measure(setting):
    """Runs all checks, then all contests."""
    torch.set_float32_matmul_precision("highest")  # no TF32
    start = time.monotonic()
    print("\n## gpu\n")
    limits = print_limits(setting)
    failed = print_checks(setting, start)
    backend = setting.compilers[-1]
    with_backend = functools.partial(torch.compile, backend=backend)
    with mock.patch.object(torch, "compile", with_backend):
        slow = print_contests(setting, limits, start)
    print(
        f"\n{len(failed)} of {len(correctness.CHECKS)} checks failed, {slow} timings; "
        f"{time.monotonic() - start:.0f} s in all, torch.compile by {backend}"
    )
    return 1 if failed else 0


def print_limits(setting):
    """The card's name, memory bandwidth and matmul rates; returns `Limits` or None."""

    def measured():
        limits = Limits(setting.card, setting.matrix, setting.megabytes)
        return limits, str(limits)

    done = attempt(measured)
    limits, text = done.value or (None, f"limits of the card: {done.failure}")
    print(text, flush=True)
    return limits


@dataclass
class Attempt:
    """What a function returned, or why it failed, in one line; and its seconds."""

    value: object = None
    failure: str = ""
    seconds: float = 0.0


def attempt(function, start=None):
    """Calls a function without letting it end the program.

    Args:
        start: when the whole began; past LIMIT nothing is called.
    """
    begun = time.monotonic()
    try:
        if start is not None and begun - start > LIMIT:
            raise TimeoutError(f"not begun, {begun - start:.0f} s had passed")
        return Attempt(function(), seconds=time.monotonic() - begun)
    except Exception as error:
        traceback.print_exc()
        lines = str(error).strip().splitlines() or ["no reason given"]
        reason = lines[0].replace("|", "/")[:200]
        seconds = time.monotonic() - begun
        return Attempt(None, f"FAILED: {type(error).__name__}: {reason}", seconds)


def print_row(*cells):
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def print_header(title, columns, *names):
    print(f"\n**{title}**\n")
    print(f"| {' | '.join(columns)} |".format(*names))
    print("|" + "---|" * len(columns), flush=True)


# ---------------------------------------------------------------------- correctness


def print_checks(setting, start):
    """The table of correctness; returns the names of the checks that failed."""
    print_header("Correctness", CHECK_COLUMNS)
    failed = []
    for name, check in correctness.CHECKS.items():
        done = attempt(functools.partial(check, setting), start)
        found, passed = done.value or (done.failure, False)
        failed += [] if passed else [name]
        print_row(name, found, "ok" if passed else "FAILED", f"{done.seconds:.1f}")
        attempt(functools.partial(clear, setting))
    return failed


def clear(setting):
    """Leaves nothing behind for the next: no memory, no compiled code.

    If torch.compile met a function before with other shapes, it would compile it for
    all shapes, which is slower.
    """
    torch._dynamo.reset()
    setting.card.free()


# ---------------------------------------------------------------------------- speed


@dataclass(frozen=True)
class Program:
    """One program of a contest.

    Args:
        build: makes it, and returns the function to time.
        tokens: processed by one call.
        at_best: seconds of one call at the card's limit.
        at_once: calls that are timed together, with one wait at the end.
        has_memory: whether it holds a model of its own, whose memory is told.
    """

    build: Callable
    tokens: int = 0
    at_best: float | None = None
    at_once: int = 1
    has_memory: bool = True


class Entrant:
    """A program that was built and warmed up; called, it runs and waits for the card.

    After a failure it does nothing.
    """

    def __init__(self, card, program):
        self.card, self.program, self.failure = card, program, ""
        before = card.allocated()
        self.run = program.build()
        self.work()
        own = card.allocated() - before
        start = card.allocated()
        card.reset_peak()
        self.work()
        self.peak = card.peak() - start + own

    def work(self):
        for _ in range(self.program.at_once):
            self.run()
        self.card.wait()

    def __call__(self):
        if not self.failure:
            self.failure = attempt(self.work).failure


def print_contests(setting, limits, start):
    """The table of speed; returns the number of failures."""
    print_header("Speed", SPEED_COLUMNS, THEIRS, setting.form)
    failures = 0
    for contest in contests(setting, limits):
        made = attempt(contest, start)
        if made.failure:
            print_failure(contest.args[0], made)
        failures += not made.value or compete(setting, start, *made.value)
        del made
        attempt(functools.partial(clear, setting))
    return failures


def print_failure(name, done):
    blanks = [""] * (len(SPEED_COLUMNS) - 3)
    print_row(name, done.failure, *blanks, f"{done.seconds:.1f}")


def compete(setting, start, title, programs):
    """Lets programs take turns and prints their rows; returns how many failed."""
    built = {}
    for name, program in programs.items():
        entering = functools.partial(Entrant, setting.card, program)
        built[name] = attempt(entering, start)
        if built[name].failure:
            print_failure(f"{title}: {name}", built[name])
    entrants = {name: done.value for name, done in built.items() if done.value}
    seconds = take_turns(entrants, setting.turns)
    done = {name: seconds[name] for name, e in entrants.items() if not e.failure}
    peers = [done.get(peer) for peer in (THEIRS, setting.form)]
    for name, entrant in entrants.items():
        built[name].seconds += sum(seconds[name])
        if entrant.failure:
            built[name].failure = entrant.failure
            print_failure(f"{title}: {name}", built[name])
            continue
        program, took = programs[name], f"{built[name].seconds:.1f}"
        peak = f"{entrant.peak / 1e9:.2f}" if program.has_memory else ""
        cells = figures(program, done[name], peers)
        print_row(f"{title}: {name}", *cells, peak, took)
    return len(built) - len(done)


def figures(program, seconds, peers):
    """The cells of a row, from the median to the share of the limit."""
    each = [1e3 * value / program.at_once for value in seconds]
    median = statistics.median(each)
    speed = f"{1e3 * program.tokens / median:,.0f}" if program.tokens else ""
    ratios = [f"{speed_up(seconds, peer):.2f}" if peer else "" for peer in peers]
    share = f"{1e3 * program.at_best / median:.0%}" if program.at_best else ""
    return (
        f"{median:,.3f}",
        f"{min(each):,.3f} to {max(each):,.3f}",
        speed,
        *ratios,
        share,
    )


def contests(setting, limits):
    """Functions without arguments, each of which returns a title and programs."""
    yield functools.partial(training, "training, bfloat16", setting, limits)
    for precision in ("bfloat16", "float32"):
        for rows in setting.batches:
            name = f"decode, batch {rows}, {precision}"
            yield functools.partial(decoding, name, setting, limits, rows, precision)
        name = f"prefill, {precision}"
        yield functools.partial(prefilling, name, setting, limits, precision)
    yield functools.partial(copying, "a batch of ids to the card", setting)
    yield functools.partial(checking, "ids in range", setting)


# ------------------------------------------------------------------------- training


def training(name, setting, limits):
    """Training steps in bfloat16; those of gpt2lib also with less waiting, or more."""
    rows = rows_that_fit(setting)
    shape = shape_of(setting, rows, compile=True)
    trainer = functools.cache(functools.partial(trainer_of, shape, "bfloat16"))
    batch = shape.batch()

    def ours(around=nullcontext):
        def build():
            owner = trainer()

            def step():
                with around():
                    owner.train_step(*batch)

            return step

        return build

    def theirs(program, shape=shape):
        return functools.partial(step_of, shape, program, "bfloat16", setting.nanogpt)

    entered = functools.partial(
        Program,
        tokens=shape.tokens,
        at_best=limits and shape.shortest_step(limits.rates["bfloat16"]),
        at_once=setting.at_once,
    )
    plain = dataclasses.replace(shape, compile=False)
    halved = f", as {setting.rows} did not fit" if rows < setting.rows else ""
    return f"{name}, {rows} x {shape.length:,} tokens{halved}", {
        "gpt2lib": entered(ours()),
        "gpt2lib, loss and norm not read": entered(ours(unread), has_memory=False),
        "gpt2lib, copied unpinned": entered(ours(unpinned), has_memory=False),
        THEIRS: entered(theirs(THEIRS)),
        setting.form: entered(theirs(setting.form)),
        "gpt2lib, not compiled": entered(theirs("gpt2lib", plain)),
    }


def shape_of(setting, rows, compile):
    length = min(setting.length, setting.cfg.context_length)
    return Shape(setting.cfg, rows, length, setting.device.type, compile)


def rows_that_fit(setting):
    """The largest batch with which all programs fit into memory at once, by halving."""
    rows = setting.rows
    while rows > 1 and not fits(setting, rows):
        setting.card.free()
        rows //= 2
    setting.card.free()
    return rows


def fits(setting, rows):
    """Whether a step of each program fits, uncompiled, which takes the most memory."""
    shape, steps = shape_of(setting, rows, compile=False), []
    try:
        for program in ("gpt2lib", THEIRS, setting.form):
            steps.append(step_of(shape, program, "bfloat16", setting.nanogpt))
            steps[-1]()
        for step in steps:  # once more, now that all are there
            step()
    except torch.OutOfMemoryError:
        return False
    except Exception:  # the contest will tell
        traceback.print_exc()
    return True


@contextmanager
def unread():
    """Numbers on a GPU stay there: instead of waiting for one, .item() says 0.5."""
    read = torch.Tensor.item

    def item(tensor):
        return read(tensor) if tensor.device.type == "cpu" else 0.5

    with mock.patch.object(torch.Tensor, "item", item):
        yield


def unpinned():
    """Batches are copied from ordinary memory, for which the CPU waits."""
    return mock.patch("gpt2lib.training.trainer.move", torch.Tensor.to)


# ------------------------------------------------------------------------ inference


def decoding(name, setting, limits, rows, precision):
    """Greedy decoding after a prompt of 16 ids."""
    ids = torch.randint(setting.cfg.vocab_size, (rows, 16))
    seconds = limits and decode.shortest(
        setting.cfg, setting.decoded, precision, limits.bandwidth
    )

    def entered(program):
        def build():
            made = program(setting.weights, precision, setting.device)
            return functools.partial(made.decode, ids, setting.decoded)

        return Program(build, rows * setting.decoded, seconds)

    title = f"{name}, {setting.decoded} tokens"
    return title, {"gpt2lib": entered(Ours), THEIRS: entered(Transformers)}


def prefilling(name, setting, limits, precision):
    """One prompt to the likeliest next id."""
    length = min(setting.length, setting.cfg.context_length)
    ids = torch.randint(setting.cfg.vocab_size, (1, length))
    seconds = limits and prefill.flops_of(setting.cfg, length) / limits.rates[precision]

    def entered(program):
        def build():
            made = program(setting.weights, precision, setting.device)
            return functools.partial(made.prefill, ids)

        return Program(build, length, seconds, setting.at_once)

    form = functools.partial(NanoGPT, setting.nanogpt)
    programs = {"gpt2lib": Ours, THEIRS: Transformers, setting.form: form}
    entries = {program: entered(made) for program, made in programs.items()}
    return f"{name}, {length:,} tokens", entries


# -------------------------------------------------------------- waiting for the CPU


def copying(name, setting):
    """Copies of a batch, as in training and otherwise."""
    ids = torch.randint(setting.cfg.vocab_size, (setting.rows, setting.length))
    card, pinned = setting.card, setting.card.pin(ids)
    ways = {
        "pinned each time, asynchronous": lambda: card.pin(ids).to(
            card.device, non_blocking=True
        ),
        "pinned before, asynchronous": lambda: pinned.to(
            card.device, non_blocking=True
        ),
        "unpinned": lambda: ids.to(card.device),
    }
    return f"{name}, {len(ids)} x {ids.shape[1]:,}", small_programs(setting, ways)


def checking(name, setting):
    """What it costs to check ids, which are on the host or on the card."""
    model = GPTModel(setting.small)
    ids = torch.randint(setting.small.vocab_size, (setting.rows, setting.length))
    there = ids.to(setting.device)
    ways = {
        "on the host": lambda: model.check_range(ids),
        "on the card, which waits": lambda: model.check_range(there),
    }
    return f"{name}, {len(ids)} x {ids.shape[1]:,}", small_programs(setting, ways)


def small_programs(setting, ways):
    return {
        name: Program(
            lambda way=way: way, at_once=4 * setting.at_once, has_memory=False
        )
        for name, way in ways.items()
    }
