"""Ids become windows: what the model reads, and what it should have said."""

import codecs
import copy
import hashlib
import math
import os
import random
from array import array
from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from gpt2lib import files

IGNORED = -100  # a target that is not to be learned


def sliding_windows(ids, context_length, stride=None):
    """All windows of one long text as (inputs, targets), views of `ids`, no copies.

    targets[n, t] is the id that follows inputs[n, t]. A stride of context_length (the
    default) reads every id once; a smaller one overlaps. What is left over at the
    end and too short for a window is not used.

    Shapes: ids (N,) -> two of (windows, context_length)

    Raises:
        ValueError: ids not flat, sizes below 1, or too few ids for one window.

    >>> inputs, targets = sliding_windows(torch.arange(6), context_length=2)
    >>> inputs.tolist(), targets.tolist()
    ([[0, 1], [2, 3]], [[1, 2], [3, 4]])
    """
    stride = context_length if stride is None else stride
    if context_length < 1 or stride < 1:
        raise ValueError(
            f"context_length and stride must be at least 1, "
            f"got {context_length} and {stride}"
        )
    if ids.ndim != 1:
        raise ValueError(f"ids must be one flat sequence, got shape {tuple(ids.shape)}")
    if len(ids) < context_length + 1:
        raise ValueError(
            f"the text has {len(ids)} tokens, but one window needs "
            f"{context_length + 1} (context_length {context_length} and the token "
            f"after it): use a longer text or a smaller context_length"
        )
    windows = ids.unfold(0, context_length + 1, stride)
    return windows[:, :-1], windows[:, 1:]


class GPTDataset(Dataset):
    """`sliding_windows` as a torch data set of (inputs, targets) pairs.

    Shapes: ids (N,) -> item: two of (context_length,)
    """

    def __init__(self, ids, context_length, stride=None):
        self.inputs, self.targets = sliding_windows(ids, context_length, stride)

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        return self.inputs[index], self.targets[index]


def create_dataloader(
    ids, batch_size, context_length, stride=None, shuffle=True, seed=0
):
    """Batches of windows, in an order that depends on `seed` alone.

    Shapes: ids (N,) -> yields two of (batch_size, context_length)

    Raises:
        ValueError: as `sliding_windows`, or fewer windows than one batch.
    """
    dataset = GPTDataset(ids, context_length, stride)
    if len(dataset) < batch_size:
        raise ValueError(
            f"the text gives {len(dataset)} windows, but a batch needs {batch_size}: "
            "use a longer text, a smaller stride or a smaller batch_size"
        )
    order = torch.Generator().manual_seed(seed)
    return DataLoader(dataset, batch_size, shuffle, generator=order, drop_last=shuffle)


# llm.c's shard format, which public tokenized data sets use: 256 int32 of header
# (magic, version, number of tokens), then the ids as uint16.
SHARD_MAGIC, SHARD_VERSION, HEADER_INTS = 20240520, 1, 256
LLAMA_MAGIC = 20240801  # llm.c's for Llama 3, whose ids are uint32

# How files begin that are neither text in UTF-8 nor token ids.
KINDS = {
    b"\xff\xfe": "UTF-16 or UTF-32",
    b"\xfe\xff": "UTF-16",
    b"\0\0\xfe\xff": "UTF-32",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b\x08": "a gzip archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"PAR1": "a parquet file",
    b"ARROW1": "an Arrow file",
    b"\x93NUMPY": "a NumPy array",
    b"%PDF": "a PDF",
    b"{\\rtf": "an RTF document",
    b"\xd0\xcf\x11\xe0": "an Office document",
}


def kind_of(start):
    """What a file is that begins with these bytes; None for text and token ids."""
    return next((KINDS[magic] for magic in KINDS if start.startswith(magic)), None)


