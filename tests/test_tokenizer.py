"""The tokenizer against tiktoken, Hugging Face's Rust code and plain recounting."""

import json
import random
import unicodedata
from collections import Counter

import pytest
import tiktoken
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import GPT2TokenizerFast

import gpt2lib.tokenizer
from gpt2lib.tokenizer import (
    ENDOFTEXT,
    GPT2_PATTERN,
    BPETokenizer,
    SimpleTokenizer,
    byte_alphabet,
    count_pieces,
    get_gpt2_tokenizer,
    learn_merges,
    load_tokenizer,
    text_to_token_ids,
    token_ids_to_text,
)

NASTY = [
    "",
    " ",
    "   ",
    "\n\n\n  \n",
    "  two  spaces \n\n and\t\ttabs  ",
    "I'm you're we've he'll she'd it's don't 'tis I'M DON'T",
    "👩‍🚀👨‍👩‍👧‍👦🏳️‍🌈🕰️",
    "e\u0301 \u0301\u0301 a\u200db\u00a0c\u2003d\u3000e\x85f\x1cg",
    "นาฬิกาบอกว่าน้ำกำลังขึ้น",
    "今日は、世界！ ١٢٣ Ⅷ ½ ② 🄰",
    "<|endoftext|",
    "x" * 3000 + " " * 3000 + "\n" * 100,
    "\x00\x01\x7f\ufeff\ufffd\U0010ffff",
]


def witness_for(tokenizer):
    """tiktoken's Rust encoder with our vocabulary."""
    return tiktoken.Encoding(
        "ours",
        pat_str=GPT2_PATTERN,
        mergeable_ranks=tokenizer.vocab,
        special_tokens=tokenizer.special_tokens,
    )


@pytest.fixture(scope="session")
def witness(tokenizer):
    return witness_for(tokenizer)


PARTS = [*NASTY[1:-2], "the", " tide", "'", "'s", "'ll", "1234", "\u0301", "é"]


def texts():
    """Any Unicode, and mixes of what tokenizers get wrong."""
    return st.one_of(
        st.text(max_size=60),
        st.lists(st.sampled_from(PARTS), max_size=8).map("".join),
    )


def random_texts(count):
    """As `texts`, in a tenth of the time, without reducing what fails.

    Whether a character that Unicode has only now assigned is a letter, libraries of
    different years answer differently; so only known ones are drawn.
    """
    rng = random.Random(0)
    known = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) != "Cn"]
    known = [c for c in known if not 0xD800 <= ord(c) < 0xE000]
    planes = [known[32:127], known[:3000], known]
    for i in range(count):
        if i % 2:
            yield "".join(rng.choices(PARTS, k=rng.randrange(9)))
        else:
            yield "".join(rng.choices(rng.choice(planes), k=rng.randrange(61)))


# ------------------------------------------------------------------- words


def test_simple_tokenizer_returns_known_words_and_marks_unknown_ones():
    tokenizer = SimpleTokenizer.train("The tide, he said, was low.")
    assert (
        tokenizer.decode(tokenizer.encode("The tide was low.")) == "The tide was low."
    )
    unknown = tokenizer.str_to_int["<|unk|>"]
    assert tokenizer.encode("The moon")[1] == unknown
    end = tokenizer.str_to_int[ENDOFTEXT]
    assert tokenizer.encode("low.<|endoftext|>The")[-2] == end


def test_one_special_token_may_be_given_as_a_text():
    tokenizer = BPETokenizer.train("low lower", 260, special_tokens=ENDOFTEXT)
    assert tokenizer.special_tokens == {ENDOFTEXT: tokenizer.eot_token}


def test_special_tokens_in_the_training_text_keep_ids_without_holes():
    tokenizer = SimpleTokenizer.train("the cat.<|endoftext|> <|unk|> the dog")
    assert sorted(tokenizer.str_to_int.values()) == list(range(tokenizer.n_vocab))


# ---------------------------------------------------------------- training


def merge_pair(ids, pair, new):
    """Replaces the pair by `new` wherever it stands, from left to right."""
    merged, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            merged.append(new)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


