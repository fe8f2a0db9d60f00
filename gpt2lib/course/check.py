"""Exercises check themselves: one function for each, called with the learner's answer.

A stub that still raises NotImplementedError is "not attempted yet"; a wrong answer
raises WrongAnswer, which says what was given, what came out and what was expected.
"""

import functools
import math

import torch
from torch.nn import functional as F

from gpt2lib.config import GPT2_124M, GPT2_1558M, GPTConfig
from gpt2lib.data import sliding_windows
from gpt2lib.model import TransformerBlock
from gpt2lib.tokenizer import BPETokenizer


class WrongAnswer(AssertionError):
    """Not right yet; shown in a notebook as its message alone."""

    def _render_traceback_(self):
        return [f"✗ {self}"]


def exercise(examine):
    """Turns an examination, which raises WrongAnswer, into a checker that reports."""

    @functools.wraps(examine)
    def check(answer):
        try:
            examine(answer)
        except NotImplementedError:
            print("not attempted yet")
        else:
            print("✓ right")

    return check


def expect(call, given, wanted):
    """Raises WrongAnswer unless `given` is `wanted`, tensors up to rounding."""
    if isinstance(wanted, torch.Tensor):
        if not isinstance(given, torch.Tensor):
            raise WrongAnswer(f"{call} gave {given!r}, a tensor was expected")
        if given.shape != wanted.shape:
            raise WrongAnswer(
                f"{call} has shape {tuple(given.shape)}, expected {tuple(wanted.shape)}"
            )
        right = torch.allclose(given, wanted, atol=1e-5, rtol=1e-4)
    elif isinstance(wanted, float):
        right = math.isclose(given, wanted, rel_tol=1e-4)
    else:
        right = given == wanted
    if not right:
        raise WrongAnswer(f"{call} gave\n{given}\nexpected\n{wanted}")


# ------------------------------------------------------------------- 1 · tokenization


@exercise
def most_frequent_pair(answer):
    for ids in ([3, 1, 2, 1, 2], [7, 8, 4, 4, 4, 7], [9, 1, 1, 9, 1, 9, 1]):
        pairs = list(zip(ids, ids[1:]))
        wanted = max(sorted(set(pairs)), key=pairs.count)
        expect(f"most_frequent_pair({ids})", tuple(answer(ids)), wanted)


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
        expect(f"encode_word({word}, {merges})", list(answer(word, merges)), tokens)
    only_ab = [(b"b", b"c"), (b"a", b"b")]
    expect(f"encode_word(b'abc', {only_ab})", answer(b"abc", only_ab), [b"a", b"bc"])


@exercise
def windows(answer):
    for ids, context_length, stride in ((range(6), 2, 2), (range(9), 4, 2)):
        ids = list(ids)
        inputs, targets = sliding_windows(torch.tensor(ids), context_length, stride)
        wanted = list(zip(inputs.tolist(), targets.tolist()))
        call = f"windows({ids}, {context_length}, {stride})"
        expect(call, [tuple(w) for w in answer(ids, context_length, stride)], wanted)


@exercise
def bytes_per_token(answer):
    tokenizer = BPETokenizer.train("the tide, the tide", vocab_size=264)
    for text in ("the tide", "ηχώ", "tide 🌊"):
        wanted = len(text.encode()) / len(tokenizer.encode(text))
        expect(f"bytes_per_token(tokenizer, {text!r})", answer(tokenizer, text), wanted)


# ---------------------------------------------------------------------- 2 · attention


@exercise
def softmax(answer):
    for scores in ([1.0, 2.0, 3.0], [0.0, 0.0], [1000.0, 999.0, -1000.0]):
        x = torch.tensor(scores)
        expect(f"softmax({scores})", answer(x), x.softmax(dim=-1))


@exercise
def causal_weights(answer):
    scores = torch.tensor([[1.0, 5.0, 2.0], [0.5, -1.0, 3.0], [2.0, 2.0, 0.0]])
    future = torch.ones(3, 3, dtype=torch.bool).triu(1)
    wanted = scores.masked_fill(future, -torch.inf).softmax(dim=-1)
    before = scores.clone()
    expect(f"causal_weights({scores.tolist()})", answer(scores), wanted)
    expect("scores after the call", scores, before)


@exercise
def split_heads(answer):
    x = torch.arange(24.0).reshape(1, 3, 8)
    wanted = torch.stack([x[..., :4], x[..., 4:]], dim=1)
    expect("split_heads(arange(24).reshape(1, 3, 8), 2)", answer(x, 2), wanted)


@exercise
def attend_last(answer):
    generator = torch.Generator().manual_seed(5)
    keys, values = torch.randn(2, 6, 4, generator=generator)
    for T in (1, 3, 6):
        query = torch.randn(4, generator=generator)
        wanted = F.scaled_dot_product_attention(query[None], keys[:T], values[:T])[0]
        call = f"attend_last(query, keys, values) with {T} keys of 4 numbers"
        expect(call, answer(query, keys[:T], values[:T]), wanted)


# ---------------------------------------------------------------------- 3 · GPT block


@exercise
def layer_norm(answer):
    for row in ([1.0, 2.0, 3.0, 6.0], [1e-3, 2e-3, 3e-3, 2e-3], [5.0, 5.0, 5.0, 5.0]):
        x = torch.tensor([row])
        expect(f"layer_norm({[row]})", answer(x), F.layer_norm(x, (4,)))


@exercise
def count_parameters(answer):
    small = GPTConfig(
        vocab_size=100, context_length=16, emb_dim=8, n_heads=2, n_layers=3
    )
    for cfg in (small, GPT2_124M, GPT2_1558M):
        expect(f"count_parameters({cfg})", answer(cfg), cfg.n_params)


@exercise
def block_forward(answer):
    cfg = GPTConfig(emb_dim=8, n_heads=2, n_layers=1, context_length=4, vocab_size=5)
    generator = torch.Generator().manual_seed(6)
    block = TransformerBlock(cfg).eval()
    for weight in block.parameters():
        weight.data = torch.randn(weight.shape, generator=generator)
    x = torch.randn(1, 4, 8, generator=generator)
    with torch.no_grad():
        expect("block_forward(block, x)", answer(block, x), block(x))


@exercise
def kv_cache_bytes(answer):
    for cfg, batch, positions, size in (
        (GPT2_124M, 1, 1024, 4),
        (GPT2_1558M, 8, 10, 2),
    ):
        wanted = 2 * cfg.n_layers * batch * positions * cfg.emb_dim * size
        call = f"kv_cache_bytes(a model with {cfg.n_layers} layers and emb_dim "
        call += f"{cfg.emb_dim}, batch={batch}, positions={positions}, size={size})"
        expect(call, answer(cfg, batch, positions, size), wanted)
