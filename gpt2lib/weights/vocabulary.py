"""A tokenizer's files, whose tokens are written in the byte alphabet.

Two formats hold the same: vocab.json with merges.txt, as GPT-2 was published, and
tokenizer.json, the only one that transformers 5 writes. If both are there, the latter
is used, as transformers does. `GPT2Encoding` is tiktoken's own of GPT-2, made safe.
"""

import copy
import fnmatch
import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import regex
import tiktoken

from gpt2lib import files
from gpt2lib.weights.untrusted import quoted, read_json, read_text, shown

TOKENIZER_FILES = ("vocab.json", "merges.txt")
IN_ONE_FILE = "tokenizer.json"
ADDED = "added_tokens.json"
OTHER_FILES = {
    "vocab.txt": "WordPiece, as BERT's",
    "*.spm": "SentencePiece",
    "spiece.model": "SentencePiece",
    "tokenizer.model": "SentencePiece",
    "sentencepiece*.model": "SentencePiece",
}
GPT2_SIZES = range(50257, 50304 + 1)  # some programs pad the vocabulary
# Supported settings of tokenizer.json; None stands for an absent one.
SUPPORTED: dict[tuple[str, ...], tuple] = {
    ("model", "type"): ("BPE", None),
    ("model", "dropout"): (None, 0),
    ("model", "byte_fallback"): (False, None),
    ("model", "continuing_subword_prefix"): ("", None),
    ("model", "end_of_word_suffix"): ("", None),
    ("normalizer",): (None,),
    ("pre_tokenizer", "type"): ("ByteLevel",),
    ("pre_tokenizer", "add_prefix_space"): (False,),
    ("pre_tokenizer", "use_regex"): (True, None),
    ("post_processor", "type"): ("ByteLevel", "TemplateProcessing", None),
    ("post_processor", "special_tokens"): ({}, None),
}


class Vocabulary(NamedTuple):
    """Ids of tokens, pairs to merge, and ids of tokens added as whole texts."""

    ids: dict[str, int]
    merges: list[tuple[str, str]]
    added: dict[str, int]


def other_tokenizer(folder: Path) -> tuple[str, str] | None:
    """The first file of another kind of tokenizer, and the kind; None if none."""
    for path in sorted(folder.iterdir()):
        for pattern, kind in OTHER_FILES.items():
            if fnmatch.fnmatch(path.name, pattern):
                return path.name, kind
    return None


def read_vocabulary(
    folder: str | Path, alphabet: dict[int, str]
) -> tuple[dict[bytes, int], list[tuple[bytes, bytes]], dict[str, int]]:
    """The tokenizer in a folder: vocab, merges and special tokens of a `BPETokenizer`.

    Tokens that are neither bytes nor merges are special tokens.

    Args:
        alphabet: byte -> the character that stands for it in the files.

    Raises:
        FileNotFoundError: vocab.json or merges.txt is missing.
        ValueError: a file is damaged, the files do not fit together, or the tokenizer
            is of another kind.
    """
    folder = Path(folder)
    try:
        _check_adds_nothing(folder / "tokenizer_config.json")
        if (folder / IN_ONE_FILE).is_file():
            found: Vocabulary = _read_one_file(read_json(folder / IN_ONE_FILE))
        else:
            found = _read_two_files(folder)
        _check_ids(found)
        return _in_bytes(*found, alphabet)
    except ValueError as error:
        raise ValueError(
            f"the tokenizer in {folder} is not a byte-level BPE tokenizer like GPT-2's "
            f"({error}): download its files again, or use the program that made them"
        ) from error


def _check_adds_nothing(config):
    """Refuses a tokenizer that adds to every text."""
    settings = read_json(config) if config.is_file() else {}
    for name in ("add_prefix_space", "add_bos_token", "add_eos_token"):
        if settings.get(name):
            raise ValueError(f"{config.name} sets {name}")


def _read_two_files(folder):
    missing = [name for name in TOKENIZER_FILES if not (folder / name).is_file()]
    other = other_tokenizer(folder)
    if len(missing) == 2 and other:
        raise ValueError("{} is a file of {}".format(*other))
    if missing:
        raise FileNotFoundError(
            f"{folder} has no {' and no '.join(missing)}: a tokenizer needs both, copy "
            "them there or download the model again"
        )
    vocab, merges = (folder / name for name in TOKENIZER_FILES)
    added = folder / ADDED
    lines = read_text(merges).split("\n")
    return Vocabulary(
        read_json(vocab),
        [_pair(line) for line in lines if line and line[:8] != "#version"],
        read_json(added) if added.is_file() else {},
    )


