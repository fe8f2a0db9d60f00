"""The command line without the seconds that a new Python needs to import torch.

`run` stays within the test's own process; `begin` makes a process that can be killed.
"""

import atexit
import contextlib
import io
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import torch
from small import SMALL

from gpt2lib.__main__ import CONFIGS, main

# Processes are forked from one that has imported everything and done nothing yet.
# Linux alone is sure to bear that.
_FORKS = sys.platform == "linux"
PROCESSES = multiprocessing.get_context("forkserver" if _FORKS else "spawn")
if _FORKS:
    PROCESSES.set_forkserver_preload(["gpt2lib.__main__", "torch._dynamo"])
CONFIGS["small"] = replace(SMALL, vocab_size=300)  # quickly passed around
NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}  # or each of several processes would want one


def run(*arguments):
    """Runs a verb on one thread of the CPU, as the processes of other tests do.

    Returns: returncode, stdout and stderr, as of `subprocess.run`.
    """
    out, err, threads = io.StringIO(), io.StringIO(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([*map(str, arguments), "--device", "cpu"])
    except SystemExit as error:  # argparse's
        code = error.code
    finally:
        torch.set_num_threads(threads)
    return SimpleNamespace(
        returncode=code, stdout=out.getvalue(), stderr=err.getvalue()
    )


def begin(*arguments):
    """Starts a verb, as `run` would run it, in a process of its own.

    Returns: the `multiprocessing.Process`; its exitcode is None while it runs.
    """
    return _begin(_run_and_exit, arguments)


def begin_several(count, *arguments):
    """Starts a verb in several processes below one, as torchrun does."""
    return _begin(_stand_in_for_torchrun, (count, *arguments))


def begin_torchrun(options, *arguments):
    """Starts a verb with torchrun and its options; its workers are forked from it."""
    return _begin(_torchrun, (options, *arguments))


def free_port():
    """A port of this machine that nothing listens at."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def is_alive(pid):
    """Whether a process runs; one that has ended and was not asked for its end (Z)
    does not, unless threads of it are left (l), which keep its files and locks.
    """
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True)
    state = listed.stdout.strip()
    return state != b"" and (state[:1] != b"Z" or b"l" in state)


def _begin(target, arguments):
    process = PROCESSES.Process(target=target, args=arguments)
    process.start()
    atexit.register(process.kill)  # a test that fails does not: Python would wait
    return process


def _stand_in_for_torchrun(count, *arguments):
    port = free_port()
    context = multiprocessing.get_context("fork" if _FORKS else "spawn")
    ranks = [
        context.Process(target=_run_as_rank, args=(rank, count, port, *arguments))
        for rank in range(count)
    ]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    sys.exit(max(abs(rank.exitcode) for rank in ranks))


def _run_as_rank(rank, count, port, *arguments):
    os.environ |= {"WORLD_SIZE": str(count), "RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= NO_GPU
    _run_and_exit(*arguments)


def _torchrun(options, *arguments):
    from torch.distributed import run as torchrun

    os.environ |= NO_GPU | {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}  # see README
    usual = torchrun.config_from_args
    torchrun.config_from_args = lambda args: (usual(args)[0], _run_or_exit, arguments)
    method = "fork" if _FORKS else "spawn"
    torchrun.main([*options, "--start-method", method, "-m", "gpt2lib"])


def _run_and_exit(*arguments):
    _run_or_exit(*arguments)
    sys.exit()


def _run_or_exit(*arguments):
    # A shell lets what it runs in the background ignore interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ended = run(*arguments)
    print(ended.stderr, file=sys.stderr, end="")
    if ended.returncode:
        sys.exit(ended.returncode)
