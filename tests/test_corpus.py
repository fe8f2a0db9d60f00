"""Texts become shards: nothing lost, nothing loaded whole, errors that say where."""

import json
import os
import sys
from array import array
from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2lib.data import ShuffledWindows
from gpt2lib.tokenizer import ENDOFTEXT, BPETokenizer
from gpt2lib.training import TokenShards, corpus, write_shard
from gpt2lib.training import texts as reading
from gpt2lib.training.corpus import make_tokens, open_corpus, tokenize
from gpt2lib.training.texts import read_texts

TALE = "The clock went slow, and nobody knew why. Was it the tide?\n\n" * 30
TOKENIZER = BPETokenizer.train(TALE, 300)


def prepared(data, folder, vocab_size=300):
    make_tokens(data, folder, vocab_size)
    return open_corpus(data, folder)


def ids_of(shards):
    return shards[: len(shards)].tolist()


# ------------------------------------------------------------------------------ reading


def documents(texts):
    """What was read, put together again: a list of documents."""
    return "".join(texts).split(ENDOFTEXT)[:-1]


def test_a_file_is_documents_between_markers(tmp_path):
    path = tmp_path / "tales.txt"
    path.write_text(f"one\n{ENDOFTEXT}\ntwo\n\nlines{ENDOFTEXT}{ENDOFTEXT}three")
    assert documents(read_texts([path])) == ["one\n", "two\n\nlines", "three"]


def test_what_is_left_out_of_a_folder_is_named(tmp_path):
    for name in ("a.txt", "b.jsonl", "c.json", "d.txt.gz", "README.md"):
        (tmp_path / name).write_text("x")
    with pytest.warns(UserWarning, match=r"not c\.json, d\.txt\.gz:"):
        assert len(reading.find_texts(tmp_path)) == 2


def test_a_folder_is_its_texts_in_order_of_name(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "second.txt").write_text("second")
    (tmp_path / "a.jsonl").write_text('{"text": "first"}\n\n{"text": "and a half"}\n')
    (tmp_path / "c.md").write_text("not a text")
    found = reading.find_texts(tmp_path)
    assert documents(read_texts(found)) == ["first", "and a half", "second"]


def test_lines_of_json_hold_documents_as_texts_do(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "CHUNK", 64)
    path = tmp_path / "tales.jsonl"
    texts = [f"one{ENDOFTEXT}\ntwo\r\n", "", "low " * 99]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    pieces = list(read_texts([path]))
    assert documents(pieces) == ["one", "two\r\n", "low " * 99]
    assert max(map(len, pieces)) <= 4 * reading.CHUNK


words = st.lists(
    st.sampled_from(["low", " lower", "\n", "  ", "'ll", " 42", "é", "…", ENDOFTEXT]),
    max_size=60,
)


@settings(deadline=None)
@given(words, st.integers(60, 90))
def test_chunks_give_the_tokens_of_the_whole(tmp_path_factory, words, piece):
    text = "".join(words) + "end"
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(text, encoding="utf-8", newline="")
    whole = [d for d in reading.DOCUMENT_END.split(text) if d]
    expected = [[*TOKENIZER.encode_ordinary(d), TOKENIZER.eot_token] for d in whole]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "CHUNK", piece)
        _, ids = corpus._encode(read_texts([path]), TOKENIZER)
    assert ids.tolist() == list(chain.from_iterable(expected))


@pytest.mark.parametrize("text", ["word " * 10_000, "word" * 10_000])
def test_no_piece_is_much_larger_than_asked(tmp_path, text):
    path = tmp_path / "long.txt"
    path.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "CHUNK", 1000)
        pieces = list(read_texts([path]))
    assert len(pieces) > 5 and max(map(len, pieces)) < 6000
    assert "".join(pieces) == text + ENDOFTEXT


