"""GPT-2: ids in, logits out.

The parts come first, the model last. LayerNorm and GELU are here twice on purpose: as
a plain function to read, and as a module that calls torch's fused version; tests prove
them equal. Source: openai/gpt-2 src/model.py; Radford et al. 2019, section 2.3.
"""

import dataclasses
import math

import torch
from torch import nn
from torch.nn import functional as F

from gpt2lib.attention import (
    KVCache,
    MultiHeadAttention,
    OpenAICompatibleMultiHeadAttention,
)
from gpt2lib.checks import check_positions
from gpt2lib.config import GPTConfig


def layer_norm(
    x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, eps: float = 1e-5
) -> torch.Tensor:
    """Normalises each vector to mean 0 and variance 1, then applies scale and shift.

    Shapes: x (..., C), scale (C,), shift (C,) -> (..., C)
    """
    mean = x.mean(dim=-1, keepdim=True)
    variance = x.var(dim=-1, keepdim=True, correction=0)
    return scale * (x - mean) / torch.sqrt(variance + eps) + shift


def gelu(x: torch.Tensor) -> torch.Tensor:
    """A smooth ReLU: x · Φ(x) in GPT-2's tanh approximation (Hendrycks & Gimpel)."""
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return 0.5 * x * (1 + torch.tanh(inner))


