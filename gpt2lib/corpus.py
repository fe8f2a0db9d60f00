"""Texts on disk become token shards, once, however large they are.

A text is never held whole: it is read in pieces, encoded by all cores, and written to
shards that training maps into memory.
"""

import io
import json
import os
import re
from array import array
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path

import torch
from tqdm import tqdm

from gpt2lib import files
from gpt2lib.data import TokenShards, write_shard
from gpt2lib.tokenizer import (
    ENDOFTEXT,
    TOKENIZER_FILES,
    BPETokenizer,
    get_gpt2_tokenizer,
)

PIECE = 2**20  # characters that are read, and encoded, at a time
SHARD = 10**8  # tokens a file
HELD_OUT = 2**17  # tokens to judge by, at most
SAMPLE = 10**7  # characters from which a tokenizer learns
NO_TEXTS = ("merges.txt", "metrics.jsonl")  # a run may write beside its data
DOCUMENT_END = re.compile(re.escape(ENDOFTEXT) + r"\n?")
GPT2_VOCAB_SIZE = 50257
RECORD = "tokens.json"

# ---------------------------------------------------------------------------- reading


def find_texts(path):
    """The files that hold the texts: the one given, or all that a folder holds.

    Raises:
        FileNotFoundError: there is nothing at `path`, or nothing of use.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    found = [
        p
        for p in sorted(path.rglob("*"))
        if p.suffix in (".txt", ".jsonl") and p.name not in NO_TEXTS
    ]
    if not found:
        raise FileNotFoundError(
            f"no text at {path}: give a .txt file, a .jsonl file with a field 'text', "
            "a folder of them, or a folder of .bin token shards"
        )
    return found


def read_texts(paths):
    """Yields the texts in pieces of bounded size, and ENDOFTEXT after each document.

    A document is a file, a line of a .jsonl file, or what stands between two
    <|endoftext|>. Pieces begin with white space, where GPT-2's pattern cuts anyway, so
    that they give the tokens of the whole.

    Raises:
        ValueError: a file is empty or not UTF-8, a line is not JSON or has no text.
    """
    for path in paths:
        if not path.stat().st_size:
            raise ValueError(f"{path} is empty: there is nothing to learn from")
        try:
            with open(path, encoding="utf-8-sig") as file:
                yield from (_records if path.suffix == ".jsonl" else _pieces)(file)
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path} is not UTF-8, first at line {_undecodable_line(path)} "
                f"({error.reason}): convert it, or remove what is no text"
            ) from error


def _pieces(file):
    rest = ""
    while text := file.read(PIECE):
        if (rest + text).endswith(ENDOFTEXT):
            text += file.read(1)  # the line break that belongs to it
        *documents, rest = DOCUMENT_END.split(rest + text)
        for document in filter(None, documents):
            yield from (document, ENDOFTEXT)
        cut = _last_space(rest) if len(rest) > PIECE else 0
        if not cut and len(rest) > 4 * PIECE:  # without spaces it is cut anywhere
            cut = len(rest) - len(ENDOFTEXT)
        if cut:
            yield rest[:cut]
            rest = rest[cut:]
    if rest:
        yield from (rest, ENDOFTEXT)


def _last_space(text):
    """Where the white space before the last word begins; no token crosses it."""
    words = text.rsplit(maxsplit=1)
    return len(words[0]) if len(words) == 2 else 0


def _records(file):
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            text = json.loads(line)["text"]
            text.encode()  # fails on half a character
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{file.name}, line {number}: not a JSON object with a string 'text' "
                f"({type(error).__name__})"
            ) from error
        yield from _pieces(io.StringIO(text))


def _undecodable_line(path):
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number


# --------------------------------------------------------------------------- encoding


def tokenize(texts, tokenizer, folder, size=None):
    """Encodes pieces of text (from `read_texts`) and writes shards to `folder`.

    Args:
        size: bytes of text to come, for the progress bar.

    Raises:
        ValueError: more tokens in the vocabulary than uint16 can tell apart.
    """
    if tokenizer.n_vocab > 2**16:
        raise ValueError(
            f"token shards hold ids below {2**16}, the tokenizer has "
            f"{tokenizer.n_vocab}"
        )
    ids, count = array("H"), 0
    bar = tqdm(total=size, unit="B", unit_scale=True, desc="tokenize")
    with bar:
        for read, new_ids in _encode_all(_batches(texts), tokenizer):
            ids.extend(new_ids)
            bar.update(read)
            while len(ids) >= SHARD:
                write_shard(folder / f"{count:06}.bin", ids[:SHARD])
                ids, count = ids[SHARD:], count + 1
    if ids:
        write_shard(folder / f"{count:06}.bin", ids)


def _batches(texts):
    """Lists of pieces that have PIECE characters together, work for one core."""
    batch, size = [], 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= PIECE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _encode_all(batches, tokenizer):
    """(bytes read, ids) of each batch, in order, from all cores if it is worth it."""
    first = list(islice(batches, 4))
    if len(first) < 4:
        yield from (_encode(batch, tokenizer) for batch in first)
        return
    workers = min(os.cpu_count() or 1, 61)  # as many as Windows allows
    # Not fork, which would copy torch's threads half; and never many batches ahead.
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        pending = deque()
        for batch in chain(first, batches):
            pending.append(pool.submit(_encode, batch, tokenizer))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _encode(batch, tokenizer):
    ids, size = array("H"), 0
    for text in batch:
        if text == ENDOFTEXT:
            ids.append(tokenizer.eot_token)
        else:
            ids.extend(tokenizer.encode_ordinary(text))
        size += len(text.encode())
    return size, ids


# ---------------------------------------------------------------------------- prepared


@dataclass(frozen=True)
class Corpus:
    """Tokens to learn from, tokens held out to judge by, and their tokenizer."""

    training: TokenShards
    validation: torch.Tensor
    tokenizer: object


def prepare(data, folder, vocab_size):
    """Makes the tokens of the texts at `data` in `folder`, unless they are there.

    With GPT-2's vocab_size the tokenizer is GPT-2's; else one is trained on the first
    megabytes. Token shards are taken as they are.

    Raises:
        FileNotFoundError, ValueError: as `find_texts`, `read_texts`, `tokenize`.
    """
    data, folder = Path(data), Path(folder)
    if holds_shards(data):
        return
    paths = find_texts(data)
    sizes = {str(path): path.stat().st_size for path in paths}
    record = {"vocab_size": vocab_size, "texts": sizes}
    if not _is_recorded(folder, record):
        _make(paths, folder, vocab_size, sum(sizes.values()))
        files.write_text(folder / RECORD, json.dumps(record, indent=1) + "\n")


def open_corpus(data, folder):
    """The `Corpus` of the token shards at `data`, or of those made in `folder`.

    The tokenizer lies beside the shards, or else is GPT-2's. Held out are shards with
    "val" in their name, as in fineweb_val_000000.bin, or else the last tenth; never
    more than HELD_OUT tokens.
    """
    data = Path(data) if holds_shards(Path(data)) else Path(folder)
    paths = [data] if data.is_file() else sorted(data.glob("*.bin"))
    held_out = [path for path in paths if re.search(r"(^|_)val(_|\.)", path.name)]
    if len(held_out) == len(paths):  # of a validation shard alone, a part is to learn
        held_out = []
    training = TokenShards(path for path in paths if path not in held_out)
    if held_out:
        validation = TokenShards(held_out)[:HELD_OUT]
    else:
        training, validation = training.split(min(len(training) // 10, HELD_OUT))
    folder = data if data.is_dir() else data.parent
    has_tokenizer = any((folder / name).is_file() for name in TOKENIZER_FILES)
    tokenizer = BPETokenizer.load(folder) if has_tokenizer else gpt2_tokenizer()
    return Corpus(training, validation, tokenizer)


def holds_shards(data):
    """Whether `data` is a token shard or a folder of them.

    Raises:
        ValueError: a folder with shards and texts; which of them is meant?
    """
    if data.is_file():
        return data.suffix == ".bin"
    names = [path.name for path in data.glob("*.*") if path.name not in TOKENIZER_FILES]
    has_shards = any(name.endswith(".bin") for name in names)
    if has_shards and any(name.endswith((".txt", ".jsonl")) for name in names):
        raise ValueError(f"{data} holds token shards and texts: give one of the two")
    return has_shards


def gpt2_tokenizer():
    """GPT-2's tokenizer from a downloaded model, which can be saved, or tiktoken's."""
    folder = files.BIN / "gpt2"
    if all((folder / name).is_file() for name in TOKENIZER_FILES):
        return BPETokenizer.load(folder)
    return get_gpt2_tokenizer()


def _is_recorded(folder, record):
    """Whether `folder` holds all tokens of just these files, of just these sizes."""
    try:
        return json.loads((folder / RECORD).read_text(encoding="utf-8")) == record
    except (OSError, ValueError):
        return False


def _make(paths, folder, vocab_size, size):
    stale = (folder / name for name in (RECORD, *TOKENIZER_FILES))
    for path in (*stale, *folder.glob("*.bin")):
        path.unlink(missing_ok=True)
    if vocab_size == GPT2_VOCAB_SIZE:
        tokenizer = gpt2_tokenizer()
    else:
        tokenizer = BPETokenizer.train(_beginning(read_texts(paths)), vocab_size)
        tokenizer.save(folder)
    tokenize(read_texts(paths), tokenizer, folder, size)


def _beginning(texts):
    """The first SAMPLE characters, in pieces."""
    left = SAMPLE
    for text in texts:
        if left <= 0:
            return
        yield text
        left -= len(text)
