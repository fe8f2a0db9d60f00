"""Weight files of any make become named tensors. Nothing in them is ever run."""

import json
import pickle
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from gpt2lib import files

# Wrappers prefix every name.
PREFIX = re.compile(r"^((_orig_mod|module|transformer)\.)+")

CLASS_HEAD = "score.weight"  # transformers' name for the head of a classifier

WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "ckpt.pt",
)


@dataclass(frozen=True)
class Checkpoint:
    """The weight files of one model on disk, and the settings beside them."""

    path: Path
    shards: tuple[Path, ...]

    @classmethod
    def find(cls, name_or_path):
        path = files.find_model(name_or_path)
        if path.is_file():
            return cls(path, (path,))
        present = [path / name for name in WEIGHT_FILES if (path / name).is_file()]
        if not present:
            raise FileNotFoundError(
                f"{path} has no weights: none of {', '.join(WEIGHT_FILES)} is there, "
                f"only {some(sorted(p.name for p in path.iterdir()), 8) or 'nothing'}"
            )
        if present[0].suffix != ".json":
            return cls(path, (present[0],))
        index = _read_json(present[0]).get("weight_map")
        names = set(map(str, index.values())) if isinstance(index, dict) else ()
        shards = tuple(path / name for name in sorted(names))
        absent = [shard.name for shard in shards if not shard.is_file()]
        if absent or not shards:
            raise FileNotFoundError(
                f"{present[0]} names parts that are not there "
                f"({some(absent) or 'none'}): download the model again"
            )
        return cls(path, shards)

    @property
    def is_mapped(self):
        """Whether opening only maps the files, so that it costs no memory."""
        return all(
            s.suffix == ".safetensors" or zipfile.is_zipfile(s) for s in self.shards
        )

    def open(self):
        """Every tensor by its name without prefixes, mapped into memory."""
        tensors = {}
        for shard in self.shards:
            for name, tensor in _state_dict(_open(shard), shard).items():
                tensors[PREFIX.sub("", name)] = tensor
        if CLASS_HEAD in tensors:
            tensors["lm_head.weight"] = tensors.pop(CLASS_HEAD)
        return tensors

    def settings(self):
        """What config.json, or else nanoGPT's model_args, say, in their own words."""
        folder = self.path if self.path.is_dir() else self.path.parent
        if (folder / "config.json").is_file():
            return _read_json(folder / "config.json")
        if len(self.shards) > 1 or self.shards[0].suffix == ".safetensors":
            return {}
        contents = _open(self.shards[0])
        arguments = contents.get("model_args") if isinstance(contents, dict) else None
        return arguments if isinstance(arguments, dict) else {}


def _read_json(path):
    try:
        contents = json.loads(path.read_text(encoding="utf-8"))
        return contents | {}
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is no JSON object ({error}): get it again") from error


def _open(path):
    """The contents of a weight file; tensors are mapped, not read, where possible."""
    with open(path, "rb") as file:
        start = file.read(64)
    if start and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in start):
        raise ValueError(
            f"{path} is a text file ({start[:24].decode()!r}...), not weights: perhaps "
            "a pointer or an error page was saved instead; download it again"
        )
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(_damaged(path, error)) from error
    is_zip = start[:2] == b"PK"
    if is_zip and not zipfile.is_zipfile(path):
        raise ValueError(_damaged(path, "its end is missing"))
    if not is_zip and start[:1] != b"\x80":  # how every binary pickle begins
        raise ValueError(_damaged(path, "not a file that torch.save wrote"))
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        if "truncated" in str(error):
            raise ValueError(_damaged(path, "its end is missing")) from error
        raise ValueError(
            f"{path} was refused: opening it would run code or build Python objects, "
            "which weights never need. If you trust it, save its state_dict() alone "
            "and load that"
        ) from error
    except Exception as error:  # whatever a damaged file makes the parsers stumble over
        raise ValueError(_damaged(path, type(error).__name__)) from error


def _damaged(path, reason):
    first_line = str(reason).split("\n")[0]
    return f"{path} is cut off or damaged ({first_line}): download or copy it again"


def _state_dict(contents, path):
    """The named tensors in a file, without what a training script put around them."""
    for key in ("model", "model_state_dict", "state_dict"):
        if isinstance(contents, dict) and isinstance(contents.get(key), dict):
            contents = contents[key]
    if not isinstance(contents, dict) or not contents:
        raise ValueError(f"{path} holds no named tensors, so it is no checkpoint")
    strangers = [str(n) for n, t in contents.items() if not _is_weight(n, t)]
    if strangers:
        raise ValueError(
            f"{path} holds more than tensors ({some(strangers)}) and no state_dict "
            "under 'model', 'model_state_dict' or 'state_dict'"
        )
    return contents


def _is_weight(name, tensor):
    return isinstance(name, str) and getattr(tensor, "layout", None) == torch.strided


def write_tensors(tensors, path, metadata=None):
    """Writes a safetensors file.

    Raises:
        OSError: no room, or no right to write.
    """
    try:
        save_file(tensors, path, metadata)
    except SafetensorError as error:
        raise OSError(f"{path.parent} could not be written: {error}") from error


def some(names, limit=3):
    """The first few names of many, for a message."""
    names = list(names)
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
