"""Files from outside: recognised by first bytes, read within limits, quoted safely.

Any of them may be damaged, of another kind, or malicious: nothing is allocated or
printed just because a file says so.
"""

import codecs
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

MOST_JSON = 2**25  # bytes; the largest vocabularies take 10 MB
MOST_NAMES = 200  # in one message

# ------------------------------------------------------------------------ file formats


class Format(NamedTuple):
    """An unsupported kind of file: its first bytes, usual names, and what to do."""

    what: str
    start: bytes
    names: str
    advice: str


NEVER = "(?!)"  # matches nothing
ORIGINAL = "take the model.safetensors or pytorch_model.bin of the same model"
UNPACK = "unpack it and give what is inside"
AGAIN = "download the weights again"
MODEL = "give a model"
# Recognised wherever a text, token ids or weights are expected.
ARCHIVES_AND_DOCUMENTS = (
    Format("UTF-16 or UTF-32", rb"\xff\xfe|\xfe\xff|\0\0\xfe\xff", NEVER, AGAIN),
    Format("a zip archive", rb"PK\x03\x04", r"\.zip$", UNPACK),
    Format(
        "a compressed file",
        rb"\x1f\x8b\x08|\x28\xb5\x2f\xfd|\xfd7zXZ|7z\xbc\xaf|BZh|Rar!",
        r"\.(gz|zst|xz|7z|bz2|rar)$",
        UNPACK,
    ),
    Format("a parquet file", rb"PAR1", r"\.parquet$", MODEL),
    Format("an Arrow file", rb"ARROW1", r"\.arrow$", MODEL),
    Format(
        "a NumPy file", rb"\x93NUMPY", r"\.np[yz]$", "save a dict of tensors by name"
    ),
    Format("a PDF", rb"%PDF", r"\.pdf$", MODEL),
    Format("an RTF document", rb"\{\\rtf", r"\.rtf$", MODEL),
    Format("an Office document", rb"\xd0\xcf\x11\xe0", r"\.(docx?|xlsx?)$", MODEL),
)
# Recognised where weights are expected; token ids might start with the same bytes.
OTHER_WEIGHTS = (
    Format(
        "a LoRA adapter of PEFT",
        NEVER.encode(),
        r"^adapter_(config|model)\.",
        "merge it into its model there (merge_and_unload) and save that",
    ),
    Format("a GGUF file of llama.cpp", rb"GGUF", r"\.gguf$", ORIGINAL),
    Format("a GGML file of llama.cpp", rb"lmgg|fmgg|tjgg", r"\.ggml$|^ggml-", ORIGINAL),
    Format(
        "a file of llm.c",
        rb"\xc6\xd74\x01",
        NEVER,
        "write the model for transformers with llm.c's dev/eval/export_hf.py",
    ),
    Format("an ONNX file", rb"\x08[\x03-\x20][\x12\x1a\x22\x3a]", r"\.onnx$", ORIGINAL),
    Format("a Keras file (HDF5)", rb"\x89HDF", r"\.(h5|hdf5|keras)$", ORIGINAL),
    Format(
        "a TensorFlow file",
        rb"\x08\x01\x12|\x00\x00.\x08.\x1a\x02\x08|....TFL3",
        r"\.pb$|\.tflite$|\.ckpt(-\d+)?\.(index|meta|data)|\.(index|data-.*)$",
        ORIGINAL,
    ),
    Format(
        "a Flax file (msgpack)", rb"[\x81-\x8f][\xa1-\xbf]", r"\.msgpack$", ORIGINAL
    ),
    Format("a tar archive", rb".{257}ustar", r"\.tar$", UNPACK),
    Format(
        "a text file (a pointer of Git LFS)",
        rb"version https://git-lfs",
        NEVER,
        "'git lfs pull' fetches the weights",
    ),
    Format("a text file (a web page)", rb"(?i)\s*<(!doctype|html|\?xml)", NEVER, AGAIN),
    Format(
        "a text file (JSON)", rb"\s*[{\[]", NEVER, "give the folder, or its weights"
    ),
)


def recognise(name: str, start: bytes = b"") -> Format | None:
    """The `Format` of a file that gpt2lib cannot read; None for any other file.

    Args:
        name: the file's name, used if the first bytes do not decide.
        start: the first few hundred bytes.
    """
    start = start.removeprefix(b"\xef\xbb\xbf")
    formats = ARCHIVES_AND_DOCUMENTS + OTHER_WEIGHTS
    for format in formats:
        if re.match(format.start, start, re.DOTALL):
            return format
    if _reads_as_text(start):
        return Format("a text file", b"", "", AGAIN)
    return next((f for f in formats if re.search(f.names, name)), None)


def _reads_as_text(start):
    """Whether bytes are UTF-8 without control characters, perhaps cut at the end."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return bool(text) and all(c.isprintable() or c in "\t\r\n\ufeff" for c in text)


def kind_of(start: bytes) -> str | None:
    """The kind of file that starts with these bytes; None for text and token ids."""
    for format in ARCHIVES_AND_DOCUMENTS:
        if re.match(format.start, start):
            return format.what
    return None


# ---------------------------------------------------------------------- bounded reading


def read_text(path: Path) -> str:
    """A settings or vocabulary file in UTF-8, with or without a byte order mark.

    Raises:
        ValueError: too large, or not UTF-8.
    """
    size = path.stat().st_size
    if size > MOST_JSON:
        raise ValueError(
            f"{path} has {size:,} bytes, at most {MOST_JSON:,} are allowed: it is not "
            "what its name says, download it again"
        )
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text ({error}): download it again"
        ) from error


def read_json(path: Path) -> dict:
    """The object in a JSON file.

    Raises:
        ValueError: not a JSON object.
    """
    text = read_text(path)
    try:
        contents = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else error
        raise ValueError(
            f"{path} is not a JSON object ({reason}): download it again"
        ) from error
    if not isinstance(contents, dict):
        raise ValueError(f"{path} is not a JSON object: download it again")
    return contents


def inside(folder: Path, name: str) -> Path:
    """folder / name, for a name from an untrusted source, such as a hub or a file.

    Raises:
        ValueError: not a plain relative path: absolute, hidden, or out of the folder.
    """
    parts = name.split("/") if isinstance(name, str) else [""]
    plain = all(re.fullmatch(r"[^.\\:\s][^\\:]{,254}", part) for part in parts)
    if not plain or not name.isprintable():
        raise ValueError(
            f"{shown(name)!r} was given as the name of a file, but is not a plain "
            f"relative path: nothing outside {folder} is opened or written"
        )
    return folder.joinpath(*parts)


# ------------------------------------------------------------------------------ quoting


def shown(name: object, limit: int = 100) -> str:
    """A name from a file, safe to print: one short line without control characters."""
    start = str(name)[: limit + 1]
    text = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in start
    )
    return text[:limit] + "..." if len(text) > limit else text


def quoted(value: object) -> str:
    """The repr of a value from a file, safe to print."""
    try:
        return shown(repr(value))
    except (RecursionError, ValueError):  # nested too deep, or too long a number
        return f"a {type(value).__name__} that cannot be shown"


def some(names: Iterable[object], limit: int = 3) -> str:
    """The first few of many names, for a message."""
    names = list(names)
    return ", ".join(map(shown, names[:limit])) + (
        ", ..." if len(names) > limit else ""
    )


def listed(names: list[str], separator: str = ", ") -> str:
    """All names, for a message; of very many, the first and how many more."""
    more = len(names) - MOST_NAMES
    names = [shown(name, 200) for name in names[:MOST_NAMES]]
    return separator.join(names + [f"{more} more"] * (more > 0)) or "none"
