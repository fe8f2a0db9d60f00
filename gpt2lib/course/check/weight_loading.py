"""The checkers of chapter 5: weight loading."""

import re

import safetensors.torch
import torch

from gpt2lib.config import GPTConfig
from gpt2lib.course.check.report import WrongAnswer, brief, exercise, expect
from gpt2lib.model import GPTModel
from gpt2lib.weights import HUGGING_FACE


@exercise
def is_mask(answer):
    for name in ("h.0.attn.bias", "trf_blocks.3.att.mask", "trf_blocks.0.attn.mask"):
        _expect_verdict(answer, name, True)
    for name in ("transformer.h.11.attn.bias", "h.2.attn.masked_bias"):
        _expect_verdict(answer, name, True)
    for part in ("attn.c_attn.bias", "attn.c_proj.bias", "mlp.c_fc.bias", "ln_1.bias"):
        name = f"h.0.{part}"
        _expect_verdict(answer, name, False)
    for name in ("trf_blocks.0.attn.c_attn.bias", "trf_blocks.1.att.w_q.weight"):
        _expect_verdict(answer, name, False)


def _expect_verdict(answer, name, wanted):
    given = answer(name)
    if given is None and wanted:
        expect(f"is_mask({name!r})", given, wanted)
    kinds = bool | int | re.Match | None  # a match object is as good as True
    if not isinstance(given, kinds) or bool(given) != wanted:
        raise WrongAnswer(f"is_mask({name!r}) gave {given!r}, expected {wanted}")


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
    for C in (4, 3):
        weight, bias = (
            torch.arange(3.0 * C * C).reshape(C, 3 * C),
            torch.arange(3.0 * C),
        )
        given = answer(weight.clone(), bias.clone())
        _expect_thirds(given, weight, bias, C)


def _expect_thirds(given, weight, bias, C):
    call = f"cut_qkv(arange({3 * C * C}).reshape({C}, {3 * C}), arange({3 * C}))"
    pairs = isinstance(given, list | tuple) and len(given) == 3
    if not pairs or any(
        not isinstance(pair, list | tuple) or len(pair) != 2 for pair in given
    ):
        expect(call, given, "three pairs of a weight and a bias")
    for i, (part, pair) in enumerate(zip(("queries", "keys", "values"), given)):
        wanted = weight.T.chunk(3)[i]
        slips = [
            ("cut at the right place, but not turned", wanted.T),
            ("reshaping is not turning", weight.reshape(3, C, C)[i]),
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


def _random_file(cfg, masks, generator):
    """Random tensors with the hub's names and shapes."""
    tensors = {}
    for i in range(cfg.n_layers if masks else 0):
        tensors[f"h.{i}.attn.bias"] = torch.ones(1, 1, 3, 3)
    for name, tensor in GPTModel(cfg).state_dict().items():
        if name != "out_head.weight":
            shape = HUGGING_FACE.shape(name, tuple(tensor.shape))
            made = torch.randn(shape, generator=generator)
            tensors[HUGGING_FACE.name(name)] = made
    return tensors


def _expect_tensors(call, given, wanted):
    if not isinstance(given, dict):
        expect(call, given, "a dict from our names to tensors")
        raise WrongAnswer(f"{call} gave {brief(given)}, expected a dict")
    if missing := sorted(wanted.keys() - given.keys()):
        raise WrongAnswer(
            f"{call} gave no {missing[0]}: it is missing ({len(missing)} in all)"
        )
    if strange := sorted(given.keys() - wanted.keys()):
        raise WrongAnswer(f"{call}: the model has no {strange[0]}")
    for name, tensor in wanted.items():
        slips = []
        if tensor.ndim == 2 and tensor.shape[0] == tensor.shape[1]:
            slips = [("it has the right shape, but lies on its side", tensor.T)]
        expect(f"{call}: {name}", given[name], tensor, slips)


@exercise
def map_names(answer):
    generator = torch.Generator().manual_seed(5)
    for n_layers, emb_dim, masks in ((2, 4, True), (12, 6, False)):
        cfg = GPTConfig(
            vocab_size=11,
            context_length=emb_dim,
            emb_dim=emb_dim,
            n_heads=2,
            n_layers=n_layers,
        )
        tensors = _random_file(cfg, masks, generator)
        wanted = {
            name: tensors[HUGGING_FACE.name(name)]
            for name in GPTModel(cfg).state_dict()
            if name != "out_head.weight"
        }
        turned = ("W_qkv.weight", "proj.weight", "layers.0.weight", "layers.2.weight")
        wanted = {n: t.T if n.endswith(turned) else t for n, t in wanted.items()}
        wanted["out_head.weight"] = wanted["tok_emb.weight"]
        call = f"map_names(a file of {n_layers} blocks{', with masks' * masks})"
        _expect_tensors(call, answer(dict(tensors)), wanted)


@exercise
def mended_thirds(answer):
    generator = torch.Generator().manual_seed(6)
    for C in (4, 6):
        block = {
            "attn.c_attn.weight": torch.randn(C, 3 * C, generator=generator),
            "attn.c_attn.bias": torch.randn(3 * C, generator=generator),
            "attn.c_proj.weight": torch.randn(C, C, generator=generator),
            "attn.c_proj.bias": torch.randn(C, generator=generator),
        }
        wanted = {
            "out_proj.weight": block["attn.c_proj.weight"].T,
            "out_proj.bias": block["attn.c_proj.bias"],
        }
        for i, name in enumerate(("W_query", "W_key", "W_value")):
            wanted[f"{name}.weight"] = block["attn.c_attn.weight"].T.chunk(3)[i]
            wanted[f"{name}.bias"] = block["attn.c_attn.bias"].chunk(3)[i]
        call = f"mended_thirds(random tensors, C = {C})"
        _expect_tensors(call, answer(dict(block)), wanted)
