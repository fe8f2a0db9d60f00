"""Texts on disk, read in chunks: a text is never held whole, however large."""

import io
import json
import re
from pathlib import Path
from reprlib import repr as shortened

from gpt2lib import files
from gpt2lib.tokenizer import ENDOFTEXT
from gpt2lib.weights.untrusted import kind_of

CHUNK = 2**20  # characters that are read, and encoded, at a time
JSON_LINES = (".jsonl", ".ndjson")
NO_TEXTS = ("merges.txt", "metrics.jsonl")  # a run may write beside its data
DOCUMENT_END = re.compile(re.escape(ENDOFTEXT) + r"\n?")
JSON_RECORD = re.compile(rb'(\xef\xbb\xbf)?\s*(\[\s*)?\{\s*"[^"\n]*"\s*:')
SURROGATE = re.compile("[\ud800-\udfff]")


def find_texts(path):
    """The files that hold the texts: the one given, or all that a folder shows.

    Raises:
        FileNotFoundError: there is nothing at `path`, or nothing of use.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    files.check_given(path)
    found = [file for file in files.visible_files(path) if is_text_file(file)]
    if not found:
        raise FileNotFoundError(
            f"no text at {path}: give a .txt file, a .jsonl file with a field 'text', "
            "a folder of them, or a folder of .bin token shards"
        )
    return found


def is_text_file(path):
    return path.suffix.lower() in (".txt", *JSON_LINES) and path.name not in NO_TEXTS


def read_texts(paths):
    """Yields the texts in chunks of bounded size, and ENDOFTEXT after each document.

    A document is a file, a line of a .jsonl file, or what stands between two
    <|endoftext|>. Chunks begin with white space, where GPT-2's pattern cuts anyway, so
    that they give the tokens of the whole.

    Raises:
        ValueError: a file is empty or no text in UTF-8, a line is not JSON or has no
            text.
    """
    for path in paths:
        is_json = path.suffix.lower() in JSON_LINES
        _check_kind(path, is_json)
        try:
            with open(path, encoding="utf-8-sig") as file:
                for chunk in (_records if is_json else _chunks)(file):
                    if "\0" in chunk:
                        raise ValueError(
                            f"{path} has a NUL character, which no text has: convert "
                            "it to UTF-8 if it is UTF-16, or remove it"
                        )
                    yield chunk
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path} is not UTF-8, first at line {_undecodable_line(path)} "
                f"({error.reason}): convert it, or remove what is no text"
            ) from error


def _check_kind(path, is_json):
    """Refuses by its first bytes what would be learned as it stands."""
    with open(path, "rb") as file:
        start = file.read(4096)
    if not start:
        raise ValueError(f"{path} is empty: remove it, or fill it with text")
    if kind := kind_of(start):
        raise ValueError(f"{path} is {kind}; give text in UTF-8: unpack or convert it")
    if not is_json and (path.suffix.lower() == ".json" or JSON_RECORD.match(start)):
        raise ValueError(
            f"{path} holds JSON, which would be learned as it stands: give a .jsonl "
            "file, one object with a string 'text' in each line"
        )


def _chunks(file):
    rest = ""
    while text := file.read(CHUNK):
        if (rest + text).endswith(ENDOFTEXT):
            text += file.read(1)  # the line break that belongs to it
        *documents, rest = DOCUMENT_END.split(rest + text)
        for document in filter(None, documents):
            yield from (document, ENDOFTEXT)
        cut = _last_space(rest) if len(rest) > CHUNK else 0
        if not cut and len(rest) > 4 * CHUNK:  # without spaces it is cut anywhere
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
        if line.strip():
            text = _text_of(line, f"{file.name}, line {number}")
            yield from _chunks(io.StringIO(text))


def _text_of(line, place):
    """The text in a line of JSON."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place} is not JSON ({error}): mend or remove it") from error
    text = record.get("text") if isinstance(record, dict) else None
    if not isinstance(text, str):
        raise ValueError(
            f"{place} is {shortened(record)}, must be an object with a string 'text': "
            "mend or remove it"
        )
    if half := SURROGATE.search(text):
        raise ValueError(
            f"{place} has half a surrogate pair, {half[0]!r}, which is no character: "
            "mend or remove it"
        )
    return text


def _undecodable_line(path):
    line = 1
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        while text := file.read(CHUNK):
            if bad := SURROGATE.search(text):
                return line + text.count("\n", 0, bad.start())
            line += text.count("\n")
