"""The checkers of chapter 2: attention."""

import torch
from torch.nn import functional as F

from gpt2lib.course.check.report import (
    WrongAnswer,
    draw,
    exercise,
    expect,
    unchanged,
)


@exercise
def softmax(answer):
    rows = [[1.0, 2.0], [3.0, 5.0]]
    for scores in ([1.0, 2.0, 3.0], rows, [1000.0, 999.0, -1000.0]):
        x = torch.tensor(scores)
        expect(f"softmax({scores})", answer(x), x.softmax(dim=-1))
    for seed, x in enumerate((3 * draw(1, 2, 3, 5), draw(2, 2, 2, 4).double())):
        x[0] += 800 * seed
        before = x.clone()
        call = f"softmax of shape {tuple(x.shape)}, {x.dtype},"
        expect(call, answer(x), before.softmax(dim=-1))
        unchanged("the scores", x, before)


@exercise
def causal_weights(answer):
    small = torch.tensor([[1.0, 5.0, 2.0], [0.5, -1.0, 3.0], [2.0, 2.0, 0.0]])
    for scores in (small, 4 * draw(3, 5, 5), draw(4, 2, 4, 4), draw(5, 2, 3, 6, 6)):
        future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        wanted = scores.masked_fill(future, -torch.inf).softmax(dim=-1)
        before = scores.clone()
        given = answer(scores)
        shown = scores.tolist() if scores is small else f"scores {tuple(scores.shape)}"
        expect(f"causal_weights({shown})", given, wanted)
        if torch.as_tensor(given).triu(1).count_nonzero():
            raise WrongAnswer("the future must weigh exactly 0; here it is only small")
        unchanged("the scores", scores, before)


@exercise
def split_heads(answer):
    for B, T, C, H in ((1, 3, 8, 2), (2, 3, 8, 2), (3, 2, 12, 4), (2, 4, 6, 1)):
        x = torch.arange(float(B * T * C)).reshape(B, T, C)
        D = C // H
        wanted = torch.stack([x[..., n * D : (n + 1) * D] for n in range(H)], dim=1)
        slips = [
            ("the numbers are in the wrong heads: `view` alone cuts between tokens, "
             "not within each of them", x.reshape(B, H, T, D)),
            ("heads and positions are still in the order (B, T, H, D)",
             x.reshape(B, T, H, D)),
        ]  # fmt: skip
        call = f"split_heads(torch.arange({B * T * C}.0).reshape({B}, {T}, {C}), {H})"
        expect(call, answer(x, H), wanted, slips)


@exercise
def attend_last(answer):
    for T, D in ((1, 4), (3, 4), (6, 4), (5, 9)):
        query, K, V = draw(T, D), draw(T + 10, T, D), draw(T + 20, T, D)
        if D == 9:
            query, K, V = query.double(), K.double(), V.double()
        wanted = F.scaled_dot_product_attention(query[None], K, V)[0]
        unscaled = F.scaled_dot_product_attention(query[None], K, V, scale=1.0)[0]
        by_keys = F.scaled_dot_product_attention(query[None], K, V, scale=T**-0.5)[0]
        slips = [
            ("expected scores divided by √D", unscaled),
            ("expected scores divided by √D, not by √T", by_keys),
        ]
        call = f"attend_last(query, keys, values) with {T} keys of {D} numbers"
        expect(call, answer(query, K, V), wanted, slips)


@exercise
def fuse(answer):
    for C in (2, 3):
        matrices = torch.arange(3.0 * C * C).reshape(3, C, C)
        W_query, W_key, W_value = matrices.double() if C == 3 else matrices
        wanted = torch.cat([W_query, W_key, W_value])
        sideways = torch.cat([W_query, W_key, W_value], dim=1)
        slips = [
            ("the matrices lie side by side; expected one above the other", sideways)
        ]
        call = f"fuse(W_query, W_key, W_value), each ({C}, {C}),"
        expect(call, answer(W_query, W_key, W_value), wanted, slips)


