"""A model to a folder that `load_model` and transformers open."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from gpt2lib import files
from gpt2lib.fast import check_not_prepared
from gpt2lib.weights.layouts import (
    CLASS_HEAD,
    FIXED_SETTINGS,
    HUGGING_FACE,
    is_matrix,
    regroup,
    tensor_shapes,
)
from gpt2lib.weights.tensors import check_task, write_tensors
from gpt2lib.weights.untrusted import read_json, some
from gpt2lib.weights.vocabulary import check_tokenizer_fits, has_tokenizer


def save_model(
    model: torch.nn.Module,
    folder: str | Path,
    tokenizer: Any = None,
    settings: dict[str, object] | None = None,
) -> None:
    """Writes a folder that transformers opens too: config.json and model.safetensors.

    Args:
        folder: created if necessary; files of the same name are replaced.
        tokenizer: a `BPETokenizer` to store with the model (vocab.json, merges.txt).
        settings: more entries for config.json.

    Raises:
        ValueError: no folder, or one with another model's tokenizer; a tokenizer that
            cannot be saved or has more ids than the model, settings that it could not
            be loaded with, LoRA layers, or weights prepared for inference.
    """
    check_not_prepared(model, "saved")
    files.check_named(folder)
    if tokenizer is not None and not hasattr(tokenizer, "save"):
        raise ValueError(
            f"only a BPETokenizer can be saved with a model, got {tokenizer!r}: use "
            'load_tokenizer("gpt2"), after "python -m gpt2lib download gpt2"'
        )
    # What torch.compile has wrapped is saved, not the wrapper.
    model = dict(model.named_children()).get("_orig_mod", model)
    if tokenizer is None:
        _check_no_other_tokenizer(Path(folder), model)
    tensors = _hugging_face_tensors(model)
    config = _hugging_face_config(model, tokenizer)
    config = _with_settings(config, _readable(settings or {}, folder), model.cfg)
    config = json.dumps(config, indent=2) + "\n"
    folder = Path(folder)
    with ExitStack() as both:
        weights_file = both.enter_context(
            files.atomic_write(folder / "model.safetensors")
        )
        config_file = both.enter_context(files.atomic_write(folder / "config.json"))
        config_file.write_text(config, encoding="utf-8")
        write_tensors(tensors, weights_file, {"format": "pt"})
    if tokenizer is not None:
        tokenizer.save(folder)


def _check_no_other_tokenizer(folder, model):
    """Refuses a folder whose tokenizer would from now on belong to another model."""
    config, vocab_size = folder / "config.json", model.cfg.vocab_size
    if config.is_file() and has_tokenizer(folder):
        there = read_json(config).get("vocab_size", vocab_size)
        if there != vocab_size:
            raise ValueError(
                f"{folder} has the tokenizer of a model with {there} ids, this one has "
                f"{vocab_size}: pass its own tokenizer, or choose another folder"
            )


def _hugging_face_tensors(model):
    """The model's weights under GPT2LMHeadModel's names, in its layout."""
    cfg, weights = model.cfg, model.state_dict()
    _check_is_gpt2(cfg, weights)
    head = weights.pop("out_head.weight") if cfg.tied_head else None
    if head is not None and not head.equal(weights["tok_emb.weight"]):
        raise ValueError(
            "the output head is not the token embedding, although cfg.tied_head: call "
            "model.tie_head(), or use a config with tied_head=False"
        )
    tensors = {}
    for step in regroup(list(weights), fused_qkv=True):
        tensor = torch.cat([weights[source] for source in step.sources])
        if is_matrix(step.targets[0]):
            tensor = tensor.T
        tensors[HUGGING_FACE.name(step.targets[0])] = tensor.contiguous()
    if not cfg.qkv_bias:  # Hugging Face's GPT-2 always has one
        zeros = weights["final_norm.shift"].new_zeros(3 * cfg.emb_dim)
        for i in range(cfg.n_layers):
            tensors[f"h.{i}.attn.c_attn.bias"] = zeros.clone()
    heads = {"lm_head.weight": CLASS_HEAD if cfg.n_classes else "lm_head.weight"}
    return {heads.get(n, f"transformer.{n}"): tensor for n, tensor in tensors.items()}


def _check_is_gpt2(cfg, weights):
    """Raises ValueError for a model that `load_model` could not open."""
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    wanted = tensor_shapes(cfg)
    names = shapes.keys() | wanted.keys()
    other = sorted(n for n in names if shapes.get(n) != wanted.get(n))
    if other:
        raise ValueError(
            f"the model's tensors are not those of its cfg ({some(other)}): if it has "
            "LoRA layers, call merge_lora(model) before saving; for a classification "
            "head, use replace_head(model, n_classes)"
        )


def _hugging_face_config(model, tokenizer):
    cfg = model.cfg
    if tokenizer is not None:
        check_tokenizer_fits(tokenizer, cfg.vocab_size)
    end = (
        tokenizer.eot_token if tokenizer else 50256 if cfg.vocab_size > 50256 else None
    )
    return {
        "architectures": [
            "GPT2ForSequenceClassification" if cfg.n_classes else "GPT2LMHeadModel"
        ],
        "vocab_size": cfg.vocab_size,
        "n_positions": cfg.context_length,
        "n_ctx": cfg.context_length,  # llama.cpp's converter reads this one
        "n_embd": cfg.emb_dim,
        "n_head": cfg.n_heads,
        "n_layer": cfg.n_layers,
        "resid_pdrop": cfg.drop_rate,
        "embd_pdrop": cfg.drop_rate,
        "attn_pdrop": cfg.drop_rate,
        "qkv_bias": cfg.qkv_bias,
        "tie_word_embeddings": cfg.tied_head,
        "bos_token_id": end,
        "eos_token_id": end,
        "dtype": str(model.tok_emb.weight.dtype).removeprefix("torch."),
        # transformers classifies at the token before the padding.
        **({"pad_token_id": end} if cfg.n_classes else {}),
        **{name: allowed[0] for name, allowed in FIXED_SETTINGS.items()},
    }


def _with_settings(own, settings, cfg):
    """A config with more entries, which may not contradict it."""
    differing = {n for n in own if settings.get(n, own[n]) != own[n]}
    if settings.get("eos_token_id") in range(cfg.vocab_size):
        differing -= {"eos_token_id"}  # a chat's end is a token of its own
    if clash := [name for name in own if name in differing]:
        raise ValueError(
            f"the settings {some(clash)} follow from the model and its tokenizer: "
            "leave them out"
        )
    return own | settings | (_labels(cfg.n_classes, settings) if cfg.n_classes else {})


def _readable(settings, folder):
    """The settings as JSON gives them back; refuses those `load_model` would refuse."""
    try:
        settings = json.loads(json.dumps(settings, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the settings cannot be written as JSON ({error}): give texts, finite "
            "numbers, lists and dicts"
        ) from error
    return check_task(settings, Path(folder) / "config.json")


def _labels(n_classes, settings):
    """The names of all classes; transformers takes their number from here."""
    usual = {str(i): f"LABEL_{i}" for i in range(n_classes)}
    names = settings.get("id2label", usual)
    if names.keys() != usual.keys():
        raise ValueError(
            f"id2label must name {n_classes} classes, 0 to {n_classes - 1}, got "
            f"{some(names)}"
        )
    return {"id2label": names, "label2id": {n: int(i) for i, n in names.items()}}
