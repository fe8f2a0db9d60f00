"""The checkers of chapter 2: attention."""

import torch
from torch.nn import functional as F

from gpt2lib.course.check.report import WrongAnswer, exercise, expect


@exercise
def softmax(answer):
    rows = [[1.0, 2.0], [3.0, 5.0]]
    for scores in ([1.0, 2.0, 3.0], rows, [1000.0, 999.0, -1000.0]):
        x = torch.tensor(scores)
        expect(f"softmax({scores})", answer(x), x.softmax(dim=-1))


@exercise
def causal_weights(answer):
    scores = torch.tensor([[1.0, 5.0, 2.0], [0.5, -1.0, 3.0], [2.0, 2.0, 0.0]])
    future = torch.ones(3, 3, dtype=torch.bool).triu(1)
    wanted = scores.masked_fill(future, -torch.inf).softmax(dim=-1)
    before = scores.clone()
    given = answer(scores)
    expect(f"causal_weights({scores.tolist()})", given, wanted)
    if given.triu(1).count_nonzero():
        raise WrongAnswer("the future was expected to be exactly 0, it is only small")
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
        K, V = keys[:T], values[:T]
        wanted = F.scaled_dot_product_attention(query[None], K, V)[0]
        unscaled = F.scaled_dot_product_attention(query[None], K, V, scale=1.0)[0]
        slips = [("expected scores divided by √D", unscaled)]
        call = f"attend_last(query, keys, values) with {T} keys of 4 numbers"
        expect(call, answer(query, K, V), wanted, slips)


@exercise
def fuse(answer):
    W_query, W_key, W_value = torch.arange(12.0).reshape(3, 2, 2)
    wanted = torch.cat([W_query, W_key, W_value])
    sideways = torch.cat([W_query, W_key, W_value], dim=1)
    slips = [("the matrices lie side by side; expected one above the other", sideways)]
    expect(
        "fuse(W_query, W_key, W_value)", answer(W_query, W_key, W_value), wanted, slips
    )
