"""Wrong and right answers to the exercises of chapter 2."""

import math

import torch
from torch.nn import functional as F

from gpt2lib.attention import MultiHeadAttention, attention_weights
from gpt2lib.course import check


def softmax_of_everything(scores):
    exponentials = (scores - scores.max()).exp()
    return exponentials / exponentials.sum()


def very_negative_scores(scores):
    future = torch.ones_like(scores, dtype=torch.bool).triu(1)
    return scores.masked_fill(future, -20.0).softmax(dim=-1)


def side_by_side(*matrices):
    return torch.cat(matrices, dim=1)


def overflowing_softmax(scores):
    return scores.exp() / scores.exp().sum(dim=-1, keepdim=True)


def zero_scores(scores):
    return scores.tril().softmax(dim=-1)


def cut_off_only(scores):
    return scores.softmax(dim=-1).tril()


def mask_in_place(scores):
    future = torch.ones_like(scores, dtype=torch.bool).triu(1)
    return scores.masked_fill_(future, -torch.inf).softmax(dim=-1)


def view_alone(x, n_heads):
    B, T, C = x.shape
    return x.view(B, n_heads, T, C // n_heads)


def unscaled(query, keys, values):
    return (keys @ query).softmax(dim=-1) @ values


def softmax_in_place(scores):
    scores -= scores.amax(dim=-1, keepdim=True)
    return scores.exp() / scores.exp().sum(dim=-1, keepdim=True)


def softmax_of_rows_of_a_matrix(scores):
    e = (scores - scores.max()).exp()
    return e / e.sum(dim=min(1, scores.ndim - 1), keepdim=True)


def softmax_by_logsumexp(scores):
    return (scores - scores.logsumexp(dim=-1, keepdim=True)).exp()


def softmax_in_float64(scores):
    scores = scores.double()
    e = torch.exp(scores - torch.amax(scores, -1, keepdim=True))
    return e / e.sum(-1, keepdim=True)


def softmax_by_numpy(scores):
    scores = scores.numpy()
    e = 2.718281828459045 ** (scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def causal_for_matrices_only(scores):
    T = len(scores)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    if scores.ndim > 2:
        return scores.softmax(dim=-1)
    return scores.masked_fill(future, -torch.inf).softmax(dim=-1)


def past_masked(scores):
    past = torch.ones_like(scores, dtype=torch.bool).tril(-1)
    return scores.masked_fill(past, -torch.inf).softmax(dim=-1)


def columns_sum_to_one(scores):
    future = torch.ones_like(scores, dtype=torch.bool).triu(1)
    return scores.masked_fill(future, -torch.inf).softmax(dim=-2)


def diagonal_masked_too(scores):
    future = torch.ones_like(scores, dtype=torch.bool).triu(0)
    return scores.masked_fill(future, -torch.inf).softmax(dim=-1).nan_to_num()


def causal_by_cutting(scores):
    weights = scores.softmax(dim=-1).tril()
    return weights / weights.sum(dim=-1, keepdim=True)


def causal_by_adding(scores):
    T = scores.shape[-1]
    mask = torch.full((T, T), float("-inf")).triu(1)
    return torch.softmax(scores.double() + mask, dim=-1)


def causal_by_where(scores):
    lower = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    return torch.where(lower, scores, -math.inf).softmax(-1)


def first_text_only(x, n_heads):
    return torch.stack(x[0].chunk(n_heads, dim=-1))[None]


def no_transpose(x, n_heads):
    return x.unflatten(-1, (n_heads, -1))


def numbers_interleaved(x, n_heads):
    return torch.stack([x[..., n::n_heads] for n in range(n_heads)], dim=1)


def split_by_chunks(x, n_heads):
    return torch.stack(x.chunk(n_heads, dim=-1), dim=1)


def split_by_permute(x, n_heads):
    B, T, C = x.shape
    return x.reshape(B, T, n_heads, C // n_heads).permute(0, 2, 1, 3).contiguous()


def scaled_by_length(query, keys, values):
    return (keys @ query / len(keys) ** 0.5).softmax(dim=-1) @ values


def masked_as_the_first(query, keys, values):
    T, D = keys.shape
    return F.scaled_dot_product_attention(query[None], keys, values, is_causal=True)[0]


def keys_in_place_of_values(query, keys, values):
    return (keys @ query / len(query) ** 0.5).softmax(dim=-1) @ keys


def last_by_a_loop(query, keys, values):
    scores = torch.stack([(query * key).sum() for key in keys]) / len(query) ** 0.5
    weights = torch.softmax(scores, dim=0)
    return sum(weight * value for weight, value in zip(weights, values))


def last_by_torch(query, keys, values):
    return F.scaled_dot_product_attention(query[None], keys, values).squeeze(0)


def keys_first(W_query, W_key, W_value):
    return torch.cat([W_key, W_query, W_value])


def transposed_before_stacking(W_query, W_key, W_value):
    return torch.cat([W_query.T, W_key.T, W_value.T])


def fused_by_vstack(W_query, W_key, W_value):
    return torch.vstack((W_query, W_key, W_value))


def fused_by_filling(*matrices):
    return torch.stack(matrices).flatten(0, 1)


def repeats(ids):
    return [
        (t, [s for s in range(t) if ids[s] == id])
        for t, id in enumerate(ids)
        if id in ids[:t]
    ]


def weight_on_the_token_itself(pattern, ids):
    found = [pattern[..., t, places].sum(dim=-1) for t, places in repeats(ids)]
    return torch.stack(found).mean(dim=0)


def mean_over_all_places(pattern, ids):
    after = [
        pattern[..., t, [s + 1 for s in places]].sum(dim=-1)
        for t, places in repeats(ids)
    ]
    return torch.stack(after).sum(dim=0) / len(ids)


def after_the_last_occurrence_only(pattern, ids):
    after = [pattern[..., t, places[-1] + 1] for t, places in repeats(ids)]
    return torch.stack(after).mean(dim=0)


def one_score_for_all_heads(pattern, ids):
    return induction_by_a_loop(pattern, ids).mean()


def induction_by_a_loop(pattern, ids):
    total, count = 0, 0
    for t, places in repeats(ids):
        count += 1
        for s in places:
            total = total + pattern[..., t, s + 1]
    return total / count


def induction_by_a_mask(pattern, ids):
    ids = torch.tensor(ids)
    same = (ids[:, None] == ids[None]).tril(-1)
    wanted = torch.nn.functional.pad(same, (1, 0))[:, :-1]
    return (pattern * wanted).sum(dim=(-1, -2)) / same.any(dim=1).sum()


def heads_of(x, W_query, W_key, W_value, n_heads, mask=True, scale="D", cut=False):
    B, T, C = x.shape
    q, k, v = x @ W_query.T, x @ W_key.T, x @ W_value.T
    if cut:
        q, k, v = (t.reshape(B, n_heads, T, C // n_heads) for t in (q, k, v))
    else:
        q, k, v = (t.unflatten(-1, (n_heads, -1)).transpose(1, 2) for t in (q, k, v))
    scores = q @ k.mT / {"D": C // n_heads, "C": C, "": 1}[scale] ** 0.5
    if mask:
        future = torch.ones(T, T, dtype=torch.bool).triu(1)
        scores = scores.masked_fill(future, -torch.inf)
    return scores.softmax(dim=-1) @ v


def seeing_the_future(x, Wq, Wk, Wv, Wo, n_heads):
    heads = heads_of(x, Wq, Wk, Wv, n_heads, mask=False)
    return heads.transpose(1, 2).flatten(2) @ Wo.T


def divided_by_the_width(x, Wq, Wk, Wv, Wo, n_heads):
    heads = heads_of(x, Wq, Wk, Wv, n_heads, scale="C")
    return heads.transpose(1, 2).flatten(2) @ Wo.T


def not_divided(x, Wq, Wk, Wv, Wo, n_heads):
    heads = heads_of(x, Wq, Wk, Wv, n_heads, scale="")
    return heads.transpose(1, 2).flatten(2) @ Wo.T


def not_mixed(x, Wq, Wk, Wv, Wo, n_heads):
    return heads_of(x, Wq, Wk, Wv, n_heads).transpose(1, 2).flatten(2)


def cut_between_tokens(x, Wq, Wk, Wv, Wo, n_heads):
    heads = heads_of(x, Wq, Wk, Wv, n_heads, cut=True)
    return heads.transpose(1, 2).flatten(2) @ Wo.T


def put_together_wrongly(x, Wq, Wk, Wv, Wo, n_heads):
    return heads_of(x, Wq, Wk, Wv, n_heads).reshape(x.shape) @ Wo.T


def projected_without_transposing(x, Wq, Wk, Wv, Wo, n_heads):
    heads = heads_of(x, Wq.T, Wk.T, Wv.T, n_heads)
    return heads.transpose(1, 2).flatten(2) @ Wo


def heads_in_a_loop(x, Wq, Wk, Wv, Wo, n_heads):
    D = x.shape[-1] // n_heads
    heads = []
    for n in range(n_heads):
        cut = slice(n * D, (n + 1) * D)
        q, k, v = (F.linear(x, W[cut]) for W in (Wq, Wk, Wv))
        heads.append(attention_weights(q, k, causal=True) @ v)
    return torch.cat(heads, dim=-1) @ Wo.T


def by_the_librarys_layer(x, Wq, Wk, Wv, Wo, n_heads):
    C = len(Wq)
    layer = MultiHeadAttention(C, C, x.shape[1], 0.0, n_heads).to(x.dtype)
    named = {"W_query": Wq, "W_key": Wk, "W_value": Wv, "out_proj": Wo}
    with torch.no_grad():
        layer.out_proj.bias.zero_()
        for name, W in named.items():
            getattr(layer, name).weight.copy_(W)
    return layer(x)


def by_einsum(x, Wq, Wk, Wv, Wo, n_heads):
    q, k, v = (
        torch.einsum("btc,hdc->bhtd", x, W.unflatten(0, (n_heads, -1)))
        for W in (Wq, Wk, Wv)
    )
    scores = torch.einsum("bhqd,bhkd->bhqk", q, k) / math.sqrt(q.shape[-1])
    weights = causal_by_where(scores)
    heads = torch.einsum("bhqk,bhkd->bqhd", weights, v)
    return heads.flatten(2) @ Wo.T


def masked(q, k):
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return scores.masked_fill(future, -torch.inf)


def attention_over_queries(q, k, v):
    return masked(q, k).softmax(dim=-2) @ v


def hidden_by_dividing(q, k, v):
    weights = masked(q, k).softmax(dim=-2)
    return weights / weights.sum(dim=-1, keepdim=True) @ v


def hidden_by_a_second_mask(q, k, v):
    return masked(q, k).softmax(dim=-2).tril() @ v


def hidden_by_even_weights(q, k, v):
    return torch.zeros_like(q @ k.mT).tril() @ v


def mended_over_keys(q, k, v):
    return masked(q, k).softmax(dim=-1) @ v


def mended_by_torch(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


WRONG = [
    (check.softmax, overflowing_softmax, ""),
    (check.softmax, softmax_of_everything, ""),
    (check.softmax, softmax_in_place, "changed the scores"),
    (check.softmax, softmax_of_rows_of_a_matrix, "shape"),
    (check.causal_weights, very_negative_scores, ""),
    (check.causal_weights, zero_scores, ""),
    (check.causal_weights, cut_off_only, ""),
    (check.causal_weights, mask_in_place, "changed the scores"),
    (check.causal_weights, causal_for_matrices_only, ""),
    (check.causal_weights, past_masked, ""),
    (check.causal_weights, columns_sum_to_one, ""),
    (check.causal_weights, diagonal_masked_too, ""),
    (check.fuse, side_by_side, "side by side"),
    (check.fuse, keys_first, ""),
    (check.fuse, transposed_before_stacking, ""),
    (check.split_heads, view_alone, "wrong heads"),
    (check.split_heads, first_text_only, r"has shape \(1, "),
    (check.split_heads, no_transpose, r"order \(B, T, H, D\)"),
    (check.split_heads, numbers_interleaved, "at index"),
    (check.attend_last, unscaled, "divided by √D"),
    (check.attend_last, scaled_by_length, "not by √T"),
    (check.attend_last, masked_as_the_first, ""),
    (check.attend_last, keys_in_place_of_values, ""),
    (check.induction_score, weight_on_the_token_itself, "earlier places of the token"),
    (check.induction_score, mean_over_all_places, "occurred before, not over all"),
    (check.induction_score, after_the_last_occurrence_only, ""),
    (check.induction_score, one_score_for_all_heads, "has shape"),
    (check.multi_head, seeing_the_future, "look at the future"),
    (check.multi_head, divided_by_the_width, "D = C / H"),
    (check.multi_head, not_divided, "divided by √D"),
    (check.multi_head, not_mixed, "output projection"),
    (check.multi_head, cut_between_tokens, "tokens instead of numbers"),
    (check.multi_head, put_together_wrongly, ""),
    (check.multi_head, projected_without_transposing, ""),
    (check.mended_attention, attention_over_queries, "sees the future"),
    (check.mended_attention, hidden_by_dividing, "sees the future"),
    (check.mended_attention, hidden_by_a_second_mask, "sees the future"),
    (check.mended_attention, hidden_by_even_weights, ""),
]

RIGHT = [
    (check.softmax, softmax_by_logsumexp),
    (check.softmax, softmax_in_float64),
    (check.softmax, softmax_by_numpy),
    (check.causal_weights, causal_by_cutting),
    (check.causal_weights, causal_by_adding),
    (check.causal_weights, causal_by_where),
    (check.split_heads, split_by_chunks),
    (check.split_heads, split_by_permute),
    (check.attend_last, last_by_a_loop),
    (check.attend_last, last_by_torch),
    (check.fuse, fused_by_vstack),
    (check.fuse, fused_by_filling),
    (check.induction_score, induction_by_a_loop),
    (check.induction_score, induction_by_a_mask),
    (check.multi_head, heads_in_a_loop),
    (check.multi_head, by_the_librarys_layer),
    (check.multi_head, by_einsum),
    (check.mended_attention, mended_over_keys),
    (check.mended_attention, mended_by_torch),
]