def _read_one_file(contents):
    for place, supported in SUPPORTED.items():
        value = contents
        for key in place:
            value = value.get(key) if isinstance(value, dict) else None
        if value not in supported:
            raise ValueError(
                f"tokenizer.json has {'.'.join(place)} {quoted(value)}, only "
                f"{supported[0]!r} is supported"
            )
    model = contents.get("model")
    ids, merges = (
        (model.get("vocab"), model.get("merges"))
        if isinstance(model, dict)
        else (None, None)
    )
    added = contents.get("added_tokens") or []
    if not (isinstance(ids, dict) and isinstance(merges, list)):
        raise ValueError("tokenizer.json has no vocab with merges")
    if not isinstance(added, list):
        raise ValueError("tokenizer.json has added_tokens that are not a list")
    return Vocabulary(ids, [*map(_pair, merges)], dict(map(_added, added)))


def _pair(merge):
    """The two tokens of a merge, written "a b" or ["a", "b"]."""
    pair = merge.split(" ") if isinstance(merge, str) else merge
    if isinstance(pair, list) and len(pair) == 2 and all(map(_is_name, pair)):
        return tuple(pair)
    raise ValueError(f"the merge {quoted(merge)} is not two tokens")


def _added(token):
    """Text and id of an added token, which must match its text exactly."""
    if not isinstance(token, dict) or not _is_name(token.get("content")):
        raise ValueError(f"the added token {quoted(token)} has no content")
    for flag in ("lstrip", "rstrip", "single_word"):
        if token.get(flag):
            raise ValueError(f"the token {shown(token['content'])!r} sets {flag}")
    return token["content"], token.get("id")


def _is_name(value):
    return isinstance(value, str) and bool(value)


def _check_ids(found):
    """Ids must index an embedding: 0, 1, ... with few gaps, each used once."""
    ids = found.ids | found.added
    for token, id in ids.items():
        if type(id) is not int or not 0 <= id < 2 * len(ids):
            raise ValueError(
                f"the id of {shown(token)!r} is {quoted(id)}, with only {len(ids)} ids"
            )
        if found.ids.get(token, id) != id:
            raise ValueError(f"{shown(token)!r} has two ids")
    if len(set(ids.values())) < len(ids):
        raise ValueError("several tokens have the same id")


def _in_bytes(ids, merges, added, alphabet):
    """Vocab, merges and special tokens, decoded from the byte alphabet."""
    byte_of = {character: byte for byte, character in alphabet.items()}
    made = byte_of.keys() | {a + b for a, b in merges}
    vocab = {token: id for token, id in ids.items() if token in made}
    without = [repr(token) for token in sorted(made - vocab.keys())]
    without += [repr(t) for pair in merges for t in pair if t not in vocab]
    foreign = [repr(t) for t in vocab if not byte_of.keys() >= set(t)]
    unmade = [repr(t) for t in ids if "Ġ" in t and t not in made and t not in added]
    if without or foreign:
        raise ValueError(f"there is no id, or no bytes, for {(without + foreign)[0]}")
    if unmade:  # it has a space (Ġ), so it is no special token
        raise ValueError(f"no merge makes {unmade[0]}: merges.txt is cut off")
    in_bytes = {token: bytes(byte_of[c] for c in token) for token in vocab}
    specials = {token: id for token, id in (ids | added).items() if token not in vocab}
    pairs = [(in_bytes[left], in_bytes[right]) for left, right in merges]
    return {in_bytes[token]: id for token, id in vocab.items()}, pairs, specials


