"""LoRA: nothing changes at first, little is trained, and merging is exact."""

import dataclasses

import pytest
import torch
from safetensors.torch import load_file, save_file
from small import SMALL, lively

from gpt2lib import GPT2_124M, POCKET, GPTModel, load_model, save_model
from gpt2lib.finetuning import (
    LoRALinear,
    add_lora,
    load_lora,
    merge_lora,
    replace_head,
    save_lora,
)
from gpt2lib.finetuning.lora import adapter_settings, has_lora
from gpt2lib.training import Trainer, TrainingSettings

IDS = torch.randint(0, 90, (2, 12), generator=torch.Generator().manual_seed(3))
BOTH = pytest.mark.parametrize("fused_qkv", [True, False])


def small(fused_qkv=True, **changes):
    torch.manual_seed(0)
    cfg = dataclasses.replace(SMALL, fused_qkv=fused_qkv, **changes)
    return lively(GPTModel(cfg)).eval()


def train(model, steps=5):
    trainer = Trainer(model, TrainingSettings(steps=steps, learning_rate=0.01))
    for _ in trainer.run(lambda step: (IDS[:, :-1], IDS[:, 1:])):
        pass
    return model.eval()


def logits(model):
    with torch.no_grad():
        return model(IDS)


@BOTH
def test_at_first_it_computes_what_it_did(fused_qkv):
    model = small(fused_qkv)
    before = logits(model)
    assert torch.equal(logits(add_lora(model)), before)


@BOTH
def test_only_the_detours_learn_and_merging_is_exact(fused_qkv):
    model = small(fused_qkv)
    before = {name: p.clone() for name, p in model.named_parameters()}
    train(add_lora(model))
    after = dict(model.named_parameters())
    for name, was in before.items():
        same = [after.get(name), after.get(name.replace("weight", "linear.weight"))]
        same += [after.get(name.replace("bias", "linear.bias"))]
        assert any(p is not None and torch.equal(p, was) for p in same), name
    learned = logits(model)
    assert not any(isinstance(m, LoRALinear) for m in merge_lora(model).modules())
    assert set(dict(model.named_parameters())) == set(before)
    torch.testing.assert_close(logits(model), learned, atol=1e-5, rtol=1e-5)
    model.load_state_dict(before | {"out_head.weight": before["tok_emb.weight"]})
    assert (logits(model) - learned).abs().max() > 1e-3  # so there was something to it


@BOTH
@pytest.mark.parametrize("cfg", [POCKET, GPT2_124M], ids=["pocket", "124M"])
def test_at_most_two_percent_are_trained(fused_qkv, cfg):
    cfg = dataclasses.replace(cfg, fused_qkv=fused_qkv)
    with torch.device("meta"):
        model = replace_head(GPTModel(cfg), 2)
        add_lora(model)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert 0 < trained <= 0.02 * cfg.n_params


@BOTH
def test_adapters_are_saved_alone_and_fit_their_model(fused_qkv, tmp_path):
    model = replace_head(small(fused_qkv), 2)
    for p in add_lora(model).parameters():
        if p.requires_grad:
            p.data = torch.randn(p.shape, generator=torch.Generator().manual_seed(1))
    path = tmp_path / "adapter.safetensors"
    save_lora(model, path)
    saved = load_file(path)
    assert all(n == "out_head.weight" or n.endswith((".A", ".B")) for n in saved)
    again = load_lora(replace_head(small(fused_qkv), 2, seed=5), path)
    assert torch.equal(logits(again), logits(model))
    for other in (small(not fused_qkv), small(fused_qkv, n_layers=1)):
        before = logits(other)
        with pytest.raises(ValueError, match="does not fit"):
            load_lora(other, path)
        assert torch.equal(logits(other), before)


def test_an_adapter_knows_the_weights_it_was_trained_on(tmp_path):
    path = tmp_path / "adapter.safetensors"
    model = add_lora(small())
    for detour in (m for m in model.modules() if isinstance(m, LoRALinear)):
        detour.B.data.fill_(1)
    save_lora(model, path)
    other, scaled, longer = small(), small(), small()
    other.trf_blocks[0].att.W_qkv.weight.data *= 1.01
    scaled.final_norm.scale.data *= 1.01
    longer.pos_emb.weight.data[-1] *= 1.01
    for wrong in (merge_lora(model), other, scaled, longer):
        with pytest.raises(ValueError, match="trained on other weights than these"):
            load_lora(wrong, path)
        assert not has_lora(wrong)
    load_lora(small().bfloat16(), path)
    save_file(load_file(path), path, {"lora_alpha": "16"})  # as written before
    load_lora(other, path)


