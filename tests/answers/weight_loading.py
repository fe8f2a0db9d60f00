"""Wrong and right answers to the exercises of chapter 5."""

import json

from gpt2lib.course import check


def ends_like_a_mask(name):
    return name.endswith(("attn.bias", "masked_bias", "mask"))


def any_bias_of_attention(name):
    return "attn" in name and "bias" in name or "mask" in name


def masks_of_the_hub_only(name):
    return name.endswith(".attn.bias")


def header_of(data):
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def metadata_kept(data):
    entries = header_of(data).items()
    return {name: tuple(entry.get("shape", ())) for name, entry in entries}


def places_for_shapes(data):
    entries = header_of(data).items()
    return {n: e["data_offsets"] for n, e in entries if n != "__metadata__"}


def cut_but_not_turned(weight, bias):
    return list(zip(weight.chunk(3, dim=1), bias.chunk(3)))


def reshaped(weight, bias):
    return list(zip(weight.reshape(3, 4, 4), bias.chunk(3)))


def every_third(weight, bias):
    return [(weight.T[i::3], bias[i::3]) for i in range(3)]


def values_first(weight, bias):
    return list(zip(weight.T.chunk(3), bias.chunk(3)))[::-1]


def two_lists(weight, bias):
    return weight.T.chunk(3), bias.chunk(3)


def measured(tensors, n_layers):
    vocab_size, emb_dim = tensors["wte.weight"].shape
    context_length = tensors["wpe.weight"].shape[0]
    return dict(
        vocab_size=vocab_size,
        context_length=context_length,
        emb_dim=emb_dim,
        n_layers=n_layers,
    )


def highest_as_text(tensors):
    indices = [name.split(".")[1] for name in tensors if name.startswith("h.")]
    return measured(tensors, int(max(indices)) + 1)


def names_over_twelve(tensors):
    return measured(tensors, sum(name.startswith("h.") for name in tensors) // 12)


def last_index(tensors):
    indices = [int(name.split(".")[1]) for name in tensors if name.startswith("h.")]
    return measured(tensors, max(indices))


WRONG = [
    (check.is_mask, ends_like_a_mask, ""),
    (check.is_mask, any_bias_of_attention, ""),
    (check.is_mask, masks_of_the_hub_only, ""),
    (check.read_header, metadata_kept, "metadata__ is in the header"),
    (check.read_header, places_for_shapes, ""),
    (check.cut_qkv, cut_but_not_turned, "not turned"),
    (check.cut_qkv, reshaped, "reshaping is not turning"),
    (check.cut_qkv, every_third, ""),
    (check.cut_qkv, values_first, ""),
    (check.cut_qkv, two_lists, ""),
    (check.measure, highest_as_text, ""),
    (check.measure, names_over_twelve, ""),
    (check.measure, last_index, ""),
]

RIGHT = []