WIDE = [array(kind, range(400)).tobytes() for kind in "iq"]  # of 32 and of 64 bits
LLAMA = array("i", [20240801, 7, 100] + [0] * 353).tobytes()
DEEP = b'{"text": "a", "more": ' + b"[" * 10**5 + b"]" * 10**5 + b"}\n"
REFUSED = [
    ("a.txt", b"", "empty"),
    ("a.txt", b"good\nbad \xff\n", "not UTF-8, first at line 2"),
    ("a.txt", b"good\rbad\r\xff\r", "not UTF-8, first at line 3"),
    ("a.txt", TALE.encode("utf-16"), "is UTF-16"),
    ("a.txt", TALE.encode("utf-16-le"), "NUL"),
    ("a.txt", TALE.encode("utf-16-be"), "NUL"),
    ("a.txt", TALE.encode("utf-32"), "UTF-32"),
    ("a.txt", TALE.encode("utf-32-le"), "NUL"),
    ("a.txt", b"long " * 10**6 + b"\0", "NUL"),
    ("a.csv", b"PK\x03\x04", "is a zip archive"),
    ("a.gz", b"\x1f\x8b\x08\0", "is a compressed file"),
    ("a.jsonl.zst", b"\x28\xb5\x2f\xfd", "is a compressed file"),
    ("a.parquet", b"PAR1 all is ASCII", "is a parquet file"),
    ("a.pdf", b"%PDF-1.7 all is ASCII", "is a PDF"),
    ("a.json", b'[{"text": "good"}]', "holds JSON.*give a .jsonl"),
    ("a.json", b'["good", "better"]', "holds JSON.*give a .jsonl"),
    ("a.txt", b'{"text": "good"}\n{"text": "better"}\n', "holds JSON"),
    ("a.md", b'\xef\xbb\xbf [\n {"id" : 3}]', "holds JSON"),
    ("a.jsonl", b'{"text": "good"}\n{"text": \n', "line 2 is not JSON"),
    ("a.jsonl", b'{"text": "good"}\r{"text": \r', "line 2 is not JSON"),
    ("a.jsonl", b'{"words": "good"}\n', "line 1 is {'words': 'good'}, must be"),
    ("a.ndjson", b'{"text": 3}\n', "line 1 .*must be"),
    ("a.JSONL", b"[" + b'{"text": "good"},' * 99 + b"3]", "line 1 .*must be"),
    ("a.jsonl", b'{"text": "\\ud800"}\n', "line 1 has an unpaired surrogate"),
    ("a.jsonl", b'{"text": "\\u0000"}\n', "NUL"),
    ("a.jsonl", b"[" * 10**5 + b"]" * 10**5, "line 1 is not JSON"),
    ("a.jsonl", DEEP, "line 1 is not JSON"),
    ("a.bin", b"\xff\xff\xff", "cannot be uint16"),
    ("a.BIN", WIDE[0], "holds integers of 32 bits"),
    ("a.bin", WIDE[1], "holds integers of 64 bits"),
    ("a.bin", array("i", range(100_000, 100_400)).tobytes(), "integers of 32 bits"),
    ("a.bin", LLAMA, "holds uint32 ids of Llama 3"),
    ("a.bin", b"version https://git-lfs.github.com/spec/v1\n", "holds text"),
    ("a.bin", "Bytes é… of a text".encode() * 9, "holds text"),
    ("a.bin", b"\x93NUMPY\x01\0" * 9, "holds a NumPy file"),
    ("a.bin", array("H", [299, 9, 300, 8]).tobytes(), "has the id 300, but the"),
]


@pytest.mark.parametrize(("name", "contents", "message"), REFUSED)
def test_what_cannot_be_read_is_named(tmp_path, name, contents, message):
    path = tmp_path / name
    path.write_bytes(contents)
    if path.suffix.lower() == ".bin":
        TOKENIZER.save(tmp_path)
    with pytest.raises(ValueError, match=message) as error:
        prepared(path, tmp_path / "tokens")
    assert name in str(error.value) and "\n" not in str(error.value)


def test_endings_are_known_in_any_case(tmp_path):
    (tmp_path / "a.JSONL").write_text('{"text": "first"}\n')
    (tmp_path / "b.ndjson").write_bytes(b'{"text": "second"}\r{"text": "third"}')
    (tmp_path / "c.TXT").write_bytes(b"a line\rand another")
    (tmp_path / "d.md").write_bytes(b"# given by itself")
    found = reading.find_texts(tmp_path) + reading.find_texts(tmp_path / "d.md")
    read = ["first", "second", "third", "a line\nand another", "# given by itself"]
    assert documents(read_texts(found)) == read