class LayerNorm(nn.Module):
    """`layer_norm` as a module, with a learned scale and shift."""

    eps = 1e-5

    def __init__(self, emb_dim: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(emb_dim))
        self.shift = nn.Parameter(torch.zeros(emb_dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, self.scale.shape, self.scale, self.shift, self.eps)


class GELU(nn.Module):
    """`gelu` as a module."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.gelu(x, approximate="tanh")


class FeedForward(nn.Module):
    """Each position on its own: linear to four times the width, GELU, linear back.

    Shapes: (B, T, C) -> (B, T, C)
    """

    def __init__(self, cfg: GPTConfig):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(cfg.emb_dim, 4 * cfg.emb_dim),
            GELU(),
            nn.Linear(4 * cfg.emb_dim, cfg.emb_dim),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class TransformerBlock(nn.Module):
    """Attention, then feed-forward, each behind a norm and added to its input.

    Shapes: (B, T, C) -> (B, T, C)
    """

    def __init__(self, cfg: GPTConfig):
        super().__init__()
        attention = MultiHeadAttention
        if cfg.fused_qkv:
            attention = OpenAICompatibleMultiHeadAttention
        self.norm1 = LayerNorm(cfg.emb_dim)
        self.att = attention(
            d_in=cfg.emb_dim,
            d_out=cfg.emb_dim,
            context_length=cfg.context_length,
            dropout=cfg.drop_rate,
            num_heads=cfg.n_heads,
            qkv_bias=cfg.qkv_bias,
        )
        self.norm2 = LayerNorm(cfg.emb_dim)
        self.ff = FeedForward(cfg)
        self.drop_shortcut = nn.Dropout(cfg.drop_rate)

    def forward(self, x: torch.Tensor, cache: KVCache | None = None) -> torch.Tensor:
        x = x + self.drop_shortcut(self.att(self.norm1(x), cache))
        x = x + self.drop_shortcut(self.ff(self.norm2(x)))
        return x


class GPTModel(nn.Module):
    """GPT-2 of any size: at every position, a logit for every possible next token.

    Shapes: ids (B, T) int64 -> logits (B, T, V)

    Raises:
        ValueError: ids not integers, not (B, T), out of range, or too many.
    """

    def __init__(self, cfg: GPTConfig):
        super().__init__()
        self.cfg = cfg
        self.tok_emb = nn.Embedding(cfg.vocab_size, cfg.emb_dim)
        self.pos_emb = nn.Embedding(cfg.context_length, cfg.emb_dim)
        self.drop_emb = nn.Dropout(cfg.drop_rate)
        self.trf_blocks = nn.ModuleList(
            TransformerBlock(cfg) for _ in range(cfg.n_layers)
        )
        self.final_norm = LayerNorm(cfg.emb_dim)
        n_scores = cfg.n_classes or cfg.vocab_size
        self.out_head = nn.Linear(cfg.emb_dim, n_scores, bias=False)
        self.tie_head()
        self.init_weights()

    def tie_head(self) -> None:
        """Gives the output head the token embedding's weight, if cfg.tied_head."""
        if self.cfg.tied_head:
            self.out_head.weight = self.tok_emb.weight

    def init_weights(self):
        """Draws GPT-2's initial weights from torch's global generator.

        Normal with std 0.02, biases 0. The two projections of a block that add to the
        residual stream get 0.02 / √(2 n_layers), so that more blocks do not enlarge it.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        shortcut_std = 0.02 / math.sqrt(2 * self.cfg.n_layers)
        for block in self.trf_blocks:
            nn.init.normal_(block.att.out_proj.weight, std=shortcut_std)
            nn.init.normal_(block.ff.layers[-1].weight, std=shortcut_std)

    @property
    def device(self) -> torch.device:
        """The device of the model's weights."""
        return self.tok_emb.weight.device

    def new_caches(self, capacity: int) -> list[KVCache]:
        """One empty `KVCache` of `capacity` positions for each block."""
        return [KVCache(capacity) for _ in self.trf_blocks]

    def hidden_states(
        self,
        ids: torch.Tensor,
        caches: list[KVCache] | None = None,
        positions: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The final vectors (B, T, C) of ids (B, T), the input of the output head.

        Positions count on from what the caches hold, unless given, as (B, T).
        """
        start = caches[0].length if caches else 0
        self.check_ids(ids, start)
        if positions is None:
            positions = torch.arange(start, start + ids.shape[1], device=ids.device)
        x = self.drop_emb(self.tok_emb(ids) + self.pos_emb(positions))
        no_caches: list[None] = [None] * len(self.trf_blocks)
        for block, cache in zip(self.trf_blocks, caches or no_caches, strict=True):
            x = block(x, cache)
        return self.final_norm(x)

    def forward(
        self, ids: torch.Tensor, caches: list[KVCache] | None = None
    ) -> torch.Tensor:
        """With `caches` (from `new_caches`), ids continue what the caches hold."""
        return self.out_head(self.hidden_states(ids, caches))

    def check_ids(self, ids: torch.Tensor, start: int = 0) -> None:
        """Raises ValueError unless ids (B, T) can follow `start` earlier positions."""
        kind = ids.dtype if isinstance(ids, torch.Tensor) else type(ids).__name__
        if kind not in (torch.int64, torch.int32):
            raise ValueError(
                f"token ids must be a tensor of int64 or int32, got {kind}: "
                "pass torch.tensor([tokenizer.encode(text)])"
            )
        if ids.ndim != 2:
            raise ValueError(
                f"ids must have shape (batch, positions), got {tuple(ids.shape)}: "
                "for a single text, pass ids.unsqueeze(0)"
            )
        if ids.numel() == 0:
            raise ValueError(
                f"there are no ids, shape {tuple(ids.shape)}: pass at least one token, "
                "<|endoftext|> if there is no text"
            )
        check_positions(start + ids.shape[1], self.cfg.context_length)
        # Reading the values would make a GPU wait, and break a compiled graph.
        if ids.device.type == "cpu" and not torch.compiler.is_compiling():
            self.check_range(ids)

    def check_range(self, ids: torch.Tensor) -> None:
        """Raises ValueError unless every id is in the vocabulary."""
        low, high = (bound.item() for bound in ids.aminmax())
        if low < 0 or high >= self.cfg.vocab_size:
            raise ValueError(
                f"token ids must be in [0, {self.cfg.vocab_size - 1}], got {low} to "
                f"{high}: was the text encoded with this model's tokenizer?"
            )


class OpenAICompatibleGPTModel(GPTModel):
    """`GPTModel` with OpenAI's combined query-key-value matrix, whatever cfg says."""

    def __init__(self, cfg: GPTConfig):
        super().__init__(dataclasses.replace(cfg, fused_qkv=True))
