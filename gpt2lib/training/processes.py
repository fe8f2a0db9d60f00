"""One training in many processes, as torchrun starts them."""

import os
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this one is."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self):
        """Whether this is the one process that writes."""
        return self.rank == 0


TORCHRUN_SETS = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def process_count():
    """How many processes torchrun has started; 1 without it.

    Raises:
        ValueError: WORLD_SIZE is no such number, or is there without what else
            torchrun sets.
    """
    given = os.environ.get("WORLD_SIZE", "1")
    if not given.isdecimal() or not int(given):
        raise ValueError(
            f"WORLD_SIZE is {given!r}, must be a whole number from 1: unset it, or "
            "start with torchrun"
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
def connected():
    """`Processes` as torchrun started them, connected; just this one without torchrun.

    With GPUs, each process takes the one of its local rank, and they talk through
    NCCL; else through gloo. When torchrun is gone, each process ends.
    """
    if process_count() == 1:
        yield Processes()
        return
    _end_with_torchrun()
    if torch.cuda.is_available():
        local, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= gpus:
            raise ValueError(f"{local + 1} processes but {gpus} GPUs on this machine")
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
                f"process {distributed.get_rank()} lost the others: the message of the "
                "one that ended first says why"
            ) from error
        raise
    distributed.destroy_process_group()  # not after an error: it waits for the others


def _end_with_torchrun():
    """Ends this process when its parent is gone, whatever it is waiting for."""
    parent = os.getppid()

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        try:
            os.write(2, b"gpt2lib: torchrun is gone, so its processes stop too\n")
        finally:  # nobody may be left to read it
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
