"""LoRA, low-rank adaptation: finetuning of few parameters (Hu et al. 2021).

Each attention projection W is frozen and gets a low-rank update beside it,
W x + (alpha / rank) B A x, of which only A and B are trained. Afterwards the product
can be added to W, which leaves a plain model.
"""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gpt2lib import files
from gpt2lib.fast import check_not_prepared
from gpt2lib.model import GPTModel
from gpt2lib.weights.tensors import FLOATS, check_task, read_adapter, write_tensors
from gpt2lib.weights.untrusted import quoted

RANK, ALPHA = 8, 16
BASE = "base_weights"  # under this name, a hash of those that it was trained on
PROJECTIONS = ("W_qkv", "W_query", "W_key", "W_value")


class LoRALinear(nn.Module):
    """A frozen linear layer plus a trainable low-rank update, which starts at zero.

    Shapes: (..., in) -> (..., out); A (rank, in), B (out, rank)
    """

    def __init__(
        self,
        linear: nn.Linear,
        rank: int,
        alpha: float,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.linear = linear
        self.scale = alpha / rank
        out, in_ = linear.weight.shape
        A = torch.randn(rank, in_, generator=generator) / in_**0.5
        self.A = nn.Parameter(A.to(linear.weight))
        self.B = nn.Parameter(linear.weight.new_zeros(out, rank))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) + self.scale * (x @ self.A.mT) @ self.B.mT

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The plain linear layer, with the update added to its weight."""
        self.linear.weight += self.scale * self.B @ self.A
        return self.linear


def add_lora(
    model: GPTModel, rank: int = RANK, alpha: float = ALPHA, seed: int = 0
) -> GPTModel:
    """Freezes a model and adds LoRA layers to its attention projections, in place.

    A classification head, being new, stays trainable.

    Raises:
        ValueError: the model already has LoRA layers, rank is not from 1 to emb_dim, or
            alpha is not finite.
    """
    if type(rank) is not int or not 1 <= rank <= model.cfg.emb_dim:
        raise ValueError(
            f"rank must be a whole number from 1 to emb_dim ({model.cfg.emb_dim}), "
            f"got {rank!r}"
        )
    if not math.isfinite(alpha):
        raise ValueError(f"alpha must be a finite number, got {alpha}")
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
        raise ValueError("the model already has LoRA layers: merge_lora(model) first")


def merge_lora(model: GPTModel) -> GPTModel:
    """Adds the low-rank updates to the weights and removes them, in place."""
    for parent, name, detour in _detours(model):
        setattr(parent, name, detour.merged())
    return model.requires_grad_(True)


def has_lora(model: GPTModel) -> bool:
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


def save_lora(
    model: GPTModel, path: str | Path, settings: dict[str, Any] | None = None
) -> None:
    """Writes the trained parameters, a few percent of the model, as safetensors.

    Args:
        settings: further entries for the config.json of a model with this adapter.
    """
    trained = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
    detours = _detours(model)
    if not detours:
        raise ValueError("the model has no LoRA layers to save: add_lora(model) first")
    layer = detours[0][2]
    facts = {"lora_alpha": str(layer.scale * len(layer.A))}
    facts |= {"settings": json.dumps(settings or {}), BASE: mark_of(model)}
    with files.atomic_write(path) as temporary:
        write_tensors(trained, temporary, facts)


def load_lora(model: GPTModel, path: str | Path) -> GPTModel:
    """Adds the LoRA layers in a file, in place, to the model they were trained on.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a LoRA file, or one of another model; the model is unchanged.
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
            f"{path} holds no LoRA layers of gpt2lib ({quoted(error)}): give a file "
            "that save_lora wrote"
        ) from error
    _check_fits(path, tensors, facts, model, rank)
    add_lora(model, rank, alpha)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in tensors.items():
            parameters[name].copy_(tensor)
    return model


def _check_fits(path, tensors, facts, model, rank):
    """Refuses an adapter of another model, or one with unusable numbers."""
    wanted = _adapter_shapes(model, rank)
    if {n: tuple(t.shape) for n, t in tensors.items()} != wanted:
        raise ValueError(
            f"{path} does not fit: its LoRA layers are for a model of another size, "
            "attention class (fused_qkv) or head; load the one they were trained on"
        )
    if not all(t.dtype in FLOATS and t.isfinite().all() for t in tensors.values()):
        raise ValueError(
            f"{path} has values that are not finite floats: train it again"
        )
    if BASE in facts and facts[BASE] != mark_of(model):
        raise ValueError(
            f"{path} was trained on other weights than these: load it into the model "
            "it was trained on, which does not contain it yet"
        )


def mark_of(model: GPTModel) -> str:
    """A hash of all weights but those an adapter holds, in any precision."""
    own = ("out_head.weight",) if model.cfg.n_classes else ()
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        if name not in own and not name.endswith((".A", ".B")):
            numbers = parameter.detach().bfloat16().contiguous().view(torch.int16)
            digest.update(numbers.cpu().numpy().data)
    return digest.hexdigest()[:16]


def adapter_settings(path: str | Path) -> dict[str, Any]:
    """The settings that `save_lora` stored in an adapter.

    Raises:
        ValueError: not a LoRA adapter of gpt2lib, or a damaged one.
    """
    _, facts = read_adapter(path)
    try:
        settings = json.loads(facts.get("settings", "{}"))
        return check_task(dict(settings), path)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path} has settings that cannot be read ({quoted(error)}): give a file "
            "that save_lora wrote"
        ) from error


def _adapter_shapes(model, rank):
    """Name -> shape of the tensors that `save_lora` writes for LoRA of this rank."""
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