def recounted_merges(pieces, number):
    """Byte-pair encoding that counts everything again, with the documented tie rule."""
    tokens = [bytes([byte]) for byte in byte_alphabet()]
    words = [[tokens.index(bytes([byte])) for byte in piece] for piece in pieces]
    merges = []
    while len(merges) < number:
        counts = Counter()
        for word, frequency in zip(words, pieces.values()):
            for pair in zip(word, word[1:]):
                counts[pair] += frequency
        if not counts:
            break
        pair = max(counts, key=lambda pair: (counts[pair], -pair[0], -pair[1]))
        left, right = tokens[pair[0]], tokens[pair[1]]
        merges.append((left, right, counts[pair]))
        if left + right not in tokens:
            tokens.append(left + right)
        words = [merge_pair(word, pair, tokens.index(left + right)) for word in words]
    return merges


@given(st.lists(st.text("abé 1", max_size=9), max_size=12))
@settings(max_examples=300, deadline=None)
def test_training_equals_recounting(texts):
    pieces = count_pieces(texts)
    assert list(learn_merges(pieces)) == recounted_merges(pieces, 10**6)


@given(st.lists(st.text("aab", max_size=60), max_size=3))
@settings(max_examples=200, deadline=None)
def test_training_on_repetitions_equals_recounting(texts):
    """Pairs overlap: in "aaa" a pair counts twice and is merged once."""
    pieces = count_pieces(texts)
    assert list(learn_merges(pieces)) == recounted_merges(pieces, 10**6)


def test_training_on_one_long_word_equals_recounting():
    """Once the whole word was gone through for every merge: minutes for 100 kB."""
    word = "".join(random.Random(1).choices("acgt", k=2000)).encode()
    merges = [merge for merge, _ in zip(learn_merges({word: 3}), range(200))]
    assert merges == recounted_merges({word: 3}, 200)
    many = "".join(random.Random(1).choices("acgt", k=100_000))
    assert BPETokenizer.train(many, vocab_size=3072).n_vocab == 3072


def test_training_on_the_story_equals_recounting(story):
    pieces = count_pieces(story[:4000])
    merges = [merge for merge, _ in zip(learn_merges(pieces), range(150))]
    assert merges == recounted_merges(pieces, 150)


