"""Tokenizes texts into token shards, once, on all cores, and opens them."""

import hashlib
import json
import multiprocessing
import os
import re
import signal
import threading
from array import array
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import torch
from tqdm import tqdm

from gpt2lib import files
from gpt2lib.tokenizer import (
    ENDOFTEXT,
    BPETokenizer,
    Tokenizer,
    get_gpt2_tokenizer,
)
from gpt2lib.training.shards import TokenShards, scan_shard, write_shard
from gpt2lib.training.texts import CHUNK, find_texts, is_text_file, read_texts
from gpt2lib.weights.vocabulary import TOKENIZER_FILES, has_tokenizer

SHARD = 10**8  # tokens per file
HELD_OUT = 2**17  # tokens of the validation split, at most
SAMPLE = 10**7  # characters that a tokenizer is trained on
GPT2_VOCAB_SIZE = 50257
RECORD = "tokens.json"


@dataclass(frozen=True)
class Corpus:
    """The training tokens, the validation tokens, and their tokenizer."""

    training: TokenShards
    validation: torch.Tensor
    tokenizer: Tokenizer


def make_tokens(
    data: str | Path, folder: str | Path, vocab_size: int, goes_on: bool = False
) -> str:
    """Tokenizes the texts at `data` into shards in `folder`, unless they are there.

    With GPT-2's vocab_size the tokenizer is GPT-2's; otherwise one is trained on the
    first SAMPLE characters. Token shards are used as they are. Texts, shards and the
    tokenizer are identified by their contents, so identical texts count once.

    Args:
        goes_on: whether a run is resumed, which must not get tokens of other texts.

    Returns: a fingerprint of the tokens and their tokenizer.

    Raises:
        FileNotFoundError, OSError, ValueError: as `find_texts`, `read_texts`,
            `tokenize`; also for shards with ids outside the tokenizer's vocabulary.
    """
    if not str(data).strip():
        raise ValueError("the path of the data is empty: give a file or a folder")
    data, folder = Path(data), Path(folder)
    if holds_shards(data):
        contents = _contents(data)
        _check_given(data, contents)
        return _fingerprint(contents)
    texts = _different(find_texts(data))
    record = {"vocab_size": vocab_size, "texts": list(texts)}
    recorded = _recorded(folder)
    if goes_on and recorded and recorded | record != recorded:
        raise ValueError(
            f"the run was started with other texts than {data}, with these in another "
            "order, or with another vocabulary: give those to resume it, or choose "
            "another folder"
        )
    if not _is_made(folder, record):
        _make(texts.values(), folder, vocab_size)
        if list(_different(texts.values())) != record["texts"]:
            raise OSError(f"{data} changed while it was read: run the command again")
        record |= _contents(folder)
        files.write_text(folder / RECORD, json.dumps(record, indent=1) + "\n")
    return _fingerprint(_recorded(folder))


