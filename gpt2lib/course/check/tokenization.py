"""The checkers of chapter 1: tokenization."""

import torch

from gpt2lib.course.check.report import WrongAnswer, as_list, exercise, expect
from gpt2lib.data import sliding_windows
from gpt2lib.tokenizer import BPETokenizer


@exercise
def most_frequent_pair(answer):
    for ids in (
        [3, 1, 2, 1, 2],
        [7, 8, 4, 4, 4, 7],
        [9, 1, 1, 9, 1, 9, 1],
        [5, 6, 1, 2],
    ):
        pairs = list(zip(ids, ids[1:]))
        wanted = max(sorted(set(pairs)), key=pairs.count)
        expect(f"most_frequent_pair({ids})", as_list(answer(ids)), list(wanted))


@exercise
def encode_word(answer):
    merges = [(b"b", b"c"), (b"a", b"b"), (b"a", b"bc"), (b"abc", b"abc")]
    wanted = {
        b"ab": [b"ab"],
        b"abc": [b"abc"],
        b"abb": [b"ab", b"b"],
        b"abcabc": [b"abcabc"],
        b"cab": [b"c", b"ab"],
    }
    for word, tokens in wanted.items():
        given = as_list(answer(word, merges))
        expect(f"encode_word({word}, merges) with merges\n{merges}\n", given, tokens)
    given = as_list(answer(b"abc", merges[:2]))
    expect(f"encode_word(b'abc', {merges[:2]})", given, [b"a", b"bc"])


@exercise
def join_documents(answer):
    tokenizer = BPETokenizer.train("the tide, the tide", vocab_size=264)
    texts = ["the tide", "<|endoftext|>the", "tide"]
    wanted = []
    for text in texts:
        wanted += [*tokenizer.encode_ordinary(text), tokenizer.eot_token]
    try:
        given = as_list(answer(tokenizer, texts))
    except ValueError as error:
        raise WrongAnswer(
            f"join_documents(tokenizer, {texts}) raised: {error}"
        ) from None
    smuggled = tokenizer.encode(
        "".join(f"{t}<|endoftext|>" for t in texts), allowed_special="all"
    )
    slips = [
        ("the second text smuggled in an end of text", smuggled),
        ("the last text has no end", wanted[:-1]),
    ]
    expect(f"join_documents(tokenizer, {texts})", given, wanted, slips)


@exercise
def windows(answer):
    for ids, context_length, stride in ((range(6), 2, 2), (range(9), 4, 2)):
        ids = list(ids)
        inputs, targets = sliding_windows(torch.tensor(ids), context_length, stride)
        wanted = list(zip(inputs.tolist(), targets.tolist()))
        call = f"windows({ids}, {context_length}, {stride})"
        given = as_list(answer(ids, context_length, stride))
        expect(call, given and [tuple(window) for window in given], wanted)


@exercise
def bytes_per_token(answer):
    tokenizer = BPETokenizer.train("the tide, the tide", vocab_size=264)
    for text in ("the tide", "ηχώ", "tide 🌊"):
        wanted = len(text.encode()) / len(tokenizer.encode(text))
        expect(f"bytes_per_token(tokenizer, {text!r})", answer(tokenizer, text), wanted)
