"""Wrong and right answers to the exercises of chapter 9."""

import numpy as np
import torch

from gpt2lib.course import check
from gpt2lib.generate import generate, stream


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


def whole_tokens(n_weights, size, bandwidth, batch):
    return batch * bandwidth // (n_weights * size)


def bits_for_bytes(n_weights, size, bandwidth, batch):
    return 8 * batch * bandwidth / (n_weights * size)


def always_the_bytes(flops, n_bytes, bandwidth, rate):
    return n_bytes / bandwidth


def columns_for_rows(matrix):
    scales = (matrix.abs().amax(dim=0, keepdim=True) / 127).clamp(min=1e-9)
    return (matrix / scales).round().to(torch.int8), scales


def signed_largest(matrix):
    scales = matrix.amax(dim=1, keepdim=True) / 127
    scales[scales == 0] = 1
    return (matrix / scales).round().to(torch.int8), scales


def matrix_overwritten(matrix):
    scales = scales_of(matrix)
    matrix /= scales
    return matrix.round().to(torch.int8), scales


def steps_of_128(matrix):
    scales = (matrix.abs().amax(dim=1, keepdim=True) / 128).clamp(min=1e-9)
    return (matrix / scales).round().to(torch.int8), scales


def split_rows(rows):
    scales = (rows.abs().amax(dim=-1, keepdim=True) / 127).clamp(min=1e-9)
    return (rows / scales).round(), scales


def nothing_rounded(x, weight, bias):
    return x @ weight.T + bias


def inputs_exact(x, weight, bias):
    w8, w_scales = split_rows(weight)
    return x @ w8.T * w_scales.T + bias


def weights_exact(x, weight, bias):
    x8, x_scales = split_rows(x)
    return x8 @ weight.T * x_scales + bias


def bias_forgotten(x, weight, bias):
    return linear_right(x, weight, 0 * bias)


def one_scale_for_x(x, weight, bias):
    x_scale = x.abs().max() / 127
    w8, w_scales = split_rows(weight)
    return (x / x_scale).round() @ w8.T * x_scale * w_scales.T + bias


def scales_forgotten(x, weight, bias):
    return split_rows(x)[0] @ split_rows(weight)[0].T + bias


def zeros_are_nan(x, weight, bias):
    (x_scale, w_scale) = (m.abs().amax(-1, keepdim=True) / 127 for m in (x, weight))
    product = (x / x_scale).round() @ (weight / w_scale).round().T
    return product * x_scale * w_scale.T + bias


@torch.inference_mode()
def decode(model, ids, n, positions_of):
    caches, unread = model.new_caches(ids.shape[1] + n), ids
    for _ in range(n):
        positions = positions_of(caches[0].length, unread.shape[1])[None]
        last = model.hidden_states(unread, caches, positions)[:, -1]
        unread = model.out_head(last).argmax(dim=-1, keepdim=True)
        ids = torch.cat([ids, unread], dim=1)
    return ids


def positions_from_zero(model, ids, n):
    return decode(model, ids, n, lambda start, new: torch.arange(new))


def positions_one_late(model, ids, n):
    return decode(model, ids, n, lambda start, new: torch.arange(new) + start + 1)


def positions_of_the_prompt(model, ids, n):
    first = ids.shape[1]
    return decode(
        model, ids, n, lambda start, new: torch.arange(new) + (first if start else 0)
    )


def cache_thrown_away(model, ids, n):
    for _ in range(n):
        ids = torch.cat([ids, model(ids)[:, -1].argmax(-1, keepdim=True)], dim=1)
    return ids


def new_ids_alone(model, ids, n):
    return generate(model, ids, n)[:, ids.shape[1] :]


def first_text_for_all(model, ids, n):
    return generate(model, ids[:1], n).expand(len(ids), -1)


def readings(n_weights, size, bandwidth, batch):
    seconds = n_weights * size / bandwidth
    return torch.tensor(batch / seconds, dtype=torch.float64)