def trained_in_rust(text, vocab_size):
    """Hugging Face's trainer, set up as for GPT-2."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[ENDOFTEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


def test_training_equals_hugging_faces_trainer(story):
    theirs = trained_in_rust(story, 1200)
    alphabet = byte_alphabet()
    ours = [
        tuple("".join(alphabet[byte] for byte in token) for token in merge)
        for merge in BPETokenizer.train(story, vocab_size=1200).merges
    ]
    assert ours == [tuple(m) for m in json.loads(theirs.to_str())["model"]["merges"]]


def test_training_gives_bytes_then_merges_then_specials():
    tokenizer = BPETokenizer.train(["low low", "lower"], 259, ("<|a|>", "<|b|>"))
    assert tokenizer.n_vocab == 259
    assert tokenizer.vocab[b"!"] == 0 and tokenizer.vocab[b"lo"] == 256
    assert tokenizer.special_tokens == {"<|a|>": 257, "<|b|>": 258}


def test_training_never_merges_across_a_special_token():
    tokenizer = BPETokenizer.train("ab<|endoftext|>cd" * 9, 300)
    assert b"abcd" not in tokenizer.vocab and b"endoftext" not in tokenizer.vocab


def test_a_vocabulary_without_room_is_refused():
    with pytest.raises(ValueError, match="at least 257.*got 256"):
        BPETokenizer.train("text", vocab_size=256)


# ---------------------------------------------------- encoding and decoding


@given(texts())
@settings(
    max_examples=3000,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_text_comes_back_and_tiktoken_agrees(tokenizer, witness, text):
    ids = tokenizer.encode_ordinary(text)
    assert tokenizer.decode(ids) == text
    assert ids == witness.encode_ordinary(text)


@pytest.mark.parametrize("text", NASTY)
def test_nasty_texts(tokenizer, witness, text):
    ids = tokenizer.encode_ordinary(text)
    assert tokenizer.decode(ids) == text
    assert ids == witness.encode_ordinary(text)


def test_gpt2s_ids_for_twenty_thousand_texts(gpt2_folder):
    ours, gpt2 = BPETokenizer.load(gpt2_folder), get_gpt2_tokenizer()
    assert (ours.n_vocab, ours.eot_token) == (gpt2.n_vocab, gpt2.eot_token)
    assert ours.encode("Every effort moves you") == [6109, 3626, 6100, 345]

    for text in random_texts(20_000):
        ids = ours.encode_ordinary(text)
        assert ids == gpt2.encode_ordinary(text), repr(text)
        assert ours.decode(ids) == text
    for text in NASTY:
        assert ours.encode(text) == gpt2.encode(text)


def test_a_megabyte_without_a_space(tokenizer, witness):
    letters = random.Random(0).choices("abcdeté", k=900_000)
    text = "".join(letters)
    assert len(text.encode()) > 10**6
    ids = tokenizer.encode(text)
    assert ids == witness.encode(text)
    assert tokenizer.decode(ids) == text


def test_cache_of_pieces_is_bounded_and_does_not_change_ids(story):
    tokenizer = BPETokenizer.train(story, vocab_size=300)
    expected = tokenizer.encode(story)
    tokenizer._cache.clear()
    tokenizer._cache.limit = 10
    assert tokenizer.encode(story) == expected
    assert len(tokenizer._cache) <= 10


def test_half_a_surrogate_pair_is_refused_with_its_place(tokenizer):
    with pytest.raises(ValueError, match=r"'\\ud83d', at position 3"):
        tokenizer.encode("abc\ud83d")


@pytest.mark.parametrize("text", [None, 3, b"bytes", ["a", "b"]])
def test_what_is_no_text_is_refused(tokenizer, text):
    with pytest.raises(TypeError, match=f"must be a str, got {type(text).__name__}"):
        tokenizer.encode(text)


def test_bytes_that_are_no_text_are_replaced(tokenizer):
    assert tokenizer.decode([tokenizer.vocab[b"\xff"]]) == "\ufffd"


@pytest.mark.parametrize("bad", [-1, 400, 10**9])
def test_an_unknown_id_is_refused(tokenizer, bad):
    with pytest.raises(ValueError, match=f"no token has the id {bad}.*0 to 399"):
        tokenizer.decode([bad])


# ---------------------------------------------------------- special tokens


@pytest.mark.parametrize(
    ("allowed", "disallowed"),
    [
        (set(), "all"),
        (set(), ()),
        ("all", "all"),
        ("all", ()),
        ({"<|b|>"}, "all"),
        ({"<|b|>"}, ()),
        ({"<|a|>"}, {"<|a|>"}),
        (set(), {"<|b|>"}),
        ({"<|unheard-of|>"}, ()),
    ],
)
@pytest.mark.parametrize("text", ["one<|a|>two", "<|b|><|b|>", "<|a|><|b|>x", "plain"])
def test_special_tokens_are_treated_as_tiktoken_does(allowed, disallowed, text):
    ours = BPETokenizer.train("some text, one two", 300, ("<|a|>", "<|b|>"))
    arguments = {"allowed_special": allowed, "disallowed_special": disallowed}
    try:
        expected = witness_for(ours).encode(text, **arguments)
    except ValueError:
        with pytest.raises(ValueError, match="special token"):
            ours.encode(text, **arguments)
    else:
        assert ours.encode(text, **arguments) == expected
        assert ours.decode(expected) == text


# ------------------------------------------------------------------- files


def test_saved_tokenizer_loads_the_same(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.vocab == tokenizer.vocab
    assert loaded.merges == tokenizer.merges
    assert loaded.special_tokens == tokenizer.special_tokens


def test_transformers_opens_a_saved_tokenizer_and_agrees(tokenizer, tmp_path, story):
    tokenizer.save(tmp_path)
    theirs = GPT2TokenizerFast.from_pretrained(tmp_path)
    for text in [story, *NASTY]:
        assert theirs.encode(text) == tokenizer.encode(text)
    assert theirs.encode("a<|endoftext|>b") == tokenizer.encode(
        "a<|endoftext|>b", allowed_special="all"
    )


def test_a_vocabulary_with_specials_first_loads(tmp_path, story):
    """As Hugging Face's trainer numbers them: ids are not ranks."""
    theirs = trained_in_rust(story, 500)
    theirs.model.save(str(tmp_path))
    ours = BPETokenizer.load(tmp_path)
    assert ours.special_tokens == {ENDOFTEXT: 0}
    assert ours.encode(story) == theirs.encode(story).ids


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no vocab.json and no merges.txt"):
        BPETokenizer.load(tmp_path)


