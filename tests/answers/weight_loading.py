"""Wrong and right answers to the exercises of chapter 5."""

import json
import re
import struct

import torch

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


def named(tensors, turned):
    """Our tensors, those turned whose name ends in one of `turned`."""
    parts = {"ln_1.weight": "norm1.scale", "ln_1.bias": "norm1.shift"}
    parts |= {"ln_2.weight": "norm2.scale", "ln_2.bias": "norm2.shift"}
    parts |= {"ln_f.weight": "final_norm.scale", "ln_f.bias": "final_norm.shift"}
    parts |= {"attn.c_attn": "att.W_qkv", "attn.c_proj": "att.out_proj"}
    parts |= {"mlp.c_fc": "ff.layers.0", "mlp.c_proj": "ff.layers.2"}
    parts |= {"wte.": "tok_emb.", "wpe.": "pos_emb."}
    result = {}
    for name, tensor in tensors.items():
        if name.endswith(".attn.bias"):
            continue
        tensor = tensor.T if name.endswith(turned) else tensor
        for their, our in parts.items():
            name = name.replace(their, our)
        result[re.sub("^h[.]", "trf_blocks.", name)] = tensor
    return result


MATRICES = ("c_attn.weight", "c_proj.weight", "c_fc.weight")


def output_head_forgotten(tensors):
    return named(tensors, MATRICES)


def with_head(tensors):
    return tensors | {"out_head.weight": tensors["tok_emb.weight"]}


def square_one_not_turned(tensors):
    return with_head(named(tensors, ("attn.weight", "fc.weight", "mlp.c_proj.weight")))


def positions_turned(tensors):
    return with_head(named(tensors, (*MATRICES, "wpe.weight")))


def biases_dropped_with_masks(tensors):
    kept = {n: t for n, t in tensors.items() if not n.endswith("attn.bias")}
    return with_head(named(kept, MATRICES))


def thirds(block, order=("W_query", "W_key", "W_value"), turn=torch.t):
    result = {
        "out_proj.weight": block["attn.c_proj.weight"].T,
        "out_proj.bias": block["attn.c_proj.bias"],
    }
    weights = turn(block["attn.c_attn.weight"]).chunk(3)
    for name, weight, bias in zip(order, weights, block["attn.c_attn.bias"].chunk(3)):
        result |= {f"{name}.weight": weight, f"{name}.bias": bias}
    return result


def keys_before_queries(block):
    return thirds(block, ("W_key", "W_query", "W_value"))


def reshaped_thirds(block):
    return thirds(block, turn=lambda weight: weight.reshape(weight.T.shape))


def only_weights_mended(block):
    wrong, right = keys_before_queries(block), thirds(block)
    return wrong | {n: t for n, t in right.items() if n.endswith("weight")}


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
    (check.map_names, output_head_forgotten, "no out_head.weight"),
    (check.map_names, square_one_not_turned, "lies on its side"),
    (check.map_names, positions_turned, "lies on its side"),
    (check.map_names, biases_dropped_with_masks, "is missing"),
    (check.mended_thirds, keys_before_queries, ""),
    (check.mended_thirds, reshaped_thirds, ""),
    (check.mended_thirds, only_weights_mended, ""),
]


def mask_by_match(name):
    return re.search(r"[.](attn[.]bias|masked_bias|mask)$", name)


def mask_by_parts(name):
    *_, layer, last = name.split(".")
    return int(last in ("mask", "masked_bias") or (layer, last) == ("attn", "bias"))


def header_by_struct(data):
    (length,) = struct.unpack_from("<Q", data)
    entries = json.loads(data[8 : 8 + length].decode())
    entries.pop("__metadata__", None)
    return {name: entry["shape"] for name, entry in entries.items()}


def header_as_sizes(data):
    entries = header_of(data).items()
    return {n: torch.Size(e["shape"]) for n, e in entries if "shape" in e}


def cut_then_turned(weight, bias):
    return [(w.T, b) for w, b in zip(weight.chunk(3, dim=1), bias.chunk(3))]


def cut_by_slices(weight, bias):
    C = len(weight)
    places = [slice(i * C, (i + 1) * C) for i in range(3)]
    return tuple((weight.T[at].numpy(), bias[at].numpy()) for at in places)


def measured_by_norms(tensors):
    return measured(tensors, sum(name.endswith("ln_1.bias") for name in tensors))


def measured_by_set(tensors):
    indices = {name.split(".")[1] for name in tensors if name.startswith("h.")}
    return measured(tensors, len(indices))


def mapped_by_replacing(tensors):
    return with_head(named(tensors, MATRICES))


def mapped_name_by_name(tensors):
    """Asks for each of our names what the file calls it."""
    theirs = {"tok_emb": "wte", "pos_emb": "wpe", "final_norm": "ln_f"}
    parts = {"norm1": "ln_1", "norm2": "ln_2"}
    turned = {"att.W_qkv": "attn.c_attn", "att.out_proj": "attn.c_proj"}
    turned |= {"ff.layers.0": "mlp.c_fc", "ff.layers.2": "mlp.c_proj"}
    ends = {"scale": "weight", "shift": "bias"}
    ours = {
        f"{a}.{end}": f"{b}.{ends.get(end, end)}"
        for a, b in theirs.items()
        for end in (("scale", "shift") if "norm" in a else ("weight",))
    }
    blocks = {name.split(".")[1] for name in tensors if name.startswith("h.")}
    for n in blocks:
        for a, b in (parts | turned).items():
            for end in ("scale", "shift") if a in parts else ("weight", "bias"):
                ours[f"trf_blocks.{n}.{a}.{end}"] = f"h.{n}.{b}.{ends.get(end, end)}"
    made = {a: tensors[b] for a, b in ours.items()}
    sideways = tuple(f"{name}.weight" for name in turned)
    made = {a: t.T.contiguous() if a.endswith(sideways) else t for a, t in made.items()}
    return made | {"out_head.weight": made["tok_emb.weight"]}


def thirds_by_unflatten(block):
    weights = block["attn.c_attn.weight"].T.unflatten(0, (3, -1))
    biases = block["attn.c_attn.bias"].unflatten(0, (3, -1))
    named = zip(("W_query", "W_key", "W_value"), weights, biases)
    result = {"out_proj.weight": block["attn.c_proj.weight"].mT.double()}
    result["out_proj.bias"] = block["attn.c_proj.bias"]
    for name, weight, bias in named:
        result[f"{name}.weight"], result[f"{name}.bias"] = weight, bias
    return result


RIGHT = [
    (check.is_mask, mask_by_match),
    (check.is_mask, mask_by_parts),
    (check.read_header, header_by_struct),
    (check.read_header, header_as_sizes),
    (check.cut_qkv, cut_then_turned),
    (check.cut_qkv, cut_by_slices),
    (check.measure, measured_by_norms),
    (check.measure, measured_by_set),
    (check.map_names, mapped_by_replacing),
    (check.map_names, mapped_name_by_name),
    (check.mended_thirds, thirds),
    (check.mended_thirds, thirds_by_unflatten),
]
