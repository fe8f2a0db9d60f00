"""Files of examples: reading them row by row, reporting bad rows, splitting.

The formats are TSV without header, CSV with one, JSON lists, JSON lines (plain or .zst)
and Parquet. A task's `parse` turns a record of any of them into an example, or says why
it cannot.
"""

import csv
import io
import json
import random
import unicodedata
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, TypeVar

from gpt2lib import files
from gpt2lib.weights.untrusted import kind_of, some

INFLATED = 2**30, 200  # limits on decompressed data: bytes, or times the file's size
LONGEST = 2**24  # bytes of a line
UCI_FILE = "SMSSpamCollection"  # its name in UCI's archive, without a suffix
JSON_LINES = (".jsonl", ".ndjson", ".jsonl.zst")
SUFFIXES = (".tsv", ".txt", ".csv", ".json", ".parquet", *JSON_LINES)

T = TypeVar("T")  # an example


def read_records(
    path: str | Path,
    parse: Callable[[Any], T],
    skip_bad_rows: bool = False,
    limit: int | None = None,
) -> tuple[list[T], int]:
    """All examples of a file, or the first ones, and the number of rows left out.

    Args:
        path: the file, or a folder that holds exactly one of a known kind, as
            `download` makes it.
        parse: record -> example; raises ValueError with the reason if it cannot. A
            record is a dict, or the line itself in a file without field names.
        skip_bad_rows: leave bad rows out instead of raising.
        limit: read no further than so many examples.

    Raises:
        FileNotFoundError: no such file.
        ValueError: unusable rows, with place and reason; or no usable row.
    """
    path = find_records(path)
    examples: list[T] = []
    bad: list[str] = []
    for place, record in _rows(path):
        if len(examples) == limit:
            break
        try:
            if isinstance(record, ValueError):
                raise record
            _refuse_bytes(record)
            example = parse(record)
            _check_text(example)
            examples.append(example)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            bad.append(f"{place}: {_reason(error, record)}")
    if bad and not skip_bad_rows:
        more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise ValueError(
            f"{path} has {len(bad)} unusable rows ({'; '.join(bad[:5])}{more}): fix "
            "them, or leave them out with --skip-bad-rows"
        )
    if not examples:
        raise ValueError(
            f"{path} has no usable row ({len(bad)} bad ones): give another file"
        )
    return examples, len(bad)


def find_records(path: str | Path) -> Path:
    """The file itself, or the only one of a known kind in a folder.

    Raises:
        FileNotFoundError: there is none, or more than one.
        ValueError: a file of an unknown kind.
    """
    if not str(path).strip():
        raise ValueError("the path of the data is empty: give a file or a folder")
    path = Path(path)
    files.check_given(path)
    if path.is_dir():
        found = [p for p in files.visible_files(path) if _is_known(p)]
        if len(found) != 1:
            names = ", ".join(p.name for p in found[:5]) or "none"
            raise FileNotFoundError(
                f"{path} must hold exactly one data file, but holds {names}"
            )
        return found[0]
    if not path.exists():
        raise FileNotFoundError(f"no file at {path}")
    if path.suffix and not _is_known(path):
        raise ValueError(
            f"{path} has an unknown suffix, must have one of {', '.join(SUFFIXES)}: "
            "save it in one of these formats"
        )
    return path


def _is_known(path):
    return path.name.lower().endswith(SUFFIXES) or path.name == UCI_FILE


def _refuse_bytes(record):
    for name, value in record.items() if isinstance(record, dict) else ():
        if isinstance(value, bytes):
            raise ValueError(f"{name} is binary, must be text")


def _check_text(example):
    for text in filter(lambda field: isinstance(field, str), example):
        if "\0" in text:
            raise ValueError("a NUL character, as in UTF-16: save the file as UTF-8")
        if any(0xD800 <= ord(character) < 0xE000 for character in text):
            raise ValueError("an unpaired surrogate, which is not a character")


def _reason(error, record):
    if isinstance(error, KeyError):
        return f"no field {error} among {some(record, 5) or 'none'}"
    if isinstance(error, ValueError):
        return str(error)
    return f"not of the expected form, {shortened(record)}"


# --------------------------------------------------------------------------------- rows


def _rows(path):
    """Yields (place, record) of each row; the record of a broken one is an error."""
    name = path.name.lower()
    if name.endswith(".parquet"):
        for number, record in enumerate(_parquet(path), 1):
            yield f"row {number}", record
        return
    _refuse_other_kinds(path, name)
    if name.endswith(".json"):
        yield from _json_list(path)
    elif name.endswith(".csv"):
        yield from _csv(path)
    else:
        with _open_lines(path) as lines:
            for number in count(1):
                if not (line := lines.readline(LONGEST + 1)):
                    return
                if len(line) > LONGEST:
                    raise ValueError(
                        f"{path}, line {number} is longer than {LONGEST:,} bytes, "
                        "too long for one example: give one example per line"
                    )
                if line.strip():
                    yield f"line {number}", _decode(line, name.endswith(JSON_LINES))


def _refuse_other_kinds(path, name):
    """Refuses, by its first bytes, a file that is not text."""
    with open(path, "rb") as file:
        kind = kind_of(file.read(16))
    if kind and not name.endswith(".zst"):
        raise ValueError(f"{path} is {kind}, must be UTF-8 text: unpack or convert it")


def _decode(line, is_json):
    try:
        text = line.decode("utf-8").removeprefix("\ufeff").rstrip("\r\n")
        if is_json:
            return json.loads(text)
    except UnicodeDecodeError as error:
        return ValueError(f"not UTF-8 ({error.reason})")
    except (ValueError, RecursionError) as error:
        return ValueError(f"not JSON ({error})")
    if "\r" in text:
        return ValueError(
            "a carriage return within it: save the file with \\n line ends"
        )
    return text


