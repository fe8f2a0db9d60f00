"""Every rung of the ladder, against torch's own attention and the rung below."""

import numpy as np
import pytest
import torch
from small import lively
from torch import nn
from torch.nn import functional as F

from gpt2lib.attention import (
    CausalAttention,
    KVCache,
    MultiHeadAttention,
    MultiHeadAttentionWrapper,
    OpenAICompatibleMultiHeadAttention,
    SelfAttention,
    SimplifiedSelfAttention,
    attention_weights,
)

B, T, C, H = 2, 7, 12, 3
MULTI_HEAD = (MultiHeadAttention, OpenAICompatibleMultiHeadAttention)


@pytest.fixture
def x():
    return torch.randn(B, T, C, generator=torch.Generator().manual_seed(1))


def multi_head(kind, bias=True, dropout=0.0):
    return lively(kind(C, C, 16, dropout, H, qkv_bias=bias)).eval()


def fuse(separate):
    """The combined layer with the weights of a separate one."""
    bias = separate.W_query.bias is not None
    fused = multi_head(OpenAICompatibleMultiHeadAttention, bias)
    parts = (separate.W_query, separate.W_key, separate.W_value)
    with torch.no_grad():
        fused.W_qkv.weight.copy_(torch.cat([part.weight for part in parts]))
        if bias:
            fused.W_qkv.bias.copy_(torch.cat([part.bias for part in parts]))
        fused.out_proj.load_state_dict(separate.out_proj.state_dict())
    return fused


def test_attention_weights_equal_numpy():
    q, k = np.random.default_rng(0).normal(size=(2, 5, 8))
    scores = q @ k.T / np.sqrt(8)
    scores[np.triu_indices(5, 1)] = -np.inf
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    ours = attention_weights(torch.tensor(q), torch.tensor(k), causal=True)
    np.testing.assert_allclose(ours, expected, atol=1e-12)


def test_fewer_queries_than_keys_are_the_last_positions():
    q, k = torch.randn(2, 6, 4)
    whole = attention_weights(q, k, causal=True)
    assert torch.allclose(attention_weights(q[4:], k, causal=True), whole[4:])


