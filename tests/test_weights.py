"""Every layout opens and agrees with transformers; every fault has its own error."""

import dataclasses
import json
import os
import pickle
import random
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch
from command import PROCESSES
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from small import SMALL, lively
from transformers import (
    AutoTokenizer,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    GPT2Model,
)

from gpt2lib import (
    GPT2_124M,
    GPT2_355M,
    GPT2_774M,
    GPT2_1558M,
    GPTModel,
    OpenAICompatibleGPTModel,
    files,
    load_model,
    load_openai_124m_gpt2,
    load_openai_355m_gpt2,
    load_tokenizer,
    perform_non_cpu_backend_check,
    save_model,
)
from gpt2lib.fast import speed_up
from gpt2lib.weights import plan_loading

IDS = torch.randint(0, 90, (2, 20), generator=torch.Generator().manual_seed(3))


def hugging_face(cfg, seed=0, amount=0.1):
    """transformers' GPT-2 with random numbers in every parameter."""
    config = GPT2Config(
        vocab_size=cfg.vocab_size,
        n_positions=cfg.context_length,
        n_embd=cfg.emb_dim,
        n_head=cfg.n_heads,
        n_layer=cfg.n_layers,
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(seed)
    return lively(GPT2LMHeadModel(config), amount=amount).eval()


def built(cfg, seed=0):
    """A lively model with the faster forwards that `load_model` gives."""
    return speed_up(lively(GPTModel(cfg), seed)).eval()


@pytest.fixture(scope="module")
def reference():
    return hugging_face(SMALL)


@pytest.fixture(scope="module")
def expected(reference):
    with torch.no_grad():
        return reference(IDS).logits


@pytest.fixture
def folder(reference, tmp_path):
    reference.save_pretrained(tmp_path / "hf")
    return tmp_path / "hf"


# ---------------------------------------- checkpoints as other programs write them
# Written out by hand from the programs' own code, not with the library's tables.


def as_nanogpt(weights, bias=True):
    transposed = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
    model = {k: v.T.contiguous() if k.endswith(transposed) else v for k, v in weights}
    if not bias:
        model = {k: v for k, v in model.items() if not k.endswith(".bias")}
    arguments = {
        "n_layer": SMALL.n_layers,
        "n_head": SMALL.n_heads,
        "n_embd": SMALL.emb_dim,
        "block_size": SMALL.context_length,
        "bias": bias,
        "vocab_size": SMALL.vocab_size,
        "dropout": 0.2,
    }
    optimizer = {"state": {0: {"exp_avg": torch.zeros(5)}}, "param_groups": [{"lr": 1}]}
    return {
        "model": model,
        "optimizer": optimizer,
        "model_args": arguments,
        "iter_num": 7,
        "best_val_loss": torch.tensor(3.2),
        "config": {"dataset": "x"},
    }


def as_course(weights, names, separate):
    """The course's module tree: names for q, k, v; attention out; mlp in and out."""
    q_k_v, attention_out, mlp_in, mlp_out, mask = names
    weights = {key.removeprefix("transformer."): value for key, value in weights}
    out = {
        "tok_emb.weight": weights["wte.weight"],
        "pos_emb.weight": weights["wpe.weight"],
        "final_norm.scale": weights["ln_f.weight"],
        "final_norm.shift": weights["ln_f.bias"],
        "out_head.weight": weights["wte.weight"].clone(),
    }
    for i in range(SMALL.n_layers):
        theirs, ours = f"h.{i}.", f"trf_blocks.{i}."
        for n in "12":
            out[f"{ours}norm{n}.scale"] = weights[f"{theirs}ln_{n}.weight"]
            out[f"{ours}norm{n}.shift"] = weights[f"{theirs}ln_{n}.bias"]
        weight = weights[f"{theirs}attn.c_attn.weight"].T.contiguous()
        bias = weights[f"{theirs}attn.c_attn.bias"]
        thirds = zip(weight.chunk(3), bias.chunk(3)) if separate else [(weight, bias)]
        for name, (w, b) in zip(q_k_v, thirds):
            out[f"{ours}{name}.weight"] = w.clone()
            out[f"{ours}{name}.bias"] = b.clone()
        for name, key in (
            (attention_out, "attn.c_proj"),
            (mlp_in, "mlp.c_fc"),
            (mlp_out, "mlp.c_proj"),
        ):
            out[f"{ours}{name}.weight"] = weights[
                f"{theirs}{key}.weight"
            ].T.contiguous()
            out[f"{ours}{name}.bias"] = weights[f"{theirs}{key}.bias"]
        out[ours + mask] = torch.ones(SMALL.context_length, SMALL.context_length).triu(
            1
        )
    return out


COMPAT = (("attn.c_attn",), "attn.c_proj", "mlp.c_fc", "mlp.c_proj", "attn.mask")
COURSE = (
    ("att.w_q", "att.w_k", "att.w_v"),
    "att.out_proj",
    "ff.layers.0",
    "ff.layers.2",
    "att.mask",
)
RASCHKA = (("att.W_query", "att.W_key", "att.W_value"), *COURSE[1:])


def with_masks(weights):
    masks = {}
    for i in range(SMALL.n_layers):
        masks[f"transformer.h.{i}.attn.bias"] = torch.ones(1, 1, 24, 24).tril()
        masks[f"transformer.h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    return dict(weights) | masks


def without_prefix(weights):
    """As the hub's file: GPT2Model's names, no head."""
    return {
        key.removeprefix("transformer."): value.contiguous()
        for key, value in with_masks(weights).items()
        if key != "lm_head.weight"
    }


def write_safetensors(weights, path):
    weights = {key: value.contiguous() for key, value in weights.items()}
    save_file(weights, path / "model.safetensors")


def write_old_format(weights, path):
    torch.save(
        with_masks(weights),
        path / "pytorch_model.bin",
        _use_new_zipfile_serialization=False,
    )


def write_sharded_bin(weights, path):
    shards = {"pytorch_model-1.bin": {}, "pytorch_model-2.bin": {}}
    index = {}
    for n, (key, value) in enumerate(weights):
        shard = list(shards)[n % 2]
        shards[shard][key] = value
        index[key] = shard
    for name, tensors in shards.items():
        torch.save(tensors, path / name)
    (path / "pytorch_model.bin.index.json").write_text(
        json.dumps({"weight_map": index})
    )


def prefixed(prefix):
    def write(weights, path):
        torch.save({prefix + k: v for k, v in weights}, path / "pytorch_model.bin")

    return write


CHECKPOINTS = {
    "hub file": lambda w, path: write_safetensors(without_prefix(w), path),
    "old .bin": write_old_format,
    ".bin": lambda w, path: torch.save(dict(w), path / "pytorch_model.bin"),
    "sharded .bin": write_sharded_bin,
    "compiled": prefixed("_orig_mod."),
    "distributed": prefixed("module."),
    "both": prefixed("module._orig_mod."),
    "nanoGPT": lambda w, path: torch.save(as_nanogpt(w), path / "ckpt.pt"),
    "nanoGPT, without flash": lambda w, path: torch.save(
        as_nanogpt(with_masks(w).items()), path / "ckpt.pt"
    ),
    "compat": lambda w, path: torch.save(as_course(w, COMPAT, False), path / "m.pth"),
    "course": lambda w, path: torch.save(as_course(w, COURSE, True), path / "m.pth"),
    "raschka": lambda w, path: torch.save(as_course(w, RASCHKA, True), path / "m.pth"),
    "training": lambda w, path: torch.save(
        {
            "model_state_dict": as_course(w, COURSE, True),
            "optimizer_state_dict": {"state": {}, "param_groups": []},
            "train_losses": [3.0, 2.5],
        },
        path / "m.pth",
    ),
}


def model_path(folder):
    files_in = sorted(folder.glob("*.pth"))
    return files_in[0] if files_in else folder


@pytest.mark.parametrize("fused_qkv", [True, False])
@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_every_layout_gives_transformers_logits(
    kind, fused_qkv, reference, expected, tmp_path
):
    CHECKPOINTS[kind](reference.state_dict().items(), tmp_path)
    model = load_model(model_path(tmp_path), fused_qkv=fused_qkv)
    assert torch.allclose(model(IDS), expected, atol=1e-4)
    assert not model.training
    assert model.cfg.fused_qkv is fused_qkv
    assert isinstance(model, OpenAICompatibleGPTModel) is fused_qkv
    assert model.out_head.weight is model.tok_emb.weight


@pytest.mark.parametrize("fused_qkv", [True, False])
def test_layouts_with_the_same_weights_give_the_same_bits(
    reference, tmp_path, fused_qkv
):
    models = []
    for kind, write in CHECKPOINTS.items():
        path = tmp_path / kind
        path.mkdir()
        write(reference.state_dict().items(), path)
        models.append(load_model(model_path(path), fused_qkv=fused_qkv))
    first = models[0](IDS)
    assert all(model(IDS).equal(first) for model in models[1:])


@pytest.mark.parametrize("shard_size", ["5GB", "100KB"])
def test_folders_that_transformers_saves_open(
    reference, expected, tmp_path, shard_size
):
    reference.save_pretrained(tmp_path, max_shard_size=shard_size)
    assert len(list(tmp_path.glob("*.safetensors"))) > (shard_size == "100KB")
    model = load_model(tmp_path)
    assert torch.allclose(model(IDS), expected, atol=1e-4)
    assert model.cfg == dataclasses.replace(SMALL, drop_rate=0.1)


@pytest.mark.parametrize(
    "cfg",
    [
        GPT2_124M,
        dataclasses.replace(GPT2_355M, n_layers=3),
        dataclasses.replace(GPT2_774M, n_layers=2),
        dataclasses.replace(GPT2_1558M, n_layers=2),
    ],
    ids=["124M", "355M", "774M", "1558M"],
)
def test_the_published_architectures_agree_with_transformers(cfg, tmp_path):
    reference = hugging_face(dataclasses.replace(cfg, vocab_size=5000), amount=0.03)
    reference.save_pretrained(tmp_path)
    model = load_model(tmp_path)
    ids = torch.randint(0, 5000, (1, 64))
    with torch.no_grad():
        theirs, ours = reference(ids).logits, model(ids)
    assert theirs.std() > 0.5, "logits too small to tell anything"
    assert torch.allclose(ours, theirs, atol=1e-4, rtol=0)


def test_a_bias_free_nanogpt_equals_one_with_zero_biases(reference, tmp_path):
    zeroed = {
        key: torch.zeros_like(value) if key.endswith(".bias") else value
        for key, value in reference.state_dict().items()
    }
    theirs = hugging_face(SMALL)
    theirs.load_state_dict(zeroed)
    torch.save(
        as_nanogpt(reference.state_dict().items(), bias=False), tmp_path / "a.pt"
    )
    model = load_model(tmp_path / "a.pt")
    checkpoint = as_nanogpt(reference.state_dict().items(), bias=False)
    checkpoint["model"]["transformer.h.0.attn.bias"] = torch.ones(1, 1, 24, 24)
    torch.save(checkpoint, tmp_path / "masks.pt")
    assert load_model(tmp_path / "masks.pt")(IDS).equal(model(IDS))
    assert torch.allclose(model(IDS), theirs(IDS).logits, atol=1e-4)
    assert model.cfg.qkv_bias is False and model.cfg.drop_rate == 0.2


@pytest.mark.parametrize("name", ["m.pth", "m.pt", "m.ckpt", "m.bin"])
def test_nanogpts_number_of_heads_is_found_under_any_name(tmp_path, name):
    """It once was found in .pt files only."""
    cfg = dataclasses.replace(SMALL, n_heads=4)
    theirs = hugging_face(cfg)
    checkpoint = as_nanogpt(theirs.state_dict().items())
    checkpoint["model_args"]["n_head"] = 4
    torch.save(checkpoint, tmp_path / name)
    ours = load_model(tmp_path / name)
    assert torch.allclose(ours(IDS), theirs(IDS).logits, atol=1e-4)


def test_a_padded_vocabulary_is_kept(tmp_path):
    cfg = dataclasses.replace(SMALL, vocab_size=128)
    weights = hugging_face(cfg).state_dict().items()
    checkpoint = as_nanogpt(weights)
    checkpoint["model_args"]["vocab_size"] = 128
    torch.save(checkpoint, tmp_path / "ckpt.pt")
    assert load_model(tmp_path).cfg.vocab_size == 128


def test_an_untied_head_stays_untied(reference, tmp_path):
    weights = dict(reference.state_dict())
    weights["lm_head.weight"] = torch.randn(SMALL.vocab_size, SMALL.emb_dim)
    torch.save(weights, tmp_path / "m.pth")
    model = load_model(tmp_path / "m.pth")
    assert model.cfg.tied_head is False
    assert model.out_head.weight.equal(weights["lm_head.weight"])
    save_model(model, tmp_path / "saved")
    again = load_model(tmp_path / "saved")
    assert again(IDS).equal(model(IDS))
    theirs = GPT2LMHeadModel.from_pretrained(tmp_path / "saved").eval()
    assert torch.allclose(theirs(IDS).logits, model(IDS), atol=1e-4)


@pytest.mark.parametrize("kind", ["hub file", "nanoGPT", "compat", "raschka"])
def test_a_tied_pair_may_go_by_the_heads_name_alone(
    kind, reference, expected, tmp_path
):
    """So safetensors saves what shares memory: under the first of its names."""
    CHECKPOINTS[kind](reference.state_dict().items(), tmp_path)
    path = next(p for p in tmp_path.iterdir())
    is_safe = path.suffix == ".safetensors"
    contents = load_file(path) if is_safe else torch.load(path, weights_only=True)
    weights = contents.get("model", contents)
    weights.pop("out_head.weight", None)
    for name in [
        name for name in weights if name.endswith(("wte.weight", "tok_emb.weight"))
    ]:
        head = "out_head.weight" if "tok" in name else "lm_head.weight"
        weights[head] = weights.pop(name)
    save_file(weights, path) if is_safe else torch.save(contents, path)
    model = load_model(path)
    assert torch.allclose(model(IDS), expected, atol=1e-4)
    assert model.out_head.weight is model.tok_emb.weight


@pytest.mark.parametrize(
    "prefix",
    [
        "model.",
        "model.transformer.",
        "module.gpt.",
        "_fsdp_wrapped_module.net._orig_mod.",
    ],
)
def test_whatever_stands_before_the_names_is_left_out(
    prefix, reference, expected, tmp_path
):
    weights = reference.state_dict().items()
    inner = ".mlp._checkpoint_wrapped_module."
    weights = {prefix + n.replace(".mlp.", inner): t for n, t in weights}
    torch.save({"state_dict": weights}, tmp_path / "m.pth")
    assert torch.allclose(load_model(tmp_path / "m.pth")(IDS), expected, atol=1e-4)


def test_two_names_for_one_tensor_must_agree(reference, expected, tmp_path):
    weights = reference.state_dict()
    weights["wte.weight"] = weights["transformer.wte.weight"].clone()
    torch.save(weights, tmp_path / "m.pth")
    assert torch.allclose(load_model(tmp_path / "m.pth")(IDS), expected, atol=1e-4)
    for other in (weights["wte.weight"] + 1, weights["wte.weight"].half()):
        torch.save(weights | {"wte.weight": other}, tmp_path / "m.pth")
        with pytest.raises(ValueError, match="two different tensors for wte.weight"):
            load_model(tmp_path / "m.pth")


def test_a_folder_without_a_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="the output folder is empty"):
        save_model(GPTModel(SMALL), "")
    assert not any(tmp_path.iterdir())


def test_a_model_saved_by_torch_opens_again(tmp_path):
    for fused_qkv in (True, False):
        model = built(dataclasses.replace(SMALL, fused_qkv=fused_qkv))
        torch.save(model.state_dict(), tmp_path / "mine.pth")
        opened = load_model(tmp_path / "mine.pth", fused_qkv=fused_qkv)
        assert opened(IDS).equal(model(IDS))


def test_heads_come_from_the_config_else_from_the_width(folder, reference, expected):
    (folder / "config.json").unlink()
    assert load_model(folder).cfg.n_heads == 2  # 128 / 64
    assert torch.allclose(load_model(folder)(IDS), expected, atol=1e-4)
    (folder / "config.json").write_text('{"n_head": 4}')
    assert load_model(folder).cfg.n_heads == 4


FOUR = dataclasses.replace(SMALL, n_heads=4)
PLACES = {
    "the training's own": lambda sd: {
        "step": 3,
        "facts": dataclasses.asdict(FOUR),
        "model": sd,
    },
    "config": lambda sd: {"model_state_dict": sd, "config": {"n_heads": 4}},
    "cfg": lambda sd: {"state_dict": sd, "cfg": {"num_attention_heads": 4}},
    "beside it": lambda sd: {"module": sd, "n_head": 4, "optimizer": {0: {"n": 1}}},
    "nested": lambda sd: {"net": sd, "hyper_parameters": {"model": {"n_head": 4}}},
    "twice": lambda sd: {
        "model_args": {"n_head": 4},
        "config": {"n_head": 2},
        "model": sd,
    },
}


@pytest.mark.parametrize("place", PLACES)
def test_the_number_of_heads_is_read_wherever_it_stands(place, tmp_path):
    model = built(FOUR)
    torch.save(PLACES[place](model.state_dict()), tmp_path / "m.pth")
    with warnings.catch_warnings(action="error"):
        assert load_model(tmp_path / "m.pth")(IDS).equal(model(IDS))
    (tmp_path / "config.json").write_text('{"n_head": 8}')
    with pytest.raises(ValueError, match="number of heads as 4, 8"):
        load_model(tmp_path / "m.pth")


def test_a_guessed_number_of_heads_is_announced(tmp_path, monkeypatch):
    torch.save(GPTModel(SMALL).state_dict(), tmp_path / "m.pth")
    with pytest.warns(UserWarning, match='2 is a guess.*config.json with "n_head"'):
        load_model(tmp_path / "m.pth")
    assert "heads:            2, a guess" in str(plan_loading(tmp_path / "m.pth"))
    monkeypatch.setattr("gpt2lib.weights.loading.PUBLISHED", [(128, 3)])
    with warnings.catch_warnings(action="error"):
        load_model(tmp_path / "m.pth")
    assert "heads" not in str(plan_loading(tmp_path / "m.pth"))


def test_a_width_that_gives_no_number_of_heads_is_refused(tmp_path):
    model = GPTModel(dataclasses.replace(SMALL, emb_dim=96))
    torch.save(model.state_dict(), tmp_path / "m.pth")
    with pytest.raises(ValueError, match="96 is no multiple of 64.*n_head"):
        load_model(tmp_path / "m.pth")


@pytest.mark.parametrize("fused_qkv", [True, False])
@pytest.mark.parametrize(
    ("precision", "off_by"),
    [("bfloat16", 0.05), ("float16", 0.002), ("int8", 0.1)],  # 7 bits without VNNI
)
def test_fewer_bytes_cost_little(folder, expected, precision, off_by, fused_qkv):
    logits = load_model(folder, precision=precision, fused_qkv=fused_qkv)(IDS).float()
    error = (logits - expected).abs().max() / expected.abs().max()
    assert 0 < error < off_by


def test_bfloat16_is_computed_in(folder):
    model = load_model(folder, precision="bfloat16")
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model(IDS).dtype == torch.bfloat16


def test_an_unknown_precision_is_refused(folder):
    with pytest.raises(
        ValueError, match=r"\['float32', 'bfloat16', 'float16', 'int8'\]"
    ):
        load_model(folder, precision="float8")


# ------------------------------------------------------------------------- the plan


def test_a_plan_says_what_loading_does(reference, tmp_path):
    CHECKPOINTS["hub file"](reference.state_dict().items(), tmp_path)
    plan = plan_loading(tmp_path, fused_qkv=False)
    told = dict(line.split(":", 1) for line in str(plan).splitlines())
    told = {name: value.strip() for name, value in told.items()}
    n = SMALL.n_layers
    assert told["layout"] == "Hugging Face"
    assert told["mapped"] == str(12 * n + 4)
    assert told["transposed"] == str(4 * n)
    assert told["split q, k, v"] == str(2 * n)
    assert told["stacked q, k, v"] == "0"
    assert told["head"] == "tied to tok_emb"
    assert told["dropped"].startswith(f"{2 * n} (h.0.attn.bias")
    assert told["parameters"] == f"{SMALL.n_params:,}"


def test_a_plan_for_separate_weights_stacks(reference, tmp_path):
    CHECKPOINTS["course"](reference.state_dict().items(), tmp_path)
    plan = plan_loading(tmp_path / "m.pth")
    assert sum(len(step.sources) == 3 for step in plan.steps) == 2 * SMALL.n_layers
    assert plan.layout.title == "course model"
    assert "out_head.weight" in plan.dropped


# --------------------------------------------------------------------------- saving


@pytest.mark.parametrize("fused_qkv", [True, False])
@pytest.mark.parametrize("qkv_bias", [True, False])
def test_transformers_opens_what_we_save(tmp_path, fused_qkv, qkv_bias, tokenizer):
    cfg = dataclasses.replace(
        SMALL, vocab_size=400, fused_qkv=fused_qkv, qkv_bias=qkv_bias
    )
    model = built(cfg)
    save_model(model, tmp_path, tokenizer)
    theirs = GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    assert torch.allclose(theirs(IDS).logits, model(IDS), atol=1e-4)
    hidden = GPT2Model.from_pretrained(tmp_path).eval()(IDS).last_hidden_state
    assert torch.allclose(hidden, model.hidden_states(IDS), atol=1e-4)
    text = "The tide clock had stopped."
    assert AutoTokenizer.from_pretrained(tmp_path).encode(text) == tokenizer.encode(
        text
    )
    assert load_tokenizer(tmp_path).encode(text) == tokenizer.encode(text)
    assert theirs.config.eos_token_id == tokenizer.eot_token


@pytest.mark.parametrize("fused_qkv", [True, False])
@pytest.mark.parametrize("qkv_bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_save_and_load_are_bit_exact(tmp_path, fused_qkv, qkv_bias, dtype):
    cfg = dataclasses.replace(SMALL, fused_qkv=fused_qkv, qkv_bias=qkv_bias)
    model = lively(GPTModel(cfg)).to(dtype)
    save_model(model, tmp_path)
    precision = str(dtype).removeprefix("torch.")
    loaded = load_model(tmp_path, fused_qkv=fused_qkv, precision=precision)
    assert loaded.cfg == cfg
    ours, theirs = model.state_dict(), loaded.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(ours[name].equal(theirs[name]) for name in ours)


def test_splitting_and_fusing_again_is_bit_exact(tmp_path):
    model = lively(GPTModel(SMALL))
    save_model(model, tmp_path / "fused")
    save_model(load_model(tmp_path / "fused", fused_qkv=False), tmp_path / "split")
    fused = load_file(tmp_path / "fused" / "model.safetensors")
    split = load_file(tmp_path / "split" / "model.safetensors")
    assert fused.keys() == split.keys()
    assert all(fused[name].equal(split[name]) for name in fused)


def test_saving_over_a_model_leaves_other_files_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for seed in (1, 2):
        model = built(SMALL, seed)
        save_model(model, tmp_path)
    assert load_model(tmp_path)(IDS).equal(model.eval()(IDS))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"notes.txt", "config.json", "model.safetensors"}
    usual = (tmp_path / "notes.txt").stat().st_mode
    assert (tmp_path / "model.safetensors").stat().st_mode == usual


def test_a_tokenizer_that_cannot_be_saved_is_refused_before_anything(tmp_path):
    with pytest.raises(ValueError, match="only a BPETokenizer"):
        save_model(GPTModel(SMALL), tmp_path / "new", tokenizer=object())
    assert not (tmp_path / "new").exists()


def test_the_tokenizer_of_a_larger_vocabulary_is_not_saved_with_a_model(tmp_path):
    """`load_model` and `generate` would refuse the pair later."""
    too_small = dataclasses.replace(SMALL, vocab_size=load_tokenizer().n_vocab - 1)
    with pytest.raises(ValueError, match="it belongs to another model"):
        save_model(GPTModel(too_small), tmp_path / "new", load_tokenizer())
    assert not (tmp_path / "new").exists()


def test_a_compiled_model_is_saved_as_the_model(tmp_path):
    model = built(SMALL)
    save_model(torch.compile(model), tmp_path)
    assert load_model(tmp_path)(IDS).equal(model(IDS))


def test_a_head_that_came_apart_is_not_dropped_silently(tmp_path):
    model = lively(GPTModel(SMALL))
    model.out_head.weight = torch.nn.Parameter(torch.zeros_like(model.tok_emb.weight))
    with pytest.raises(ValueError, match="not the token embedding"):
        save_model(model, tmp_path)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_transformers_knows_the_classes_of_what_we_save(n_classes, tmp_path):
    cfg = dataclasses.replace(SMALL, tied_head=False, n_classes=n_classes)
    model = built(cfg)
    save_model(model, tmp_path)
    theirs = GPT2ForSequenceClassification.from_pretrained(tmp_path).eval()
    assert theirs.config.id2label == {i: f"LABEL_{i}" for i in range(n_classes)}
    theirs.config.pad_token_id = 96
    last = model(IDS)[:, -1]
    assert torch.allclose(theirs(IDS).logits, last, atol=1e-4)
    with pytest.raises(ValueError, match=f"must name {n_classes} classes"):
        save_model(model, tmp_path, settings={"id2label": {0: "ham"}})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_embd": 3}, "settings n_embd follow from the model"),
        ({"eos_token_id": 10**6, "n_layer": 9}, "settings n_layer.* eos_token_id"),
        ({"finetuning_task": 5}, "finetuning_task must be a name, got 5"),
        ({"id2label": ["ham", "spam"]}, "id2label must name each class"),
        ({"id2label": {0: 1}}, "id2label must name each class"),
        ({"note": {1, 2}}, "cannot be written as JSON"),
        ({"note": float("nan")}, "cannot be written as JSON"),
    ],
)
def test_settings_that_could_not_be_loaded_are_not_saved(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        save_model(built(SMALL), tmp_path / "new", settings=settings)
    assert not (tmp_path / "new").exists()
    save_model(built(SMALL), tmp_path / "new", settings={"n_layer": SMALL.n_layers})


def test_a_classifier_is_the_courses_by_its_layout(reference, tmp_path):
    """transformers writes no names for two classes, so these tell nothing."""
    head = {"out_head.weight": torch.ones(2, 128), "out_head.bias": torch.ones(2)}
    for names, separate in ((COMPAT, False), (COURSE, True), (RASCHKA, True)):
        weights = as_course(reference.state_dict().items(), names, separate) | head
        torch.save(weights, tmp_path / "m.pth")
        assert plan_loading(tmp_path / "m.pth").is_course_classifier
    config = GPT2Config(**reference.config.to_dict() | {"num_labels": 2})
    GPT2ForSequenceClassification(config).save_pretrained(tmp_path / "theirs")
    assert "id2label" not in (tmp_path / "theirs" / "config.json").read_text()
    plan = plan_loading(tmp_path / "theirs")
    assert plan.config.n_classes == 2 and not plan.is_course_classifier
    cfg = dataclasses.replace(SMALL, tied_head=False, n_classes=2)
    torch.save(GPTModel(cfg).state_dict(), tmp_path / "ours.pth")
    assert not plan_loading(tmp_path / "ours.pth").is_course_classifier


def test_a_model_that_is_no_longer_its_config_is_not_saved(tmp_path):
    model = GPTModel(SMALL)
    model.out_head = torch.nn.Linear(128, 2)
    with pytest.raises(ValueError, match="out_head.bias.*replace_head"):
        save_model(model, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_llama_cpps_converter_finds_the_context_length(tmp_path):
    save_model(GPTModel(SMALL), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["n_ctx"] == 24


def test_a_full_disk_is_an_os_error_and_leaves_the_old_model(tmp_path, monkeypatch):
    model = built(SMALL)
    save_model(model, tmp_path)

    def full(*_, **__):
        raise SafetensorError("No space left on device")

    monkeypatch.setattr("gpt2lib.weights.tensors.save_file", full)
    with pytest.raises(OSError, match="could not be written: No space left"):
        save_model(lively(GPTModel(SMALL), seed=9), tmp_path)
    assert load_model(tmp_path)(IDS).equal(model(IDS))


def test_a_failed_write_leaves_the_old_model(tmp_path, monkeypatch):
    model = built(SMALL)
    save_model(model, tmp_path)
    monkeypatch.setattr("gpt2lib.weights.saving.write_tensors", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_model(lively(GPTModel(SMALL), seed=9), tmp_path)
    assert load_model(tmp_path)(IDS).equal(model(IDS))
    assert {p.name for p in tmp_path.iterdir()} == {"config.json", "model.safetensors"}


def write_half_and_be_killed(path):
    with files.atomic_write(path) as part:
        part.write_text("half")
        os.kill(os.getpid(), 9)


def test_a_process_killed_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    process = PROCESSES.Process(target=write_half_and_be_killed, args=(path,))
    process.start()
    process.join()
    assert process.exitcode == -9
    assert path.read_text() == "old"


def test_who_reads_the_old_file_is_not_disturbed(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with open(path) as reader:
        files.write_text(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


# --------------------------------------------------------------------------- memory


def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def peak_in_models(path):
    """What loading takes at its peak, as a multiple of the model's own bytes."""
    before = peak()
    model = load_model(path)
    return (peak() - before) / sum(p.nbytes for p in model.parameters())


@pytest.mark.skipif(sys.platform != "linux", reason="counts resident memory by /proc")
@pytest.mark.parametrize("layout", ["Hugging Face", "compat"])
def test_loading_holds_the_model_once(tmp_path, layout):
    """A few large blocks; the peak of a fresh process against the model's own bytes."""
    cfg = dataclasses.replace(GPT2_355M, n_layers=5, vocab_size=2000)
    with torch.device("meta"):
        shapes = GPTModel(cfg).state_dict()
    weights = {name: torch.zeros(t.shape) for name, t in shapes.items()}
    if layout == "compat":
        path = tmp_path / "model.pth"
        torch.save(weights, path)
    else:
        path = tmp_path
        model = GPTModel.__new__(GPTModel)
        with torch.device("meta"):
            model.__init__(cfg)
        model.load_state_dict(weights, assign=True)
        model.tie_head()
        save_model(model, path)
    with ProcessPoolExecutor(1, PROCESSES) as fresh:
        assert 0.9 < fresh.submit(peak_in_models, path).result() <= 1.3


# --------------------------------------------------------------------------- faults


def test_one_error_lists_everything_that_does_not_fit(reference, tmp_path):
    weights = dict(reference.state_dict())
    del weights["transformer.h.1.ln_1.bias"]
    del weights["transformer.h.2.attn.c_attn.bias"]
    weights["transformer.h.0.stranger"] = torch.zeros(3)
    weights["transformer.h.1.mlp.c_fc.bias"] = torch.zeros(5)
    torch.save(weights, tmp_path / "m.pth")
    with pytest.raises(ValueError) as error:
        load_model(tmp_path / "m.pth")
    message = str(error.value)
    assert "missing: h.1.ln_1.bias, h.2.attn.c_attn.bias" in message
    assert "unexpected: h.0.stranger" in message
    assert "misshaped: h.1.mlp.c_fc.bias is (5,), must be (512,)" in message


def test_every_missing_tensor_is_an_error(reference, tmp_path):
    weights = without_prefix(reference.state_dict().items())
    for name in [name for name in weights if "attn.bias" not in name]:
        if name.endswith("masked_bias"):
            continue
        rest = {key: value for key, value in weights.items() if key != name}
        write_safetensors(rest, tmp_path)
        with pytest.raises(ValueError, match=name.replace(".", r"\.")):
            load_model(tmp_path)


def test_a_qkv_bias_that_the_config_denies_is_an_error(folder):
    config = json.loads((folder / "config.json").read_text()) | {"qkv_bias": False}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="unexpected: h.0.attn.c_attn.bias"):
        load_model(folder)


@pytest.mark.parametrize("kind", ["compat", "course", "raschka", "nanoGPT"])
@pytest.mark.parametrize("ours", ["tok_emb.weight", "pos_emb.weight", "blocks"])
def test_a_missing_embedding_or_all_blocks_are_in_the_list_too(
    reference, tmp_path, kind, ours
):
    CHECKPOINTS[kind](reference.state_dict().items(), tmp_path)
    path = next(p for p in tmp_path.iterdir())
    contents = torch.load(path, weights_only=True)
    weights = contents.get("model", contents)
    gone = {
        "tok_emb.weight": ("tok_emb.weight", "wte.weight", "head.weight"),
        "pos_emb.weight": ("pos_emb.weight", "wpe.weight"),
        "blocks": (),
    }
    for name in list(weights):
        is_block = ".h." in name or "trf_blocks" in name
        if name.endswith(gone[ours]) or (ours == "blocks" and is_block):
            del weights[name]
    torch.save(contents, path)
    with pytest.raises(ValueError, match="missing: |contradicts"):
        load_model(path)


class Malicious:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("how", ["torch", "old torch", 2, 4, 5])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path, how):
    path, trace = tmp_path / "m.pth", tmp_path / "it-ran"
    contents = {"tok_emb.weight": torch.zeros(2, 2), "x": Malicious(trace)}
    if isinstance(how, int):
        path.write_bytes(pickle.dumps({"x": Malicious(trace)}, protocol=how))
    else:
        torch.save(contents, path, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(ValueError, match="refused: opening it would run code") as error:
        load_model(path)
    assert "weights_only" not in str(error.value), "no advice to open it all the same"
    assert not trace.exists()


@pytest.mark.parametrize("kind", ["old .bin", ".bin"])
def test_a_damaged_file_never_gives_a_raw_error(reference, tmp_path, kind):
    """Parsers stumble in many ways over bytes that are not what they should be."""
    CHECKPOINTS[kind](reference.state_dict().items(), tmp_path)
    path = tmp_path / "pytorch_model.bin"
    whole = path.read_bytes()
    random_bytes = random.Random(0)
    for _ in range(60):
        damaged = bytearray(whole[: random_bytes.choice([len(whole), 300, 5000])])
        for _ in range(20):
            place = random_bytes.randrange(min(len(damaged), 3000))
            damaged[place] = random_bytes.randrange(256)
        path.write_bytes(damaged)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                load_model(tmp_path)
        except ValueError as error:
            assert not isinstance(error, UnicodeError) and str(path.parent) in str(
                error
            )


@pytest.mark.parametrize(
    "contents", [b"abc" + bytes(600), b"\x00", b"\xff\xfda", b"\x80", b"PK"]
)
def test_bytes_of_no_known_kind_say_so(tmp_path, contents):
    (tmp_path / "m.bin").write_bytes(contents)
    with pytest.raises(ValueError, match="cut off or damaged"):
        load_model(tmp_path / "m.bin")


def test_a_head_of_its_own_that_is_not_there_is_missing(model, tmp_path):
    save_model(model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["tie_word_embeddings"] = False
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="missing: lm_head.weight"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "index", ['{"weight_map": []}', '{"weight_map": {"a": "b"}}', "{}"]
)
def test_a_broken_index_is_an_error(tmp_path, index):
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(FileNotFoundError, match="names files that are not there"):
        load_model(tmp_path)


@pytest.mark.parametrize("kind", ["hub file", "old .bin", ".bin", "nanoGPT", "compat"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
def test_a_truncated_file_says_so(reference, tmp_path, kind, share):
    CHECKPOINTS[kind](reference.state_dict().items(), tmp_path)
    path = next(p for p in tmp_path.iterdir() if p.suffix != ".json")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ValueError, match="cut off or damaged.*again"):
        load_model(model_path(tmp_path))


@pytest.mark.parametrize("suffix", ["pth", "safetensors", "bin"])
def test_an_empty_file_says_so(tmp_path, suffix):
    path = tmp_path / f"m.{suffix}"
    path.touch()
    with pytest.raises(ValueError, match="cut off or damaged"):
        load_model(path)


@pytest.mark.parametrize("suffix", ["pth", "safetensors", "bin"])
def test_a_text_file_says_so(tmp_path, suffix):
    path = tmp_path / f"m.{suffix}"
    path.write_text("version 1\noid sha256:4d7a\nsize 548105171\n" * 9)
    with pytest.raises(ValueError, match="is a text file.*not weights"):
        load_model(path)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ([1, 2], "no named tensors"),
        ({}, "no named tensors"),
        ({"a": 1, "b": torch.zeros(1)}, r"more than tensors \(a\)"),
        ({"conv1.weight": torch.zeros(3)}, "not those of a GPT-2 .*conv1.weight"),
        ({1: torch.zeros(3)}, r"more than tensors \(1\)"),
    ],
)
def test_other_contents_say_so(tmp_path, contents, message):
    torch.save(contents, tmp_path / "m.pth")
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path / "m.pth")


def test_a_folder_without_weights_says_what_is_there(tmp_path):
    (tmp_path / "readme.md").touch()
    with pytest.raises(FileNotFoundError, match="no weights.*only readme.md"):
        load_model(tmp_path)


def test_a_missing_shard_is_named(reference, tmp_path):
    reference.save_pretrained(tmp_path, max_shard_size="100KB")
    lost = sorted(tmp_path.glob("*.safetensors"))[1]
    lost.unlink()
    with pytest.raises(FileNotFoundError, match=lost.name):
        load_model(tmp_path)


def test_an_unknown_name_lists_what_there_is(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BIN", tmp_path)
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileNotFoundError, match="(?s)nonsense.* has: mine.*gpt2-xl"):
        load_model("nonsense")


def test_names_are_found_in_bin(folder, expected, monkeypatch):
    monkeypatch.setattr(files, "BIN", folder.parent)
    assert torch.allclose(load_model("hf")(IDS), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("n_embd", 64, "emb_dim: 64 in the config, 128 in the tensors"),
        ("n_layer", 12, "n_layers: 12 in the config, 3 in the tensors"),
        ("vocab_size", 50257, "vocab_size: 50257 in the config, 97 in the tensors"),
        ("n_positions", 1024, "context_length: 1024 in the config, 24"),
        ("n_head", 5, "emb_dim must be divisible by n_heads.*128 and 5"),
        ("model_type", "llama", "model_type is 'llama'"),
        ("activation_function", "relu", "activation_function is 'relu'.*gelu_new"),
        ("layer_norm_epsilon", 1e-6, "layer_norm_epsilon is 1e-06"),
        ("scale_attn_by_inverse_layer_idx", True, "scale_attn_by_inverse_layer_idx"),
    ],
)
def test_a_config_that_contradicts_is_an_error(folder, key, value, message):
    config = json.loads((folder / "config.json").read_text()) | {key: value}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        load_model(folder)


@pytest.mark.parametrize("text", ["{", "[1, 2]", ""])
def test_a_broken_config_is_an_error(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match="config.json is not a JSON object"):
        load_model(folder)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_nan_and_infinity_are_warned_about(folder, value):
    weights = load_file(folder / "model.safetensors")
    weights["transformer.h.1.mlp.c_fc.weight"][3, 4] = value
    save_file(weights, folder / "model.safetensors")
    with pytest.warns(UserWarning, match=r"1 tensors.*1\.ff\.layers\.0\.weight"):
        load_model(folder)


def test_sound_weights_are_not_warned_about(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_model(folder)


# -------------------------------------------------------------- OpenAI's, by name


@pytest.fixture
def bin_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BIN", tmp_path)
    return tmp_path


def test_openai_models_prefer_the_seeds_file(bin_folder, reference, expected):
    reference.save_pretrained(bin_folder / "gpt2-medium")
    model = load_openai_355m_gpt2()
    assert torch.allclose(model.eval()(IDS), expected, atol=1e-4)
    other = hugging_face(SMALL, seed=5).state_dict()
    other["transformer.wte.weight"] *= 2
    checkpoint = as_course(other.items(), COMPAT, False)
    torch.save(checkpoint, bin_folder / "gpt2_355m_compat_openai.pth")
    assert not torch.allclose(load_openai_355m_gpt2().eval()(IDS), expected, atol=1e-2)


@pytest.mark.parametrize("eval_mode", [True, False])
def test_openai_models_train_unless_eval_mode(bin_folder, reference, eval_mode):
    reference.save_pretrained(bin_folder / "gpt2")
    model = load_openai_124m_gpt2(device="cpu", eval_mode=eval_mode)
    assert isinstance(model, OpenAICompatibleGPTModel)
    assert model.training is not eval_mode


@pytest.mark.parametrize(
    ("load", "name"),
    [(load_openai_124m_gpt2, "gpt2"), (load_openai_355m_gpt2, "gpt2-medium")],
)
def test_openai_models_say_which_command_fetches_them(bin_folder, load, name):
    for _ in ("nothing there", "an interrupted download"):
        with pytest.raises(FileNotFoundError, match=f"gpt2lib download {name}'"):
            load()
        (bin_folder / name).mkdir(exist_ok=True)
        (bin_folder / name / "config.json").write_text("{}")


def test_device_check(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert perform_non_cpu_backend_check() == "cpu"
    with pytest.raises(RuntimeError, match="no CUDA or MPS"):
        perform_non_cpu_backend_check(raise_on_non_availability=True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert perform_non_cpu_backend_check() == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert perform_non_cpu_backend_check(raise_on_non_availability=True) == "cuda"


def test_two_dots_are_the_folder_above(tmp_path, monkeypatch):
    (tmp_path / "models" / "run").mkdir(parents=True)
    save_model(built(SMALL), tmp_path / "models")
    monkeypatch.chdir(tmp_path / "models" / "run")
    assert load_model("..").cfg == SMALL
    with pytest.raises(FileNotFoundError, match=r"no weights"):
        load_model(".")


def test_the_tokenizer_of_another_model_does_not_stay(tmp_path, tokenizer):
    """Without its own, the folder's would from now on be taken for the model's."""
    cfg = dataclasses.replace(SMALL, vocab_size=400)
    save_model(built(cfg), tmp_path, tokenizer)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    other = built(dataclasses.replace(SMALL, vocab_size=50257))
    with pytest.raises(ValueError, match="has the tokenizer of a model with 400 ids"):
        save_model(other, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    save_model(built(cfg), tmp_path)  # its own stays
    assert load_tokenizer(tmp_path).n_vocab == tokenizer.n_vocab


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16", "int8"])
def test_an_unknown_device_is_said_in_every_precision(precision):
    with pytest.raises(ValueError, match="device 'CPU' is not available.*: cpu"):
        load_model(device="CPU", precision=precision)
