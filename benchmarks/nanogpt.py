"""A GPT-2 of the same operations as nanoGPT's, to compare with if it is not at hand.

Written from its description: combined queries, keys and values, torch's fused
attention, exact GELU, biases everywhere, a tied head, the loss of all logits at once.
Parameters carry nanoGPT's names, which are those of the published weights.
"""

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Causal self-attention in one fused call."""

    def __init__(self, cfg):
        super().__init__()
        self.n_heads = cfg.n_heads
        self.c_attn = nn.Linear(cfg.emb_dim, 3 * cfg.emb_dim)
        self.c_proj = nn.Linear(cfg.emb_dim, cfg.emb_dim)

    def forward(self, x):
        heads = self.c_attn(x).unflatten(-1, (3, self.n_heads, -1))
        heads = heads.permute(2, 0, 3, 1, 4)  # queries, keys, values: (B, H, T, D)
        mixed = F.scaled_dot_product_attention(*heads, is_causal=True)
        return self.c_proj(mixed.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Four times the width and back."""

    def __init__(self, cfg):
        super().__init__()
        self.c_fc = nn.Linear(cfg.emb_dim, 4 * cfg.emb_dim)
        self.gelu = nn.GELU()
        self.c_proj = nn.Linear(4 * cfg.emb_dim, cfg.emb_dim)

    def forward(self, x):
        return self.c_proj(self.gelu(self.c_fc(x)))


class Block(nn.Module):
    """Attention and MLP, each behind a norm and added to its input."""

    def __init__(self, cfg):
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(cfg.emb_dim), Attention(cfg)
        self.ln_2, self.mlp = nn.LayerNorm(cfg.emb_dim), MLP(cfg)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class NanoGPTForm(nn.Module):
    """Ids, and targets in training -> logits and loss, as nanoGPT's GPT.

    Without targets, the logits of the last position only and no loss.
    """

    def __init__(self, cfg):
        super().__init__()
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(cfg.vocab_size, cfg.emb_dim),
                "wpe": nn.Embedding(cfg.context_length, cfg.emb_dim),
                "h": nn.ModuleList(Block(cfg) for _ in range(cfg.n_layers)),
                "ln_f": nn.LayerNorm(cfg.emb_dim),
            }
        )
        self.lm_head = nn.Linear(cfg.emb_dim, cfg.vocab_size, bias=False)
        self.lm_head.weight = self.transformer.wte.weight
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                scale = (2 * cfg.n_layers) ** -0.5 if "c_proj" in name else 1.0
                nn.init.normal_(parameter, std=0.02 * scale)

    def forward(self, ids, targets=None):
        parts = self.transformer
        positions = torch.arange(ids.shape[1], device=ids.device)
        x = parts.wte(ids) + parts.wpe(positions)
        for block in parts.h:
            x = block(x)
        x = parts.ln_f(x)
        if targets is None:
            return self.lm_head(x[:, [-1]]), None
        logits = self.lm_head(x)
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())
