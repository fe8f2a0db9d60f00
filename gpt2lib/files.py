"""Where weights and data are, and files written whole or not at all."""

import os
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

# The project's folder; where only the package was installed, what came with it.
ROOT = Path(__file__).resolve().parent.parent
if not (ROOT / "bin" / "pocket").is_dir():
    ROOT = Path(sysconfig.get_path("data")) / "share" / "gpt2lib"
BIN = ROOT / "bin"
DATA = ROOT / "data"


def find_model(name_or_path: str | Path) -> Path:
    """The folder or file of a model: a name in bin/, with or without .pth, or a path.

    A name in bin/ comes first; the text ./NAME always means the current folder, but a
    Path loses its dot.

    Raises:
        FileNotFoundError: there is none; the message lists the models in bin/.
    """
    if not isinstance(name_or_path, str | os.PathLike):
        kind = type(name_or_path).__name__
        raise TypeError(f"a model is found by its name or path, not by a {kind}")
    given = str(name_or_path)
    is_name = given == Path(given).name != ".."
    in_bin = (BIN / given, BIN / f"{given}.pth") if is_name else ()
    for path in (*in_bin, Path(given)):
        if given and path.exists() and path.resolve() != BIN:
            return path
    present = sorted(
        path.name
        for path in BIN.glob("[!.]*")
        if path.is_dir() or path.suffix in (".pth", ".pt", ".safetensors", ".bin")
    )
    raise FileNotFoundError(
        f"no model at {given!r}, neither as a path nor in {BIN}, which has: "
        f"{', '.join(present) or 'nothing yet'}. 'python -m gpt2lib download NAME' "
        "fetches OpenAI's gpt2, gpt2-medium, gpt2-large and gpt2-xl"
    )


def visible_files(folder: str | Path) -> Iterator[Path]:
    """All files below a folder, sorted, without hidden copies. Links are followed.

    JupyterLab keeps earlier versions in .ipynb_checkpoints, git in .git; macOS writes
    ._a.txt beside a.txt, and a folder __MACOSX into archives.

    Raises:
        FileNotFoundError: a broken link.
    """
    found, seen = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(place))
        below = ((name, os.path.join(place, name)) for name in folders)
        folders[:] = [
            name
            for name, path in below
            if _is_shown(name) and os.path.realpath(path) not in seen
        ]
        found += [Path(place, name) for name in names if _is_shown(name)]
    for path in sorted(found):
        if not path.exists():
            raise FileNotFoundError(f"{path} is a broken link: repair or remove it")
        if path.is_file():
            yield path


def _is_shown(name):
    return not name.startswith(".") and name != "__MACOSX"


def check_given(path: Path) -> None:
    """Raises ValueError for a pipe or device, which cannot be read twice."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ValueError(
            f"{path} is a pipe or a device, but has to be read more than once: save it "
            "to a file first"
        )


def check_named(folder: str | Path) -> None:
    """Raises ValueError if the name of an output folder is empty."""
    if not str(folder).strip():
        raise ValueError("the name of the output folder is empty: give one")


def check_free(folder: str | Path, known: Iterable[str] = ()) -> None:
    """Raises ValueError unless `folder` can be created, or holds only `known` names."""
    check_named(folder)
    folder = Path(folder)
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise ValueError(f"{path} is a file, but {folder} must be a folder")
    if strangers := sorted({path.name for path in folder.glob("[!.]*")} - set(known)):
        raise ValueError(
            f"{folder} already holds {strangers[0]}, which is not overwritten: choose "
            "another folder"
        )


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success, it replaces `path` atomically.

    If the body fails, or the process dies, `path` is unchanged.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.touch()
        usual_mode = temporary.stat().st_mode  # some writers restrict it
        yield temporary
        temporary.chmod(usual_mode)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes a UTF-8 text file, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
