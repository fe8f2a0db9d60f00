"""Self-attention as a ladder, each rung adding one idea to the one before.

    SimplifiedSelfAttention              every token looks at every token
    SelfAttention                        ... through trainable queries, keys, values
    CausalAttention                      ... never at the future, with dropout
    MultiHeadAttentionWrapper            ... several times over: a list of heads
    MultiHeadAttention                   ... all heads in one matrix each for q, k, v
    OpenAICompatibleMultiHeadAttention   ... and q, k, v in one matrix: GPT-2's own

Every rung maps (B, T, d_in) to (B, T, d_out), and `attention_weights` shows which
positions each position read. Source: Vaswani et al. 2017, section 3.2.
"""

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from gpt2lib.checks import check_positions


def attention_weights(
    queries: torch.Tensor, keys: torch.Tensor, *, causal: bool
) -> torch.Tensor:
    """How much each query attends to each key: softmax(q kᵀ / √D); rows sum to 1.

    With `causal`, queries are the last T_q positions, and none attends to a later one.

    Shapes: queries (..., T_q, D), keys (..., T_k, D) -> (..., T_q, T_k)
    """
    scores = queries / math.sqrt(keys.shape[-1]) @ keys.mT
    if causal:
        T_q, T_k = scores.shape[-2:]
        scores += scores.new_full((T_q, T_k), -torch.inf).triu(T_k - T_q + 1)
    return scores.softmax(dim=-1)


