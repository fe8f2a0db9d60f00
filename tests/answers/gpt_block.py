"""Wrong and right answers to the exercises of chapter 3."""

import dataclasses
import math

import torch
from torch.nn import functional as F

from gpt2lib.attention import attention_weights
from gpt2lib.config import GPTConfig
from gpt2lib.course import check
from gpt2lib.generate import generate
from gpt2lib.model import TransformerBlock
from gpt2lib.model import gelu as gelu_by_tanh


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


def over_positions(x):
    dim = 1 if x.ndim == 3 else -1
    mean, variance = x.mean(dim, keepdim=True), x.var(dim, keepdim=True, correction=0)
    return (x - mean) / torch.sqrt(variance + 1e-5)


def norm_in_place(x):
    x -= x.mean(-1, keepdim=True)
    return x / torch.sqrt(x.var(-1, keepdim=True, correction=0) + 1e-5)


def without_eps(x):
    spread, mean = torch.var_mean(x, dim=-1, keepdim=True, correction=0)
    return ((x - mean) / spread.sqrt()).nan_to_num()


def norm_by_moments(x):
    x = x.double()
    mean = x.mean(-1, keepdim=True)
    variance = (x * x).mean(-1, keepdim=True) - mean**2
    return (x - mean) * torch.rsqrt(variance + 1e-5)


def norm_by_numpy(x):
    x = x.numpy()
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / (variance + 1e-5) ** 0.5


def without_biases(cfg):
    C = cfg.emb_dim
    return (cfg.vocab_size + cfg.context_length) * C + 12 * cfg.n_layers * C * C


def without_the_final_norm(cfg):
    return cfg.n_params - 2 * cfg.emb_dim


def counted_by_formula(cfg):
    C, L = cfg.emb_dim, cfg.n_layers
    return C * (cfg.vocab_size + cfg.context_length + 2) + L * (12 * C * C + 13 * C)


def counted_by_shapes(cfg):
    C = cfg.emb_dim
    block = [(C, 3 * C), (3 * C,), (C, C), (C,), (C, 4 * C), (4 * C,), (4 * C, C), (C,)]
    block += [(C,)] * 4
    shapes = [(cfg.vocab_size, C), (cfg.context_length, C), (C,), (C,)]
    return float(sum(map(math.prod, shapes + cfg.n_layers * block)))


def through_forward(block, x):
    return block.forward(x)


def through_the_class(block, x):
    return TransformerBlock.forward(block, x[:1])


def in_place_sums(block, x):
    x += block.att(block.norm1(x))
    x += block.ff(block.norm2(x))
    return x


def without_shortcuts(block, x):
    return block.ff(block.norm2(block.att(block.norm1(x))))


def block_in_two_steps(block, x):
    seen = x + block.att(block.norm1(x))
    thought = block.ff(block.norm2(seen))
    return (seen + thought).double()


def block_by_branches(block, x):
    for norm, branch in ((block.norm1, block.att), (block.norm2, block.ff)):
        x = torch.add(x, branch(norm(x)))
    return x.detach()


def one_text_only(cfg, batch, positions, size):
    return 2 * cfg.n_layers * positions * cfg.emb_dim * size


def per_head_width(cfg, batch, positions, size):
    D = cfg.emb_dim // cfg.n_heads
    return 2 * cfg.n_layers * batch * positions * D * size