def test_simplified_attention_equals_torch(x):
    expected = F.scaled_dot_product_attention(x, x, x, scale=1.0)
    assert torch.allclose(SimplifiedSelfAttention()(x), expected, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_one_head_equals_torch(x, causal):
    layer = CausalAttention(C, 5, 16, 0.0) if causal else SelfAttention(C, 5)
    q, k, v = layer.W_query(x), layer.W_key(x), layer.W_value(x)
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    assert torch.allclose(layer(x), expected, atol=1e-6)


def test_list_of_heads_lays_them_end_to_end(x):
    wrapper = MultiHeadAttentionWrapper(C, 4, 16, 0.0, num_heads=H)
    expected = torch.cat([head(x) for head in wrapper.heads], dim=-1)
    assert wrapper(x).equal(expected) and wrapper(x).shape == (B, T, 4 * H)


def test_heads_in_one_matrix_equal_a_list_of_heads(x):
    wrapper = MultiHeadAttentionWrapper(C, C // H, 16, 0.0, num_heads=H)
    layer = multi_head(MultiHeadAttention, bias=False)
    with torch.no_grad():
        for name in ("W_query", "W_key", "W_value"):
            rows = [getattr(head, name).weight for head in wrapper.heads]
            getattr(layer, name).weight.copy_(torch.cat(rows))
    assert torch.allclose(layer(x), layer.out_proj(wrapper(x)), atol=1e-5)
    assert torch.allclose(
        layer.attention_weights(x), wrapper.attention_weights(x), atol=1e-6
    )


@pytest.mark.parametrize("bias", [True, False])
def test_fused_equals_separate(x, bias):
    separate = multi_head(MultiHeadAttention, bias)
    fused = fuse(separate)
    assert torch.allclose(fused(x), separate(x), atol=1e-5)
    assert torch.allclose(
        fused.attention_weights(x), separate.attention_weights(x), atol=1e-6
    )


def test_multi_head_equals_torchs_layer(x):
    layer = multi_head(OpenAICompatibleMultiHeadAttention)
    theirs = nn.MultiheadAttention(C, H, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(layer.W_qkv.weight)
        theirs.in_proj_bias.copy_(layer.W_qkv.bias)
        theirs.out_proj.load_state_dict(layer.out_proj.state_dict())
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    expected, pattern = theirs(x, x, x, attn_mask=future, average_attn_weights=False)
    assert torch.allclose(layer(x), expected, atol=1e-5)
    assert torch.allclose(layer.attention_weights(x), pattern, atol=1e-6)


@pytest.mark.parametrize("kind", MULTI_HEAD)
def test_spelled_out_weights_give_what_the_fused_call_gives(x, kind):
    layer = multi_head(kind)
    _, _, values = layer.queries_keys_values(x)
    context = (layer.attention_weights(x) @ values).transpose(1, 2).flatten(2)
    assert torch.allclose(layer.out_proj(context), layer(x), atol=1e-5)


def causal_layers():
    yield CausalAttention(C, C, 16, 0.0)
    yield MultiHeadAttentionWrapper(C, C // H, 16, 0.0, num_heads=H)
    yield from (multi_head(kind) for kind in MULTI_HEAD)


@pytest.mark.parametrize(
    "layer", causal_layers(), ids=lambda layer: type(layer).__name__
)
def test_the_future_cannot_leak(x, layer):
    changed = x.clone()
    changed[:, 4:] = torch.randn(B, T - 4, C)
    assert layer(changed)[:, :4].equal(layer(x)[:, :4])
    assert not torch.allclose(layer(changed)[:, 4:], layer(x)[:, 4:])
    weights = layer.attention_weights(x)
    assert weights.triu(1).count_nonzero() == 0
    assert torch.allclose(weights.sum(dim=-1), torch.ones(()))


@pytest.mark.parametrize(
    ("dtype", "allowed"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)]
)
@pytest.mark.parametrize("kind", MULTI_HEAD)
@pytest.mark.parametrize("cuts", [(1,) * T, (3, 4), (3, 1, 3), (T,)])
def test_reading_in_parts_with_a_cache_equals_reading_at_once(
    x, kind, cuts, dtype, allowed
):
    layer, cache = multi_head(kind).to(dtype), KVCache(capacity=T)
    parts = torch.cat([layer(part, cache) for part in x.to(dtype).split(cuts, 1)], 1)
    at_once = layer.float()(x)
    assert parts.dtype == dtype
    assert (parts - at_once).abs().max() <= allowed * at_once.abs().max()


def test_a_cache_allocates_once(x):
    layer, cache = multi_head(MultiHeadAttention), KVCache(capacity=T)
    layer(x[:, :2], cache)
    place = cache.keys.data_ptr()
    for t in range(2, T):
        layer(x[:, t : t + 1], cache)
    assert cache.keys.data_ptr() == place and cache.length == T


def test_a_full_cache_says_so(x):
    cache = KVCache(capacity=5)
    with pytest.raises(ValueError, match="7 positions, but at most 5"):
        multi_head(MultiHeadAttention)(x, cache)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", MULTI_HEAD)
@pytest.mark.parametrize("p", [0.0, 0.5])
def test_dropout_acts_in_training_only(x, kind, p, dtype):
    layer, x = multi_head(kind, dropout=p).to(dtype), x.to(dtype)
    assert layer(x).equal(layer(x))
    layer.train()
    assert layer(x).equal(layer(x)) == (p == 0)


def test_dropout_thins_the_causal_pattern(x):
    layer = CausalAttention(C, C, 16, dropout=0.5)
    assert not layer(x).equal(layer(x))
    assert layer.eval()(x).equal(layer(x))


@pytest.mark.parametrize(
    "layer", causal_layers(), ids=lambda layer: type(layer).__name__
)
def test_more_positions_than_the_context_are_refused(layer):
    with pytest.raises(ValueError, match="17 positions, but at most 16"):
        layer(torch.zeros(1, 17, C))


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="got 12 and 5"):
        MultiHeadAttention(12, 12, 16, 0.0, num_heads=5)
