"""LoRA: a finetuning that fits beside the model (Hu et al. 2021).

Each attention projection W stays as it is and gets a detour through few dimensions,
W x + (alpha / rank) B A x, of which only A and B are trained. Afterwards the product
can be added into W, and nothing of the detour is left.
"""

import json
import math

import torch
from torch import nn

from gpt2lib import files
from gpt2lib.fast import check_not_prepared
from gpt2lib.weights.tensors import FLOATS, check_task, read_adapter, write_tensors
from gpt2lib.weights.untrusted import quoted

RANK, ALPHA = 8, 16
PROJECTIONS = ("W_qkv", "W_query", "W_key", "W_value")


class LoRALinear(nn.Module):
    """A frozen linear layer and its trainable detour; at first the same as before.

    Shapes: (..., in) -> (..., out); A (rank, in), B (out, rank)
    """

    def __init__(self, linear, rank, alpha, generator=None):
        super().__init__()
        self.linear = linear
        self.scale = alpha / rank
        out, in_ = linear.weight.shape
        A = torch.randn(rank, in_, generator=generator) / in_**0.5
        self.A = nn.Parameter(A.to(linear.weight))
        self.B = nn.Parameter(linear.weight.new_zeros(out, rank))

    def forward(self, x):
        return self.linear(x) + self.scale * (x @ self.A.mT) @ self.B.mT

    @torch.no_grad()
    def merged(self):
        """The plain linear layer that computes the same."""
        self.linear.weight += self.scale * self.B @ self.A
        return self.linear


def add_lora(model, rank=RANK, alpha=ALPHA, seed=0):
    """Freezes a model and gives its attention projections trainable detours, in place.

    A head for classes, being new, stays trainable.

    Raises:
        ValueError: the model has them already, a rank below 1 or above emb_dim, or an
            alpha that is no number.
    """
    if type(rank) is not int or not 1 <= rank <= model.cfg.emb_dim:
        raise ValueError(
            f"rank must be a whole number, at least 1 and at most emb_dim "
            f"({model.cfg.emb_dim}), got {rank!r}"
        )
    if not math.isfinite(alpha):
        raise ValueError(f"alpha must be a number, got {alpha}")
    _check_has_none(model)
    model.requires_grad_(False)
    model.out_head.weight.requires_grad_(bool(model.cfg.n_classes))
    generator = torch.Generator().manual_seed(seed)
    for block in model.trf_blocks:
        for name in PROJECTIONS:
            if linear := getattr(block.att, name, None):
                setattr(block.att, name, LoRALinear(linear, rank, alpha, generator))
    return model


def _check_has_none(model):
    check_not_prepared(model, "trained")
    if has_lora(model):
        raise ValueError("the model has LoRA layers already: merge_lora(model) first")


def merge_lora(model):
    """Adds the detours into the weights and removes them, in place."""
    for parent, name, detour in _detours(model):
        setattr(parent, name, detour.merged())
    return model.requires_grad_(True)


def has_lora(model):
    """Whether a model has LoRA layers."""
    return bool(_detours(model))


def _detours(model):
    """(parent, its name there, layer) of every LoRA layer."""
    return [
        (block.att, name, layer)
        for block in model.trf_blocks
        for name, layer in block.att.named_children()
        if isinstance(layer, LoRALinear)
    ]


def save_lora(model, path, settings=None):
    """Writes what LoRA has trained, a few percent of the model, as safetensors.

    Args:
        settings: what a model with it is for, as in its config.json.
    """
    trained = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
    detours = _detours(model)
    if not detours:
        raise ValueError("the model has no LoRA layers to save: add_lora(model) first")
    layer = detours[0][2]
    facts = {"lora_alpha": str(layer.scale * len(layer.A))}
    facts["settings"] = json.dumps(settings or {})
    with files.atomic_write(path) as temporary:
        write_tensors(trained, temporary, facts)


def load_lora(model, path):
    """Gives a model the LoRA layers of a file, in place; the model is the one trained.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, or one of another model, which stays as it was.
    """
    _check_has_none(model)
    tensors, facts = read_adapter(path)
    try:
        alpha = float(facts["lora_alpha"])
        rank = next(len(tensor) for n, tensor in tensors.items() if n.endswith(".A"))
        if not math.isfinite(alpha) or rank not in range(1, model.cfg.emb_dim + 1):
            raise ValueError(f"alpha {alpha}, rank {rank}")
    except (KeyError, ValueError, StopIteration, TypeError) as error:
        raise ValueError(
            f"{path} holds no LoRA layers of gpt2lib ({quoted(error)}): give what "
            "save_lora wrote"
        ) from error
    wanted = _adapter_shapes(model, rank)
    if {n: tuple(t.shape) for n, t in tensors.items()} != wanted:
        raise ValueError(
            f"{path} does not fit: its LoRA layers are of a model of another size, "
            "other attention class (fused_qkv), or another head"
        )
    if not all(t.dtype in FLOATS and t.isfinite().all() for t in tensors.values()):
        raise ValueError(
            f"{path} has numbers that are NaN or no floats: train it again"
        )
    add_lora(model, rank, alpha)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in tensors.items():
            parameters[name].copy_(tensor)
    return model


def adapter_settings(path):
    """What `save_lora` was told a model with this adapter is for.

    Raises:
        ValueError: not a LoRA adapter of gpt2lib, or a damaged one.
    """
    _, facts = read_adapter(path)
    try:
        settings = json.loads(facts.get("settings", "{}"))
        return check_task(dict(settings), path)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path} has settings that cannot be read ({quoted(error)}): give what "
            "save_lora wrote"
        ) from error


def _adapter_shapes(model, rank):
    """Name -> shape of what `save_lora` writes for a model with detours of `rank`."""
    shapes = {}
    if model.cfg.n_classes:
        shapes["out_head.weight"] = tuple(model.out_head.weight.shape)
    for i, block in enumerate(model.trf_blocks):
        for name in PROJECTIONS:
            if linear := getattr(block.att, name, None):
                out, in_ = linear.weight.shape
                prefix = f"trf_blocks.{i}.att.{name}"
                shapes |= {f"{prefix}.A": (rank, in_), f"{prefix}.B": (out, rank)}
    return shapes
