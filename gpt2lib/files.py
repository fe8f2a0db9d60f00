"""Where weights and data live, and how files get there whole or not at all."""

import fnmatch
import json
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / "bin"
DATA = ROOT / "data"


def find_model(name_or_path) -> Path:
    """The folder or file of a model: a path, or a name in bin/ with or without .pth.

    Raises:
        FileNotFoundError: there is none; the message lists what there is.
    """
    given = Path(name_or_path)
    for path in (given, BIN / given, BIN / f"{name_or_path}.pth"):
        if path.exists() and path.resolve() != BIN:
            return path
    present = sorted(
        path.name
        for path in BIN.glob("[!.]*")
        if path.is_dir() or path.suffix in (".pth", ".pt", ".safetensors", ".bin")
    )
    raise FileNotFoundError(
        f"no model at {name_or_path}, neither as a path nor in {BIN}. There: "
        f"{', '.join(present) or 'nothing yet'}. 'python -m gpt2lib download NAME' "
        f"fetches {', '.join(n for n, s in SOURCES.items() if s.kind == 'model')}"
    )


def visible_files(folder):
    """All files below a folder, sorted, without the copies that programs hide there.

    JupyterLab keeps earlier versions in .ipynb_checkpoints, git in .git, macOS writes
    ._a.txt beside a.txt and a folder __MACOSX into archives.
    """
    folder = Path(folder)
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
        if path.is_file() and not hidden:
            yield path


@contextmanager
def atomic_write(path):
    """Yields a temporary path beside `path`; on success it becomes `path`, at once.

    If the body fails, or the process dies, `path` is as it was before.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.touch()
        usual_mode = temporary.stat().st_mode  # some writers make files private
        yield temporary
        temporary.chmod(usual_mode)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path, text):
    """Writes a UTF-8 text file, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


@dataclass(frozen=True)
class Source:
    """Files of one repository on the Hugging Face hub, and the folder they go to.

    `files` may hold one pattern such as "*.pth", which is looked up on the hub.
    """

    repo: str
    files: tuple[str, ...]
    folder: str
    kind: str = "model"

    @property
    def target(self) -> Path:
        return (BIN if self.kind == "model" else DATA) / self.folder


_GPT2_FILES = ("config.json", "model.safetensors", "vocab.json", "merges.txt")
SOURCES = {
    name: Source(f"openai-community/{name}", _GPT2_FILES, name)
    for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")
} | {
    "seed-weights": Source("Frustrated-B4S1C/gpt-2-from-scratch", ("*.pth",), "."),
    "sms-spam": Source(
        "ucirvine/sms_spam",
        ("plain_text/train-00000-of-00001.parquet",),
        "sms-spam",
        "dataset",
    ),
    "alpaca": Source(
        "yahma/alpaca-cleaned", ("alpaca_data_cleaned.json",), "alpaca", "dataset"
    ),
    "am-reasoning": Source(
        "a-m-team/AM-DeepSeek-R1-Distilled-1.4M",
        ("am_0.9M_sample_1k.jsonl",),
        "am-reasoning",
        "dataset",
    ),
    "tinystories": Source(
        "roneneldan/TinyStories",
        ("TinyStories-valid.txt", "TinyStoriesV2-GPT4-train.txt"),
        "tinystories",
        "dataset",
    ),
    "the-verdict": Source(
        "DarwinAnim8or/the-verdict", ("the-verdict.txt",), "the-verdict", "dataset"
    ),
    "fineweb": Source(
        "kjj0/fineweb10B-gpt2",
        ("fineweb_val_000000.bin", "fineweb_train_000001.bin"),
        "fineweb",
        "dataset",
    ),
}


