"""A model small enough for every test, with nothing left at its neutral value."""

import torch

from gpt2lib import GPTConfig

SMALL = GPTConfig(
    vocab_size=97, context_length=24, emb_dim=128, n_heads=2, n_layers=3, drop_rate=0.1
)


COMPATIBLE_NAMES = {
    "att.W_qkv": "attn.c_attn",
    "att.out_proj": "attn.c_proj",
    "ff.layers.0": "mlp.c_fc",
    "ff.layers.2": "mlp.c_proj",
}


def with_compatible_names(model):
    """A fused model's tensors, called as in the seed's OpenAI-compatible files."""
    named = {}
    for name, tensor in model.state_dict().items():
        for ours, theirs in COMPATIBLE_NAMES.items():
            name = name.replace(ours, theirs)
        named[name] = tensor.clone()
    return named


def lively(model, seed=0, amount=0.1):
    """Random numbers in every parameter: zero biases and unit scales hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(noise, alpha=amount)
    return model
