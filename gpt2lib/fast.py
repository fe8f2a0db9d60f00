"""Everything specific to processors: the same model, computed faster.

`speed_up` gives a model's layers faster forwards; weights, names and results stay the
same. `prepare_to_infer` replaces them by layers with fewer bits per weight. What the
processor supports is asked once, below, and every choice follows from the answers.
"""

import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.module import _has_any_global_hook

from gpt2lib.attention import (
    MultiHeadAttention,
    OpenAICompatibleMultiHeadAttention,
    attention_weights,
)
from gpt2lib.model import GELU, FeedForward

# torch has no public call of oneDNN for float32; without it, torch's default is used.
HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(
    torch.ops.mkldnn, "_linear_pointwise"
)
HAS_BFLOAT16 = HAS_ONEDNN and torch.ops.mkldnn._is_mkldnn_bf16_supported()
HAS_FBGEMM = "fbgemm" in torch.backends.quantized.supported_engines  # x86 processors
HAS_VNNI = torch.cpu.get_capabilities().get("avx512_vnni", False)

ModelT = TypeVar("ModelT", bound=nn.Module)

SMALL = 2**19  # multiplications; below this, calling oneDNN costs more than it saves
FEW = 4  # rows; up to this many, reading the matrix dominates


def speed_up(model: ModelT) -> ModelT:
    """Gives the layers of a model their faster forwards, in place.

    Parameters, hooks and names stay as they are. Layers of any other class, such as a
    learner's own, are left alone.
    """
    for module in model.modules():
        module.__class__ = FASTER.get(type(module), type(module))
    return model


def warn_if_emulated(precision: str, device: str | torch.device) -> None:
    """Warns if bfloat16 is asked of a processor that has to emulate it."""
    emulated = HAS_ONEDNN and not HAS_BFLOAT16
    if precision == "bfloat16" and torch.device(device).type == "cpu" and emulated:
        warnings.warn(
            "this processor has no bfloat16 and emulates it slowly: train in float32, "
            "and for inference use float16, which is as small, or int8",
            stacklevel=3,
        )


# ------------------------------------------------------------------------ linear layers


class FastLinear(nn.Linear):
    """torch.nn.Linear through oneDNN or MKL, whichever is faster for the shape.

    Shapes: (..., in) -> (..., out)
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if _is_worth_it(x, self.weight, [torch.float32]):
            # On rows: autograd forbids in-place changes to a view made in a Function.
            # Inference mode needs no Function, and its wrapper would be a seventh of
            # GPT-2's time for a token.
            product = FastProduct.apply
            if torch.is_inference_mode_enabled():
                product = FastProduct.forward
            rows = product(x.flatten(0, -2), self.weight, self.bias)
            return rows.unflatten(0, x.shape[:-1])
        return super().forward(x)


def _is_worth_it(x, weight, dtypes):
    return (
        HAS_ONEDNN
        and x.dtype == weight.dtype
        and x.dtype in dtypes
        and x.device.type == "cpu"
        and x.ndim > 1
        and x.numel() * len(weight) >= SMALL
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def _count_rows(x):
    return x.numel() // x.shape[-1]


class FastProduct(torch.autograd.Function):
    """x Wᵀ + b in float32, with gradients and support for torch.func.

    Shapes: (rows, in), (out, in), (out,) or None -> (rows, out)
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x, weight, bias):
        parts = next((n for n in range(2, 64) if len(weight) % n == 0), None)
        if len(x) > FEW or parts is None:
            return _onednn(x, weight, bias)
        # For so few rows, MKL's batched product reads W fastest: 33 GB/s on an AMD
        # EPYC, against 25 for oneDNN and 13 for MKL's product of one matrix.
        columns = x.T.expand(parts, -1, -1)
        product = torch.bmm(weight.unflatten(0, (parts, -1)), columns)
        product = product.flatten(0, 1).T.clone(memory_format=torch.contiguous_format)
        return product if bias is None else product + bias

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, weight, _ = inputs
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        return (
            FastProduct.apply(gradient, weight.T, None) if for_x else None,
            gradient.T @ x if for_weight else None,
            gradient.sum(dim=0) if for_bias else None,
        )

    @staticmethod
    def jvp(ctx, x_tangent, weight_tangent, bias_tangent):
        x, weight = ctx.saved_tensors
        moved = F.linear(x_tangent, weight) + F.linear(x, weight_tangent)
        return moved if bias_tangent is None else moved + bias_tangent


def _onednn(x, weight, bias=None, activation="none", form=""):
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, [], form)


# ----------------------------------------------------------- feed-forward and attention


