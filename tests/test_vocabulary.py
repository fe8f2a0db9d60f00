"""Tokenizers as other programs save them: the same ids, or a clear refusal."""

import json
import pickle
import re
import unicodedata
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small import SMALL
from test_tokenizer import NASTY, texts
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, GPT2TokenizerFast

import gpt2lib.tokenizer
from gpt2lib import GPTModel, save_model
from gpt2lib.files import BIN
from gpt2lib.tokenizer import (
    ENDOFTEXT,
    BPETokenizer,
    byte_alphabet,
    get_gpt2_tokenizer,
    load_tokenizer,
    text_to_token_ids,
    token_ids_to_text,
)
from gpt2lib.weights.vocabulary import (
    check_tokenizer_fits,
    cut_long_spaces,
    end_of_text,
    has_tokenizer,
)


@pytest.fixture(params=["pocket", "GPT-2", "with added tokens"])
def saved(request, tmp_path):
    """A folder that transformers saved, its tokenizer, and its special tokens."""
    if request.param == "GPT-2":
        folder = request.getfixturevalue("gpt2_folder")
    else:
        folder = BIN / "pocket"
    theirs, specials = GPT2TokenizerFast.from_pretrained(folder), [ENDOFTEXT]
    if request.param == "with added tokens":
        specials += ["<|user|>", "<|assistant|>", "<pad it>"]
        theirs.add_special_tokens({"additional_special_tokens": specials[1:]})
    theirs.save_pretrained(tmp_path)
    return tmp_path, theirs, specials


def test_a_folder_of_transformers_gives_the_same_ids(saved):
    folder, theirs, specials = saved
    assert not (folder / "vocab.json").exists()
    ours = load_tokenizer(folder)
    assert ours.n_vocab == len(theirs) and [*ours.special_tokens] == specials

    @given(st.lists(st.one_of(texts(), st.sampled_from(specials)), max_size=4))
    @settings(max_examples=1000, deadline=None, database=None)
    def agree(parts):
        text = "".join(parts)
        ids = ours.encode(text, allowed_special="all")
        assert ours.decode(ids) == text
        if all(unicodedata.category(c) != "Cn" for c in text):  # see random_texts
            assert ids == theirs.encode(text)

    agree()
    for text in NASTY:
        assert ours.encode_ordinary(text) == theirs.encode(text)


def test_merges_written_as_texts_and_files_saved_again_are_the_same(saved, tmp_path):
    folder, theirs, _ = saved
    path, ours = folder / "tokenizer.json", load_tokenizer(folder)
    contents = json.loads(path.read_text(encoding="utf-8"))
    contents["model"]["merges"] = [" ".join(m) for m in contents["model"]["merges"]]
    path.write_text(json.dumps(contents), encoding="utf-8-sig")
    again = load_tokenizer(folder)
    assert (again.vocab, again.merges) == (ours.vocab, ours.merges)
    ours.save(folder)  # over what transformers wrote, and would read instead
    assert {p.name for p in folder.iterdir()} >= {"vocab.json", "merges.txt"}
    assert not path.exists()
    third = load_tokenizer(folder)
    assert (third.vocab, third.merges) == (ours.vocab, ours.merges)
    assert third.special_tokens == ours.special_tokens
    reopened = AutoTokenizer.from_pretrained(folder)
    text = f"The clock{ENDOFTEXT} stopped."
    assert reopened.encode(text) == theirs.encode(text)


def test_added_tokens_stand_beside_two_files_too(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    (tmp_path / "added_tokens.json").write_text('{"<|pad|>": 400, "hello": 401}')
    ours = load_tokenizer(tmp_path)
    assert ours.n_vocab == 402 and tokenizer.n_vocab == 400
    assert ours.encode("<|pad|>", allowed_special="all") == [400]
    assert ours.decode([401, 400]) == "hello<|pad|>"
    ours.save(tmp_path)
    assert load_tokenizer(tmp_path).special_tokens == ours.special_tokens


def test_the_one_file_counts_where_both_forms_are_there(tokenizer, story, tmp_path):
    other = BPETokenizer.train(story, 300)
    other.save(tmp_path)
    theirs = GPT2TokenizerFast.from_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    theirs.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path).vocab == other.vocab
    assert AutoTokenizer.from_pretrained(tmp_path).encode(story) == other.encode(story)