def bytes_of_one_position(cfg, batch, positions, size):
    each = cfg.n_heads * (cfg.emb_dim // cfg.n_heads) * size
    return batch * positions * sum(2 * each for _ in range(cfg.n_layers))


def bytes_as_a_tensor(cfg, batch, positions, size):
    shape = (2, cfg.n_layers, batch, positions, cfg.emb_dim)
    return torch.tensor(math.prod(shape) * size)


def whole_block(x, weights, n_heads, *, gelu=gelu_by_tanh, mask=True, shortcut=True,
                eps=1e-5, feed_forward=True, bias=1.0, norm_scale=True):  # fmt: skip
    def linear(x, name):
        return x @ weights[name + ".weight"].T + bias * weights[name + ".bias"]

    def norm(x, name):
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.square().mean(-1, keepdim=True) + eps).sqrt()
        if not norm_scale:
            return x
        return weights[name + ".scale"] * x + weights[name + ".shift"]

    q, k, v = (
        linear(norm(x, "norm1"), "att." + name).unflatten(-1, (n_heads, -1))
        for name in ("W_query", "W_key", "W_value")
    )
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    heads = attention_weights(q, k, causal=mask) @ v
    seen = linear(heads.transpose(1, 2).flatten(2), "att.out_proj")
    x = x + seen if shortcut else seen
    if not feed_forward:
        return x
    inside = gelu(linear(norm(x, "norm2"), "ff.layers.0"))
    return x + linear(inside, "ff.layers.2")


def without_gelu(x, weights, n_heads):
    return whole_block(x, weights, n_heads, gelu=lambda x: x)


def with_relu(x, weights, n_heads):
    return whole_block(x, weights, n_heads, gelu=torch.relu)


def with_the_exact_gelu(x, weights, n_heads):
    return whole_block(x, weights, n_heads, gelu=F.gelu)


def without_a_mask(x, weights, n_heads):
    return whole_block(x, weights, n_heads, mask=False)


def without_the_first_shortcut(x, weights, n_heads):
    return whole_block(x, weights, n_heads, shortcut=False)


def without_feed_forward(x, weights, n_heads):
    return whole_block(x, weights, n_heads, feed_forward=False)


def without_the_biases(x, weights, n_heads):
    return whole_block(x, weights, n_heads, bias=0.0)


def without_scale_and_shift(x, weights, n_heads):
    return whole_block(x, weights, n_heads, norm_scale=False)


def with_one_head(x, weights, n_heads):
    return whole_block(x, weights, 1)


def block_in_float64(x, weights, n_heads):
    weights = {name: weight.double() for name, weight in weights.items()}
    return whole_block(x.double(), weights, n_heads)


def block_by_functions(x, weights, n_heads):
    def linear(x, name):
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(x, name):
        scale, shift = weights[f"{name}.scale"], weights[f"{name}.shift"]
        return F.layer_norm(x, scale.shape, scale, shift)

    B, T, C = x.shape
    normed = norm(x, "norm1")
    q, k, v = (
        linear(normed, f"att.W_{name}").view(B, T, n_heads, -1).transpose(1, 2)
        for name in ("query", "key", "value")
    )
    heads = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    x = x + linear(heads.transpose(1, 2).reshape(B, T, C), "att.out_proj")
    hidden = F.gelu(linear(norm(x, "norm2"), "ff.layers.0"), approximate="tanh")
    return x + linear(hidden, "ff.layers.2")


def block_by_loading(x, weights, n_heads):
    cfg = GPTConfig(emb_dim=x.shape[-1], n_heads=n_heads, qkv_bias=True)
    block = TransformerBlock(dataclasses.replace(cfg, fused_qkv=False)).eval()
    block.load_state_dict(weights)
    return block(x)


def write_with(model, ids, new, positions_of):
    caches = model.new_caches(ids.shape[1] + new)
    unread = ids
    for _ in range(new):
        positions = positions_of(ids, unread)
        x = model.hidden_states(unread, caches, positions)
        unread = model.out_head(x[:, -1:]).argmax(dim=-1)
        ids = torch.cat([ids, unread], dim=1)
    return ids


def positions_from_zero(model, ids, new):
    return write_with(
        model, ids, new, lambda ids, unread: torch.arange(unread.shape[1])[None]
    )


def positions_one_late(model, ids, new):
    def late(ids, unread):
        end = ids.shape[1]
        first = unread.shape[1] == end
        return torch.arange(end - unread.shape[1], end)[None] + (0 if first else 1)

    return write_with(model, ids, new, late)


