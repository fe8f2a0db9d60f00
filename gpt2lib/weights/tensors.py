"""Weight files of all kinds to named tensors, without running code from them."""

import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from gpt2lib.weights.layouts import (
    CLASS_HEAD,
    HEAD_BIAS,
    HEADS,
    LORA,
    PART,
    STATE_DICTS,
    TIED,
    WEIGHT_FILES,
    own_name,
)
from gpt2lib.weights.untrusted import inside, quoted, read_json, recognise, shown, some

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


@dataclass(frozen=True)
class Checkpoint:
    """The weight files of one model on disk, and the settings beside them."""

    path: Path
    shards: tuple[Path, ...]

    @classmethod
    def at(cls, path: str | Path) -> "Checkpoint":
        """The checkpoint at a path, which is a folder or one of its weight files.

        Raises:
            FileNotFoundError: no weights there, or a part is missing.
        """
        path = Path(path)
        if path.is_file():
            return cls(path, _weight_files(path))
        present = [path / name for name in WEIGHT_FILES if (path / name).is_file()]
        if not present:
            raise FileNotFoundError(_no_weights(path))
        return cls(path, _weight_files(present[0]))

    @property
    def is_mapped(self) -> bool:
        """Whether opening only maps the files, which takes no memory."""
        return not any(_start(shard)[:1] == b"\x80" for shard in self.shards)

    @property
    def n_bytes(self) -> int:
        """The total size of the weight files."""
        return sum(shard.stat().st_size for shard in self.shards)

    def read(self) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
        """The tensors and the settings; each file is read or mapped once.

        Tensor names have no prefixes. Settings are those of config.json and of the
        weight file, under the names used there.

        Raises:
            ValueError: no weights, damaged, refused, two tensors of one name, or
                contradicting settings.
        """
        contents = {shard: _read(shard) for shard in self.shards}
        return self._tensors(contents), self._settings(contents[self.shards[0]])

    def tensors(self) -> dict[str, torch.Tensor]:
        """The tensors alone, as in `read`."""
        return self._tensors({shard: _read(shard) for shard in self.shards})

    def _tensors(self, contents):
        tensors = {}
        for shard, held in contents.items():
            for name, tensor in _state_dict(held, shard).items():
                own = own_name(name)
                if not same(tensors.setdefault(own, tensor), tensor):
                    raise ValueError(
                        f"{shard} has two different tensors for {shown(own)}, one of "
                        f"them called {shown(name)}: remove one"
                    )
        for head, embedding in TIED.items():  # some programs keep only one of the two
            if head in tensors and not {embedding, HEAD_BIAS} & tensors.keys():
                tensors[embedding] = tensors.pop(head)
        if CLASS_HEAD in tensors and "lm_head.weight" not in tensors:
            tensors["lm_head.weight"] = tensors.pop(CLASS_HEAD)
        return tensors

    def _settings(self, contents):
        folder = self.path if self.path.is_dir() else self.path.parent
        beside, within = {}, _settings_in(contents)
        if (folder / "config.json").is_file():
            beside = read_json(folder / "config.json")
        heads = _heads(within) + _heads(beside)
        if any(number != heads[0] for number in heads):
            raise ValueError(
                f"{self.path} gives its number of heads as {some(map(quoted, heads))}: "
                "correct its config.json, or remove it"
            )
        return check_task(within | beside, folder / "config.json")


