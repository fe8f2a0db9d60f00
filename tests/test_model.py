"""The config, the parts and the model, against torch and transformers."""

import dataclasses
import math

import pytest
import torch
from small import SMALL, lively
from torch import nn
from torch.nn import functional as F
from transformers.activations import NewGELUActivation

from gpt2lib import (
    GPT2_124M,
    GPT2_355M,
    GPT2_774M,
    GPT2_1558M,
    GPTConfig,
    GPTModel,
    OpenAICompatibleGPTModel,
)
from gpt2lib.model import GELU, LayerNorm, TransformerBlock, gelu, layer_norm

PUBLISHED = {
    124_439_808: GPT2_124M,
    354_823_168: GPT2_355M,
    774_030_080: GPT2_774M,
    1_557_611_200: GPT2_1558M,
}


def ids(*shape):
    generator = torch.Generator().manual_seed(4)
    return torch.randint(0, SMALL.vocab_size, shape, generator=generator)


# ------------------------------------------------------------------ config


@pytest.mark.parametrize(("count", "cfg"), PUBLISHED.items())
def test_parameters_of_the_published_sizes(count, cfg):
    with torch.device("meta"):
        model = GPTModel(cfg)
    assert cfg.n_params == count
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize("qkv_bias", [True, False])
@pytest.mark.parametrize("fused_qkv", [True, False])
@pytest.mark.parametrize("tied_head", [True, False])
def test_parameters_are_counted_right_for_every_choice(qkv_bias, fused_qkv, tied_head):
    cfg = dataclasses.replace(
        SMALL, qkv_bias=qkv_bias, fused_qkv=fused_qkv, tied_head=tied_head
    )
    model = GPTModel(cfg)
    assert cfg.n_params == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_classes": 1, "tied_head": False}, "must be 0 or an int from 2, got 1"),
        ({"emb_dim": 100, "n_heads": 12}, "same width, got 100 and 12"),
        ({"vocab_size": 0}, "vocab_size.*got 0"),
        ({"context_length": -1}, "context_length.*got -1"),
        ({"n_layers": 2.0}, "n_layers.*got 2.0"),
        ({"n_heads": True}, "n_heads.*got True"),
        ({"emb_dim": "768"}, "emb_dim.*got '768'"),
        ({"drop_rate": 1.0}, r"drop_rate.*\[0, 1\).*got 1.0"),
        ({"drop_rate": float("nan")}, "drop_rate.*got nan"),
        ({"qkv_bias": "yes"}, "qkv_bias.*got 'yes'"),
    ],
)
def test_configs_that_cannot_work_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        GPTConfig(**changes)


def test_configs_are_frozen_and_replaceable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        GPT2_124M.emb_dim = 5
    assert dataclasses.replace(GPT2_124M, context_length=256).context_length == 256


# ------------------------------------------------------------------- parts


def test_layer_norm_equals_torch_spelled_out_and_fused():
    x = torch.randn(3, 5, 16) * 4 + 2
    x[0, 0] = 1e-3 * x[0, 0]  # where eps matters
    ours, theirs = lively(LayerNorm(16)), nn.LayerNorm(16, eps=1e-5)
    theirs.weight, theirs.bias = ours.scale, ours.shift
    assert torch.allclose(ours(x), theirs(x), atol=1e-6)
    assert torch.allclose(layer_norm(x, ours.scale, ours.shift), theirs(x), atol=1e-5)


def test_gelu_is_the_tanh_form_spelled_out_and_fused():
    x = torch.linspace(-6, 6, 1001)
    expected = NewGELUActivation()(x)  # transformers' copy of OpenAI's
    assert torch.allclose(gelu(x), expected, atol=1e-6)
    assert torch.allclose(GELU()(x), expected, atol=1e-6)
    assert not torch.allclose(gelu(x), F.gelu(x), atol=1e-4)


def test_block_is_pre_norm_with_two_shortcuts():
    block = lively(TransformerBlock(SMALL)).eval()
    x = torch.randn(2, 6, SMALL.emb_dim)
    expected = x + block.att(block.norm1(x))
    expected = expected + block.ff(block.norm2(expected))
    assert torch.allclose(block(x), expected, atol=1e-5)