HIDDEN = (
    ".ipynb_checkpoints/a-checkpoint",
    ".git/a",
    "__MACOSX/._a",
    "._a",
    ".a",
    "b/.a",
)


@pytest.mark.parametrize("ending", [".txt", ".jsonl", ".bin"])
def test_hidden_copies_are_no_data(tmp_path, ending):
    for name in (*HIDDEN, "a"):
        path = tmp_path / (name + ending)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"text")
    (tmp_path / "folder.txt").mkdir()
    find = corpus._token_shards if ending == ".bin" else reading.find_texts
    assert find(tmp_path) == [tmp_path / f"a{ending}"]


def test_nothing_to_read_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="no text"):
        make_tokens(tmp_path, tmp_path / "tokens", 300)
    with pytest.raises(FileNotFoundError, match="no text"):
        make_tokens(tmp_path / "missing.txt", tmp_path / "tokens", 300)


# ------------------------------------------------------------------------------- shards


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 65535)), min_size=1), st.data())
def test_shards_are_one_long_sequence(tmp_path_factory, parts, data):
    folder = tmp_path_factory.mktemp("shards")
    paths = [folder / f"{i}.bin" for i in range(len(parts))]
    for path, part in zip(paths, parts):
        write_shard(path, array("H", part))
    shards, whole = TokenShards(paths), list(chain.from_iterable(parts))
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(0, len(whole)))
    assert len(shards) == len(whole)
    assert shards[start:stop].tolist() == whole[start:stop]
    assert shards[:].dtype == torch.int64
    first, rest = shards.split(len(whole) - start)
    assert first[:].tolist() == whole[:start] and rest.tolist() == whole[start:]


def test_public_shards_are_read(tmp_path):
    ids = array("H", [50256, 15496, 995, 65535])
    header = array("i", [20240520, 1, len(ids)] + [0] * 253)
    (tmp_path / "headed.bin").write_bytes(header.tobytes() + ids.tobytes())
    (tmp_path / "bare.bin").write_bytes(ids.tobytes())
    for name in ("headed.bin", "bare.bin"):
        assert ids_of(TokenShards([tmp_path / name])) == ids.tolist()


def test_a_shard_that_is_cut_off_is_refused(tmp_path):
    write_shard(tmp_path / "whole.bin", array("H", range(100)))
    contents = (tmp_path / "whole.bin").read_bytes()
    for size in (-10, -100, 12):  # within the ids, within the header
        (tmp_path / "cut.bin").write_bytes(contents[:size])
        with pytest.raises(ValueError, match=r"cut\.bin announces version 1 and 100"):
            TokenShards([tmp_path / "cut.bin"])
    shards = TokenShards([tmp_path / "whole.bin"])
    os.truncate(tmp_path / "whole.bin", len(contents) - 10)
    assert shards[:95].tolist() == [*range(95)]
    with pytest.raises(OSError, match=r"whole\.bin was cut off while it was read"):
        shards[:]


@pytest.mark.skipif(sys.platform == "win32", reason="its files have no holes")
def test_a_shard_is_read_in_parts_and_not_loaded(tmp_path):
    path = tmp_path / "huge.bin"
    with open(path, "wb") as file:
        file.truncate(2 * 10**12)  # two terabytes, of which nothing is there
    shards = TokenShards([path])
    assert len(shards) == 10**12
    assert shards[10**12 - 3 :].tolist() == [0, 0, 0]


def test_many_cores_write_what_one_does(tmp_path):
    texts = [f"Tale {n}. {TALE}" for n in range(40)]
    pieces = [piece for text in texts for piece in (text, ENDOFTEXT)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "CHUNK", 10_000)
        patch.setattr(corpus, "CHUNK", 10_000)
        patch.setattr(corpus, "SHARD", 5_000)
        tokenize(pieces, TOKENIZER, tmp_path)
    paths = sorted(tmp_path.glob("*.bin"))
    assert len(paths) > 2
    _, expected = corpus._encode(pieces, TOKENIZER)
    assert ids_of(TokenShards(paths)) == expected.tolist()