@pytest.mark.parametrize(
    ("vocab", "merges"),
    [
        ("not json", "#version: 0.2\n"),
        ('["a"]', "#version: 0.2\n"),
        ('{"a": 0}', "#version: 0.2\n"),
        (None, "#version: 0.2\na b c\n"),
        (None, "#version: 0.2\na qq\n"),
        (None, "#version: 0.2\n"),
        ('{"!": "0"}', "#version: 0.2\n"),
    ],
)
def test_broken_files_are_refused(tokenizer, tmp_path, vocab, merges):
    tokenizer.save(tmp_path)
    if vocab is not None:
        (tmp_path / "vocab.json").write_text(vocab)
    (tmp_path / "merges.txt").write_text(merges)
    with pytest.raises(ValueError, match="not a byte-level BPE tokenizer"):
        BPETokenizer.load(tmp_path)


def test_without_network_or_cache_the_message_says_what_to_do(monkeypatch):
    def no_network(name):
        raise ConnectionError("no route")

    monkeypatch.setattr(tiktoken, "get_encoding", no_network)
    with pytest.raises(FileNotFoundError, match="TIKTOKEN_CACHE_DIR.*download gpt2"):
        get_gpt2_tokenizer()


def test_a_checkpoint_without_a_tokenizer_gets_gpt2s(tmp_path, monkeypatch):
    (tmp_path / "weights.pth").touch()
    monkeypatch.setattr(gpt2lib.tokenizer, "get_gpt2_tokenizer", lambda: "GPT-2's")
    assert load_tokenizer(tmp_path / "weights.pth") == "GPT-2's"
    assert load_tokenizer(tmp_path) == "GPT-2's"


def test_a_checkpoint_file_gets_the_tokenizer_beside_it(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    (tmp_path / "model.safetensors").touch()
    assert load_tokenizer(tmp_path / "model.safetensors").vocab == tokenizer.vocab


def test_merges_cut_off_after_a_line_are_noticed(tokenizer, tmp_path):
    """Tokens that no merge makes were once taken for special tokens."""
    tokenizer.save(tmp_path)
    lines = (tmp_path / "merges.txt").read_text(encoding="utf-8").splitlines()
    cut = "\n".join(lines[: len(lines) // 2]) + "\n"
    (tmp_path / "merges.txt").write_text(cut, encoding="utf-8")
    with pytest.raises(ValueError, match="merges.txt is cut off"):
        BPETokenizer.load(tmp_path)


def test_a_vocabulary_without_end_of_text_has_none():
    assert BPETokenizer.train("text", 260, special_tokens=()).eot_token is None


# ----------------------------------------------------------------- tensors


def test_text_to_ids_and_back(tokenizer):
    ids = text_to_token_ids("The tide.<|endoftext|>", tokenizer)
    assert ids.dtype == torch.int64 and ids.shape[0] == 1
    assert ids[0, -1] == tokenizer.eot_token
    assert token_ids_to_text(ids, tokenizer) == "The tide.<|endoftext|>"
    assert token_ids_to_text(ids[0], tokenizer) == "The tide.<|endoftext|>"
    assert text_to_token_ids("", tokenizer).shape == (1, 0)


def test_ids_may_be_a_tensor(tokenizer):
    ids = text_to_token_ids("The tide.", tokenizer)[0]
    assert tokenizer.decode(ids) == "The tide."


def test_an_id_that_tiktoken_does_not_have_is_a_clear_error(tokenizer):
    with pytest.raises(ValueError, match="no such token"):
        token_ids_to_text(torch.tensor([[399, 10**6]]), witness_for(tokenizer))


def test_several_rows_at_once_are_refused(tokenizer):
    with pytest.raises(ValueError, match=r"one row.*\(2, 3\)"):
        token_ids_to_text(torch.zeros(2, 3, dtype=torch.int64), tokenizer)