def test_what_is_no_adapter_is_refused(tmp_path):
    path = tmp_path / "adapter.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is a text file, not weights"):
        load_lora(small(), path)
    path.write_bytes((99).to_bytes(8, "little") + b"{}")
    with pytest.raises(ValueError, match="cut off or damaged"):
        load_lora(small(), path)
    with pytest.raises(ValueError, match="is a folder"):
        load_lora(small(), tmp_path)
    with pytest.raises(FileNotFoundError):
        load_lora(small(), tmp_path / "none")
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="no LoRA layers"):
        load_lora(small(), path)
    save_file({"x": torch.zeros(1)}, path, {"lora_alpha": "16"})
    with pytest.raises(ValueError, match="no LoRA layers"):
        load_lora(small(), path)


@pytest.fixture
def adapter(tmp_path):
    """A sound adapter: path, tensors, facts."""
    path = tmp_path / "adapter.safetensors"
    save_lora(add_lora(small()), path)
    return path, load_file(path), {"lora_alpha": "16"}


@pytest.mark.parametrize("alpha", ["nan", "inf", "-inf", "sixteen", ""])
def test_an_alpha_that_is_no_number_is_refused(adapter, alpha):
    path, tensors, _ = adapter
    save_file(tensors, path, {"lora_alpha": alpha})
    with pytest.raises(ValueError, match="no LoRA layers of gpt2lib"):
        load_lora(small(), path)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: torch.ones(10**7, 1) if len(t) == 8 else t,
        lambda t: torch.ones(0, 128) if len(t) == 8 else t[:, :0].contiguous(),
        lambda t: t[..., None],
        lambda t: torch.ones(()),
        lambda t: t.double().to(torch.complex64),
        lambda t: t.to(torch.int8),
        lambda t: t / 0,
    ],
)
def test_adapters_of_other_shapes_or_numbers_change_nothing(adapter, change):
    path, tensors, facts = adapter
    save_file({n: change(t) for n, t in tensors.items()}, path, facts)
    model = small()
    model.tok_emb.weight.requires_grad_(False)
    before = logits(model)
    with pytest.raises(ValueError, match="does not fit|no LoRA layers|not finite"):
        load_lora(model, path)
    assert torch.equal(logits(model), before)
    assert not model.tok_emb.weight.requires_grad


def test_an_adapter_of_peft_says_what_it_is(adapter):
    path, tensors, _ = adapter
    save_file({f"base_model.model.{n}": t for n, t in tensors.items()}, path)
    with pytest.raises(ValueError, match="adapter of PEFT.*merge_and_unload"):
        load_lora(small(), path)


@BOTH
def test_a_model_with_detours_is_not_saved_before_merging(fused_qkv, tmp_path):
    model = add_lora(small(fused_qkv))
    with pytest.raises(ValueError, match=r"W_\w+\.A.*merge_lora"):
        save_model(model, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    save_model(merge_lora(model), tmp_path / "new")
    opened = load_model(tmp_path / "new")
    torch.testing.assert_close(logits(opened), logits(model), atol=1e-4, rtol=1e-4)


def test_ranks_and_alphas_are_checked():
    for rank in (0, -1, 2.5, True, 129, 10**9):
        with pytest.raises(ValueError, match="rank must be a whole number from 1"):
            add_lora(small(), rank=rank)
    with pytest.raises(ValueError, match="alpha must be a finite number"):
        add_lora(small(), alpha=float("nan"))


def test_twice_or_never_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no LoRA layers to save"):
        save_lora(small(), tmp_path / "a")
    with pytest.raises(ValueError, match="already"):
        add_lora(add_lora(small()))
    adapter = tmp_path / "adapter.safetensors"
    save_lora(add_lora(small()), adapter)
    with pytest.raises(ValueError, match="already"):
        load_lora(add_lora(small()), adapter)


@pytest.mark.parametrize("settings", ["[1]", "{", "null", '{"id2label": 3}'])
def test_settings_of_an_adapter_that_are_none_are_refused(tmp_path, settings):
    path = tmp_path / "adapter.safetensors"
    save_file({"a.A": torch.ones(1, 2)}, path, {"settings": settings})
    with pytest.raises(ValueError, match="adapter.safetensors.*(cannot be read|must)"):
        adapter_settings(path)