class TokenShards:
    """Token ids in `.bin` files, read as one long sequence without loading it.

    Files follow one another in the order given. Each has llm.c's header, or none: then
    it is uint16 from the first byte on, as nanoGPT writes it. A slice gives int64.

    Raises:
        ValueError: a file is empty, cut off, or holds something else.
        OSError: a file was cut off after it was opened.
    """

    def __init__(self, paths):
        self.paths = [Path(path) for path in paths]
        self._open = lru_cache(maxsize=64)(_Shard)
        self.ends = list(accumulate(self._open(path).count for path in self.paths))
        self.length = self.ends[-1] if self.ends else 0

    def __len__(self):
        return self.length

    def split(self, held_out):
        """The sequence without its last `held_out` ids, and those."""
        rest = copy.copy(self)
        rest.length -= held_out
        return rest, self[rest.length :]

    def __getitem__(self, span: slice):
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
    """One file of ids, open.

    It is read, not mapped: a mapped file that another process cuts off would end this
    one with SIGBUS.
    """

    def __init__(self, path):
        self.path = path
        self.file = open(path, "rb")  # noqa: SIM115, closed with the last reference
        size = os.fstat(self.file.fileno()).st_size
        self.begin, self.count = _layout(path, self.file.read(2**16), size)

    def read(self, start, stop):
        """The bytes of some ids."""
        ids = bytearray(2 * (stop - start))
        self.file.seek(self.begin + 2 * start)
        if self.file.readinto(ids) < len(ids):
            raise OSError(
                f"{self.path} was cut off while it was read: write or download it "
                "again, then go on with --resume"
            )
        return ids


def _layout(path, start, size):
    """At which byte the ids of a shard begin, and how many there are."""
    magic, version, count = array("i", (start + bytes(12))[:12])
    found = size // 2 - 2 * HEADER_INTS
    if magic == SHARD_MAGIC:
        if version != SHARD_VERSION or found != count:
            raise ValueError(
                f"{path} announces version {version} and {count} tokens; expected "
                f"version {SHARD_VERSION} and the {max(found, 0)} tokens that are "
                "there: write or download it again"
            )
        return 4 * HEADER_INTS, count
    if other := "uint32 ids of Llama 3" if magic == LLAMA_MAGIC else _no_ids(start):
        raise ValueError(
            f"{path} holds {other}; a token shard holds uint16 ids: write them as "
            "uint16, or give the texts themselves"
        )
    if not size or size % 2:
        raise ValueError(
            f"{path} has {size} bytes, which cannot be uint16 token ids: write or "
            "download it again"
        )
    return 0, size // 2