def hidden_without_a_cache(model, ids, new):
    for _ in range(new):
        ids = torch.cat([ids, model(ids)[:, -1:].argmax(dim=-1)], dim=1)
    return ids


def hidden_by_new_caches(model, ids, new):
    for _ in range(new):
        logits = model(ids, model.new_caches(ids.shape[1]))
        ids = torch.cat([ids, logits[:, -1:].argmax(dim=-1)], dim=1)
    return ids


def new_ids_only(model, ids, new):
    return generate(model, ids, new)[:, ids.shape[1] :]


def positions_counted_on(model, ids, new):
    return write_with(
        model,
        ids,
        new,
        lambda ids, unread: torch.arange(ids.shape[1] - unread.shape[1], ids.shape[1])[
            None
        ],
    )


def positions_left_to_the_model(model, ids, new):
    return write_with(model, ids, new, lambda ids, unread: None)


def written_by_the_model(model, ids, new):
    caches, unread = model.new_caches(ids.shape[1] + new), ids
    for _ in range(new):
        unread = model(unread, caches)[:, -1:].argmax(dim=-1)
        ids = torch.hstack((ids, unread))
    return ids


WRONG = [
    (check.layer_norm, unbiased_variance, ""),
    (check.layer_norm, whole_batch, ""),
    (check.layer_norm, eps_outside, ""),
    (check.layer_norm, over_positions, "over the positions"),
    (check.layer_norm, norm_in_place, "changed x"),
    (check.layer_norm, without_eps, ""),
    (check.count_parameters, head_counted_twice, ""),
    (check.count_parameters, without_biases, ""),
    (check.count_parameters, without_the_final_norm, ""),
    (check.block_forward, the_block_itself, "the block itself was not expected"),
    (check.block_forward, through_forward, "the block itself was not expected"),
    (check.block_forward, through_the_class, "has shape"),
    (check.block_forward, second_shortcut_from_x, "start at the first sum"),
    (check.block_forward, post_norm, "norm stands after the sum"),
    (check.block_forward, shortcut_after_norm, "norm stands on the shortcut"),
    (check.block_forward, in_place_sums, "changed x"),
    (check.block_forward, without_shortcuts, ""),
    (check.kv_cache_bytes, keys_only, ""),
    (check.kv_cache_bytes, one_text_only, ""),
    (check.kv_cache_bytes, per_head_width, ""),
    (check.transformer_block, without_gelu, "GELU is missing"),
    (check.transformer_block, with_relu, "ReLU"),
    (check.transformer_block, with_the_exact_gelu, "by tanh"),
    (check.transformer_block, without_a_mask, "look at the future"),
    (check.transformer_block, without_the_first_shortcut, ""),
    (check.transformer_block, without_feed_forward, "feed-forward is missing"),
    (check.transformer_block, without_the_biases, ""),
    (check.transformer_block, without_scale_and_shift, ""),
    (check.transformer_block, with_one_head, ""),
    (check.mended_writer, positions_from_zero, ""),
    (check.mended_writer, positions_one_late, ""),
    (check.mended_writer, hidden_without_a_cache, "the bug is hidden"),
    (check.mended_writer, hidden_by_new_caches, "the bug is hidden"),
    (check.mended_writer, new_ids_only, "has shape"),
]

RIGHT = [
    (check.layer_norm, norm_by_moments),
    (check.layer_norm, norm_by_numpy),
    (check.count_parameters, counted_by_formula),
    (check.count_parameters, counted_by_shapes),
    (check.block_forward, block_in_two_steps),
    (check.block_forward, block_by_branches),
    (check.kv_cache_bytes, bytes_of_one_position),
    (check.kv_cache_bytes, bytes_as_a_tensor),
    (check.transformer_block, block_in_float64),
    (check.transformer_block, block_by_functions),
    (check.transformer_block, block_by_loading),
    (check.mended_writer, positions_counted_on),
    (check.mended_writer, positions_left_to_the_model),
    (check.mended_writer, written_by_the_model),
]
