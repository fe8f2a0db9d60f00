"""The training state on disk: written beside the next steps, read with suspicion."""

import zipfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeGuard

import torch

from gpt2lib import files

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor  # takes 0.7 s

PARTS = {"step": int, "facts": dict, "model": dict, "optimizer": dict}


def is_sharded(tensor: Any) -> "TypeGuard[DTensor]":
    """Whether a tensor is divided over the processes."""
    return hasattr(tensor, "full_tensor")


def copied(value: Any, keep: bool = True, memo: dict | None = None) -> Any:
    """Copies all tensors of nested dicts and lists to the CPU's memory.

    A sharded tensor is gathered from all processes, so all of them must call this.
    Tensors that share their memory, such as a tied head, share that of their copy.

    Args:
        keep: whether this process needs the copy; otherwise it only takes part.
    """
    memo = {} if memo is None else memo
    if isinstance(value, dict):
        return {name: copied(part, keep, memo) for name, part in value.items()}
    if isinstance(value, list):
        return [copied(part, keep, memo) for part in value]
    if not isinstance(value, torch.Tensor):
        return value
    own = value.to_local() if is_sharded(value) else value
    place = (own.untyped_storage()._cdata, own.storage_offset(), value.shape)
    if place not in memo:
        whole = value.full_tensor() if is_sharded(value) else value
        memo[place] = whole.to("cpu", copy=True) if keep else torch.empty(0)
    return memo[place]


def write_state(state: dict[str, Any], path: Path) -> None:
    """Writes a training state, whole or not at all.

    Raises:
        OSError: it could not be written; the previous file at `path` is kept.
    """
    with files.atomic_write(path) as temporary:
        try:
            torch.save(state, temporary)
        except RuntimeError as error:  # torch raises it for a full disk
            raise OSError(
                f"{path} could not be written, is the disk full? The previous "
                f"one, if any, is kept ({str(error).splitlines()[0]})"
            ) from error


def read_state(path: str | Path, mapped: bool = False) -> dict[str, Any]:
    """What `write_state` wrote, after checking checksums, which torch.load ignores.

    Args:
        mapped: leave tensors in the file until they are used.

    Raises:
        ValueError: damaged, or not a training state.
    """
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                if damaged := archive.testzip():
                    raise ValueError(f"wrong checksum of {damaged}")
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
            for name, kind in PARTS.items():
                if not isinstance(state.get(name), kind):
                    raise ValueError(f"no {name}")
        except Exception as error:  # parsers fail on a damaged file in many ways
            reason = str(error).split("\n")[0] or type(error).__name__
            raise ValueError(
                f"{path} is damaged or not a training state ({reason}): delete it to "
                "start over"
            ) from error
    return state


class StateWriter:
    """Writes training states in a thread, one at a time, beside the next steps.

    Leaving the `with` block waits for the last one.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._written: Future | None = None

    def write(self, state: dict[str, Any], path: Path) -> None:
        """Begins to write, after the one before; raises its OSError."""
        self.wait()
        self._written = self._thread.submit(write_state, state, path)

    def wait(self) -> None:
        """Returns once everything is on disk.

        Raises:
            OSError: it could not be written; the previous file is kept.
        """
        if self._written:
            written, self._written = self._written, None
            written.result()

    def __enter__(self) -> "StateWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.shutdown()
        if error is None:
            self.wait()
