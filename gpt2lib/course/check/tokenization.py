"""The checkers of chapter 1: tokenization."""

import random

import torch

from gpt2lib.course.check.report import WrongAnswer, exercise, expect
from gpt2lib.data import sliding_windows
from gpt2lib.tokenizer import BPETokenizer

TRAINING_TEXT = "the tide, the tide turns; the other tide returned to the house"


def _listed(given):
    """A list from any sequence; anything else as it is."""
    return list(given) if hasattr(given, "__iter__") else given


@exercise
def most_frequent_pair(answer):
    rng = random.Random(0)
    drawn = [[rng.randrange(3) for _ in range(30)] for _ in range(3)]
    for ids in (
        [3, 1, 2, 1, 2],
        [7, 8, 4, 4, 4, 7],
        [9, 1, 1, 9, 1, 9, 1],
        [5, 6, 1, 2],
        [5, 7, 5, 6],  # ties in the first element
        [300, 20, 3, 100, 5],
        *drawn,
    ):
        pairs = list(zip(ids, ids[1:]))
        wanted = max(sorted(set(pairs)), key=pairs.count)
        before = list(ids)
        expect(f"most_frequent_pair({ids})", _listed(answer(ids)), list(wanted))
        expect("ids after the call", ids, before)


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
        given = _listed(answer(word, merges))
        expect(f"encode_word({word}, merges) with merges\n{merges}\n", given, tokens)
    given = _listed(answer(b"abc", merges[:2]))
    expect(f"encode_word(b'abc', {merges[:2]})", given, [b"a", b"bc"])
    twice = [(b"a", b"a"), (b"aa", b"aa")]
    for word in (b"aaa", b"aaaaa", b"aaaaaaa"):
        call = f"encode_word({word}, {twice})"
        expect(call, _listed(answer(word, twice)), _encode(word, twice))
    learned = BPETokenizer.train(TRAINING_TEXT, 290).merges
    for word in (b" returned", "thé".encode(), b"tetetide", b"x"):
        before = list(learned)
        call = f"encode_word({word}, merges) with merges\n{learned}\n"
        expect(call, _listed(answer(word, learned)), _encode(word, learned))
        expect("merges after the call", learned, before)


def _encode(word, merges):
    tokens = [bytes([byte]) for byte in word]
    for left, right in merges:
        tokens = _merge(tokens, left, right)
    return tokens


def _merge(tokens, left, right):
    merged = []
    for token in tokens:
        if merged and (merged[-1], token) == (left, right):
            merged[-1] = left + right
        else:
            merged.append(token)
    return merged


@exercise
def train_bpe(answer):
    rng = random.Random(1)
    drawn = {bytes(rng.choices(b"abc", k=9)): rng.randrange(1, 5) for _ in range(6)}
    for pieces, n_merges in (
        ({b"low": 1, b" lower": 1, b" lowest": 1, b" slow": 1}, 3),
        ({b"ab": 1, b" cd": 5, b"cd": 2}, 3),  # counts of pieces count
        ({b"xa": 1, b"ay": 1, b"ab": 1, b"ba": 1}, 4),  # ties
        ({b"aaaa": 2, b"aaa": 1}, 2),
        ({b"to": 3}, 5),  # runs out of pairs
        (drawn, 12),
    ):
        before = dict(pieces)
        given = _listed(answer(pieces, n_merges))
        expect(f"train_bpe({before}, {n_merges})", given, _train(before, n_merges))
        expect("pieces after the call", pieces, before)


def _train(pieces, n_merges):
    split = {piece: [bytes([byte]) for byte in piece] for piece in pieces}
    merges = []
    for _ in range(n_merges):
        counts = {}
        for piece, tokens in split.items():
            for pair in zip(tokens, tokens[1:]):
                counts[pair] = counts.get(pair, 0) + pieces[piece]
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        split = {piece: _merge(tokens, *best) for piece, tokens in split.items()}
        merges.append(best)
    return merges


@exercise
def join_documents(answer):
    tokenizer = BPETokenizer.train("the tide, the tide", vocab_size=264)
    for texts in (
        ["the tide", "<|endoftext|>the", "tide"],
        ["ηχώ", "", "a <|endoftext|>"],
        ["tide"],
    ):
        wanted = []
        for text in texts:
            wanted += [*tokenizer.encode_ordinary(text), tokenizer.eot_token]
        before = list(texts)
        given = _listed(answer(tokenizer, texts))
        smuggled = tokenizer.encode(
            "".join(f"{t}<|endoftext|>" for t in texts), allowed_special="all"
        )
        slips = [
            ("a text smuggled in an end of text", smuggled),
            ("the last text has no end", wanted[:-1]),
        ]
        expect(f"join_documents(tokenizer, {texts})", given, wanted, slips)
        expect("texts after the call", texts, before)


@exercise
def windows(answer):
    for length, context_length, stride in (
        (6, 2, 2),
        (9, 4, 2),
        (10, 3, 3),
        (10, 3, 5),
        (7, 2, 1),
        (4, 3, 2),
    ):
        ids = [(7 * n) % 50 + 3 for n in range(length)]
        inputs, targets = sliding_windows(torch.tensor(ids), context_length, stride)
        wanted = list(zip(inputs.tolist(), targets.tolist()))
        call = f"windows({ids}, {context_length}, {stride})"
        before = list(ids)
        expect(call, _listed(answer(ids, context_length, stride)), wanted)
        expect("ids after the call", ids, before)
    given = answer([1, 2, 3], 3, 1)
    expect("windows([1, 2, 3], 3, 1), where no window fits", _listed(given), [])


@exercise
def bytes_per_token(answer):
    tokenizer = BPETokenizer.train("the tide, the tide", vocab_size=264)
    for text in ("the tide", "ηχώ", "tide 🌊", "naïve tide\n", "x"):
        wanted = len(text.encode()) / len(tokenizer.encode(text))
        expect(f"bytes_per_token(tokenizer, {text!r})", answer(tokenizer, text), wanted)


@exercise
def mended_encoder(answer):
    """Other merges and pieces than those of the chapter."""
    rng = random.Random(2)
    word = b"abcabc"
    pieces = [word, b"abab", *(bytes(rng.choices(b"abc", k=8)) for _ in range(20))]
    merges = [(b"b", b"c"), (b"a", b"b"), (b"c", b"a"), (b"ca", b"bc"), (b"a", b"bc")]
    learned = BPETokenizer.train(TRAINING_TEXT, 290).merges
    words = [b" returned", b"tetetide", b"otherhouse", b"x", b""]
    for known, parts in ((merges, pieces), (learned, words)):
        ranks = {pair: rank for rank, pair in enumerate(known)}
        for piece in parts:
            given = _listed(answer(piece, ranks))
            call = f"mended({piece}, ranks) with ranks\n{ranks}\n"
            if isinstance(given, list) and b"".join(map(_bytes, given)) != piece:
                raise WrongAnswer(f"{call} gave {given}, which is another text")
            expect(call, given, _encode(piece, known))


def _bytes(token):
    return token if isinstance(token, bytes) else b"?"
