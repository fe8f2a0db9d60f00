"""Wrong and right answers to the exercises of chapter 3."""

import torch

from gpt2lib.course import check


def whole_batch(x):
    return (x - x.mean()) / torch.sqrt(x.var(correction=0) + 1e-5)


def the_block_itself(block, x):
    return block(x)


def second_shortcut_from_x(block, x):
    return x + block.ff(block.norm2(x + block.att(block.norm1(x))))


def unbiased_variance(x):
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-5)


def eps_outside(x):
    mean, std = x.mean(-1, keepdim=True), x.std(-1, keepdim=True, correction=0)
    return (x - mean) / (std + 1e-5)


def head_counted_twice(cfg):
    return cfg.n_params + cfg.vocab_size * cfg.emb_dim


def post_norm(block, x):
    x = block.norm1(x + block.att(x))
    return block.norm2(x + block.ff(x))


def shortcut_after_norm(block, x):
    x = block.norm1(x)
    x = x + block.att(x)
    x = block.norm2(x)
    return x + block.ff(x)


def keys_only(cfg, batch, positions, size):
    return cfg.n_layers * batch * positions * cfg.emb_dim * size


WRONG = [
    (check.layer_norm, unbiased_variance, ""),
    (check.layer_norm, whole_batch, ""),
    (check.block_forward, the_block_itself, ""),
    (check.block_forward, second_shortcut_from_x, ""),
    (check.layer_norm, eps_outside, ""),
    (check.count_parameters, head_counted_twice, ""),
    (check.block_forward, post_norm, "norm stands after the sum"),
    (check.block_forward, shortcut_after_norm, "norm stands on the shortcut"),
    (check.kv_cache_bytes, keys_only, ""),
]

RIGHT = []