# ------------------------------------------------------------------- model


def test_head_is_the_token_embedding(model):
    assert model.out_head.weight is model.tok_emb.weight
    untied = GPTModel(dataclasses.replace(SMALL, tied_head=False))
    assert untied.out_head.weight is not untied.tok_emb.weight


def test_initial_weights_are_gpt2s():
    model = GPTModel(GPTConfig(vocab_size=2000, n_layers=3, emb_dim=384, n_heads=6))
    residual_std = 0.02 / math.sqrt(2 * 3)
    for name, parameter in model.named_parameters():
        if name.endswith(("bias", "shift")):
            assert parameter.count_nonzero() == 0
        elif name.endswith("scale"):
            assert parameter.eq(1).all()
        else:
            ends_in_shortcut = "out_proj" in name or "layers.2" in name
            expected = residual_std if ends_in_shortcut else 0.02
            assert parameter.std().item() == pytest.approx(expected, rel=0.03), name
            assert abs(parameter.mean().item()) < 0.001


def test_an_untrained_model_finds_all_tokens_alike():
    logits = GPTModel(SMALL).eval()(ids(4, 20))
    loss = F.cross_entropy(logits.flatten(0, 1), ids(80).flip(0))
    assert loss.item() == pytest.approx(math.log(SMALL.vocab_size), abs=0.1)


def test_the_future_cannot_leak_through_the_model(model):
    before, changed = ids(2, 20), ids(2, 20)
    changed[:, 12:] = 0
    assert model(changed)[:, :12].equal(model(before)[:, :12])
    assert not torch.allclose(model(changed)[:, 12:], model(before)[:, 12:])


def test_rows_of_a_batch_do_not_touch(model):
    batch = ids(3, 10)
    alone = torch.cat([model(row[None]) for row in batch])
    assert torch.allclose(model(batch), alone, atol=1e-4)


def test_reading_in_parts_with_caches_equals_reading_at_once(model):
    text, caches = ids(2, 15), model.new_caches(15)
    parts = [model(part, caches) for part in text.split((6, 1, 1, 7), dim=1)]
    assert torch.allclose(torch.cat(parts, dim=1), model(text), atol=1e-4)


def test_caches_that_do_not_belong_are_refused(model):
    """Too few once ran fewer blocks; another batch was once broadcast."""
    with pytest.raises(ValueError, match="shorter"):
        model(ids(1, 3), model.new_caches(9)[:1])
    caches = model.new_caches(9)
    model(ids(2, 3), caches)
    with pytest.raises(ValueError, match="cache holds 2 rows, got 1"):
        model(ids(1, 1), caches)


def test_the_seeds_name_is_the_fused_choice():
    model = OpenAICompatibleGPTModel(dataclasses.replace(SMALL, fused_qkv=False))
    assert isinstance(model, GPTModel) and model.cfg.fused_qkv
    assert hasattr(model.trf_blocks[0].att, "W_qkv")


def test_a_compiled_graph_is_not_broken_by_the_checks(model):
    exported = torch.export.export(model, (ids(1, 5),))
    assert torch.allclose(exported.module()(ids(1, 5)), model(ids(1, 5)), atol=1e-4)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.zeros(1, 3), "int64 or int32, got torch.float32"),
        ([[1, 2]], "int64 or int32, got list: pass torch.tensor"),
        (torch.zeros(3, dtype=torch.int64), r"got \(3,\).*unsqueeze"),
        (torch.zeros(1, 0, dtype=torch.int64), r"\(1, 0\).*at least one token"),
        (torch.zeros(1, 25, dtype=torch.int64), "25 positions, but at most 24"),
        (torch.tensor([[1, 97]]), r"\[0, 96\], got 1 to 97"),
        (torch.tensor([[-1, 5]]), r"\[0, 96\], got -1 to 5"),
    ],
)
def test_impossible_ids_are_refused_before_any_arithmetic(model, bad, message):
    def computed(*_):
        raise AssertionError("the embedding was reached")

    model.tok_emb.register_forward_pre_hook(computed)
    with pytest.raises(ValueError, match=message):
        model(bad)
