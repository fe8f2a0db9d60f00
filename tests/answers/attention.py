"""Wrong and right answers to the exercises of chapter 2."""

import torch

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


WRONG = [
    (check.softmax, overflowing_softmax, ""),
    (check.softmax, softmax_of_everything, ""),
    (check.causal_weights, very_negative_scores, ""),
    (check.fuse, side_by_side, ""),
    (check.causal_weights, zero_scores, ""),
    (check.causal_weights, cut_off_only, ""),
    (check.causal_weights, mask_in_place, ""),
    (check.split_heads, view_alone, ""),
    (check.attend_last, unscaled, "divided by √D"),
]

RIGHT = []
