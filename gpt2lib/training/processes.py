"""One training run in several processes, started by torchrun."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed


@dataclass(frozen=True)
class Processes:
    """Rank and world size."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, the only process that writes."""
        return self.rank == 0


TORCHRUN_SETS = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def process_count() -> int:
    """The number of processes that torchrun started; 1 without it.

    Raises:
        ValueError: WORLD_SIZE is not a positive number, or is set without the other
            variables that torchrun sets.
    """
    given = os.environ.get("WORLD_SIZE", "1")
    if not given.isdecimal() or not int(given):
        raise ValueError(
            f"WORLD_SIZE is {given!r}, must be a whole number, at least 1: unset it, "
            "or start with torchrun"
        )
    count = int(given)
    for name in TORCHRUN_SETS if count > 1 else ():
        value = os.environ.get(name, "")
        is_rank = value.isdecimal() and int(value) < count
        is_port = value.isdecimal() and int(value) < 2**16
        fits = {"RANK": is_rank, "LOCAL_RANK": is_rank, "MASTER_PORT": is_port}
        if not value or not fits.get(name, True):
            raise ValueError(
                f"WORLD_SIZE is {count}, but {name} is {value!r}: unset WORLD_SIZE, or "
                "start with torchrun"
            )
    return count


@contextmanager
def connected() -> Iterator[Processes]:
    """Connects the processes that torchrun started; yields rank and world size.

    With GPUs, each process uses the one with its local rank, and they communicate
    through NCCL; otherwise through gloo. If torchrun dies, each process exits.
    """
    if process_count() == 1:
        yield Processes()
        return
    _end_with_torchrun()
    if torch.cuda.is_available():
        local, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= gpus:
            raise ValueError(
                f"{local + 1} processes but {gpus} GPUs on this machine: start at most "
                "one process per GPU"
            )
        torch.cuda.set_device(local)
    try:
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    except RuntimeError as error:
        raise OSError(
            f"the processes cannot reach one another ({str(error).splitlines()[0]}): "
            "start all of them with torchrun"
        ) from error
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size())
    except RuntimeError as error:
        if isinstance(error, distributed.DistError) or "gloo" in str(error):
            raise OSError(
                f"process {distributed.get_rank()} lost its connection to the others: "
                "see the message of the one that ended first"
            ) from error
        raise
    distributed.destroy_process_group()  # not after an error: it waits for the others


def _end_with_torchrun():
    """Ends this process once its parent has exited, even while it is blocked."""
    parent = os.getppid()

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        try:
            os.write(2, b"gpt2lib: torchrun has exited, so its processes stop too\n")
        finally:  # stderr may be closed
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
