"""The checkers of chapter 9: speed."""

import math

import numpy as np
import torch

from gpt2lib.course.check.report import WrongAnswer, exercise, expect, is_pair
from gpt2lib.generate import generate
from gpt2lib.weights import load_model


@exercise
def most_tokens(answer):
    for n_weights, size, bandwidth, batch in (
        (10**8, 4, 4e10, 1),
        (10**8, 1, 4e10, 1),
        (5 * 10**7, 2, 1e10, 8),
        (123_532_032, 4, 2.9e10, 1),
        (123_532_032, 2, 1.1e9, 3),
    ):
        wanted = batch * bandwidth / (n_weights * size)
        slips = [
            ("a weight has more than one byte", batch * bandwidth / n_weights),
            ("that is seconds a token", n_weights * size / bandwidth / batch),
            ("one reading serves the whole batch", bandwidth / (n_weights * size)),
            ("a rate need not be a whole number", float(math.floor(wanted))),
        ]
        call = f"most_tokens({n_weights}, {size}, {bandwidth:g}, {batch})"
        expect(call, answer(n_weights, size, bandwidth, batch), wanted, slips)


@exercise
def shortest_time(answer):
    for calculations, n_bytes, bandwidth, rate in (
        (8e9, 1e9, 5e10, 2e11),
        (8e12, 1e9, 5e10, 2e11),
        (0.0, 2e9, 5e10, 2e11),
        (3e9, 7e8, 1.3e10, 9e10),
        (3e9, 7e6, 1.3e10, 9e10),
    ):
        times = calculations / rate, n_bytes / bandwidth
        slips = [
            ("the two happen at the same time", sum(times)),
            ("the shorter one has to wait for the longer", min(times)),
        ]
        call = f"shortest_time({calculations:g}, {n_bytes:g}, {bandwidth:g}, {rate:g})"
        expect(call, answer(calculations, n_bytes, bandwidth, rate), max(times), slips)


def _matrix(seed, rows, columns, dtype=torch.float32):
    """Random numbers; one row a hundred times as large, one of zeros."""
    rng = torch.Generator().manual_seed(seed)
    matrix = torch.randn(rows, columns, generator=rng, dtype=dtype)
    matrix[1] *= 100
    matrix[2] = 0
    return matrix


@exercise
def quantize_rows(answer):
    for matrix in (
        _matrix(9, 5, 8),
        _matrix(10, 8, 5),
        _matrix(11, 6, 6, torch.float64),
        _matrix(12, 3, 40),
    ):
        _quantized(answer, matrix)


def _quantized(answer, matrix):
    call = f"quantize_rows(a matrix of shape {tuple(matrix.shape)})"
    own = matrix.clone()
    given = answer(own)
    if not is_pair(given):
        expect(call, given, "whole numbers and scales")
    if not own.equal(matrix):
        raise WrongAnswer(f"{call} gave a result, but changed the matrix")
    whole, scales = (
        torch.from_numpy(part) if isinstance(part, np.ndarray) else part
        for part in given
    )
    for name, part, shape in (
        ("the numbers", whole, matrix.shape),
        ("the scales", scales, (len(matrix), 1)),
    ):
        if not isinstance(part, torch.Tensor):
            expect(f"{call}: {name}", part, torch.zeros(shape))
        expect(f"{call}: the shape of {name}", tuple(part.shape), tuple(shape))
    if whole.dtype != torch.int8:
        raise WrongAnswer(f"{call} gave numbers of {whole.dtype}, expected torch.int8")
    _lead_back(call, matrix, whole, scales)


def _lead_back(call, matrix, whole, scales):
    for number, scale in enumerate(scales.flatten().tolist()):
        if not 0 < scale < math.inf:
            row = "the row of zeros" if number == 2 else f"row {number}"
            raise WrongAnswer(
                f"{call}: {row} has the scale {scale}, expected one larger than 0"
            )
    wanted = matrix.abs().amax(dim=1, keepdim=True) / 127
    off_by = (whole * scales - matrix).abs() / wanted.clamp(min=1e-9)
    if off_by.max() > 0.51:
        raise WrongAnswer(
            f"{call}: numbers times scales miss the matrix by {off_by.max():.2f} steps "
            "of max / 127, at most half a step is possible"
        )


@exercise
def int8_linear(answer):
    for seed, shape, n_out in ((1, (4, 24), 6), (2, (2, 3, 32), 5), (3, (2, 4, 16), 9)):
        rng = torch.Generator().manual_seed(seed)
        x, bias = torch.randn(shape, generator=rng), torch.randn(n_out, generator=rng)
        x[0] *= 0.01
        x[-1, 0] = 0
        weight = _matrix(seed, n_out, shape[-1]) / 100
        (w8, w_scale), (x8, x_scale) = map(_whole, (weight, x))
        wanted = x8 @ w8.T * x_scale * w_scale.T + bias
        slips = [
            ("nothing was rounded", x @ weight.T + bias),
            ("the inputs are rounded, too", x.double() @ (w8 * w_scale).T + bias),
            ("the weights are rounded, too", x8 * x_scale @ weight.T.double() + bias),
            ("the bias is missing", wanted - bias),
        ]
        call = f"int8_linear(x {shape}, weight {tuple(weight.shape)}, bias ({n_out},))"
        own = x.clone(), weight.clone(), bias.clone()
        given = answer(*own)
        if given is not None and not all(map(torch.equal, own, (x, weight, bias))):
            raise WrongAnswer(f"{call} gave a result, but changed what it was given")
        expect(call, given, wanted.float(), slips)


def _whole(rows):
    scale = rows.double().abs().amax(dim=-1, keepdim=True) / 127
    scale[scale == 0] = 1
    return (rows.double() / scale).round(), scale


@exercise
def cached(answer):
    """Greedy decoding with a cache: the ids of `generate`, each position read once."""
    model = load_model()
    rng = torch.Generator().manual_seed(3)
    for B, T, n in ((1, 5, 12), (3, 9, 10), (2, 1, 6)):
        ids = torch.randint(model.cfg.vocab_size, (B, T), generator=rng)
        wanted, read = generate(model, ids, n), []
        hook = model.tok_emb.register_forward_pre_hook(
            lambda _, given, read=read: read.append(given[0].shape[1])
        )
        try:
            given = answer(model, ids.clone(), n)
        finally:
            hook.remove()
        call = f"cached(pocket, ids of shape {(B, T)}, {n})"
        expect(call, given, wanted, [("only the new ids came back", wanted[:, T:])])
        if sum(read) > T + n:
            raise WrongAnswer(
                f"{call} gave the right ids, but read {sum(read)} positions; with a "
                f"cache {T + n - 1} are enough"
            )
