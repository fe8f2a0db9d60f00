"""Wrong and right answers to the exercises of chapter 9."""

import torch

from gpt2lib.course import check


def bytes_forgotten(n_weights, size, bandwidth, batch):
    return batch * bandwidth / n_weights


def batch_forgotten(n_weights, size, bandwidth, batch):
    return bandwidth / (n_weights * size)


def seconds_a_token(n_weights, size, bandwidth, batch):
    return n_weights * size / bandwidth / batch


def one_after_the_other(flops, n_bytes, bandwidth, rate):
    return flops / rate + n_bytes / bandwidth


def the_shorter(flops, n_bytes, bandwidth, rate):
    return min(flops / rate, n_bytes / bandwidth)


def scales_of(matrix):
    return (matrix.abs().amax(dim=1, keepdim=True) / 127).clamp(min=1e-9)


def cut_off(matrix):
    scales = scales_of(matrix)
    return (matrix / scales).to(torch.int8), scales


def zeros_divided(matrix):
    scales = matrix.abs().amax(dim=1, keepdim=True) / 127
    scales = scales / (scales > 0)
    return (matrix / scales).round().to(torch.int8), scales


def zero_by_zero(matrix):
    scales = matrix.abs().amax(dim=1, keepdim=True) / 127
    return (matrix / scales).round().to(torch.int8), scales


def one_scale(matrix):
    scales = scales_of(matrix).amax().expand(len(matrix), 1)
    return (matrix / scales).round().to(torch.int8), scales


def still_floats(matrix):
    scales = scales_of(matrix)
    return (matrix / scales).round(), scales


def scales_in_a_row(matrix):
    scales = scales_of(matrix)
    return (matrix / scales).round().to(torch.int8), scales.squeeze()


WRONG = [
    (check.most_tokens, bytes_forgotten, ""),
    (check.most_tokens, batch_forgotten, ""),
    (check.most_tokens, seconds_a_token, ""),
    (check.shortest_time, one_after_the_other, ""),
    (check.shortest_time, the_shorter, ""),
    (check.quantize_rows, cut_off, ""),
    (check.quantize_rows, zeros_divided, ""),
    (check.quantize_rows, zero_by_zero, ""),
    (check.quantize_rows, one_scale, ""),
    (check.quantize_rows, still_floats, ""),
    (check.quantize_rows, scales_in_a_row, ""),
]

RIGHT = []