def tokens_by_array(n_weights, size, bandwidth, batch):
    return np.float64(bandwidth) / np.float64(n_weights) / size * batch


def roof(flops, n_bytes, bandwidth, rate):
    return torch.tensor([flops / rate, n_bytes / bandwidth]).double().max()


def roof_by_case(flops, n_bytes, bandwidth, rate):
    if flops * bandwidth > n_bytes * rate:
        return flops / rate
    return n_bytes / bandwidth


def rows_one_by_one(matrix):
    numbers, scales = [], []
    for row in matrix:
        scale = row.abs().max().item() / 127 or 1.0
        numbers.append((row / scale).round())
        scales.append([scale])
    return torch.stack(numbers).to(torch.int8), torch.tensor(scales)


def rows_in_numpy(matrix):
    matrix = matrix.numpy()
    scales = np.abs(matrix).max(axis=1, keepdims=True) / 127
    scales[scales == 0] = 1
    return [np.rint(matrix / scales).astype(np.int8), scales]


def linear_right(x, weight, bias):
    (x8, x_scales), (w8, w_scales) = split_rows(x), split_rows(weight)
    return x8 @ w8.T * x_scales * w_scales.T + bias


def linear_in_integers(x, weight, bias):
    flat = x.flatten(0, -2)
    (x8, x_scales), (w8, w_scales) = split_rows(flat), split_rows(weight)
    product = x8.to(torch.int32) @ w8.to(torch.int32).T
    out = product.double() * x_scales * w_scales.squeeze(1) + bias
    return out.reshape(*x.shape[:-1], len(weight))


def cached_right(model, ids, n):
    return decode(model, ids, n, lambda start, new: torch.arange(start, start + new))


def cached_by_the_model(model, ids, n):
    caches, out = model.new_caches(model.cfg.context_length), [ids]
    for _ in range(n):
        with torch.no_grad():
            out.append(model(out[-1], caches)[:, -1:].argmax(dim=-1))
    return torch.cat(out, dim=1)


def cached_by_streaming(model, ids, n):
    return torch.cat([ids, torch.stack([*stream(model, ids, n)], dim=1)], dim=1)


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
    (check.most_tokens, whole_tokens, "need not be a whole number"),
    (check.most_tokens, bits_for_bytes, ""),
    (check.shortest_time, always_the_bytes, ""),
    (check.quantize_rows, columns_for_rows, ""),
    (check.quantize_rows, signed_largest, ""),
    (check.quantize_rows, matrix_overwritten, "changed the matrix"),
    (check.quantize_rows, steps_of_128, ""),
    (check.int8_linear, nothing_rounded, "nothing was rounded"),
    (check.int8_linear, inputs_exact, "the inputs are rounded, too"),
    (check.int8_linear, weights_exact, "the weights are rounded, too"),
    (check.int8_linear, bias_forgotten, "the bias is missing"),
    (check.int8_linear, one_scale_for_x, ""),
    (check.int8_linear, scales_forgotten, ""),
    (check.int8_linear, zeros_are_nan, ""),
    (check.cached, positions_from_zero, ""),
    (check.cached, positions_one_late, ""),
    (check.cached, positions_of_the_prompt, ""),
    (check.cached, cache_thrown_away, "gave the right ids, but read"),
    (check.cached, new_ids_alone, "only the new ids"),
    (check.cached, first_text_for_all, ""),
]

RIGHT = [
    (check.most_tokens, readings),
    (check.most_tokens, tokens_by_array),
    (check.shortest_time, roof),
    (check.shortest_time, roof_by_case),
    (check.quantize_rows, rows_one_by_one),
    (check.quantize_rows, rows_in_numpy),
    (check.int8_linear, linear_right),
    (check.int8_linear, linear_in_integers),
    (check.cached, cached_right),
    (check.cached, cached_by_the_model),
    (check.cached, cached_by_streaming),
]