def test_a_vocabulary_too_large_for_a_shard_is_refused(tmp_path):
    class Huge:
        n_vocab = 100_000

    with pytest.raises(ValueError, match="65536"):
        tokenize(["text"], Huge(), tmp_path)


def test_a_tokenizer_that_ends_no_document_is_refused(tmp_path):
    endless = BPETokenizer(TOKENIZER.vocab, TOKENIZER.merges, {})
    with pytest.raises(ValueError, match="no <|endoftext|>"):
        tokenize(["text"], endless, tmp_path)


class Deadly:
    """A tokenizer that ends the worker process it works in."""

    n_vocab, eot_token = 300, 299

    def encode_ordinary(self, text):
        os._exit(9)


def test_a_worker_that_is_killed_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "CHUNK", 4)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    with pytest.raises(OSError, match="worker process .* was killed"):
        tokenize(["text"] * 9, Deadly(), tmp_path)


# ----------------------------------------------------------------------------- prepared


def test_texts_are_tokenized_once(tmp_path):
    path, folder = tmp_path / "tale.txt", tmp_path / "tokens"
    path.write_text(TALE)
    made = prepared(path, folder)
    ids = TOKENIZER.encode_ordinary(TALE) + [TOKENIZER.eot_token]
    assert ids_of(made.training) + made.validation.tolist() == ids
    assert len(made.validation) == len(ids) // 10
    assert made.tokenizer.decode(ids) == TALE + ENDOFTEXT
    before = (folder / "000000.bin").stat().st_mtime_ns
    make_tokens(path, folder, 300)
    assert (folder / "000000.bin").stat().st_mtime_ns == before
    path.write_text(TALE + TALE)
    assert len(prepared(path, folder).training) > len(made.training)


def test_shards_are_taken_with_the_tokenizer_beside_them(tmp_path):
    TOKENIZER.save(tmp_path)
    write_shard(tmp_path / "train_0.bin", array("H", range(200)))
    write_shard(tmp_path / "val_0.bin", array("H", range(50)))
    taken = prepared(tmp_path, tmp_path / "unused", 3072)
    assert ids_of(taken.training) == list(range(200))
    assert taken.validation.tolist() == list(range(50))
    assert taken.tokenizer.n_vocab == TOKENIZER.n_vocab
    assert not (tmp_path / "unused").exists()


def forget(folder):
    (folder / corpus.RECORD).unlink()
    write_shard(folder / "000007.bin", array("H", [1, 2, 3]))


def cut_shard(folder):
    contents = (folder / "000000.bin").read_bytes()
    (folder / "000000.bin").write_bytes(contents[:-2])


def change_shard(folder):
    ids = array("H", (folder / "000000.bin").read_bytes()[1024:])
    write_shard(folder / "000000.bin", array("H", [9]) + ids[1:])


def change_tokenizer(folder):
    BPETokenizer.train("other " + TALE, 300).save(folder)


def change_text(folder):
    path = folder.parent / "tale.txt"
    path.write_text(path.read_text().replace("tide", "time"))


def claim(folder):
    """What an earlier version wrote down: sizes."""
    (folder / corpus.RECORD).write_text('{"vocab_size": 300, "texts": {"tale.txt": 9}}')


CHANGES = {
    "half made": forget,
    "a shard gone": lambda folder: (folder / "000000.bin").unlink(),
    "a shard cut": cut_shard,
    "a shard changed": change_shard,
    "a shard more": lambda folder: write_shard(folder / "1.bin", array("H", [1, 2])),
    "tokenizer gone": lambda folder: (folder / "vocab.json").unlink(),
    "tokenizer changed": change_tokenizer,
    "text of the same size": change_text,
    "another record": claim,
    "no record": lambda folder: (folder / corpus.RECORD).write_text("[]"),
    "a torn record": lambda folder: (folder / corpus.RECORD).write_text('{"vocab'),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_tokens_that_are_not_of_the_text_are_made_again(tmp_path, change):
    path, folder = tmp_path / "tale.txt", tmp_path / "tokens"
    path.write_text(TALE)
    make_tokens(path, folder, 300)
    change(folder)
    fingerprint = make_tokens(path, folder, 300)
    made, new = open_corpus(path, folder), tmp_path / "new"
    assert fingerprint == make_tokens(path, new, 300)
    assert ids_of(made.training) == ids_of(open_corpus(path, new).training)
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        p.name for p in new.iterdir()
    )


