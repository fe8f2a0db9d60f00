"""The checkers of chapter 5: weight loading."""

import safetensors.torch
import torch

from gpt2lib.config import GPTConfig
from gpt2lib.course.check.report import WrongAnswer, as_list, exercise, expect
from gpt2lib.model import GPTModel
from gpt2lib.weights import HUGGING_FACE


@exercise
def is_mask(answer):
    for name in ("h.0.attn.bias", "trf_blocks.3.att.mask", "trf_blocks.0.attn.mask"):
        expect(f"is_mask({name!r})", answer(name), True)
    for name in ("transformer.h.11.attn.bias", "h.2.attn.masked_bias"):
        expect(f"is_mask({name!r})", answer(name), True)
    for part in ("attn.c_attn.bias", "attn.c_proj.bias", "mlp.c_fc.bias", "ln_1.bias"):
        name = f"h.0.{part}"
        expect(f"is_mask({name!r})", bool(answer(name)), False)
    for name in ("trf_blocks.0.attn.c_attn.bias", "trf_blocks.1.att.w_q.weight"):
        expect(f"is_mask({name!r})", bool(answer(name)), False)


@exercise
def read_header(answer):
    shapes = {"wte.weight": (5, 4), "ln_f.bias": (4,), "h.0.attn.bias": (1, 1, 3, 3)}
    shapes |= {f"h.{i}.attn.c_attn.weight": (4, 12) for i in range(12)}
    tensors = {name: torch.zeros(shape) for name, shape in shapes.items()}
    for metadata in (None, {"format": "pt"}):
        given = answer(safetensors.torch.save(tensors, metadata))
        if isinstance(given, dict):
            given = {
                n: tuple(s) if isinstance(s, list) else s for n, s in given.items()
            }
            if "__metadata__" in given:
                raise WrongAnswer("__metadata__ is in the header, but is no tensor")
        note = f" with the note {metadata}" if metadata else ""
        expect(f"read_header(a file of {len(shapes)} tensors{note})", given, shapes)


@exercise
def cut_qkv(answer):
    weight, bias = torch.arange(48.0).reshape(4, 12), torch.arange(12.0)
    call = "cut_qkv(arange(48).reshape(4, 12), arange(12))"
    given = as_list(answer(weight, bias))
    if given is None or len(given) != 3 or any(len(pair) != 2 for pair in given):
        expect(call, given, "three pairs of a weight and a bias")
    for i, (part, pair) in enumerate(zip(("queries", "keys", "values"), given)):
        wanted = weight.T.chunk(3)[i]
        slips = [
            ("cut at the right place, but not turned", wanted.T),
            ("reshaping is not turning", weight.reshape(3, 4, 4)[i]),
            ("every third number; expected a block of them", weight.T[i::3]),
        ]
        expect(f"{call}: the weight of the {part}", pair[0], wanted, slips)
        expect(f"{call}: the bias of the {part}", pair[1], bias.chunk(3)[i])


@exercise
def measure(answer):
    for n_layers, masks in ((12, True), (2, False)):
        cfg = GPTConfig(
            vocab_size=11, context_length=5, emb_dim=4, n_heads=1, n_layers=n_layers
        )
        names = [f"h.{i}.attn.bias" for i in range(n_layers) if masks]
        tensors = {name: torch.empty(1, 1, 5, 5, device="meta") for name in names}
        with torch.device("meta"):
            weights = GPTModel(cfg).state_dict()
        del weights["out_head.weight"]
        for name, tensor in reversed(weights.items()):
            shape = HUGGING_FACE.shape(name, tuple(tensor.shape))
            tensors[HUGGING_FACE.name(name)] = torch.empty(shape, device="meta")
        wanted = dict(vocab_size=11, context_length=5, emb_dim=4, n_layers=n_layers)
        call = f"measure(a file of {n_layers} blocks{', with masks' if masks else ''})"
        expect(call, answer(tensors), wanted)