class SimplifiedSelfAttention(nn.Module):
    """Each output is an average of all tokens, weighted by their dot products.

    No parameters yet: a token is its own query, key and value.
    """

    def attention_weights(self, x: torch.Tensor) -> torch.Tensor:
        """Shapes: (B, T, C) -> (B, T, T)"""
        return (x @ x.mT).softmax(dim=-1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention_weights(x) @ x


class SelfAttention(nn.Module):
    """Queries, keys and values are three learned projections of the tokens."""

    def __init__(self, d_in: int, d_out: int, qkv_bias: bool = False):
        super().__init__()
        self.W_query = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_key = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_value = nn.Linear(d_in, d_out, bias=qkv_bias)

    def attention_weights(self, x: torch.Tensor) -> torch.Tensor:
        """Shapes: (B, T, d_in) -> (B, T, T)"""
        return attention_weights(self.W_query(x), self.W_key(x), causal=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention_weights(x) @ self.W_value(x)


class CausalAttention(SelfAttention):
    """A token attends to itself and earlier ones; the weights get dropout in training.

    Raises:
        ValueError: more positions than context_length.
    """

    def __init__(self, d_in, d_out, context_length, dropout, qkv_bias=False):
        super().__init__(d_in, d_out, qkv_bias)
        self.context_length = context_length
        self.dropout = nn.Dropout(dropout)

    def attention_weights(self, x: torch.Tensor) -> torch.Tensor:
        """Shapes: (B, T, d_in) -> (B, T, T), zero above the diagonal"""
        check_positions(x.shape[1], self.context_length)
        return attention_weights(self.W_query(x), self.W_key(x), causal=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.attention_weights(x)) @ self.W_value(x)


class MultiHeadAttentionWrapper(nn.Module):
    """Several causal heads in parallel, their outputs concatenated."""

    def __init__(self, d_in, d_out, context_length, dropout, num_heads, qkv_bias=False):
        super().__init__()
        self.heads = nn.ModuleList(
            CausalAttention(d_in, d_out, context_length, dropout, qkv_bias)
            for _ in range(num_heads)
        )

    def attention_weights(self, x: torch.Tensor) -> torch.Tensor:
        """Shapes: (B, T, d_in) -> (B, H, T, T)"""
        return torch.stack([head.attention_weights(x) for head in self.heads], dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([head(x) for head in self.heads], dim=-1)  # (B, T, H * d_out)


class MultiHeadAttention(nn.Module):
    """All heads at once: one matrix each for q, k and v, split into heads afterwards.

    Shapes: (B, T, d_in) -> (B, T, d_out)

    Raises:
        ValueError: num_heads does not divide d_out, or there are too many positions.
    """

    def __init__(self, d_in, d_out, context_length, dropout, num_heads, qkv_bias=False):
        super().__init__()
        if d_out % num_heads:
            raise ValueError(
                f"d_out must be divisible by num_heads, got {d_out} and {num_heads}"
            )
        self.context_length = context_length
        self.num_heads = num_heads
        self.dropout = dropout
        self.add_projections(d_in, d_out, qkv_bias)
        self.out_proj = nn.Linear(d_out, d_out)

    def add_projections(self, d_in: int, d_out: int, qkv_bias: bool) -> None:
        self.W_query = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_key = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_value = nn.Linear(d_in, d_out, bias=qkv_bias)

    def project(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.W_query(x), self.W_key(x), self.W_value(x)

    def queries_keys_values(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Shapes: (B, T, d_in) -> three of (B, H, T, D)"""
        return tuple(
            t.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for t in self.project(x)
        )

    def attention_weights(self, x: torch.Tensor) -> torch.Tensor:
        """Shapes: (B, T, d_in) -> (B, H, T, T)"""
        check_positions(x.shape[1], self.context_length)
        queries, keys, _ = self.queries_keys_values(x)
        return attention_weights(queries, keys, causal=True)

    def forward(self, x: torch.Tensor, cache: "KVCache | None" = None) -> torch.Tensor:
        """With a `KVCache`, x continues the positions the cache already holds."""
        queries, keys, values = self.queries_keys_values(x)
        attend = self.attend
        if cache is not None:
            keys, values = cache.append(keys, values)
            attend = cache.attend or attend
        check_positions(keys.shape[2], self.context_length)
        context = attend(queries, keys, values)
        return self.out_proj(context.transpose(1, 2).flatten(2))

    def attend(
        self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """Values weighted by `attention_weights`, in torch's fused call.

        Shapes: (B, H, T_q, D), two of (B, H, T_k, D) -> (B, H, T_q, D)
        """
        T_q, T_k = queries.shape[2], keys.shape[2]
        mask = None
        if 1 < T_q < T_k:  # is_causal would align them with the first keys
            mask = queries.new_ones(T_q, T_k, dtype=torch.bool).tril(T_k - T_q)
        dropout = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(
            queries, keys, values, mask, dropout, is_causal=T_q == T_k
        )


class OpenAICompatibleMultiHeadAttention(MultiHeadAttention):
    """MultiHeadAttention with q, k and v in one combined matrix, as OpenAI stores them.

    W_qkv is W_query, W_key and W_value stacked: one product instead of three.
    """

    def add_projections(self, d_in: int, d_out: int, qkv_bias: bool) -> None:
        self.W_qkv = nn.Linear(d_in, 3 * d_out, bias=qkv_bias)

    def project(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.W_qkv(x).chunk(3, dim=-1)


class KVCache:
    """Keys and values of the positions that an attention layer has processed.

    Storage for `capacity` positions is allocated at the first append, which fixes
    batch, heads, dtype and device; nothing is copied or moved afterwards.
    """

    attend: Callable | None = None  # for a subclass that attends in its own way

    def __init__(self, capacity: int):
        self.capacity = capacity
        self.length = 0
        self.keys: torch.Tensor | None = None
        self.values: torch.Tensor | None = None

    def append(
        self, keys: torch.Tensor, values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Adds new positions and returns all that are stored.

        Shapes: two of (B, H, T, D) -> two of (B, H, length, D), views of the storage
        """
        end = self.length + keys.shape[2]
        check_positions(end, self.capacity)
        if self.keys is None or self.values is None:
            B, H, _, D = keys.shape
            self.keys = keys.new_empty(B, H, self.capacity, D)
            self.values = torch.empty_like(self.keys)
        if len(keys) != len(self.keys):
            raise ValueError(
                f"the cache holds {len(self.keys)} rows, got {len(keys)}: use a new one"
            )
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]
