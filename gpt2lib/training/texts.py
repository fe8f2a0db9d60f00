"""Text files, read in chunks, so that a large one is never in memory as a whole."""

import io
import json
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from reprlib import repr as shortened

from gpt2lib import files
from gpt2lib.tokenizer import ENDOFTEXT
from gpt2lib.weights.untrusted import kind_of, some

CHUNK = 2**20  # characters read and encoded at a time
JSON_LINES = (".jsonl", ".ndjson")
OTHERS = (".json", ".csv", ".tsv", ".parquet", ".gz", ".zst", ".bz2", ".xz", ".zip")
NO_TEXTS = ("merges.txt", "metrics.jsonl")  # written by runs, perhaps beside data
DOCUMENT_END = re.compile(re.escape(ENDOFTEXT) + r"\n?")
JSON_RECORD = re.compile(rb'(\xef\xbb\xbf)?\s*(\[\s*)?\{\s*"[^"\n]*"\s*:')
SURROGATE = re.compile("[\ud800-\udfff]")


def find_texts(path: str | Path) -> list[Path]:
    """The text files at `path`: that file itself, or all visible ones in a folder.

    Raises:
        FileNotFoundError: there is nothing at `path`, or no text file.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    files.check_given(path)
    visible = [*files.visible_files(path)]
    found = [file for file in visible if is_text_file(file)]
    if found and (others := [f.name for f in visible if f.suffix.lower() in OTHERS]):
        warnings.warn(
            f"in {path} only .txt and .jsonl files are read, and not {some(others)}: "
            "unpack or convert them",
            stacklevel=2,
        )
    if not found:
        raise FileNotFoundError(
            f"no text at {path}: give a .txt file, a .jsonl file with a field 'text', "
            "a folder of them, or a folder of .bin token shards"
        )
    return found


def is_text_file(path: Path) -> bool:
    return path.suffix.lower() in (".txt", *JSON_LINES) and path.name not in NO_TEXTS


def read_texts(paths: Iterable[Path]) -> Iterator[str]:
    """Yields the texts in chunks of bounded size, with ENDOFTEXT after each document.

    A document is a file, a line of a .jsonl file, or the text between two
    <|endoftext|>. Chunks begin with white space, where GPT-2's pattern starts a new
    piece, so they encode to the same tokens as the whole text.

    Raises:
        ValueError: a file is empty or not UTF-8 text, or a line is no JSON with a text.
    """
    for path in paths:
        is_json = path.suffix.lower() in JSON_LINES
        _check_kind(path, is_json)
        try:
            with open(path, encoding="utf-8-sig") as file:
                for chunk in (_records if is_json else _chunks)(file):
                    if "\0" in chunk:
                        raise ValueError(
                            f"{path} has a NUL character, so it is not plain text: "
                            "convert it if it is UTF-16, or remove the character"
                        )
                    yield chunk
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path} is not UTF-8, first at line {_undecodable_line(path)} "
                f"({error.reason}): convert it, or remove the bytes that are not text"
            ) from error


def _check_kind(path, is_json):
    """Refuses an empty file, binary data, and JSON that is not in a .jsonl file."""
    with open(path, "rb") as file:
        start = file.read(4096)
    if not start:
        raise ValueError(f"{path} is empty: remove it, or fill it with text")
    if kind := kind_of(start):
        raise ValueError(f"{path} is {kind}, must be UTF-8 text: unpack or convert it")
    if not is_json and (path.suffix.lower() == ".json" or JSON_RECORD.match(start)):
        raise ValueError(
            f"{path} holds JSON, whose syntax would be learned as text: give a .jsonl "
            "file with one object per line, each with a string 'text'"
        )


def _chunks(file):
    rest = ""
    while text := file.read(CHUNK):
        if (rest + text).endswith(ENDOFTEXT):
            text += file.read(1)  # perhaps a line break, which belongs to it
        *documents, rest = DOCUMENT_END.split(rest + text)
        for document in filter(None, documents):
            yield from (document, ENDOFTEXT)
        cut = _last_space(rest) if len(rest) > CHUNK else 0
        if not cut and len(rest) > 4 * CHUNK:  # no white space: cut anywhere
            cut = len(rest) - len(ENDOFTEXT)
        if cut:
            yield rest[:cut]
            rest = rest[cut:]
    if rest:
        yield from (rest, ENDOFTEXT)


def _last_space(text):
    """Where the white space before the last word begins; no token spans this place."""
    words = text.rsplit(maxsplit=1)
    return len(words[0]) if len(words) == 2 else 0


def _records(file):
    for number, line in enumerate(file, 1):
        if line.strip():
            text = _text_of(line, f"{file.name}, line {number}")
            yield from _chunks(io.StringIO(text))


def _text_of(line, place):
    """The text in a line of JSON."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place} is not JSON ({error}): fix or remove it") from error
    text = record.get("text") if isinstance(record, dict) else None
    if not isinstance(text, str):
        raise ValueError(
            f"{place} is {shortened(record)}, must be an object with a string 'text': "
            "fix or remove it"
        )
    if half := SURROGATE.search(text):
        raise ValueError(
            f"{place} has an unpaired surrogate, {half[0]!r}, which is not a "
            "character: fix or remove it"
        )
    return text


def _undecodable_line(path):
    line = 1
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        while text := file.read(CHUNK):
            if bad := SURROGATE.search(text):
                return line + text.count("\n", 0, bad.start())
            line += text.count("\n")