def write_vocabulary(
    folder: str | Path,
    vocab: dict[bytes, int],
    merges: list[tuple[bytes, bytes]],
    special_tokens: dict[str, int],
    alphabet: dict[int, str],
) -> None:
    """Writes vocab.json and merges.txt as Hugging Face's GPT-2 tokenizer does.

    It finds special tokens other than <|endoftext|> in added_tokens.json alone.
    """
    written = {token: "".join(alphabet[byte] for byte in token) for token in vocab}
    ids = {written[token]: id for token, id in vocab.items()} | special_tokens
    lines = [f"{written[left]} {written[right]}\n" for left, right in merges]
    folder = Path(folder)
    text = json.dumps(ids, ensure_ascii=False) + "\n"
    files.write_text(folder / "vocab.json", text)
    files.write_text(folder / "merges.txt", "#version: 0.2\n" + "".join(lines))
    added = {text: id for text, id in special_tokens.items() if text != "<|endoftext|>"}
    if added:
        files.write_text(folder / ADDED, json.dumps(added, ensure_ascii=False) + "\n")
    for name in (IN_ONE_FILE, *([] if added else [ADDED])):  # they take precedence
        (folder / name).unlink(missing_ok=True)


# ----------------------------------------------------------------------- compatibility


def has_tokenizer(path: str | Path) -> bool:
    """Whether a tokenizer, of any kind, is in a model's folder."""
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    ours = any((folder / name).is_file() for name in (*TOKENIZER_FILES, IN_ONE_FILE))
    return ours or other_tokenizer(folder) is not None


def check_tokenizer_fits(tokenizer: Any, vocab_size: int) -> None:
    """Refuses a tokenizer with more ids than a model; with fewer, the model is padded.

    Raises:
        ValueError
    """
    if tokenizer.n_vocab > vocab_size:
        raise ValueError(
            f"the tokenizer has {tokenizer.n_vocab} ids, the model only {vocab_size}: "
            "it belongs to another model; put the model's own vocab.json and "
            "merges.txt, or tokenizer.json, beside its weights"
        )


def check_gpt2s_fits(folder: Path) -> None:
    """Refuses GPT-2's tokenizer for a model whose config.json has another size.

    Raises:
        FileNotFoundError
    """
    config = folder / "config.json"
    size = read_json(config).get("vocab_size") if config.is_file() else None
    if type(size) is int and size not in GPT2_SIZES:
        raise FileNotFoundError(
            f"{folder} has no tokenizer, and GPT-2's, with {GPT2_SIZES[0]} ids, does "
            f"not fit its vocab_size {size}: put the model's vocab.json and "
            "merges.txt, or its tokenizer.json, there"
        )


def end_of_text(tokenizer: Any) -> int:
    """The id of <|endoftext|>; ValueError if the tokenizer has none."""
    if tokenizer.eot_token is None:
        raise ValueError(
            "the tokenizer has no <|endoftext|>, which marks where a text ends: add it "
            "to the tokenizer's special tokens"
        )
    return tokenizer.eot_token


def get_gpt2_tokenizer() -> tiktoken.Encoding:
    """GPT-2's tokenizer from tiktoken, which downloads its vocabulary once.

    Raises:
        FileNotFoundError: the vocabulary is not here and cannot be downloaded.
    """
    try:
        tokenizer = copy.copy(tiktoken.get_encoding("gpt2"))
        tokenizer.__class__ = GPT2Encoding  # the vocabulary is shared
        return tokenizer
    except OSError as error:
        raise FileNotFoundError(
            "GPT-2's vocabulary is not on this machine and could not be fetched "
            f"({type(error).__name__}). Do one of these: run this once with a network "
            "connection (tiktoken keeps the files); set TIKTOKEN_CACHE_DIR to a folder "
            "that has them; or run 'python -m gpt2lib download gpt2' and use "
            'load_tokenizer("gpt2")'
        ) from error


class GPT2Encoding(tiktoken.Encoding):
    """tiktoken's Encoding, for texts with a million spaces too, where it fails."""

    def encode(self, text: str, **special_tokens) -> list[int]:
        encode = super().encode
        parts = (encode(part, **special_tokens) for part in cut_long_spaces(text))
        return list(chain.from_iterable(parts))

    def encode_ordinary(self, text: str) -> list[int]:
        parts = map(super().encode_ordinary, cut_long_spaces(text))
        return list(chain.from_iterable(parts))


def cut_long_spaces(text: str) -> Iterator[str]:
    """Cuts a text within long white space, without changing its ids.

    GPT-2's pattern itself cuts before the last space in front of a word.
    """
    start = 0
    for spaces in regex.finditer(r"(?<!\s)\s{10000,}(?=\s\S)", text):
        yield text[start : spaces.end()]
        start = spaces.end()
    yield text[start:]
