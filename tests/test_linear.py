"""One product in four precisions, beside torch's own and beside whole numbers."""

import copy

import pytest
import torch
from small import SMALL, lively
from torch import nn
from torch.nn import functional as F

from gpt2lib import GPTModel, linear, load_model, load_tokenizer, save_model
from gpt2lib.course import judge
from gpt2lib.linear import (
    FastProduct,
    Float16Linear,
    Int8Linear,
    Linear,
    prepare_to_infer,
)
from gpt2lib.lora import add_lora
from gpt2lib.model import GELU, FeedForward
from gpt2lib.training import Trainer, TrainingSettings

IN, OUT = 96, 160
LARGE = (3, 40, IN)  # 1.8 million multiplications


def layer(bias=True, out=OUT):
    return lively(Linear(IN, out, bias=bias))


def is_fast(output):
    return type(output.grad_fn).__name__ == f"{FastProduct.__name__}Backward"


# ----------------------------------------------------------------------- float32


@pytest.mark.skipif(not linear.HAS_ONEDNN, reason="torch was built without oneDNN")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 3, 4, 5, 400])
@pytest.mark.parametrize("out", [160, 161, 157])  # even, with a divisor, prime
def test_output_and_gradients_are_those_of_torch(rows, out, bias, monkeypatch):
    monkeypatch.setattr(linear, "SMALL", 0)
    ours, x = layer(bias, out), torch.randn(rows, IN)
    x = x.unflatten(0, (5, -1)) if rows % 5 == 0 else x
    theirs = nn.Linear(IN, out, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    copies = [x.clone().requires_grad_() for _ in range(2)]
    outputs = [ours(copies[0]), theirs(copies[1])]
    assert is_fast(outputs[0])
    assert torch.allclose(*outputs, atol=1e-4)
    assert outputs[0].is_contiguous()
    for output in outputs:
        (output * torch.linspace(-1, 1, out)).sum().backward()
    assert torch.allclose(copies[0].grad, copies[1].grad, atol=1e-4)
    for mine, reference in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine.grad, reference.grad, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("frozen", ["weight", "bias"])
def test_what_is_frozen_gets_no_gradient(frozen):
    ours = layer()
    getattr(ours, frozen).requires_grad_(False)
    ours(torch.randn(LARGE)).sum().backward()
    assert {n for n, p in ours.named_parameters() if p.grad is None} == {frozen}


def test_small_products_and_other_types_are_left_to_torch():
    ours, x = layer(), torch.randn(LARGE)
    assert not is_fast(ours(x[:1, :1]))
    assert not is_fast(copy.deepcopy(ours).double()(x.double()))
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(x).dtype == torch.bfloat16


@pytest.fixture
def calls(monkeypatch):
    """The activations of all oneDNN calls; no product is too small for them."""
    made, call = [], linear._onednn
    monkeypatch.setattr(linear, "SMALL", 0)
    monkeypatch.setattr(
        linear,
        "_onednn",
        lambda x, w, b=None, *a: made.append(a[:1]) or call(x, w, b, *a),
    )
    return made


def two_layers(dtype=torch.float32):
    return lively(FeedForward(SMALL)).to(dtype)


@pytest.mark.parametrize("dtype", linear.WITH_GELU)
@pytest.mark.skipif(not linear.HAS_ONEDNN, reason="torch was built without oneDNN")
def test_product_and_gelu_in_one_call_are_what_they_are_in_two(dtype, calls):
    ours, x = two_layers(dtype), torch.randn(3, 40, SMALL.emb_dim).to(dtype)
    wide, _, narrow = copy.deepcopy(ours).double().layers
    exact = narrow(F.gelu(wide(x.double()), approximate="tanh"))
    with torch.no_grad():
        given = ours(x)
    assert ("gelu",) in calls
    assert given.dtype == dtype
    allowed = 1e-2 if dtype == torch.bfloat16 else 1e-5
    assert (given - exact).norm() < allowed * exact.norm()


def test_gradients_need_what_one_call_would_skip(calls):
    ours, x = two_layers(), torch.randn(3, 40, SMALL.emb_dim)
    ours(x).sum().backward()
    assert ("gelu",) not in calls
    assert all(p.grad.any() for p in ours.parameters())


@pytest.mark.parametrize("change", [nn.ReLU, nn.Identity, None])
def test_layers_somebody_changed_are_called_one_by_one(change, calls):
    ours, x = two_layers(), torch.randn(3, 40, SMALL.emb_dim)
    if change:
        ours.layers[1] = change()
    else:
        ours.layers.append(nn.ReLU())
    with torch.no_grad():
        given = ours(x)
    assert torch.allclose(given, ours(x), atol=1e-5)  # the second with gradients
    assert ("gelu",) not in calls


@pytest.mark.parametrize("place", ["layers", "layers.0", "layers.1", "layers.2"])
@pytest.mark.parametrize("kind", ["forward_hook", "forward_pre_hook"])
def test_hooks_see_what_one_call_would_skip(place, kind, calls):
    ours, seen = two_layers(), []
    register = getattr(ours.get_submodule(place), f"register_{kind}")
    register(lambda *args: seen.append(args))
    with torch.no_grad():
        ours(torch.randn(3, 40, SMALL.emb_dim))
    assert len(seen) == 1


def test_hooks_of_all_modules_see_it_too(calls):
    ours, seen = two_layers(), []
    hook = nn.modules.module.register_module_forward_hook(
        lambda module, *_: seen.append(type(module))
    )
    with hook, torch.no_grad():
        ours(torch.randn(3, 40, SMALL.emb_dim))
    assert GELU in seen


def test_without_onednn_everything_goes_on(monkeypatch):
    ours, x = layer(), torch.randn(LARGE)
    monkeypatch.setattr(linear, "HAS_ONEDNN", False)
    output = ours(x)
    assert not is_fast(output)
    assert output.equal(F.linear(x, ours.weight, ours.bias))


def test_compiled_code_is_left_to_the_compiler():
    compiled = torch.compile(layer(), backend="eager", fullgraph=True)
    assert not is_fast(compiled(torch.randn(LARGE)))


# ------------------------------------------------------------------------- fewer bytes


@pytest.mark.parametrize("bias", [True, False])
def test_float16_rounds_the_weights_and_nothing_else(bias):
    exact, x = layer(bias), torch.randn(LARGE)
    expected = F.linear(x, exact.weight.half().float(), exact.bias)
    assert torch.allclose(Float16Linear(exact)(x), expected, atol=1e-5)


def whole_numbers(rows):
    """Rows as whole numbers from -127 to 127, and the size of one."""
    scale = rows.abs().amax(dim=-1, keepdim=True) / 127
    return (rows / scale).round(), scale


@pytest.mark.parametrize("bias", [True, False])
def test_int8_is_a_product_of_whole_numbers(bias):
    exact, x = layer(bias), torch.randn(LARGE)
    weight, weight_scale = whole_numbers(exact.weight)
    inputs, input_scale = whole_numbers(x)
    by_hand = F.linear(inputs, weight) * input_scale * weight_scale.T.squeeze()
    by_hand = by_hand if exact.bias is None else by_hand + exact.bias
    output = Int8Linear(exact)(x)
    # torch rounds inputs to steps a little unlike these: to 255, not 254 of them.
    assert (output - by_hand).abs().max() < 0.02 * by_hand.abs().max()
    assert (output - exact(x)).abs().max() < 0.03 * by_hand.abs().max()


def test_int8_gives_each_row_its_own_scale():
    """A large row must not take the digits away from a small one beside it."""
    small, int8 = torch.randn(1, IN) / 1000, Int8Linear(layer(bias=False))
    large = torch.randn(1, IN) * 1000
    alone, beside = int8(small), int8(torch.cat([large, small]))[1:]
    assert torch.allclose(alone, beside, atol=0.05 * alone.abs().max().item())


def test_int8_survives_rows_of_zeros():
    exact = layer()
    with torch.no_grad():
        exact.weight[3] = 0
    x = torch.randn(2, IN)
    x[1] = 0
    output = Int8Linear(exact)(x)
    assert output.isfinite().all()
    assert output[1].equal(exact.bias)
    assert output[0, 3] == exact.bias[3]


# ------------------------------------------------------------------------ whole models


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_a_prepared_model_can_only_infer(precision, tmp_path):
    model = prepare_to_infer(lively(GPTModel(SMALL)), precision)
    for refused in (
        lambda: Trainer(model, TrainingSettings(steps=1)),
        lambda: save_model(model, tmp_path),
        lambda: add_lora(model),
    ):
        with pytest.raises(ValueError, match="precision='float32'"):
            refused()
    assert [*tmp_path.iterdir()] == []


def test_int8_is_refused_on_a_gpu():
    with pytest.raises(ValueError, match="int8 is for the CPU, got device 'cuda'"):
        load_model(precision="int8", device="cuda")


def test_float16_without_fbgemm_computes_in_it(monkeypatch):
    monkeypatch.setattr(linear, "HAS_FBGEMM", False)
    assert load_model(precision="float16")(torch.tensor([[1, 2]])).dtype == torch.half


@pytest.mark.parametrize(
    ("precision", "cost", "agreement"),
    [("bfloat16", 0.05, 0.9), ("float16", 0.001, 0.99), ("int8", 0.05, 0.9)],
)
def test_what_fewer_bytes_cost_on_a_trained_model(precision, cost, agreement):
    tales = judge.unseen_stories(20)
    exact, cheap = load_model(), load_model(precision=precision)
    tokenizer = load_tokenizer()
    bits = [judge.story_bits_per_byte(m, tokenizer, tales) for m in (exact, cheap)]
    assert abs(bits[1] / bits[0] - 1) < cost
    ids = torch.tensor([tokenizer.encode(tale)[:40] for tale in tales])
    with torch.no_grad():
        next_ids = [model(ids).argmax(dim=-1) for model in (exact, cheap)]
    assert (next_ids[0] == next_ids[1]).float().mean() >= agreement