def _no_ids(start):
    """What a file without header holds instead of uint16 ids; None if it may be such.

    Of wider integers every second uint16 is the upper half of an id, and nearly zero.
    """
    if start and b"\0" not in start and _is_utf8(start):
        return "text"
    ids = array("H", start[: len(start) // 4 * 4])
    if len(start) % 4 == 0 and max(ids[1::2], default=0) <= 3 < max(ids, default=0):
        return f"integers of {32 if any(ids[2::4]) else 64} bits"
    return kind_of(start)


def _is_utf8(start):
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)  # its end may be cut off
        return True
    except UnicodeDecodeError:
        return False


def scan_shard(path):
    """The sha256 of a shard's ids and the largest id, read once, in parts."""
    shard, digest, largest = _Shard(path), hashlib.sha256(), -1
    for begin in range(0, shard.count, 2**20):
        part = shard.read(begin, min(begin + 2**20, shard.count))
        digest.update(part)
        # torch has no maximum of uint16; flipping the top bit gives int16's order.
        ids = torch.frombuffer(part, dtype=torch.int16) ^ -(2**15)
        largest = max(largest, ids.amax().item() + 2**15)
    return digest.hexdigest(), largest


def write_shard(path, ids):
    """Writes uint16 ids (an `array("H")`) with llm.c's header, whole or not at all."""
    header = array("i", [0]) * HEADER_INTS
    header[:3] = array("i", [SHARD_MAGIC, SHARD_VERSION, len(ids)])
    with files.atomic_write(path) as temporary, open(temporary, "wb") as file:
        header.tofile(file)
        ids.tofile(file)


class ShuffledWindows:
    """Training windows of a long text, in an order that is a formula and not a list.

    `batch(step)` depends on its arguments alone, so training that stops can go on
    anywhere, and no memory is needed however long the text. Windows are visited with a
    stride that shares no divisor with their number: each once before any comes again.
    The golden ratio keeps the windows of one batch far apart in the text. Every pass
    has another stride and cuts the text at other places.

    A window that would begin within a short document begins where the document does,
    so a pass reads some tokens twice and skips as many. Every other one keeps the token
    before it, which ended the last document: prompts come with and without it.

    Args:
        ids: a flat tensor or `TokenShards`.
        document_end: the id that ends a document, if one does.

    Raises:
        ValueError: too few ids for one window.
    """

    def __init__(self, ids, context_length, batch_size, seed=0, document_end=None):
        sliding_windows(ids[: context_length + 1], context_length)  # its checks
        self.ids = ids
        self.context_length = context_length
        self.batch_size = batch_size
        self.seed = seed
        self.document_end = document_end

    def __len__(self):
        """Windows in one pass."""
        return (len(self.ids) - 1) // self.context_length

    def batch(self, step):
        """The batch of this step.

        Shapes: -> two of (batch_size, context_length)
        """
        first = step * self.batch_size
        rows = [self._window(first + row) for row in range(self.batch_size)]
        rows = torch.stack(rows)
        return rows[:, :-1], rows[:, 1:]

    def _window(self, number):
        epoch, i = divmod(number, len(self))
        rng = random.Random(f"{self.seed} {epoch}")
        offset = rng.randrange(self.context_length)
        stride = round(len(self) * (0.618 + 0.01 * rng.random()))
        while math.gcd(stride, len(self)) != 1:
            stride += 1
        index = (rng.randrange(len(self)) + i * stride) % len(self)
        last = len(self.ids) - 1 - self.context_length
        start = min(index * self.context_length + offset, last)
        start = self._document_start(start, keep_end=i % 2)
        return self.ids[start : start + self.context_length + 1]

    def _document_start(self, start, keep_end):
        if self.document_end is None:
            return start
        reach = self.ids[max(0, start - self.context_length) : start]
        ends = (reach == self.document_end).nonzero().flatten()
        if len(ends):
            return start - len(reach) + int(ends[-1]) + (0 if keep_end else 1)
        return start - len(reach) if start < self.context_length else start


class PaddedBatches:
    """Batches of examples of different lengths, each filled up behind its end.

    What fills up is never learned, and read by nothing that comes before it. Every
    pass has another order, which depends on `seed` alone. Examples of similar length
    come together, so that little is filled up.

    Args:
        examples: (ids, targets), two lists of equal length each.

    Raises:
        ValueError: no examples, or a batch_size below 1.
    """

    POOL = 8  # batches among which examples are sorted by length

    def __init__(self, examples, batch_size, seed=0):
        if not examples or batch_size < 1:
            raise ValueError(
                f"batches need at least one example and a batch_size of at least 1, "
                f"got {len(examples)} and {batch_size}"
            )
        self.examples = examples
        self.batch_size = batch_size
        self.seed = seed
        self._batches = lru_cache(maxsize=1)(self._batches_of)

    def __len__(self):
        """Batches in one pass."""
        return math.ceil(len(self.examples) / self.batch_size)

    def batch(self, step):
        """The batch of this step, as long as its longest example.

        Shapes: -> two of (batch_size, T); the last batch of a pass may be smaller
        """
        epoch, number = divmod(step, len(self))
        return pad([self.examples[i] for i in self._batches(epoch)[number]])

    def _batches_of(self, epoch):
        rng = random.Random(f"{self.seed} {epoch}")
        order = rng.sample(range(len(self.examples)), len(self.examples))
        batches, size = [], self.POOL * self.batch_size
        for start in range(0, len(order), size):
            pool = sorted(
                order[start : start + size], key=lambda i: len(self.examples[i][0])
            )
            batches += [
                pool[i : i + self.batch_size]
                for i in range(0, len(pool), self.batch_size)
            ]
        return rng.sample(batches, len(batches))


def pad(examples):
    """(ids, targets) pairs as two tensors; shorter ones are filled up behind.

    Shapes: N pairs of (T_i,) -> two of (N, max T_i)

    >>> pad([([5, 6], [6, 7]), ([8], [9])])[1].tolist()
    [[6, 7], [9, -100]]
    """
    length = max(len(ids) for ids, _ in examples)
    inputs = [ids + [0] * (length - len(ids)) for ids, _ in examples]
    targets = [t + [IGNORED] * (length - len(t)) for _, t in examples]
    return torch.tensor(inputs), torch.tensor(targets)
