"""LoRA: nothing changes at first, little is trained, and merging is exact."""

import dataclasses

import pytest
import torch
from safetensors.torch import load_file, save_file
from small import SMALL, lively

from gpt2lib import GPT2_124M, POCKET, GPTModel
from gpt2lib.classification import replace_head
from gpt2lib.lora import LoRALinear, add_lora, load_lora, merge_lora, save_lora
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


def test_what_is_no_adapter_is_refused(tmp_path):
    path = tmp_path / "adapter.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="no LoRA layers"):
        load_lora(small(), path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="no LoRA layers"):
        load_lora(small(), path)
    save_file({"x": torch.zeros(1)}, path, {"lora_alpha": "16"})
    with pytest.raises(ValueError, match="no LoRA layers"):
        load_lora(small(), path)


def test_twice_or_never_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no LoRA layers to save"):
        save_lora(small(), tmp_path / "a")
    with pytest.raises(ValueError, match="already"):
        add_lora(add_lora(small()))
    with pytest.raises(ValueError, match="at least 1"):
        add_lora(small(), rank=0)
