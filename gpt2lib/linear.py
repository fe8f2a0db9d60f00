"""x Wᵀ + b, as fast as the machine can and with as few bytes as one allows.

A GPT-2 spends its time in this one product. `Linear` is the layer its blocks are made
of; `prepare_to_infer` puts layers with shorter numbers in their place.
"""

import warnings
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.module import _has_any_global_hook

SMALL = 2**19  # multiplications; below them oneDNN's call takes longer than it saves
FEW = 4  # rows; up to them a product takes as long as reading its matrix does

# oneDNN's product is not public for float32; without it, torch's own choice remains.
HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(
    torch.ops.mkldnn, "_linear_pointwise"
)
HAS_BFLOAT16 = HAS_ONEDNN and torch.ops.mkldnn._is_mkldnn_bf16_supported()
WITH_GELU = (torch.float32, torch.bfloat16) if HAS_BFLOAT16 else (torch.float32,)
HAS_FBGEMM = "fbgemm" in torch.backends.quantized.supported_engines  # x86 processors

# torch means to retire its int8 tensors; what follows them has no product as fast.
warnings.filterwarnings("ignore", "torch.quantize_per", UserWarning)


class Linear(nn.Linear):
    """torch.nn.Linear, where torch has a faster product than the one it would take.

    Shapes: (..., in) -> (..., out)
    """

    def forward(self, x):
        if _is_worth_it(x, self.weight):
            return FastProduct.apply(x, self.weight, self.bias)
        return super().forward(x)


def _is_worth_it(x, weight, dtypes=(torch.float32,)):
    return (
        HAS_ONEDNN
        and x.dtype == weight.dtype
        and x.dtype in dtypes
        and x.device.type == "cpu"
        and x.numel() * len(weight) >= SMALL
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def feed_forward(layers, kinds, x):
    """layers(x), where `kinds` are `Linear`, GELU in its tanh form, and `Linear`.

    Product and GELU are one call unless somebody sees what is between them: gradients,
    a hook, or a layer that is not of the kind it was.
    """
    if not _is_unseen(layers, kinds, x):
        return layers(x)
    wide, _, narrow = layers
    return narrow(_onednn(x, wide.weight, wide.bias, "gelu", "tanh"))


def _is_unseen(layers, kinds, x):
    return (
        _count_rows(x) > FEW
        and not torch.is_grad_enabled()
        and [type(layer) for layer in layers] == kinds
        and _is_worth_it(x, layers[0].weight, WITH_GELU)
        and not _has_any_global_hook()
        and not any(m._forward_hooks or m._forward_pre_hooks for m in layers.modules())
    )


def _count_rows(x):
    return x.numel() // x.shape[-1]


class FastProduct(torch.autograd.Function):
    """x Wᵀ + b in float32, and its gradients."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        parts = next((n for n in range(2, 64) if len(weight) % n == 0), None)
        if _count_rows(x) > FEW or parts is None:
            return _onednn(x, weight, bias)
        # Of so few rows, the time is that of reading W. The quickest reader is MKL's
        # product of several matrices, 33 GB/s on an AMD EPYC; oneDNN's has 25 there,
        # MKL's of one matrix 13.
        columns = x.reshape(_count_rows(x), -1).T.expand(parts, -1, -1)
        product = torch.bmm(weight.unflatten(0, (parts, -1)), columns)
        product = product.flatten(0, 1).T.contiguous().view(*x.shape[:-1], -1)
        return product if bias is None else product + bias

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        rows = gradient.flatten(0, -2)
        return (
            _onednn(gradient, weight.T) if for_x else None,
            rows.T @ x.flatten(0, -2) if for_weight else None,
            rows.sum(dim=0) if for_bias else None,
        )


def _onednn(x, weight, bias=None, activation="none", form=""):
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, [], form)


# ------------------------------------------------------------------ for inference alone


class Float16Linear(nn.Module):
    """Weights in float16, which is half the bytes to read; sums in float32.

    Shapes: (..., in) -> (..., out)
    """

    def __init__(self, linear):
        super().__init__()
        self.packed = torch.ops.quantized.linear_prepack_fp16(
            linear.weight.detach(), linear.bias
        )

    def forward(self, x):
        return torch.ops.quantized.linear_dynamic_fp16(x, self.packed)


class Int8Linear(nn.Module):
    """Weights and inputs as whole numbers of 8 bits or less, each row with its scale.

    Weights are rounded once, inputs as they come: a quarter of the bytes to read, and
    products of whole numbers.

    Shapes: (..., in) -> (..., out)
    """

    def __init__(self, linear):
        super().__init__()
        weight = linear.weight.detach()
        scale = weight.abs().amax(dim=1).clamp(min=1e-12) / 127
        zeros = torch.zeros(len(weight), dtype=torch.int64)
        rounded = torch.quantize_per_channel(weight, scale, zeros, 0, torch.qint8)
        self.packed = torch.ops.quantized.linear_prepack(rounded, None)
        self.bias = linear.bias
        # Without these instructions, sums of two products overflow unless inputs have
        # seven bits.
        self.reduce_range = not torch.cpu.get_capabilities().get("avx512_vnni", False)

    def forward(self, x):
        if _count_rows(x) == 1:
            product = self.product(x)
        else:  # the product has one scale for all inputs, so rows get one size first
            size = x.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12)
            product = self.product(x / size).mul_(size)
        return product if self.bias is None else product.add_(self.bias)

    def product(self, x):
        return torch.ops.quantized.linear_dynamic(x, self.packed, self.reduce_range)


PREPARED = {"float16": Float16Linear, "int8": Int8Linear}


def prepare_to_infer(model, precision):
    """Puts layers that only infer in the place of all linear ones.

    Embeddings and norms stay in float32: little of them is read for a token.
    """
    if precision == "float16" and not HAS_FBGEMM:
        return model.half()

    def prepare(name):
        model.set_submodule(name, PREPARED[precision](model.get_submodule(name)))

    linear = [n for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    # torch packs a matrix on one core; the head, which takes longest, goes first.
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        list(threads.map(prepare, reversed(linear)))
    return model


def check_not_prepared(model, purpose):
    """Raises ValueError for a model whose layers only infer."""
    if any(isinstance(module, tuple(PREPARED.values())) for module in model.modules()):
        raise ValueError(
            f"this model's weights were prepared to infer, it cannot be {purpose}: "
            "load it with precision='float32'"
        )