def download(name, to=None):
    """Fetches weights into bin/ or a data set into data/ and returns its folder.

    An interrupted download goes on where it stopped; a file gets its name only when it
    is whole; nothing goes over the network when everything is there. HF_ENDPOINT and
    HF_HUB_OFFLINE are honoured.

    Args:
        name: one of `SOURCES`.
        to: another folder than the usual one.

    Raises:
        ValueError: a name that is not known.
        FileNotFoundError: the hub has no such repository or file, or being offline.
        ConnectionError: the hub cannot be reached or stopped answering.
    """
    if name not in SOURCES:
        raise ValueError(
            f"nothing to download under the name {name!r}; known: {', '.join(SOURCES)}"
        )
    source = SOURCES[name]
    folder = Path(to) if to is not None else source.target
    record = folder / f".{name}.download.json"
    if _is_complete(source, folder, record):
        return folder
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise FileNotFoundError(
            f"{name} is not complete in {folder} and HF_HUB_OFFLINE is set: unset it "
            "to download"
        )
    files = _fetch(name, source, folder)
    sizes = {file: (folder / file).stat().st_size for file in files}
    write_text(record, json.dumps(sizes, indent=1) + "\n")
    return folder


def _is_complete(source, folder, record):
    """Whether all files are there, with their sizes if a download recorded them."""
    try:
        sizes = dict(json.loads(record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        sizes = dict.fromkeys(source.files)
    try:
        found = {file: (folder / file).stat().st_size for file in sizes}
    except OSError:
        return False
    return bool(found) and all(n and sizes[f] in (n, None) for f, n in found.items())


def _fetch(name, source, folder):
    """Downloads the files of a source and returns their names."""
    from huggingface_hub import errors  # here because it takes a while

    # Read here because the client reads it only once, when it is first imported.
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    try:
        return _fetch_files(source, folder, endpoint.rstrip("/"))
    except errors.HTTPError as error:
        response = getattr(error, "response", None)
        if response is not None and response.status_code in (401, 404):
            raise FileNotFoundError(
                f"{name}: the hub has no {response.url}, or not for you "
                f"({response.status_code})"
            ) from error
        cause = str(error).partition("\n")[0] or type(error).__name__
        raise ConnectionError(
            f"{name} could not be downloaded from {endpoint} ({cause}): check the "
            "connection and run the same again, it goes on where it stopped"
        ) from error


def _fetch_files(source, folder, endpoint):
    from huggingface_hub import HfApi, get_session, hf_hub_url

    files = source.files
    if "*" in files[0]:
        # Fails at once where the listing would try for half a minute.
        get_session().head(endpoint, timeout=10)
        listed = HfApi(endpoint).list_repo_files(source.repo, repo_type=source.kind)
        files = fnmatch.filter(listed, files[0])
        if not files:
            raise FileNotFoundError(f"{source.repo} has no {source.files[0]}")
    for file in files:
        url = hf_hub_url(source.repo, file, repo_type=source.kind, endpoint=endpoint)
        _fetch_file(url, folder / file)
    return files


def _fetch_file(url, path):
    """Downloads a file, unless it is there; what has arrived survives a failure.

    Not with hf_hub_download: it starts over after a failure, takes minutes to report a
    dead line, and believes a file that was truncated just after its download.
    """
    from huggingface_hub import get_hf_file_metadata
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import WeakFileLock, build_hf_headers

    found = get_hf_file_metadata(url)
    if found.etag is None or found.commit_hash is None:
        raise ConnectionError(f"what answers at {url} is not a Hugging Face hub")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{found.etag}.part")
    headers = build_hf_headers(headers={"Accept-Encoding": "identity"})
    with WeakFileLock(path.with_name(f".{path.name}.lock")):  # one process at a time
        if path.is_file() and path.stat().st_size == found.size:
            return
        with open(part, "ab") as file:
            if file.tell() != found.size:
                http_get(url, file, resume_size=file.tell(), headers=headers)
            file.flush()
            os.fsync(file.fileno())
            is_whole = found.size in (None, file.tell())
        if not is_whole:
            part.unlink()
            raise ConnectionError(f"{url} sent another size than it announced")
        os.replace(part, path)
