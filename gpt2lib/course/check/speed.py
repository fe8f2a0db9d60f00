"""The checkers of chapter 9: speed."""

import math

import torch

from gpt2lib.course.check.report import WrongAnswer, exercise, expect


@exercise
def most_tokens(answer):
    for n_weights, size, bandwidth, batch in (
        (10**8, 4, 4e10, 1),
        (10**8, 1, 4e10, 1),
        (5 * 10**7, 2, 1e10, 8),
    ):
        wanted = batch * bandwidth / (n_weights * size)
        slips = [
            ("a weight has more than one byte", batch * bandwidth / n_weights),
            ("that is seconds a token", n_weights * size / bandwidth / batch),
            ("one reading serves the whole batch", bandwidth / (n_weights * size)),
        ]
        call = f"most_tokens({n_weights}, {size}, {bandwidth:g}, {batch})"
        expect(call, answer(n_weights, size, bandwidth, batch), wanted, slips)


@exercise
def shortest_time(answer):
    for calculations, n_bytes in ((8e9, 1e9), (8e12, 1e9), (0.0, 2e9)):
        bandwidth, rate = 5e10, 2e11
        times = calculations / rate, n_bytes / bandwidth
        slips = [
            ("the two happen at the same time", sum(times)),
            ("the shorter one has to wait for the longer", min(times)),
        ]
        call = f"shortest_time({calculations:g}, {n_bytes:g}, {bandwidth:g}, {rate:g})"
        expect(call, answer(calculations, n_bytes, bandwidth, rate), max(times), slips)


@exercise
def quantize_rows(answer):
    matrix = torch.randn(5, 8, generator=torch.Generator().manual_seed(9))
    matrix[1] *= 100
    matrix[2] = 0
    given = answer(matrix.clone())
    call = "quantize_rows(a matrix of shape (5, 8))"
    if given is None or len(given) != 2:
        expect(call, given, "whole numbers and scales")
    whole, scales = given
    if whole.dtype != torch.int8:
        raise WrongAnswer(f"{call}: the numbers are {whole.dtype}, expected torch.int8")
    expect(f"{call}: the shape of the scales", tuple(scales.shape), (5, 1))
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
