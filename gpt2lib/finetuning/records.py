"""Files of examples, as data sets come: read row by row, the bad ones named, split.

TSV without header, JSON lists, JSON lines (plain or .zst) and parquet; whatever they
hold, a task's `parse` makes an example of a record or says why it cannot.
"""

import io
import json
import random
import unicodedata
from itertools import count
from pathlib import Path
from reprlib import repr as shortened

from gpt2lib import files
from gpt2lib.weights.untrusted import kind_of

INFLATED = 2**30, 200  # what a compressed file may hold: bytes, or times its own size
LONGEST = 2**24  # bytes of a line
UCI_FILE = "SMSSpamCollection"  # as it lies in UCI's archive, without an ending
JSON_LINES = (".jsonl", ".ndjson", ".jsonl.zst")
SUFFIXES = (".tsv", ".txt", ".json", ".parquet", *JSON_LINES)


def read_records(path, parse, skip_bad_rows=False):
    """All examples of a file, and how many rows were left out.

    Args:
        path: the file, or a folder that holds exactly one of a known kind, as
            `download` makes it.
        parse: a record -> an example; raises ValueError with the reason it cannot. A
            record is a dict, or the line itself in a file without field names.
        skip_bad_rows: leave bad rows out instead of raising.

    Raises:
        FileNotFoundError: no such file.
        ValueError: rows that cannot be used, by place and reason; or none that can.
    """
    path = find_records(path)
    examples, bad = [], []
    for place, record in _rows(path):
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
            f"{path} has {len(bad)} rows that cannot be used ({'; '.join(bad[:5])}"
            f"{more}): mend them, or leave them out with --skip-bad-rows"
        )
    if not examples:
        raise ValueError(f"{path} has no row that can be used ({len(bad)} bad ones)")
    return examples, len(bad)


def find_records(path):
    """The file itself, or the only one of a known kind in a folder.

    Raises:
        FileNotFoundError: there is none, or more than one.
        ValueError: a file of another kind.
    """
    if not str(path).strip():
        raise ValueError("the data has no name: give a file or a folder")
    path = Path(path)
    files.check_given(path)
    if path.is_dir():
        found = [p for p in files.visible_files(path) if _is_known(p)]
        if len(found) != 1:
            names = ", ".join(p.name for p in found[:5]) or "none"
            raise FileNotFoundError(f"{path} must hold one data file, it holds {names}")
        return found[0]
    if not path.exists():
        raise FileNotFoundError(f"no file at {path}")
    if path.suffix and not _is_known(path):
        raise ValueError(
            f"{path} has an ending that is not known; {', '.join(SUFFIXES)} are: save "
            "it as one of them"
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
            raise ValueError("a NUL character, as UTF-16 has: save the file as UTF-8")
        if any(0xD800 <= ord(character) < 0xE000 for character in text):
            raise ValueError("half a surrogate pair, which is no character")


def _reason(error, record):
    if isinstance(error, KeyError):
        return f"no field {error}"
    if isinstance(error, ValueError):
        return str(error)
    return f"not of the expected form, {shortened(record)}"


# --------------------------------------------------------------------------------- rows


def _rows(path):
    """(place, record) of each row; a ValueError in place of a broken one."""
    name = path.name.lower()
    if name.endswith(".parquet"):
        for number, record in enumerate(_parquet(path), 1):
            yield f"row {number}", record
    elif name.endswith(".json"):
        yield from _json_list(path)
    else:
        _refuse_other_kinds(path, name)
        with _open_lines(path) as lines:
            for number in count(1):
                if not (line := lines.readline(LONGEST + 1)):
                    return
                if len(line) > LONGEST:
                    raise ValueError(
                        f"{path}, line {number} is longer than {LONGEST:,} bytes, "
                        "which no text of one example is"
                    )
                if line.strip():
                    yield f"line {number}", _decode(line, name.endswith(JSON_LINES))


def _refuse_other_kinds(path, name):
    """Refuses by its first bytes what has no lines of text."""
    with open(path, "rb") as file:
        kind = kind_of(file.read(16))
    if kind and not name.endswith(".zst"):
        raise ValueError(f"{path} is {kind}: unpack it, or save it as UTF-8")


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
        return ValueError("a line end of old Macs within it: save with those of today")
    return text


class _Bounded:
    """Counts what comes out of a compressed file, so that none fills the memory."""

    def __init__(self, path):
        self.path = path
        bytes_, times = INFLATED
        self.room = max(bytes_, times * path.stat().st_size)

    def take(self, size):
        self.room -= size
        if self.room < 0:
            raise ValueError(
                f"{self.path} holds more than {INFLATED[1]} times its own size, which "
                "no text does: it is damaged, or was made to fill the memory"
            )


def _open_lines(path):
    if path.suffix.lower() != ".zst":
        return open(path, "rb")
    stream = _pyarrow(path).input_stream(path, "zstd")
    return io.BufferedReader(_Readable(stream, _Bounded(path)))


def _pyarrow(path):
    """pyarrow with its parquet, 55 MB that few need."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError(
            f"{path} needs pyarrow to be read: install it with 'python -m pip install "
            "pyarrow'"
        ) from error
    return pyarrow


class _Readable(io.RawIOBase):
    """A stream of pyarrow as one of Python's, with lines."""

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
                f"{self.bounded.path} is cut off or damaged ({error}): get it again"
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
        raise ValueError(f"{path} is not a whole parquet file ({error})") from error


def _json_list(path):
    """(place, item) of a list; a file with a broken item cannot be read beyond it."""
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


# ------------------------------------------------------------------------------- splits


def split(examples, key, shares, seed=0):
    """Parts of the examples, in the given shares, no text on two sides.

    Args:
        key: example -> the text by which two are the same, up to case, spaces and
            the ways Unicode has to write one character.
        shares: fractions that sum to 1.

    Raises:
        ValueError: a part that would be empty.
    """
    groups = {}
    for example in examples:
        text = unicodedata.normalize("NFKC", key(example)).casefold()
        groups.setdefault(" ".join(text.split()), []).append(example)
    keys = sorted(groups)
    random.Random(f"split {seed}").shuffle(keys)
    parts, bound, taken = [[] for _ in shares], 0.0, 0
    rest = iter(keys)
    for part, share in zip(parts, shares):
        bound += share * len(examples)
        while taken < round(bound) and (name := next(rest, None)) is not None:
            part += groups[name]
            taken += len(groups[name])
    if not all(parts):
        raise ValueError(
            f"{len(groups)} different examples are too few to be split into "
            f"{', '.join(f'{share:.0%}' for share in shares)}: give more of them"
        )
    return parts


def split_by_first(examples, keys, shares, seed=0):
    """`split` by the first of several keys, coarse to fine, that fills every part."""
    for key in keys[:-1]:
        try:
            return split(examples, key, shares, seed)
        except ValueError:
            pass
    return split(examples, keys[-1], shares, seed)


def balanced(examples, label, seed=0):
    """As many examples of each label as the rarest has, chosen by chance."""
    groups = {}
    for example in examples:
        groups.setdefault(label(example), []).append(example)
    count = min(map(len, groups.values()))
    rng = random.Random(f"balanced {seed}")
    return [e for name in sorted(groups) for e in rng.sample(groups[name], count)]