class FastFeedForward(FeedForward):
    """FeedForward with the first product and GELU in one call.

    Fused, unless autograd, a hook or a replaced layer needs the value in between.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.can_fuse(x):
            return self.layers(x)
        wide, _, narrow = self.layers
        return narrow(_onednn(x, wide.weight, wide.bias, "gelu", "tanh"))

    def can_fuse(self, x: torch.Tensor) -> bool:
        layers = self.layers
        dtypes = [torch.float32, torch.bfloat16] if HAS_BFLOAT16 else [torch.float32]
        return (
            _count_rows(x) > FEW
            and not torch.is_grad_enabled()
            and [type(layer) for layer in layers] == [FastLinear, GELU, FastLinear]
            and _is_worth_it(x, layers[0].weight, dtypes)
            and not _has_any_global_hook()
            and not any(
                m._forward_hooks or m._forward_pre_hooks for m in layers.modules()
            )
        )


class _FastAttention:
    """Attention in bfloat16 on a CPU, by the faster of two ways.

    torch's fused call is slow there, most of all its backward pass. A processor with
    bfloat16 products is faster with plain products; any other, and a single query on
    either, with the fused call in float32.
    """

    def attend(self, queries, keys, values):
        if queries.dtype != torch.bfloat16 or queries.device.type != "cpu":
            return super().attend(queries, keys, values)
        if HAS_BFLOAT16 and queries.shape[2] > 1:
            dropout = self.dropout if self.training else 0.0
            return attend_in_blocks(queries, keys, values, dropout)
        with torch.autocast("cpu", enabled=False):
            wide = (t.float() for t in (queries, keys, values))
            return super().attend(*wide).type_as(queries)


def attend_in_blocks(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    dropout: float = 0.0,
) -> torch.Tensor:
    """Causal attention in plain products, for 128 queries at a time.

    Shapes: (..., T_q, D), two of (..., T_k, D) -> (..., T_q, D)
    """
    # Make contiguous once; otherwise every product copies its slice.
    queries, keys, values = (t.contiguous() for t in (queries, keys, values))
    end, blocks = keys.shape[-2] - queries.shape[-2], []
    for block in queries.split(128, dim=-2):
        end += block.shape[-2]  # later keys are masked anyway
        weights = attention_weights(block, keys[..., :end, :], causal=True)
        blocks.append(F.dropout(weights, dropout) @ values[..., :end, :])
    return torch.cat(blocks, dim=-2)


class FastMultiHeadAttention(_FastAttention, MultiHeadAttention):
    """MultiHeadAttention with a faster `attend`."""


class FastOpenAICompatibleMultiHeadAttention(
    _FastAttention, OpenAICompatibleMultiHeadAttention
):
    """OpenAICompatibleMultiHeadAttention with a faster `attend`."""


FASTER: dict[type, type] = {
    nn.Linear: FastLinear,
    FeedForward: FastFeedForward,
    MultiHeadAttention: FastMultiHeadAttention,
    OpenAICompatibleMultiHeadAttention: FastOpenAICompatibleMultiHeadAttention,
}


# --------------------------------------------------------------------- prepared weights


class Float16Linear(nn.Module):
    """Weights in float16, half the bytes to read; sums in float32.

    Shapes: (..., in) -> (..., out)
    """

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.packed = torch.ops.quantized.linear_prepack_fp16(
            linear.weight.detach(), linear.bias
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.quantized.linear_dynamic_fp16(x, self.packed)


class Int8Linear(nn.Module):
    """Weights and inputs quantised to int8, each row with its own scale.

    Weights are rounded once, inputs at every call: a quarter of the bytes to read, and
    products of integers.

    Shapes: (..., in) -> (..., out)
    """

    def __init__(self, linear: nn.Linear):
        super().__init__()
        # Without VNNI, pairs of products are summed in 16 bits, which overflows unless
        # weights have 7 bits. That costs pocket 0.2 % in bits per byte; 7 bits for the
        # inputs instead would cost 0.5 %.
        largest = 127 if HAS_VNNI else 63
        weight = linear.weight.detach()
        scale = weight.abs().amax(dim=1).clamp(min=1e-12) / largest
        zeros = torch.zeros(len(weight), dtype=torch.int64)
        # Deprecated in torch, but the replacement has no kernel as fast.
        rounded = torch.quantize_per_channel(weight, scale, zeros, 0, torch.qint8)
        self.packed = torch.ops.quantized.linear_prepack(rounded, None)
        self.bias = linear.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if _count_rows(x) == 1:
            product = self.product(x)
        else:  # the product has one scale for all inputs, so normalise the rows
            size = x.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12)
            product = self.product(x / size).mul_(size)
        return product if self.bias is None else product.add_(self.bias)

    def product(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.quantized.linear_dynamic(x, self.packed)


PREPARED: dict[str, type[nn.Module]] = {"float16": Float16Linear, "int8": Int8Linear}


def prepare_to_infer(model: ModelT, precision: str) -> ModelT:
    """Replaces all linear layers by prepared ones, for inference only.

    Embeddings and norms stay in float32: a token reads little of them.
    """
    if precision == "float16" and not HAS_FBGEMM:
        return model.half()

    def prepare(name):
        model.set_submodule(name, PREPARED[precision](model.get_submodule(name)))

    linear = [n for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    # torch packs a matrix on one core; the largest, the output head, goes first.
    with warnings.catch_warnings(), ThreadPoolExecutor(torch.get_num_threads()) as pool:
        warnings.filterwarnings("ignore", "torch.quantize_per", UserWarning)
        list(pool.map(prepare, reversed(linear)))
    return model


def check_not_prepared(model: nn.Module, purpose: str) -> None:
    """Raises ValueError for a model whose weights are prepared for inference."""
    if any(isinstance(module, tuple(PREPARED.values())) for module in model.modules()):
        raise ValueError(
            f"this model's weights are prepared for inference, so it cannot be "
            f"{purpose}: load it with precision='float32'"
        )
