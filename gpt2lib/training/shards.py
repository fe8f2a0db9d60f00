"""Token ids on disk, in llm.c's shard format, read as one long sequence."""

import codecs
import copy
import hashlib
import os
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

import torch

from gpt2lib import files
from gpt2lib.weights.untrusted import kind_of

# llm.c's shard format, which public tokenized data sets use: a header of 256 int32
# (magic, version, number of tokens), then the ids as uint16.
SHARD_MAGIC, SHARD_VERSION, HEADER_INTS = 20240520, 1, 256
LLAMA_MAGIC = 20240801  # llm.c's for Llama 3, whose ids are uint32


class TokenShards:
    """Token ids in `.bin` files, read as one long sequence without loading it.

    Files are concatenated in the order given. Each has llm.c's header; or none, as
    nanoGPT writes it, with uint16 ids from the first byte on. A slice is int64.

    Raises:
        ValueError: a file is empty, cut off, or does not hold uint16 ids.
        OSError: a file was cut off after it was opened.
    """

    def __init__(self, paths: Iterable[str | Path]):
        self.paths = [Path(path) for path in paths]
        self._open = lru_cache(maxsize=64)(_Shard)
        self.ends = list(accumulate(self._open(path).count for path in self.paths))
        self.length = self.ends[-1] if self.ends else 0

    def __len__(self) -> int:
        return self.length

    def split(self, held_out: int) -> tuple["TokenShards", torch.Tensor]:
        """Splits off the last `held_out` ids: the sequence before them, and them."""
        rest = copy.copy(self)
        rest.length -= held_out
        return rest, self[rest.length :]

    def __getitem__(self, span: slice) -> torch.Tensor:
        start, stop, _ = span.indices(len(self))
        ids = bytearray()
        while start < stop:
            number = bisect_right(self.ends, start)
            shard = self._open(self.paths[number])
            begin = self.ends[number] - shard.count
            end = min(stop, self.ends[number])
            ids += shard.read(start - begin, end - begin)
            start = end
        if not ids:
            return torch.empty(0, dtype=torch.int64)
        return torch.frombuffer(ids, dtype=torch.uint16).to(torch.int64)


class _Shard:
    """An open file of ids.

    It is read, not memory-mapped: if another process truncated a mapped file, SIGBUS
    would kill this one.
    """

    def __init__(self, path):
        self.path = path
        self.file = open(path, "rb")  # noqa: SIM115, closed with the last reference
        size = os.fstat(self.file.fileno()).st_size
        self.begin, self.count = _layout(path, self.file.read(2**16), size)

    def read(self, start, stop):
        """The ids from `start` to `stop`, as bytes."""
        ids = bytearray(2 * (stop - start))
        self.file.seek(self.begin + 2 * start)
        if self.file.readinto(ids) < len(ids):
            raise OSError(
                f"{self.path} was cut off while it was read: write or download it "
                "again, then continue with --resume"
            )
        return ids


def _layout(path, start, size):
    """The byte at which the ids of a shard begin, and their number."""
    magic, version, count = array("i", (start + bytes(12))[:12])
    found = size // 2 - 2 * HEADER_INTS
    if magic == SHARD_MAGIC:
        if version != SHARD_VERSION or found != count:
            raise ValueError(
                f"{path} announces version {version} and {count} tokens, but version "
                f"{SHARD_VERSION} is supported and the file holds {max(found, 0)}: "
                "write or download it again"
            )
        return 4 * HEADER_INTS, count
    if other := "uint32 ids of Llama 3" if magic == LLAMA_MAGIC else _no_ids(start):
        raise ValueError(
            f"{path} holds {other}, but a token shard holds uint16 ids: write them as "
            "uint16, or give the texts themselves"
        )
    if not size or size % 2:
        raise ValueError(
            f"{path} has {size} bytes, which cannot be uint16 token ids: write or "
            "download it again"
        )
    return 0, size // 2


def _no_ids(start):
    """What a file without header holds instead of uint16 ids; None if it may be ids.

    In wider integers, every second uint16 is the upper half of an id, so nearly zero.
    """
    if start and b"\0" not in start and _is_utf8(start):
        return "text"
    ids = array("H", start[: len(start) // 4 * 4])
    if len(start) % 4 == 0 and max(ids[1::2], default=0) <= 3 < max(ids, default=0):
        return f"integers of {32 if any(ids[2::4]) else 64} bits"
    return kind_of(start)


def _is_utf8(start):
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)  # may end mid-character
        return True
    except UnicodeDecodeError:
        return False


def scan_shard(path: Path) -> tuple[str, int]:
    """The sha256 of a shard's ids and the largest id, in one pass."""
    shard, digest, largest = _Shard(path), hashlib.sha256(), -1
    for begin in range(0, shard.count, 2**20):
        part = shard.read(begin, min(begin + 2**20, shard.count))
        digest.update(part)
        # torch has no maximum of uint16; with the top bit flipped, int16 sorts alike.
        ids = torch.frombuffer(part, dtype=torch.int16) ^ -(2**15)
        largest = max(largest, int(ids.amax()) + 2**15)
    return digest.hexdigest(), largest


def write_shard(path: str | Path, ids: array) -> None:
    """Writes uint16 ids (an `array("H")`) with llm.c's header, whole or not at all."""
    header = array("i", [0]) * HEADER_INTS
    header[:3] = array("i", [SHARD_MAGIC, SHARD_VERSION, len(ids)])
    with files.atomic_write(path) as temporary, open(temporary, "wb") as file:
        header.tofile(file)
        ids.tofile(file)