def open_corpus(data: str | Path, folder: str | Path) -> Corpus:
    """The `Corpus` of the token shards at `data`, or of those made in `folder`.

    The tokenizer is the one beside the shards, or else GPT-2's. The validation split
    is the shards with "val" in their names, such as fineweb_val_000000.bin, or else
    the last tenth; never more than HELD_OUT tokens.
    """
    data = Path(data) if holds_shards(Path(data)) else Path(folder)
    paths = _token_shards(data)
    held_out = [path for path in paths if re.search(r"(^|_)val(_|\.)", path.name)]
    if len(held_out) == len(paths):  # only validation shards: split them
        held_out = []
    training = TokenShards(path for path in paths if path not in held_out)
    if held_out:
        validation = TokenShards(held_out)[:HELD_OUT]
    else:
        training, validation = training.split(min(len(training) // 10, HELD_OUT))
    return Corpus(training, validation, _tokenizer_beside(data))


def holds_shards(data: Path) -> bool:
    """Whether `data` is a token shard or a folder of them.

    Raises:
        ValueError: a folder holds both shards and texts.
    """
    has_shards = bool(_token_shards(data))
    if has_shards and any(map(is_text_file, _directly_in(data))):
        raise ValueError(f"{data} holds token shards and texts: give only one of them")
    return has_shards


def _token_shards(data):
    """The token shards at a path: that file itself, or those in a folder."""
    paths = [data] if data.is_file() else _directly_in(data)
    return [path for path in paths if path.suffix.lower() == ".bin"]


def _directly_in(folder):
    return [path for path in files.visible_files(folder) if path.parent == folder]


def _tokenizer_beside(shards):
    folder = shards if shards.is_dir() else shards.parent
    return BPETokenizer.load(folder) if has_tokenizer(folder) else gpt2_tokenizer()


def gpt2_tokenizer() -> Tokenizer:
    """GPT-2's tokenizer: a downloaded model's, which can be saved, or tiktoken's."""
    folder = files.BIN / "gpt2"
    if folder.is_dir() and has_tokenizer(folder):
        return BPETokenizer.load(folder)
    return get_gpt2_tokenizer()


# ------------------------------------------------------------------------- fingerprints


def tokenizer_hash(tokenizer: Tokenizer) -> str:
    """The sha256 of a tokenizer's tokens, in the order of their ids."""
    digest = hashlib.sha256()
    for id in range(tokenizer.n_vocab):
        try:
            token = tokenizer.decode_single_token_bytes(id)
        except (KeyError, ValueError):  # an unused id
            token = b""
        digest.update(len(token).to_bytes(4, "big") + token)
    return digest.hexdigest()


def _different(paths):
    """sha256 -> path of each file; of identical files, the first."""
    texts = {}
    for path in paths:
        with open(path, "rb") as file:
            texts.setdefault(hashlib.file_digest(file, "sha256").hexdigest(), path)
    return texts


def _contents(data):
    """Hashes of the tokenizer and of the ids of each shard, which are checked."""
    folder = data if data.is_dir() else data.parent
    if (folder / "meta.pkl").exists() and not has_tokenizer(folder):
        raise ValueError(
            f"{folder} has a meta.pkl, so its ids are nanoGPT's character-level ones, "
            "not GPT-2's: give the text itself"
        )
    tokenizer, shards = _tokenizer_beside(data), {}
    for path in _token_shards(data):
        shards[path.name], largest = scan_shard(path)
        if largest < 0:
            raise ValueError(f"{path} holds no tokens: remove it")
        if largest >= tokenizer.n_vocab:
            raise ValueError(
                f"{path} has the id {largest}, but the tokenizer's ids end at "
                f"{tokenizer.n_vocab - 1}: put the vocab.json and merges.txt of the "
                "shard's own tokenizer beside it"
            )
        if largest < 256 and not has_tokenizer(folder):
            raise ValueError(
                f"{path} has no id above {largest}, so its tokenizer is not GPT-2's: "
                "put the vocab.json and merges.txt of its tokenizer beside it, or give "
                "the text itself"
            )
    return {"tokenizer": tokenizer_hash(tokenizer), "shards": shards}


def _fingerprint(contents):
    """A short hash of `_contents` that does not depend on file names."""
    parts = [contents["tokenizer"], *contents["shards"].values()]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]


def _recorded(folder):
    """The record that `make_tokens` wrote beside its shards; empty if none."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _is_made(folder, record):
    """Whether `folder` holds exactly the tokens of these texts, unchanged."""
    recorded = _recorded(folder)
    try:
        is_of_these = recorded | record == recorded
        return is_of_these and recorded == record | _contents(folder)
    except (OSError, ValueError):
        return False


def _check_given(data, contents):
    """Refuses identical shards, and shards that do not match their record."""
    names = {}
    for name, digest in contents["shards"].items():
        if names.setdefault(digest, name) != name:
            raise ValueError(
                f"{data} holds the same tokens in {names[digest]} and {name}: remove "
                "one of them"
            )
    record = _recorded(data if data.is_dir() else data.parent)
    known = ("tokenizer", "shards") if data.is_dir() else ("tokenizer",)
    if any(record.get(name, contents[name]) != contents[name] for name in known):
        raise ValueError(
            f"{data} holds other tokens, or another tokenizer, than its {RECORD} "
            "says: tokenize the texts again"
        )


def _make(paths, folder, vocab_size):
    stale = (folder / name for name in (RECORD, *TOKENIZER_FILES))
    for path in (*stale, *folder.glob("*.bin")):
        path.unlink(missing_ok=True)
    if vocab_size == GPT2_VOCAB_SIZE:
        tokenizer = gpt2_tokenizer()
    else:
        tokenizer = BPETokenizer.train(_beginning(read_texts(paths)), vocab_size)
        tokenizer.save(folder)
    size = sum(path.stat().st_size for path in paths)
    tokenize(read_texts(paths), tokenizer, folder, size)


def _beginning(texts):
    """The first SAMPLE characters, in chunks."""
    left = SAMPLE
    for text in texts:
        if left <= 0:
            return
        yield text
        left -= len(text)


# ----------------------------------------------------------------------------- encoding


def tokenize(
    texts: Iterable[str], tokenizer: Tokenizer, folder: Path, size: int | None = None
) -> None:
    """Encodes chunks of text (from `read_texts`) and writes shards to `folder`.

    Args:
        size: total bytes of text, for the progress bar.

    Raises:
        ValueError: the vocabulary is too large for uint16, or has no <|endoftext|>.
        OSError: a worker process was killed.
    """
    if tokenizer.n_vocab > 2**16:
        raise ValueError(
            f"token shards hold ids below {2**16}, but the tokenizer has "
            f"{tokenizer.n_vocab}: use one with a smaller vocabulary"
        )
    if tokenizer.eot_token is None:
        raise ValueError(
            f"the tokenizer has no {ENDOFTEXT} to end documents with: use another one"
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
    """Groups chunks into lists of about CHUNK characters, each work for one core."""
    batch, size = [], 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= CHUNK:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _encode_all(batches, tokenizer):
    """Yields (bytes read, ids) of each batch, in order; many batches use all cores."""
    first = list(islice(batches, 4))
    if len(first) < 4:
        yield from (_encode(batch, tokenizer) for batch in first)
        return
    try:
        yield from _encode_in_workers(chain(first, batches), tokenizer)
    except BrokenProcessPool as error:
        raise OSError(
            "a worker process that encodes texts was killed, perhaps because memory "
            "ran out: free some and run the same command again; a script must call "
            'pretrain under if __name__ == "__main__":'
        ) from error


def _encode_in_workers(batches, tokenizer):
    workers = min(os.cpu_count() or 1, 61)  # the maximum on Windows
    # spawn: a fork inherits torch's locks but not its threads.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, _end_with_parent) as pool:
        pending = deque()
        for batch in batches:
            pending.append(pool.submit(_encode, batch, tokenizer))
            if len(pending) > 2 * workers:  # bounds the memory
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _end_with_parent():
    """In a worker: leaves interrupts to the parent, and exits when the parent does.

    Otherwise workers would wait forever for a parent that was killed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _encode(batch, tokenizer):
    ids, size = array("H"), 0
    for text in batch:
        if text == ENDOFTEXT:
            ids.append(tokenizer.eot_token)
        else:
            ids.extend(tokenizer.encode_ordinary(text))
        size += len(text.encode())
    return size, ids