class _Bounded:
    """Limits what a compressed file may expand to, so that it cannot fill memory."""

    def __init__(self, path):
        self.path = path
        bytes_, times = INFLATED
        self.room = max(bytes_, times * path.stat().st_size)

    def take(self, size):
        self.room -= size
        if self.room < 0:
            raise ValueError(
                f"{self.path} expands to over {INFLATED[1]} times its own size, as no "
                "text does: it is damaged or malicious, get it from another source"
            )


def _open_lines(path):
    if path.suffix.lower() != ".zst":
        return open(path, "rb")
    stream = _pyarrow(path).input_stream(path, "zstd")
    return io.BufferedReader(_Readable(stream, _Bounded(path)))


def _pyarrow(path):
    """pyarrow with its Parquet part: 55 MB, which few need."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError(
            f"{path} needs pyarrow to be read: install it with 'python -m pip install "
            "pyarrow'"
        ) from error
    return pyarrow


class _Readable(io.RawIOBase):
    """A pyarrow stream as a Python stream, which can read lines."""

    def __init__(self, stream, bounded):
        self.stream = stream
        self.bounded = bounded

    def readable(self):
        return True

    def readinto(self, buffer):
        try:
            found = self.stream.read(len(buffer))
        except OSError as error:
            raise ValueError(
                f"{self.bounded.path} is cut off or damaged ({error}): download it "
                "again"
            ) from error
        self.bounded.take(len(found))
        buffer[: len(found)] = found
        return len(found)


def _parquet(path):
    arrow = _pyarrow(path)
    bounded = _Bounded(path)
    try:
        with arrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=64):
                bounded.take(batch.nbytes)
                yield from batch.to_pylist()
    except (arrow.ArrowException, OSError) as error:
        raise ValueError(
            f"{path} is not a complete Parquet file ({error}): download it again"
        ) from error


def _json_list(path):
    """Yields (place, item) of a JSON list, of which a single error spoils the whole."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        items = json.loads(text)
    except (ValueError, RecursionError) as error:
        hint = ""
        if str(error).startswith("Extra data"):
            hint = "; if every line is a record of its own, name the file .jsonl"
        raise ValueError(f"{path} is not JSON in UTF-8 ({error}){hint}") from error
    if not isinstance(items, list):
        raise ValueError(f"{path} must hold a list of records: [{{...}}, {{...}}]")
    decode, place, line = json.JSONDecoder().raw_decode, text.index("[") + 1, 1
    counted = 0
    for number, item in enumerate(items, 1):
        while text[place] in " \t\r\n,":
            place += 1
        line += text.count("\n", counted, place)
        counted = place
        _, place = decode(text, place)
        yield f"line {line}, record {number}", item


def _csv(path):
    """Yields (place, record) of a CSV file, whose first line names the fields."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        usual, rows = csv.field_size_limit(LONGEST), csv.DictReader(file, strict=True)
        try:
            rows.fieldnames = [name.strip() for name in rows.fieldnames or []]
            for row in rows:
                if None in row or None in row.values():
                    row = ValueError("not as many fields as the first line names")
                yield f"line {rows.line_num}", row
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(
                f"{path}, after line {rows.line_num} is not CSV in UTF-8 ({error}): "
                "save it again in this form, with a first line that names the fields"
            ) from error
        finally:
            csv.field_size_limit(usual)


# ------------------------------------------------------------------------------- splits


def split(
    examples: Sequence[T],
    key: Callable[[T], str],
    shares: Sequence[float],
    seed: int = 0,
) -> list[list[T]]:
    """Splits examples at random in the given shares; no text is in two parts.

    Args:
        key: example -> its text. Examples with equal texts, up to case, white space
            and Unicode normalization (NFKC), stay together.
        shares: fractions that sum to 1.

    Raises:
        ValueError: a part would be empty.
    """
    groups: dict[str, list[T]] = {}
    for example in examples:
        groups.setdefault(same_text(key(example)), []).append(example)
    keys = sorted(groups)
    random.Random(f"split {seed}").shuffle(keys)
    parts: list[list[T]] = [[] for _ in shares]
    bound, taken = 0.0, 0
    rest = iter(keys)
    for part, share in zip(parts, shares):
        bound += share * len(examples)
        while taken < round(bound) and (name := next(rest, None)) is not None:
            part += groups[name]
            taken += len(groups[name])
    if not all(parts):
        raise ValueError(
            f"{len(groups)} different examples are too few to split into "
            f"{', '.join(f'{share:.0%}' for share in shares)}: give more of them"
        )
    return parts


def same_text(text: str) -> str:
    """What equal texts have in common, up to case, white space and NFKC."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def split_by_first(
    examples: Sequence[T],
    keys: Sequence[Callable[[T], str]],
    shares: Sequence[float],
    seed: int = 0,
) -> list[list[T]]:
    """`split` by the first of several keys, coarse to fine, that fills every part."""
    for key in keys[:-1]:
        try:
            return split(examples, key, shares, seed)
        except ValueError:
            pass
    return split(examples, keys[-1], shares, seed)


def balanced(
    examples: Sequence[T], label: Callable[[T], int], seed: int = 0
) -> list[T]:
    """A random choice of as many examples of each label as the rarest has."""
    groups: dict[int, list[T]] = {}
    for example in examples:
        groups.setdefault(label(example), []).append(example)
    count = min(map(len, groups.values()))
    rng = random.Random(f"balanced {seed}")
    return [e for name in sorted(groups) for e in rng.sample(groups[name], count)]