# ------------------------------------------------------------------ other kinds


CHANGES = {
    "add_prefix_space True": ("pre_tokenizer", {"add_prefix_space": True}),
    "use_regex False": ("pre_tokenizer", {"use_regex": False}),
    "pre_tokenizer.type 'Sequence'": ("pre_tokenizer", {"type": "Sequence"}),
    "model.type 'Unigram'": ("model", {"type": "Unigram"}),
    "model.type 'WordPiece'": ("model", {"type": "WordPiece"}),
    "byte_fallback True": ("model", {"byte_fallback": True}),
    "dropout 0.1": ("model", {"dropout": 0.1}),
    "end_of_word_suffix '</w>'": ("model", {"end_of_word_suffix": "</w>"}),
    "subword_prefix '##'": ("model", {"continuing_subword_prefix": "##"}),
    "normalizer": ("normalizer", {"type": "Lowercase"}),
    "type 'RobertaProcessing'": ("post_processor", {"type": "RobertaProcessing"}),
    "special_tokens": ("post_processor", {"special_tokens": {"<s>": {"ids": [0]}}}),
    "no vocab with merges": ("model", {"merges": None}),
    "is not two tokens": ("model", {"merges": [["a"]]}),
    "the merge 5": ("model", {"merges": [5]}),
    "the merge ''": ("model", {"merges": [""]}),
    "'<|endoftext|>' is 3071": ("model", {"vocab": {"a": 0}}),
}


@pytest.fixture
def one_file(tmp_path):
    GPT2TokenizerFast.from_pretrained(BIN / "pocket").save_pretrained(tmp_path)
    return tmp_path / "tokenizer.json"


@pytest.mark.parametrize("message", CHANGES)
def test_what_ours_does_not_compute_is_refused_by_name(one_file, message):
    part, change = CHANGES[message]
    contents = json.loads(one_file.read_text(encoding="utf-8"))
    contents[part] = (contents[part] or {}) | change
    one_file.write_text(json.dumps(contents), encoding="utf-8")
    with pytest.raises(ValueError, match=f"byte-level BPE.*{re.escape(message)}"):
        load_tokenizer(one_file.parent)


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ([{"id": 3072, "content": "<m>", "lstrip": True}], "'<m>' sets lstrip"),
        ([{"id": 3072, "content": "m", "single_word": True}], "'m' sets single_word"),
        ([{"id": 7, "content": "<m>"}], "same id"),
        ([{"id": 3072, "content": "!"}], "'!' has two ids"),
        ([{"content": "<m>"}], "id of '<m>' is None"),
        ([{"id": 3072}], "no content"),
        ([5], "no content"),
        (5, "not a list"),
    ],
)
def test_added_tokens_are_checked(one_file, added, message):
    contents = json.loads(one_file.read_text(encoding="utf-8"))
    one_file.write_text(json.dumps(contents | {"added_tokens": added}))
    with pytest.raises(ValueError, match=message):
        load_tokenizer(one_file.parent)