def same(tensor: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors have the same shape, dtype and numbers."""
    alike = tensor.shape == other.shape and tensor.dtype == other.dtype
    return tensor is other or (alike and torch.equal(tensor, other))


def _weight_files(file):
    """All weight files of a model, given the only one, a part, or the index."""
    index = file
    if PART.search(file.name):
        index = file.with_name(PART.sub("", file.name) + ".index.json")
    if not index.name.endswith(".index.json"):
        return (file,)
    if not index.is_file():
        raise FileNotFoundError(
            f"{file} is one of several parts, and {index.name}, which names them all, "
            "is not beside it: download the model again"
        )
    names = read_json(index).get("weight_map")
    names = list(names.values()) if isinstance(names, dict) else []
    names = set(names) if all(isinstance(name, str) for name in names) else names
    shards = sorted(inside(index.parent, name) for name in names)
    absent = [shard.name for shard in shards if not shard.is_file()]
    if absent or not shards:
        raise FileNotFoundError(
            f"{index} names files that are not there ({some(absent) or 'none'}): "
            "download the model again"
        )
    return tuple(shards)


def _no_weights(folder):
    names = sorted(path.name for path in folder.iterdir())
    kinds = [(name, kind) for name in names if (kind := recognise(name))]
    return (
        f"{folder} has no weights: none of {', '.join(WEIGHT_FILES)} is there, only "
        f"{some(names, 8) or 'nothing'}"
    ) + "".join(f"; {n} is {kind.what}: {kind.advice}" for n, kind in kinds[:1])


# ----------------------------------------------------------------------- reading a file


def _start(path):
    with open(path, "rb") as file:
        return file.read(512)


def _is_safetensors(start):
    """Whether a file starts with the length of a JSON header, then the header."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= 10**8


def _read(path):
    """The contents of a weight file; tensors are memory-mapped where possible."""
    start = _start(path)
    is_zip = start[:2] == b"PK"
    if is_zip:
        _check_archive(path)
    elif not _is_safetensors(start) and start[:1] != b"\x80":  # nor a pickle
        raise ValueError(_not_weights(path, recognise(path.name, start)))
    try:
        if _is_safetensors(start):
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except SafetensorError as error:
        raise ValueError(_damaged(path, error)) from error
    except pickle.UnpicklingError as error:
        if "truncated" in str(error):
            raise ValueError(_damaged(path, "its end is missing")) from error
        raise ValueError(
            f"{path} was refused: opening it would run code or build Python objects, "
            "which weights never need. If you trust it, save its state_dict() alone "
            "and load that"
        ) from error
    except Exception as error:  # on damaged files, parsers fail in many ways
        raise ValueError(_damaged(path, type(error).__name__)) from error


def _check_archive(path):
    """Refuses a zip file that torch.save did not write, or that unpacks to more bytes.

    Raises:
        ValueError
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:  # as above
        raise ValueError(_damaged(path, "its end is missing")) from error
    names = [member.filename.rpartition("/")[2] for member in members]
    if "constants.pkl" in names:
        raise ValueError(
            f"{path} is a TorchScript program, which would have to be run: save the "
            "state_dict() of its model instead"
        )
    if "data.pkl" not in names:
        kinds = map(recognise, [path.name, *names[:100]])
        kind = next(filter(None, kinds), None)
        raise ValueError(_not_weights(path, kind or recognise("it.zip")))
    packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    if packed or sum(m.file_size for m in members) > path.stat().st_size:
        raise ValueError(
            f"{path} was refused: it is a compressed archive, which torch.save never "
            "writes and which may unpack to any size: download the original file"
        )


def _not_weights(path, kind):
    if kind is None:
        return _damaged(path, "not a file that torch.save or safetensors wrote")
    return f"{path} is {kind.what}, not weights that gpt2lib reads: {kind.advice}"


def _damaged(path, reason):
    reason = shown(str(reason).split("\n")[0])
    return f"{path} is cut off or damaged ({reason}): download or copy it again"


# ----------------------------------------------------------------------- file contents

DTYPES = (*FLOATS, torch.bool, torch.uint8, torch.int8, torch.int32, torch.int64)


def _state_dict(contents, path):
    """The named tensors in a file, taken out of a training script's dicts."""
    for key in STATE_DICTS:
        if isinstance(contents, dict) and isinstance(contents.get(key), dict):
            contents = contents[key]
    if not isinstance(contents, dict) or not contents:
        raise ValueError(f"{path} holds no named tensors, so it is not a checkpoint")
    strangers = _no_tensors(contents)
    inner = {id(value): value for value in contents.values()} if strangers else {}
    inner = [value for value in inner.values() if _holds_tensors(value)]
    if len(inner) == 1:
        contents, strangers = inner[0], []
    if strangers:
        raise ValueError(
            f"{path} holds more than tensors ({some(strangers)}) and no state_dict "
            f"under {', '.join(map(repr, STATE_DICTS))}"
        )
    _check_tensors(contents, path)
    return contents


def _no_tensors(contents):
    """The keys of entries that are not named tensors."""
    return [
        name
        for name, tensor in contents.items()
        if not (isinstance(name, str) and isinstance(tensor, torch.Tensor))
    ]


def _holds_tensors(value):
    return isinstance(value, dict) and bool(value) and not _no_tensors(value)


def _check_tensors(tensors, path):
    if lora := [name for name in tensors if LORA.search(name)]:
        raise ValueError(
            f"{path} holds LoRA layers ({some(lora)}), not a plain model: merge them "
            "first (merge_lora, or merge_and_unload in PEFT) and save the result"
        )
    size = path.stat().st_size
    kinds = {name: _defect(tensor, size) for name, tensor in tensors.items()}
    wrong = [f"{shown(name)}: {kind}" for name, kind in kinds.items() if kind]
    if wrong:
        raise ValueError(
            f"{path} has tensors that cannot be weights ({some(wrong)}): save plain, "
            "dense float tensors"
        )


def _defect(tensor, size):
    """Why a tensor cannot be a weight, or None; `size` is the file's, in bytes."""
    if tensor.is_nested or tensor.layout != torch.strided:
        return "sparse or nested"
    if tensor.is_meta:
        return "without numbers"
    if tensor.is_quantized or tensor.dtype not in DTYPES:
        return str(tensor.dtype).removeprefix("torch.")
    return "more numbers than are in the file" if tensor.nbytes > size else None


def _settings_in(contents):
    """Numbers and strings that a training script saved with the weights, by name.

    Outer dicts take precedence over inner ones, and nanoGPT's model_args over all: they
    describe the model, its config only the command. Each dict is read once, since a
    malicious file may nest one in itself a thousand times.
    """
    found, last, seen, queue = {}, {}, set(), [("", contents, 0)]
    for name, value, depth in queue:
        if not isinstance(value, dict) or id(value) in seen or depth > 2:
            continue
        seen.add(id(value))
        own = {n: v for n, v in value.items() if isinstance(n, str) and _is_scalar(v)}
        last = own if name == "model_args" else last
        for key, number in own.items():
            found.setdefault(key, number)
        queue += [(n, v, depth + 1) for n, v in value.items()]
    return found | last


def _is_scalar(value):
    return isinstance(value, str | int | float)


def _heads(settings):
    return [settings[name] for name in HEADS if settings.get(name) is not None]


def check_task(settings: dict[str, Any], path: str | Path) -> dict[str, Any]:
    """The settings, after a check of those that describe a finetuned model's task."""
    names = settings.get("id2label")
    words = [*names, *names.values()] if isinstance(names, dict) else ()
    wrong = names is not None and not isinstance(names, dict)
    if wrong or not all(isinstance(word, str) for word in words):
        raise ValueError(
            f'{path}: id2label must name each class, as in {{"0": "ham"}}, got '
            f"{quoted(names)}: correct it"
        )
    task = settings.get("finetuning_task")
    if task is not None and not isinstance(task, str):
        raise ValueError(
            f"{path}: finetuning_task must be a name, got {quoted(task)}: correct it"
        )
    absent = [n for n in ("id2label", "finetuning_task") if settings.get(n) is None]
    return {n: value for n, value in settings.items() if n not in absent}


def read_adapter(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors of a LoRA adapter, and the metadata in its header.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a safetensors file, or PEFT's.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give the file that save_lora wrote")
    start = _start(path)
    if not _is_safetensors(start):
        raise ValueError(_not_weights(path, recognise(path.name, start)))
    try:
        with safe_open(path, "pt") as file:
            facts, tensors = file.metadata() or {}, {}
            for name in file.keys():  # noqa: SIM118
                tensors[name] = file.get_tensor(name)
    except SafetensorError as error:
        raise ValueError(_damaged(path, error)) from error
    if any(name.startswith("base_model.") for name in tensors):
        raise ValueError(_not_weights(path, recognise("adapter_model.")))
    return tensors, facts


def write_tensors(
    tensors: dict[str, torch.Tensor],
    path: Path,
    metadata: dict[str, str] | None = None,
) -> None:
    """Writes a safetensors file.

    Raises:
        OSError: no space left, or no permission.
    """
    try:
        save_file(tensors, path, metadata)
    except SafetensorError as error:
        raise OSError(f"{path.parent} could not be written: {error}") from error
