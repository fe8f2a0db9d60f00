"""Downloads through the real client of the hub, from a hub on 127.0.0.1."""

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import huggingface_hub
import pytest
from hub import COMMIT, Hub, etag_of
from huggingface_hub import constants

from gpt2lib import files
from gpt2lib.__main__ import main
from gpt2lib.weights import SOURCES, download

GPT2_FILES = ["config.json", "model.safetensors", "vocab.json", "merges.txt"]
# name -> repository, files, and the folder below bin/ or data/
EXPECTED = {
    name: (f"openai-community/{name}", GPT2_FILES, f"bin/{name}")
    for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")
} | {
    "seed-weights": (
        "Frustrated-B4S1C/gpt-2-from-scratch",
        ["gpt2_124m_compat_openai.pth", "gpt2_355m_compat_openai.pth"],
        "bin",
    ),
    "sms-spam": (
        "datasets/ucirvine/sms_spam",
        ["plain_text/train-00000-of-00001.parquet"],
        "data/sms-spam",
    ),
    "alpaca": (
        "datasets/yahma/alpaca-cleaned",
        ["alpaca_data_cleaned.json"],
        "data/alpaca",
    ),
    "am-reasoning": (
        "datasets/a-m-team/AM-DeepSeek-R1-Distilled-1.4M",
        ["am_0.9M_sample_1k.jsonl"],
        "data/am-reasoning",
    ),
    "tinystories": (
        "datasets/roneneldan/TinyStories",
        ["TinyStories-valid.txt", "TinyStoriesV2-GPT4-train.txt"],
        "data/tinystories",
    ),
    "the-verdict": (
        "datasets/DarwinAnim8or/the-verdict",
        ["the-verdict.txt"],
        "data/the-verdict",
    ),
    "fineweb": (
        "datasets/kjj0/fineweb10B-gpt2",
        ["fineweb_val_000000.bin", "fineweb_train_000001.bin"],
        "data/fineweb",
    ),
    "hellaswag": (
        "datasets/Rowan/hellaswag",
        ["data/validation-00000-of-00001.parquet"],
        "data/hellaswag",
    ),
    "lambada": (
        "datasets/EleutherAI/lambada_openai",
        ["data/lambada_test_en.jsonl"],
        "data/lambada",
    ),
    "wikitext": (
        "datasets/Salesforce/wikitext",
        ["wikitext-2-raw-v1/test-00000-of-00001.parquet"],
        "data/wikitext",
    ),
}
SIZE = 50_000


def repos():
    """What the hub holds: the expected files, each of its own bytes, and a few more."""
    held = {}
    for repo, names, _ in EXPECTED.values():
        some = [f"{repo}/{name}\n".encode() for name in names]
        held[repo] = {n: (s * SIZE)[:SIZE] for n, s in zip(names, some)}
        held[repo] |= {"README.md": b"# Not asked for", "x.pth.txt": b"nor this"}
    return held


def present(folder):
    """Every file below a folder with its content, except hidden ones."""
    paths = [p for p in folder.rglob("*") if p.is_file() and p.name[0] != "."]
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


@pytest.fixture(autouse=True)
def only_this_machine(monkeypatch, tmp_path):
    """No environment or home of the user's, and no host but 127.0.0.1."""
    for variable in os.environ:
        name = variable.upper()
        if name.startswith(("HF_", "HUGGING")) or name.endswith("_PROXY"):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    # The client read its environment when it was imported, perhaps by another test.
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "hf" / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(files, "BIN", tmp_path / "bin")
    monkeypatch.setattr(files, "DATA", tmp_path / "data")
    asked, look_up = set(), socket.getaddrinfo

    def getaddrinfo(host, *args, **kwargs):
        asked.add(host)
        return look_up("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    huggingface_hub.close_session()  # connections of other tests, perhaps by a proxy
    yield
    huggingface_hub.close_session()
    assert asked <= {"127.0.0.1"}


@pytest.fixture
def hub(monkeypatch):
    with Hub(repos()) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def pauses(monkeypatch):
    """The seconds the client would have waited between its tries."""
    seconds = []
    monkeypatch.setattr("time.sleep", seconds.append)
    return seconds


@pytest.fixture
def small_chunks(monkeypatch):
    """The client writes by chunks of 10 MB; with 1 kB, small files show as much."""
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)


# What arrives, and where


@pytest.mark.parametrize("name", EXPECTED)
def test_every_file_arrives_byte_for_byte_and_nothing_else(name, hub, tmp_path):
    repo, names, folder = EXPECTED[name]
    assert download(name) == tmp_path / folder
    assert present(tmp_path / folder) == {n: hub.repos[repo][n] for n in names}