def test_files_that_are_the_same_count_once(tmp_path):
    (tmp_path / "a.txt").write_text(TALE)
    alone = make_tokens(tmp_path, tmp_path / "one", 300)
    (tmp_path / "a copy.txt").write_text(TALE)
    (tmp_path / "moved").mkdir()
    (tmp_path / "a.txt").rename(tmp_path / "moved" / "a.txt")
    assert make_tokens(tmp_path, tmp_path / "two", 300) == alone
    for name in "ab":
        write_shard(tmp_path / "moved" / f"{name}.bin", array("H", range(200)))
    TOKENIZER.save(tmp_path / "moved")
    (tmp_path / "moved" / "a.txt").unlink()
    with pytest.raises(ValueError, match=r"same tokens in a\.bin and b\.bin"):
        make_tokens(tmp_path / "moved", tmp_path / "two", 300)


def test_a_text_that_changes_while_it_is_read_is_said(tmp_path, monkeypatch):
    path = tmp_path / "tale.txt"
    path.write_text(TALE)

    def tokenized(*arguments):
        tokenize(*arguments)
        path.write_text(TALE.replace("tide", "time"))

    monkeypatch.setattr(corpus, "tokenize", tokenized)
    with pytest.raises(OSError, match="changed while it was read"):
        make_tokens(path, tmp_path / "tokens", 300)
    assert not (tmp_path / "tokens" / corpus.RECORD).exists()


@pytest.mark.parametrize("change", [change_shard, change_tokenizer])
def test_tokens_of_another_run_must_be_those_it_made(tmp_path, change):
    (tmp_path / "tale.txt").write_text(TALE)
    folder = tmp_path / "tokens"
    fingerprint = make_tokens(tmp_path / "tale.txt", folder, 300)
    assert make_tokens(folder, tmp_path / "unused", 3072) == fingerprint
    change(folder)
    with pytest.raises(ValueError, match="than its tokens.json says"):
        make_tokens(folder, tmp_path / "unused", 3072)


def test_characters_numbered_by_nanogpt_are_not_gpt2s_tokens(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "gpt2_tokenizer", lambda: TOKENIZER)
    write_shard(tmp_path / "train.bin", array("H", [n % 65 for n in range(999)]))
    with pytest.raises(ValueError, match="has no id above 64.*GPT-2"):
        make_tokens(tmp_path, tmp_path / "tokens", 50257)
    (tmp_path / "meta.pkl").write_bytes(b"never opened")
    for data in (tmp_path, tmp_path / "train.bin"):
        with pytest.raises(ValueError, match="nanoGPT"):
            make_tokens(data, tmp_path / "tokens", 50257)


