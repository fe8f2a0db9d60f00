"""Downloads of weights and data sets from the Hugging Face hub, checked by hash."""

import fnmatch
import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from gpt2lib import files
from gpt2lib.weights.untrusted import inside


@dataclass(frozen=True)
class Source:
    """Files of one repository on the Hugging Face hub, and the folder they go to.

    `files` may be one pattern, such as "*.pth", for names listed by the hub.
    """

    repo: str
    files: tuple[str, ...]
    folder: str
    kind: str = "model"

    @property
    def target(self) -> Path:
        return (files.BIN if self.kind == "model" else files.DATA) / self.folder


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
    "hellaswag": Source(
        "Rowan/hellaswag",
        ("data/validation-00000-of-00001.parquet",),
        "hellaswag",
        "dataset",
    ),
    "lambada": Source(
        "EleutherAI/lambada_openai",
        ("data/lambada_test_en.jsonl",),
        "lambada",
        "dataset",
    ),
    "wikitext": Source(
        "Salesforce/wikitext",
        ("wikitext-2-raw-v1/test-00000-of-00001.parquet",),
        "wikitext",
        "dataset",
    ),
}


def download(name: str, to: str | Path | None = None) -> Path:
    """Fetches weights into bin/ or a data set into data/ and returns its folder.

    An interrupted download resumes where it stopped. A file gets its name only once it
    has the hash that the hub announced. If everything is there, the network is not
    used. HF_ENDPOINT and HF_HUB_OFFLINE are honoured.

    Args:
        name: one of `SOURCES`.
        to: a folder to use instead.

    Raises:
        ValueError: an unknown name.
        FileNotFoundError: the hub has no such repository or file, or is switched off by
            HF_HUB_OFFLINE.
        ConnectionError: the hub cannot be reached, stopped answering, is not a Hugging
            Face hub, or sent a file with another hash.
    """
    if name not in SOURCES:
        raise ValueError(
            f"nothing to download under the name {name!r}; known: {', '.join(SOURCES)}"
        )
    source = SOURCES[name]
    folder = Path(to) if to is not None else source.target
    record = _record(name, folder)
    if _is_complete(source, folder, record):
        return folder
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise FileNotFoundError(
            f"{name} is not complete in {folder} and HF_HUB_OFFLINE is set: unset it "
            "to download"
        )
    hashes = _fetch(name, source, folder)
    files.write_text(record, json.dumps(hashes, indent=1) + "\n")
    return folder


def damaged_files(name: str, folder: Path) -> list[str]:
    """The files of a downloaded source that have not the hash of the hub.

    Raises:
        FileNotFoundError: the folder does not come from `download`.
    """
    hashes = json.loads(_record(name, folder).read_text(encoding="utf-8"))
    return [
        file
        for file, hash in hashes.items()
        if not (folder / file).is_file() or not _has_hash(inside(folder, file), hash)
    ]


def _record(name, folder):
    """Where a download writes down what it fetched."""
    return folder / f".{name}.download.json"


def _is_complete(source, folder, record):
    """Whether all files are there, with the hashes that a download recorded, if any."""
    try:
        hashes = dict(json.loads(record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        hashes = dict.fromkeys(source.files)
    try:
        return bool(hashes) and all(
            _has_hash(inside(folder, file), hash) for file, hash in hashes.items()
        )
    except (OSError, ValueError):
        return False


HASH = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")


def _has_hash(path, hash):
    """Whether a file has the hub's hash; if none is known, whether it is not empty.

    The hub gives sha256 for large files, for small ones git's sha1, which covers the
    size too.
    """
    size = path.stat().st_size
    if not HASH.fullmatch(str(hash)):
        return size > 0
    digest = hashlib.sha256()
    if len(hash) == 40:
        digest = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: digest).hexdigest() == hash


def _fetch(name, source, folder):
    """Downloads the files of a source and returns their hashes by name."""
    from huggingface_hub import errors  # imported here since it is slow

    # Read here because the client reads it only once, at its first import.
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    try:
        return _fetch_files(source, folder, endpoint.rstrip("/"))
    except errors.HTTPError as error:
        response = getattr(error, "response", None)
        if response is not None and response.status_code in (401, 404):
            raise FileNotFoundError(
                f"{name}: the hub has no {response.url}, or gives you no access "
                f"({response.status_code})"
            ) from error
        cause = str(error).partition("\n")[0] or type(error).__name__
        raise ConnectionError(
            f"{name} could not be downloaded from {endpoint} ({cause}): check the "
            "connection and run the same again, it resumes where it stopped"
        ) from error


def _fetch_files(source, folder, endpoint):
    from huggingface_hub import hf_hub_url

    names = source.files
    if "*" in names[0]:
        names = _list_files(source, endpoint)
    paths = {name: inside(folder, name) for name in names}
    hashes, commit = {}, None  # all files come from one commit
    for file, path in paths.items():
        url = hf_hub_url(
            source.repo,
            file,
            repo_type=source.kind,
            revision=commit,
            endpoint=endpoint,
        )
        hashes[file], commit = _fetch_file(url, path)
    return hashes


def _list_files(source, endpoint):
    """The names of the files in a repository that match a source's pattern."""
    from huggingface_hub import HfApi, get_session

    # Fails at once; the listing would retry for half a minute.
    get_session().head(endpoint, timeout=10)
    try:
        listed = HfApi(endpoint).list_repo_files(source.repo, repo_type=source.kind)
        names = fnmatch.filter(listed, source.files[0])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ConnectionError(
            f"the server at {endpoint} is not a Hugging Face hub: its listing of "
            f"{source.repo} cannot be read ({type(error).__name__})"
        ) from error
    if not names:
        raise FileNotFoundError(f"{source.repo} has no {source.files[0]}")
    return names


def _fetch_file(url, path):
    """Downloads a file, unless it is there; after a failure, the part is kept.

    Not with hf_hub_download, which starts over after a failure, takes minutes to report
    a dead connection, and accepts a file that was truncated after its download.

    Returns: its hash, and the commit it belongs to
    """
    from huggingface_hub import get_hf_file_metadata
    from huggingface_hub.utils import WeakFileLock

    found = get_hf_file_metadata(url)
    if not HASH.fullmatch(found.etag or "") or found.commit_hash is None:
        raise ConnectionError(f"the server at {url} is not a Hugging Face hub")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{found.etag}.part")
    with WeakFileLock(path.with_name(f".{path.name}.lock")):  # one process at a time
        if not (path.is_file() and _has_hash(path, found.etag)):
            _complete(part, url, found)
            os.replace(part, path)
    return found.etag, found.commit_hash


def _complete(part, url, found):
    """Downloads the rest of a part; if the hash is wrong then, starts over, once."""
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    headers = build_hf_headers(headers={"Accept-Encoding": "identity"})
    with open(part, "ab") as file:
        had = file.tell()
        try:
            if found.size is None or had < found.size:
                http_get(url, file, resume_size=had, headers=headers)
        except HfHubHTTPError as error:
            if not had or error.response.status_code != 416:  # it cannot resume there
                raise
        file.flush()
        os.fsync(file.fileno())
    if _has_hash(part, found.etag):
        return
    part.unlink()
    if had:
        return _complete(part, url, found)
    raise ConnectionError(
        f"{url} sent a file with another hash than announced: run the same again"
    )
