"""Files of examples, as data sets come: read row by row, the bad ones named, split.

TSV without header, JSON lists, JSON lines (plain or .zst) and parquet; whatever they
hold, a task's `parse` makes an example of a record or says why it cannot.
"""

import io
import json
import random
from pathlib import Path

SUFFIXES = (".tsv", ".txt", ".json", ".jsonl", ".jsonl.zst", ".parquet")


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
        ValueError: rows that cannot be used, by line and reason; or none that can.
    """
    path = find_records(path)
    examples, bad = [], []
    for number, record in _rows(path):
        try:
            if isinstance(record, ValueError):
                raise record
            examples.append(parse(record))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            bad.append(f"line {number}: {_reason(error)}")
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
    """
    path = Path(path)
    if not path.is_dir():
        if not path.exists():
            raise FileNotFoundError(f"no file at {path}")
        return path
    found = [
        p
        for p in sorted(path.rglob("*"))
        if p.name.endswith(SUFFIXES) and not p.name.startswith(".")
    ]
    if len(found) != 1:
        names = ", ".join(p.name for p in found[:5]) or "none"
        raise FileNotFoundError(f"{path} must hold one data file, it holds {names}")
    return found[0]


def _reason(error):
    if isinstance(error, KeyError):
        return f"no field {error}"
    if isinstance(error, ValueError):
        return str(error)
    return f"not of the expected form ({error})"


def _rows(path):
    """(line number, record) of each row; a ValueError in place of a broken one."""
    if path.suffix == ".parquet":
        yield from enumerate(_parquet(path), 1)
    elif path.suffix == ".json":
        yield from _json_list(path)
    else:
        is_json = path.name.endswith((".jsonl", ".jsonl.zst"))
        with _open_lines(path) as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, _decode(line, is_json)


def _decode(line, is_json):
    try:
        text = line.decode("utf-8").removeprefix("\ufeff").rstrip("\r\n")
        return json.loads(text) if is_json else text
    except UnicodeDecodeError as error:
        return ValueError(f"not UTF-8 ({error.reason})")
    except ValueError as error:
        return ValueError(f"not JSON ({error})")


def _open_lines(path):
    if path.suffix != ".zst":
        return open(path, "rb")
    import pyarrow  # here because few need it

    return io.BufferedReader(_Readable(pyarrow.input_stream(path, "zstd")))


class _Readable(io.RawIOBase):
    """A stream of pyarrow as one of Python's, with lines."""

    def __init__(self, stream):
        self.stream = stream

    def readable(self):
        return True

    def readinto(self, buffer):
        try:
            found = self.stream.read(len(buffer))
        except OSError as error:
            raise ValueError(f"the file is cut off or damaged ({error})") from error
        buffer[: len(found)] = found
        return len(found)


def _parquet(path):
    from pyarrow import ArrowInvalid, parquet  # here because few need it

    try:
        return parquet.read_table(path).to_pylist()
    except ArrowInvalid as error:
        raise ValueError(f"{path} is not a parquet file ({error})") from error


def _json_list(path):
    """(line, item) of a list; a file with a broken item cannot be read beyond it."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        items = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is not JSON in UTF-8 ({error})") from error
    if not isinstance(items, list):
        raise ValueError(f"{path} must hold a list of records, it holds one object")
    decode, place, line = json.JSONDecoder().raw_decode, text.index("[") + 1, 1
    counted = 0
    for item in items:
        while text[place] in " \t\r\n,":
            place += 1
        line += text.count("\n", counted, place)
        counted = place
        _, place = decode(text, place)
        yield line, item


# ------------------------------------------------------------------------------- splits


def split(examples, key, shares, seed=0):
    """Parts of the examples, in the given shares, no text on two sides.

    Args:
        key: example -> the text by which two are the same, up to case and spaces.
        shares: fractions that sum to 1.

    Raises:
        ValueError: a part that would be empty.
    """
    groups = {}
    for example in examples:
        groups.setdefault(" ".join(key(example).casefold().split()), []).append(example)
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
            f"{', '.join(f'{share:.0%}' for share in shares)}"
        )
    return parts


def balanced(examples, label, seed=0):
    """As many examples of each label as the rarest has, chosen by chance."""
    groups = {}
    for example in examples:
        groups.setdefault(label(example), []).append(example)
    count = min(map(len, groups.values()))
    rng = random.Random(f"balanced {seed}")
    return [e for name in sorted(groups) for e in rng.sample(groups[name], count)]