def test_tokens_of_another_text_are_removed_from_a_relative_folder(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "tokens"
    folder.mkdir()
    write_shard(folder / "000007.bin", array("H", [1, 2, 3]))
    (tmp_path / "tale.txt").write_text(TALE)
    prepared("tale.txt", "tokens")
    assert [path.name for path in folder.glob("*.bin")] == ["000000.bin"]


def test_another_vocabulary_is_another_tokenization(tmp_path):
    path, folder = tmp_path / "tale.txt", tmp_path / "tokens"
    path.write_text(TALE)
    for size in (290, 270):
        assert prepared(path, folder, size).tokenizer.n_vocab == size


def test_a_run_may_write_beside_its_texts(tmp_path):
    (tmp_path / "tale.txt").write_text(TALE)
    folder = tmp_path / "out" / "training" / "tokens"
    ids = ids_of(prepared(tmp_path, folder).training)
    (folder.parent / "metrics.jsonl").write_text('{"step": 1}\n')
    before = (folder / "000000.bin").stat().st_mtime_ns
    assert ids_of(prepared(tmp_path, folder).training) == ids
    assert (folder / "000000.bin").stat().st_mtime_ns == before


def test_shards_and_texts_in_one_folder_are_refused(tmp_path):
    (tmp_path / "tale.txt").write_text(TALE)
    write_shard(tmp_path / "train.bin", array("H", range(9)))
    with pytest.raises(ValueError, match="only one of them"):
        make_tokens(tmp_path, tmp_path / "tokens", 300)


def test_only_a_whole_word_makes_a_shard_held_out(tmp_path):
    TOKENIZER.save(tmp_path)
    write_shard(tmp_path / "medieval_0.bin", array("H", range(100)))
    write_shard(tmp_path / "interval.bin", array("H", range(100, 200)))
    assert len(prepared(tmp_path, tmp_path).training) == 180
    write_shard(tmp_path / "web_val_000000.bin", array("H", range(7)))
    taken = prepared(tmp_path, tmp_path)
    assert (len(taken.training), len(taken.validation)) == (200, 7)


def test_of_a_held_out_shard_alone_a_part_is_to_learn(tmp_path):
    TOKENIZER.save(tmp_path)
    path = tmp_path / "web_val_000000.bin"
    write_shard(path, array("H", range(200)))
    for data in (path, tmp_path):
        taken = prepared(data, tmp_path)
        assert (len(taken.training), len(taken.validation)) == (180, 20)


# ------------------------------------------------------------------------------ windows


@pytest.mark.parametrize("length", [9, 100, 1001])
def test_every_window_comes_once_before_any_comes_again(length):
    windows = ShuffledWindows(torch.arange(length), 4, batch_size=1, seed=3)
    for epoch in range(3):
        steps = range(epoch * len(windows), (epoch + 1) * len(windows))
        starts = sorted(windows.batch(step)[0][0, 0].item() for step in steps)
        assert len(set(starts)) >= len(windows) - 1  # the last may be moved into reach
        assert max(b - a for a, b in zip(starts, starts[1:] or [0])) <= 4
    order = [windows.batch(step)[0][0, 0].item() for step in range(len(windows))]
    assert length < 10 or order != sorted(order)


def test_targets_are_one_ahead_and_batches_follow_from_the_step():
    windows = ShuffledWindows(torch.arange(1000), 16, batch_size=8, seed=1)
    for step in (5, 2, 500):
        inputs, targets = windows.batch(step)
        assert inputs.shape == targets.shape == (8, 16)
        assert torch.equal(inputs + 1, targets)
        again, _ = windows.batch(step)
        assert torch.equal(inputs, again)
    other = ShuffledWindows(torch.arange(1000), 16, batch_size=8, seed=2)
    assert not torch.equal(windows.batch(5)[0], other.batch(5)[0])


def test_windows_begin_where_short_documents_do():
    documents = [[*range(1, 1 + n % 5 + 3), 0] for n in range(200)]
    ids = torch.tensor(list(chain.from_iterable(documents)))
    windows = ShuffledWindows(ids, 12, batch_size=50, document_end=0)
    firsts = windows.batch(0)[0][:, 0]
    assert set(firsts.tolist()) == {0, 1}
    assert 15 < (firsts == 0).sum() < 35
    # A long document is read from everywhere.
    long = ShuffledWindows(torch.arange(1, 5000), 12, batch_size=50, document_end=0)
    assert len(set(long.batch(0)[0][:, 0].tolist())) > 40


def test_too_few_tokens_for_a_window_are_refused():
    with pytest.raises(ValueError, match="9"):
        ShuffledWindows(torch.arange(8), 8, batch_size=1)


def test_links_are_followed_and_never_lost(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "data" / "a.txt").write_text("a")
    (tmp_path / "other" / "b.txt").write_text("b")
    (tmp_path / "data" / "more").symlink_to(tmp_path / "other")
    (tmp_path / "other" / "loop").symlink_to(tmp_path / "data")
    found = [path.name for path in reading.find_texts(tmp_path / "data")]
    assert found == ["a.txt", "b.txt"]
    (tmp_path / "data" / "gone.txt").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="gone.txt is a broken link"):
        reading.find_texts(tmp_path / "data")


@pytest.mark.parametrize("name", ["", " "])
def test_data_without_a_name_is_not_the_current_folder(tmp_path, name):
    with pytest.raises(ValueError, match="path of the data is empty"):
        corpus.make_tokens(name, tmp_path, 300)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="a pipe or a device"):
        reading.find_texts(tmp_path / "pipe")