@exercise
def induction_score(answer):
    repeated = [7, 3, 9, 7, 3, 9, 7]
    for seed, (shape, ids) in enumerate(
        (((7, 7), repeated), ((2, 5, 5), [4, 4, 8, 4, 8]), ((2, 3, 7, 7), repeated))
    ):
        pattern = draw(seed, *shape).softmax(dim=-1).tril()
        slips = [
            ("this is the weight on the earlier places of the token itself; expected "
             "that on the token after each of them", _on_repeats(pattern, ids, 0)),
            ("expected the mean over the places whose token occurred before, not over "
             "all", _on_repeats(pattern, ids, 1, every=True)),
        ]  # fmt: skip
        call = f"induction_score(pattern, {ids}) with a pattern {shape}"
        before = pattern.clone()
        given = answer(pattern, list(ids))
        expect(call, given, _on_repeats(pattern, ids, 1), slips)
        unchanged("the pattern", pattern, before)


def _on_repeats(pattern, ids, step, every=False):
    """The mean weight from a repeated token to `step` after its earlier places."""
    sums = []
    for t, id in enumerate(ids):
        places = [s + step for s in range(t) if ids[s] == id]
        if places:
            sums.append(pattern[..., t, places].sum(dim=-1))
    return sum(sums) / (len(ids) if every else len(sums))


def _attention(x, W_query, W_key, W_value, n_heads, scale=None, causal=True, cut=None):
    """Heads side by side (B, T, C), before the output projection; slips by argument."""
    B, T, C = x.shape
    q, k, v = (x @ W.T for W in (W_query, W_key, W_value))
    shape = (B, T, n_heads, C // n_heads)
    q, k, v = (
        t.reshape(B, n_heads, T, -1) if cut else t.reshape(shape).transpose(1, 2)
        for t in (q, k, v)
    )
    heads = F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=scale)
    return heads.transpose(1, 2).reshape(B, T, C)


@exercise
def multi_head(answer):
    for seed, (B, T, C, H) in enumerate(
        ((1, 4, 6, 1), (2, 5, 8, 2), (3, 4, 12, 4), (2, 3, 6, 3))
    ):
        x, given = draw(seed, B, T, C), [draw(seed + 9, 4, C, C)[n] for n in range(4)]
        if seed == 3:
            x, given = x.double(), [W.double() for W in given]
        *three, W_out = given

        def result(W_out=W_out, x=x, three=three, H=H, **slip):
            return _attention(x, *three, H, **slip) @ W_out.T

        slips = [
            ("tokens look at the future", result(causal=False)),
            ("expected scores divided by √D, D = C / H", result(scale=C**-0.5)),
            ("expected scores divided by √D", result(scale=1.0)),
            ("the output projection is missing", result(torch.eye(C).to(x))),
            ("a head got tokens instead of numbers: see split_heads", result(cut=True)),
        ]
        before = x.clone()
        call = f"multi_head(x, …, n_heads={H}) with x {(B, T, C)}"
        expect(call, answer(x, *given, H), result(), slips)
        unchanged("x", x, before)


@exercise
def mended_attention(answer):
    """Other sizes than the chapter's, and the experiment: a later token is changed."""
    for seed, (B, H, T, D) in enumerate(((1, 1, 4, 3), (2, 3, 5, 4), (3, 2, 6, 8))):
        q, k, v = draw(seed, 3, B, H, T, D).double()
        wanted = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        call = f"mended(q, k, v), each {(B, H, T, D)},"
        given = answer(q, k, v)
        if isinstance(given, torch.Tensor) and given.shape == wanted.shape:
            later = [t.clone() for t in (q, k, v)]
            for t in later:
                t[:, :, -1] += 3
            moved = (answer(*later) - given)[:, :, :-1].abs().max()
            if moved > 1e-9:
                raise WrongAnswer(
                    f"{call} still sees the future: with another last token its "
                    f"earlier outputs change by up to {moved:.2g}"
                )
        expect(call, given, wanted)