def test_a_wordpiece_tokenizer_of_transformers_is_refused(tmp_path):
    theirs = Tokenizer(models.WordPiece({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    theirs.pre_tokenizer = pre_tokenizers.Whitespace()
    theirs.decoder = decoders.WordPiece()
    theirs.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(
        ValueError, match="model.type 'WordPiece', only 'BPE' is supported"
    ):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("vocab.txt", "WordPiece"),
        ("spiece.model", "SentencePiece"),
        ("tokenizer.model", "SentencePiece"),
        ("sentencepiece.bpe.model", "SentencePiece"),
        ("source.spm", "SentencePiece"),
    ],
)
def test_files_of_other_tokenizers_are_called_by_name(tmp_path, name, kind):
    (tmp_path / name).touch()
    assert has_tokenizer(tmp_path)
    with pytest.raises(ValueError, match=f"{name} is a file of {kind}"):
        load_tokenizer(tmp_path)


def test_a_prefix_space_in_the_tokenizers_config_is_refused(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"add_prefix_space": true}')
    with pytest.raises(ValueError, match="sets add_prefix_space"):
        load_tokenizer(tmp_path)


# ------------------------------------------------------------------ damage


@pytest.mark.parametrize(
    "id", [float("nan"), "7", -1, 10**9, 10**30, 1.0, True, None, [1], {}, 3]
)
def test_ids_that_are_no_rows_of_an_embedding_are_refused(tokenizer, tmp_path, id):
    tokenizer.save(tmp_path)
    vocab = json.loads((tmp_path / "vocab.json").read_text(encoding="utf-8"))
    (tmp_path / "vocab.json").write_text(json.dumps(vocab | {"!": id}))
    with pytest.raises(ValueError, match="id of '!' is|the same id"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("name", ["vocab.json", "tokenizer.json", "merges.txt"])
@pytest.mark.parametrize(
    "contents", [b"[" * 10**6, b'{"a":' * 10**5, b"\xff\xfe{", b"{}", b"\0", None]
)
def test_damaged_files_are_one_clear_error(tokenizer, tmp_path, name, contents):
    tokenizer.save(tmp_path)
    if contents is None:
        with open(tmp_path / name, "wb") as file:
            file.truncate(2**30)
    else:
        (tmp_path / name).write_bytes(contents)
    with pytest.raises(ValueError, match="not a byte-level BPE tokenizer") as error:
        load_tokenizer(tmp_path)
    message = str(error.value)
    assert message.isprintable() and len(message) < 1000


def test_a_vocabulary_without_a_byte_or_a_merged_token_says_so(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    vocab = json.loads((tmp_path / "vocab.json").read_text(encoding="utf-8"))
    for lost in ("Z", "Ġthe"):
        rest = {token: id for token, id in vocab.items() if token != lost}
        (tmp_path / "vocab.json").write_text(json.dumps(rest))
        with pytest.raises(ValueError, match=f"no id.*for '{lost}'"):
            load_tokenizer(tmp_path)


def test_line_ends_of_windows_are_read(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    lines = (tmp_path / "merges.txt").read_bytes().replace(b"\n", b"\r\n")
    (tmp_path / "merges.txt").write_bytes(b"\xef\xbb\xbf" + lines)
    assert load_tokenizer(tmp_path).merges == tokenizer.merges


# ------------------------------------------------------------------ a model's own


@pytest.mark.parametrize("size", [50257, 50304, None, "x"])
def test_gpt2s_is_taken_where_it_can_be_the_models(tmp_path, monkeypatch, size):
    monkeypatch.setattr(gpt2lib.tokenizer, "get_gpt2_tokenizer", lambda: "GPT-2's")
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": size}))
    assert not has_tokenizer(tmp_path)
    assert load_tokenizer(tmp_path) == "GPT-2's"


@pytest.mark.parametrize("size", [65, 3072, 50256, 50305])
def test_gpt2s_is_not_taken_for_a_model_of_another_size(tmp_path, size):
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": size}))
    with pytest.raises(FileNotFoundError, match=f"no tokenizer.*vocab_size {size}"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_must_not_have_more_ids_than_the_model(tokenizer, tmp_path):
    check_tokenizer_fits(tokenizer, 400)
    check_tokenizer_fits(tokenizer, 512)  # padding
    with pytest.raises(ValueError, match="has 400 ids, the model only 399"):
        check_tokenizer_fits(tokenizer, 399)
    tokenizer.save(tmp_path)
    (tmp_path / "m.pth").touch()
    assert has_tokenizer(tmp_path / "m.pth") and has_tokenizer(tmp_path)


def test_who_needs_the_end_of_text_is_told_that_there_is_none(tokenizer):
    assert end_of_text(tokenizer) == 399
    with pytest.raises(ValueError, match="no <|endoftext|>"):
        end_of_text(BPETokenizer.train("text", 260, special_tokens=()))


# ------------------------------------------------------------------ tiktoken


@pytest.fixture(scope="module")
def our_gpt2(gpt2_folder):
    return load_tokenizer(gpt2_folder)


@pytest.mark.parametrize("id", [-1, 50257, 10**6, 2**40])
def test_an_id_without_a_token_is_a_clear_error(our_gpt2, id):
    for tokenizer in (get_gpt2_tokenizer(), our_gpt2):
        with pytest.raises(ValueError, match="no such token|no token has the id"):
            token_ids_to_text(torch.tensor([id]), tokenizer)


@pytest.mark.parametrize("space", [" ", "\n"])
@pytest.mark.parametrize(("before", "after"), [("", "a"), ("a", "")])
def test_a_million_spaces_give_their_ids(our_gpt2, space, before, after):
    """tiktoken alone ends in a RuntimeError or worse, at 1.1 million and a word."""
    text = before + 1_100_000 * space + after
    ids = text_to_token_ids(text, get_gpt2_tokenizer())
    assert ids[0].tolist() == our_gpt2.encode_ordinary(text)
    assert token_ids_to_text(ids, get_gpt2_tokenizer()) == text
    again = pickle.loads(pickle.dumps(get_gpt2_tokenizer()))  # as for a worker
    assert again.encode_ordinary(text) == ids[0].tolist()


def test_all_special_tokens_become_single_ids_as_in_transformers(story, tmp_path):
    tokenizer = BPETokenizer.train(story, 300, ("<|endoftext|>", "<|user|>"))
    save_model(GPTModel(replace(SMALL, vocab_size=300)), tmp_path, tokenizer)
    text = "<|user|>a tide<|endoftext|><|user|>"
    ids = text_to_token_ids(text, load_tokenizer(tmp_path))[0].tolist()
    assert ids.count(tokenizer.special_tokens["<|user|>"]) == 2
    assert ids == AutoTokenizer.from_pretrained(tmp_path).encode(text)


def test_without_further_special_tokens_no_file_says_so(story, tmp_path):
    BPETokenizer.train(story, 300, ("<|endoftext|>", "<|user|>")).save(tmp_path)
    assert (tmp_path / "added_tokens.json").exists()
    BPETokenizer.train(story, 300).save(tmp_path)
    assert not (tmp_path / "added_tokens.json").exists()


def test_a_token_that_no_merges_reach_is_not_used():
    """As in transformers; a and bc are merged last, after a and b are one."""
    vocab = {bytes([byte]): id for id, byte in enumerate(byte_alphabet())}
    vocab |= {b"ab": 256, b"bc": 257, b"abc": 258}
    merges = [(b"a", b"b"), (b"b", b"c"), (b"a", b"bc")]
    tokenizer = BPETokenizer(vocab, merges, {"<|endoftext|>": 259})
    assert tokenizer.encode("abc") == [256, vocab[b"c"]]
    assert tokenizer.encode("bc") == [257]


@pytest.mark.parametrize("setting", ["add_bos_token", "add_eos_token"])
def test_a_tokenizer_that_adds_to_every_text_is_refused(story, tmp_path, setting):
    BPETokenizer.train(story, 300).save(tmp_path)
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps({setting: False}))
    load_tokenizer(tmp_path)
    config.write_text(json.dumps({setting: True}))
    with pytest.raises(ValueError, match=f"tokenizer_config.json sets {setting}"):
        load_tokenizer(tmp_path)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(" \n\x1c\u3000ab.'", max_size=30), st.integers(1, 4))
def test_cutting_at_spaces_changes_no_id(tokenizer, text, times):
    text = text.replace(" ", " " * 5000 * times)
    parts = [*cut_long_spaces(text)]
    ids = [id for part in parts for id in tokenizer.encode_ordinary(part)]
    assert "".join(parts) == text and ids == tokenizer.encode_ordinary(text)