def test_every_known_name_is_tested():
    assert set(EXPECTED) == set(SOURCES)


def test_seed_weights_bring_whatever_pth_the_repository_has(hub, tmp_path):
    hub.repos["Frustrated-B4S1C/gpt-2-from-scratch"] = {"new.pth": b"1", "old.pt": b"2"}
    download("seed-weights")
    assert present(tmp_path / "bin") == {"new.pth": b"1"}


def test_seed_weights_without_any_pth_are_an_error(hub):
    hub.repos["Frustrated-B4S1C/gpt-2-from-scratch"] = {"README.md": b""}
    with pytest.raises(FileNotFoundError, match=r"\*\.pth"):
        download("seed-weights")


def test_another_folder(hub, tmp_path):
    other = tmp_path / "other" / "place"
    assert download("the-verdict", to=str(other)) == other
    assert set(present(tmp_path)) == {"other/place/the-verdict.txt"}


def test_content_may_come_from_another_host(hub, tmp_path):
    with Hub(hub.repos) as hub.storage:
        download("gpt2")
        assert len(hub.storage.requests) == len(GPT2_FILES)
    assert set(present(tmp_path / "bin/gpt2")) == set(GPT2_FILES)


def test_an_endpoint_may_end_with_a_slash(hub, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", hub.url + "/")
    download("seed-weights")
    assert len(present(tmp_path / "bin")) == 2


def test_two_at_once_share_one_download(hub, tmp_path):
    with ThreadPoolExecutor() as pool:
        list(pool.map(download, ["gpt2", "gpt2"]))
    assert [hub.ranges(name) for name in GPT2_FILES] == [[None]] * 4
    assert set(present(tmp_path / "bin/gpt2")) == set(GPT2_FILES)


# What is there already


@pytest.mark.parametrize("name", ["gpt2", "seed-weights"])
def test_a_second_call_asks_nobody(name, hub):
    folder = download(name)
    hub.requests.clear()
    assert download(name) == folder
    assert hub.requests == []
    hub.close()
    assert download(name) == folder


def damage(path, how):
    if how == "deleted":
        path.unlink()
    else:
        os.truncate(path, SIZE // 2)


@pytest.mark.parametrize("how", ["deleted", "truncated"])
def test_only_a_damaged_file_is_fetched_again(how, hub):
    folder = download("gpt2")
    damage(folder / "vocab.json", how)
    hub.requests.clear()
    download("gpt2")
    assert [hub.ranges(name) for name in GPT2_FILES] == [[], [], [None], []]
    hub_has = hub.repos["openai-community/gpt2"]
    assert present(folder)["vocab.json"] == hub_has["vocab.json"]


@pytest.mark.parametrize("how", ["deleted", "truncated"])
def test_a_damaged_file_is_not_believed_without_the_hub(how, hub):
    damage(download("gpt2") / "vocab.json", how)
    hub.status = 503
    for _ in range(2):
        with pytest.raises(ConnectionError):
            download("gpt2")


# Connections that are cut


def test_a_cut_connection_is_resumed(hub, pauses, small_chunks, tmp_path):
    hub.cuts = [SIZE // 2]
    download("the-verdict")
    assert hub.ranges("the-verdict.txt") == [None, f"bytes={SIZE // 2}-"]
    content = hub.repos[EXPECTED["the-verdict"][0]]["the-verdict.txt"]
    assert present(tmp_path) == {"data/the-verdict/the-verdict.txt": content}


@pytest.fixture
def given_up(hub, pauses, small_chunks):
    """A hub that sent config.json, then half the weights, then nothing until now."""
    hub.cuts = [None, SIZE // 2] + [0] * 20
    with pytest.raises(ConnectionError, match=r"gpt2 .*run the same again"):
        download("gpt2")
    hub.cuts = []
    hub.requests.clear()
    return hub


def test_a_hub_that_keeps_cutting_leaves_no_half_file(given_up, tmp_path):
    assert set(present(tmp_path)) == {"bin/gpt2/config.json"}


def test_a_later_call_fetches_only_what_is_missing(given_up, tmp_path):
    download("gpt2")
    rest = f"bytes={SIZE // 2}-"
    asked = [given_up.ranges(name) for name in GPT2_FILES]
    assert asked == [[], [rest], [None], [None]]
    hub_has = given_up.repos["openai-community/gpt2"]
    assert present(tmp_path / "bin/gpt2") == {n: hub_has[n] for n in GPT2_FILES}


def test_halves_of_two_versions_are_not_joined(given_up, tmp_path):
    new = b"new weights" * 5_000
    given_up.repos["openai-community/gpt2"]["model.safetensors"] = new
    download("gpt2")
    assert present(tmp_path / "bin/gpt2")["model.safetensors"] == new


KILLED_WHERE_THE_CLIENT_WOULD_PAUSE = """
import os, signal, sys, time
from huggingface_hub import constants
from gpt2lib import download
constants.DOWNLOAD_CHUNK_SIZE = 1000
time.sleep = lambda _: os.kill(os.getpid(), signal.SIGKILL)
download("the-verdict", to=sys.argv[1])
"""


def test_a_killed_process_leaves_something_to_go_on_from(hub, tmp_path):
    hub.cuts = [SIZE // 2]
    script = [sys.executable, "-c", KILLED_WHERE_THE_CLIENT_WOULD_PAUSE]
    child = subprocess.run([*script, tmp_path / "there"], stderr=subprocess.DEVNULL)
    assert child.returncode == -signal.SIGKILL
    assert present(tmp_path) == {}
    download("the-verdict", to=tmp_path / "there")
    first, second = hub.ranges("the-verdict.txt")
    assert first is None and second.startswith("bytes=")
    content = hub.repos[EXPECTED["the-verdict"][0]]["the-verdict.txt"]
    assert present(tmp_path) == {"there/the-verdict.txt": content}


def test_a_whole_file_without_its_name_needs_no_content(hub, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            download("the-verdict")
    assert present(tmp_path) == {}
    download("the-verdict")
    assert hub.ranges("the-verdict.txt") == [None]


VERDICT = "datasets/DarwinAnim8or/the-verdict"


@pytest.mark.parametrize("sent", [b"x" * SIZE, b"", b"short", b"x" * 2 * SIZE], ids=len)
def test_other_bytes_than_announced_are_refused(sent, hub, tmp_path):
    refused = pytest.raises(ConnectionError, match="another hash than announced")
    with Hub({VERDICT: {"the-verdict.txt": sent}}) as hub.storage, refused:
        download("the-verdict")
    assert present(tmp_path) == {}
    hub.storage = None
    download("the-verdict")
    assert set(present(tmp_path)) == {"data/the-verdict/the-verdict.txt"}


@pytest.mark.parametrize("left", [b"x", b"x" * SIZE, b"x" * (SIZE + 1)], ids=len)
@pytest.mark.parametrize("refuses_ranges", [True, False])
def test_a_part_that_does_not_fit_is_begun_anew(left, refuses_ranges, hub, tmp_path):
    content = hub.repos[VERDICT]["the-verdict.txt"]
    folder = tmp_path / "data" / "the-verdict"
    folder.mkdir(parents=True)
    etag = etag_of("the-verdict.txt", content)
    (folder / f".the-verdict.txt.{etag}.part").write_bytes(left)
    hub.refuses_ranges = refuses_ranges
    download("the-verdict")
    assert present(folder) == {"the-verdict.txt": content}


def test_a_file_changed_to_the_same_length_is_fetched_again(hub, tmp_path):
    folder = download("gpt2")
    kept = present(folder)
    for name in GPT2_FILES:
        (folder / name).write_bytes(b"x" * SIZE)
    download("gpt2")
    assert present(folder) == kept


# Names from outside


@pytest.mark.parametrize(
    "name",
    [
        "../x.pth",
        "a/../../x.pth",
        "..\\x.pth",
        "C:x.pth",
        ".venv/lib/x.pth",
        "a/.x.pth",
        "a//x.pth",
        "/x.pth",
        "./x.pth",
        " x.pth",
        "\x1b[31mx.pth",
        "a\nx.pth",
        "/tmp/x.pth",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(name, hub, tmp_path):
    seed = "Frustrated-B4S1C/gpt-2-from-scratch"
    hub.repos[seed] = {"good.pth": b"1", name: b"2"}
    with pytest.raises(ValueError, match="not a plain relative path") as error:
        download("seed-weights")
    assert str(error.value).isprintable()
    assert present(tmp_path) == {}


def test_a_name_in_a_record_leads_nowhere_either(hub, tmp_path):
    folder = download("the-verdict")
    (tmp_path / "outside").write_bytes(b"1")
    (folder / ".the-verdict.download.json").write_text('{"../../outside": null}')
    hub.requests.clear()
    download("the-verdict")
    assert hub.requests


def test_a_folder_in_the_repository_becomes_one(hub, tmp_path):
    hub.repos["Frustrated-B4S1C/gpt-2-from-scratch"] = {"old models/a.pth": b"1"}
    download("seed-weights")
    assert present(tmp_path / "bin") == {"old models/a.pth": b"1"}


@pytest.mark.parametrize("entry", [{}, {"type": "file"}, [], None, {"path": 3}])
def test_a_listing_that_cannot_be_read_is_said(entry, hub, monkeypatch):
    monkeypatch.setattr("hub._entry", lambda *_: entry)
    with pytest.raises(ConnectionError, match="not a Hugging Face hub"):
        download("seed-weights")


@pytest.mark.parametrize("etag", ["../x", "W/", "abc", "Z" * 64])
def test_an_etag_is_a_hash(etag, hub, tmp_path):
    hub.headers = {"ETag": f'"{etag}"'}
    with pytest.raises(ConnectionError, match="not a Hugging Face hub"):
        download("the-verdict")
    assert present(tmp_path) == {}


def test_all_files_are_of_one_commit(hub):
    download("gpt2")
    asked = [path.split("/resolve/")[1] for method, path, _ in hub.requests]
    assert {path.split("/")[0] for path in asked if "config.json" not in path} == {
        COMMIT
    }


# Failures


def test_no_such_repository(hub):
    hub.repos.clear()
    for name in ("gpt2", "seed-weights"):
        with pytest.raises(FileNotFoundError, match=f"{name}.*{EXPECTED[name][0]}"):
            download(name)


def test_no_such_file(hub):
    del hub.repos["openai-community/gpt2"]["merges.txt"]
    for _ in range(2):  # what did arrive does not pass for all of it
        with pytest.raises(FileNotFoundError, match=r"gpt2.*merges\.txt"):
            download("gpt2")


def test_a_repository_that_wants_a_login(hub):
    hub.status = 401
    with pytest.raises(FileNotFoundError, match="gpt2.*no access"):
        download("gpt2")


@pytest.mark.parametrize("name", ["gpt2", "seed-weights"])
def test_a_hub_out_of_service(name, hub, pauses):
    hub.status = 503
    with pytest.raises(ConnectionError, match=f"{name}.*503"):
        download(name)


@pytest.mark.parametrize("name", ["gpt2", "seed-weights"])
def test_nobody_listening_is_said_at_once(name, hub, pauses, tmp_path):
    hub.close()
    with pytest.raises(ConnectionError, match=f"{name}.*{hub.url}.*refused"):
        download(name)
    assert sum(pauses) < 3
    assert present(tmp_path) == {}


def test_a_server_that_is_no_hub(hub, tmp_path):
    hub.headers = {"ETag": None, "X-Repo-Commit": None}
    with pytest.raises(ConnectionError, match="not a Hugging Face hub"):
        download("gpt2")
    assert present(tmp_path) == {}


def test_trouble_with_the_disk_is_not_blamed_on_the_connection(hub, tmp_path):
    (tmp_path / "a file").touch()
    with pytest.raises(NotADirectoryError):
        download("gpt2", to=tmp_path / "a file" / "folder")


def test_unknown_name():
    with pytest.raises(ValueError, match="nonsense") as error:
        download("nonsense")
    assert all(name in str(error.value) for name in EXPECTED)


# The environment; the client was imported long before


@pytest.mark.parametrize("name", ["gpt2", "seed-weights"])
def test_offline_asks_nobody(name, hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match=f"{name}.*HF_HUB_OFFLINE"):
        download(name)
    assert hub.requests == []


def test_offline_finds_what_is_there(hub, monkeypatch):
    folder = download("gpt2")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert download("gpt2") == folder
    (folder / "vocab.json").unlink()
    with pytest.raises(FileNotFoundError):
        download("gpt2")


def test_each_call_goes_to_the_endpoint_of_its_moment(hub, monkeypatch):
    assert hub.url != constants.ENDPOINT
    download("gpt2")
    with Hub(repos()) as mirror:
        monkeypatch.setenv("HF_ENDPOINT", mirror.url)
        hub.requests.clear()
        for name in ("gpt2-medium", "seed-weights", "alpaca"):
            download(name)
            assert mirror.requests
    assert hub.requests == []


# The command line


def test_the_command_line_prints_the_folder(hub, capsys, tmp_path):
    assert main(["download", "the-verdict"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'data' / 'the-verdict'}\n"


@pytest.mark.parametrize(
    "name, status", [("nonsense", None), ("gpt2", 404), ("gpt2", 503)]
)
def test_the_command_line_fails_in_one_line(name, status, hub, capsys):
    hub.status = status
    assert main(["download", name]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and name in err
