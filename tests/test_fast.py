"""Faster forwards beside the plain ones, and fewer bits beside whole numbers.

Both sides of every choice by processor are tested on every machine.
"""

import copy
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from small import SMALL, lively
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from gpt2lib import GPTModel, fast, load_model, load_tokenizer, save_model
from gpt2lib.attention import (
    KVCache,
    MultiHeadAttention,
    OpenAICompatibleMultiHeadAttention,
)
from gpt2lib.course.pocket import judge
from gpt2lib.fast import (
    FastLinear,
    FastProduct,
    Float16Linear,
    Int8Linear,
    attend_in_blocks,
    prepare_to_infer,
    speed_up,
)
from gpt2lib.finetuning import add_lora
from gpt2lib.model import GELU, FeedForward
from gpt2lib.training import Trainer, TrainingSettings

IN, OUT = 96, 160
LARGE = (3, 40, IN)  # 1.8 million multiplications


def layer(bias=True, out=OUT):
    return lively(FastLinear(IN, out, bias=bias))


def is_fast(output):
    made_by = [output.grad_fn, *(node for node, _ in output.grad_fn.next_functions)]
    return f"{FastProduct.__name__}Backward" in [type(n).__name__ for n in made_by]


# ----------------------------------------------------------------------- float32


@pytest.mark.skipif(not fast.HAS_ONEDNN, reason="torch was built without oneDNN")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 3, 4, 5, 400])
@pytest.mark.parametrize("out", [160, 161, 157])  # even, with a divisor, prime
def test_output_and_gradients_are_those_of_torch(rows, out, bias, monkeypatch):
    monkeypatch.setattr(fast, "SMALL", 0)
    ours, x = layer(bias, out), torch.randn(rows, IN)
    x = x.unflatten(0, (5, -1)) if rows % 5 == 0 else x
    theirs = nn.Linear(IN, out, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    copies = [x.clone().requires_grad_() for _ in range(2)]
    outputs = [ours(copies[0]), theirs(copies[1])]
    assert is_fast(outputs[0])
    assert torch.allclose(*outputs, atol=1e-4)
    assert outputs[0].is_contiguous()
    with torch.inference_mode():  # where the product is called without autograd
        assert torch.equal(ours(x), outputs[0])
    for output in outputs:
        (output * torch.linspace(-1, 1, out)).sum().backward()
    assert torch.allclose(copies[0].grad, copies[1].grad, atol=1e-4)
    for mine, reference in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine.grad, reference.grad, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 2, 4, 5])
def test_what_comes_out_may_be_written_over(rows, bias, monkeypatch):
    """As the loss does; a view made within the product would not allow it."""
    monkeypatch.setattr(fast, "SMALL", 0)
    ours = layer(bias)
    for x in (torch.randn(rows, IN), torch.randn(1, rows, IN)):
        output = ours(x)
        assert is_fast(output) and output.shape == (*x.shape[:-1], OUT)
        output.mul_(2).sum().backward()
        with torch.inference_mode():
            assert torch.equal(ours(x).mul_(2), output)
    assert ours(torch.randn(IN)).shape == (OUT,)


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
    made, call = [], fast._onednn
    monkeypatch.setattr(fast, "SMALL", 0)
    monkeypatch.setattr(
        fast,
        "_onednn",
        lambda x, w, b=None, *a: made.append(a[:1]) or call(x, w, b, *a),
    )
    return made


def two_layers(dtype=torch.float32):
    return speed_up(lively(FeedForward(SMALL))).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.skipif(not fast.HAS_ONEDNN, reason="torch was built without oneDNN")
def test_product_and_gelu_in_one_call_are_what_they_are_in_two(dtype, calls):
    ours, x = two_layers(dtype), torch.randn(3, 40, SMALL.emb_dim).to(dtype)
    wide, _, narrow = copy.deepcopy(ours).double().layers
    exact = narrow(F.gelu(wide(x.double()), approximate="tanh"))
    with torch.no_grad():
        given = ours(x)
    assert (("gelu",) in calls) == (dtype == torch.float32 or fast.HAS_BFLOAT16)
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
    monkeypatch.setattr(fast, "HAS_ONEDNN", False)
    output = ours(x)
    assert not is_fast(output)
    assert output.equal(F.linear(x, ours.weight, ours.bias))


def test_compiled_code_is_left_to_the_compiler():
    compiled = torch.compile(layer(), backend="eager", fullgraph=True)
    assert not is_fast(compiled(torch.randn(LARGE)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("fused_qkv", [True, False])
def test_a_model_sped_up_gives_the_same_from_the_same_parameters(fused_qkv, dtype):
    model = lively(GPTModel(replace(SMALL, fused_qkv=fused_qkv))).to(dtype).eval()
    plain, ids = copy.deepcopy(model), torch.randint(SMALL.vocab_size, (30, 24))
    parameters = dict(model.named_parameters())
    assert speed_up(model) is model
    assert {type(m) for m in model.modules()}.isdisjoint(fast.FASTER)
    assert all(parameters[n] is p for n, p in model.named_parameters())
    with torch.no_grad():
        error = (model(ids) - plain(ids)).float().norm() / plain(ids).float().norm()
    assert error < (0.02 if dtype == torch.bfloat16 else 1e-5)


def test_a_learners_own_layer_is_left_alone():
    class Mine(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    model = GPTModel(SMALL)
    model.trf_blocks[0].att.out_proj = Mine(128, 128)
    assert type(speed_up(model).trf_blocks[0].att.out_proj) is Mine


def test_a_sped_up_model_works_with_torch_func():
    """Gradients of functions, forward-mode derivatives and ensembles."""
    model = lively(GPTModel(SMALL)).eval()
    ids = torch.randint(SMALL.vocab_size, (30, 24))
    parameters = {n: p.detach() for n, p in model.named_parameters()}

    def loss(parameters):
        return torch.func.functional_call(model, parameters, (ids,)).square().mean()

    def derivatives():
        with sdpa_kernel(SDPBackend.MATH):  # torch's fused attention has no jvp
            along = torch.func.jvp(loss, (parameters,), (parameters,))[1]
        rows = {n: p.expand(2, *p.shape) for n, p in parameters.items()}
        return torch.func.grad(loss)(parameters), along, torch.func.vmap(loss)(rows)

    plain, plain_along, plain_rows = derivatives()
    speed_up(model)
    given, along, rows = derivatives()
    for name in plain:
        assert torch.allclose(given[name], plain[name], rtol=1e-3, atol=1e-4)
    assert torch.allclose(along, plain_along, rtol=1e-3)
    assert torch.allclose(rows, plain_rows, rtol=1e-3)


# --------------------------------------------------------------- attention in bfloat16


@pytest.mark.parametrize("new", [1, 3, 200])
def test_attention_in_blocks_equals_torch(new):
    """One block or several, with and without positions before the queries."""
    queries, keys, values = torch.randn(3, 2, 3, 200, 4)
    expected = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
    given = attend_in_blocks(queries[:, :, -new:], keys, values)
    assert torch.allclose(given, expected[:, :, -new:], atol=1e-5)


def attention(dropout=0.0):
    kind = OpenAICompatibleMultiHeadAttention
    return speed_up(lively(kind(12, 12, 200, dropout, num_heads=3)))


@pytest.fixture(params=[True, False], ids=["bfloat16 products", "none"])
def has_bfloat16(request, monkeypatch):
    monkeypatch.setattr(fast, "HAS_BFLOAT16", request.param)


def test_bfloat16_gradients_equal_those_of_float32(has_bfloat16):
    layer, gradients = attention(), {}
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.linspace(-1, 1, 200 * 12).view(1, 200, 12).requires_grad_()
        with torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
            layer(x).square().sum().backward()
        gradients[dtype] = x.grad
    error = gradients[torch.bfloat16] - gradients[torch.float32]
    assert error.norm() < 0.02 * gradients[torch.float32].norm()


@pytest.mark.parametrize("cuts", [(1,) * 7, (3, 1, 3), (7,)])
def test_bfloat16_in_parts_equals_float32_at_once(cuts, has_bfloat16):
    x, layer, cache = torch.randn(2, 7, 12), attention().bfloat16(), KVCache(7)
    parts = torch.cat([layer(part, cache) for part in x.bfloat16().split(cuts, 1)], 1)
    at_once = layer.float()(x)
    assert parts.dtype == torch.bfloat16
    assert (parts - at_once).abs().max() <= 0.01 * at_once.abs().max()


def test_autocast_does_not_undo_the_choice(monkeypatch):
    """Autocast would turn the wide copies back into bfloat16."""
    monkeypatch.setattr(fast, "HAS_BFLOAT16", False)
    seen, plain = [], MultiHeadAttention.attend
    monkeypatch.setattr(
        MultiHeadAttention,
        "attend",
        lambda self, *qkv: (
            seen.append(torch.is_autocast_enabled("cpu"))
            or seen.append(qkv[0].dtype)
            or plain(self, *qkv)
        ),
    )
    with torch.autocast("cpu", torch.bfloat16):
        attention()(torch.randn(2, 7, 12))
    assert seen == [False, torch.float32]


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_bfloat16_dropout_acts_in_training_only(p, has_bfloat16):
    layer, x = attention(p).bfloat16(), torch.randn(2, 7, 12).bfloat16()
    assert layer(x).equal(layer(x)) == (p == 0)
    layer.eval()
    assert layer(x).equal(layer(x))


# ------------------------------------------------------------------------- fewer bytes


@pytest.mark.parametrize("bias", [True, False])
def test_float16_rounds_the_weights_and_nothing_else(bias):
    exact, x = layer(bias), torch.randn(LARGE)
    expected = F.linear(x, exact.weight.half().float(), exact.bias)
    assert torch.allclose(Float16Linear(exact)(x), expected, atol=1e-5)


def whole_numbers(rows, largest=127):
    """Rows as whole numbers from -largest to largest, and the size of one."""
    scale = rows.abs().amax(dim=-1, keepdim=True) / largest
    return (rows / scale).round(), scale


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bits", [7, 8])
def test_int8_is_a_product_of_whole_numbers(bias, bits, monkeypatch):
    monkeypatch.setattr(fast, "HAS_VNNI", bits == 8)
    exact, x = layer(bias), torch.rand(LARGE)
    x[..., ::2] = 0  # so no pair of products overflows where there is no VNNI
    weight, weight_scale = whole_numbers(exact.weight, 2 ** (bits - 1) - 1)
    inputs, input_scale = whole_numbers(x)
    by_hand = F.linear(inputs, weight) * input_scale * weight_scale.T.squeeze()
    by_hand = by_hand if exact.bias is None else by_hand + exact.bias
    output = Int8Linear(exact)(x)
    # torch rounds inputs to steps a little unlike these: to 255, not 254 of them.
    assert (output - by_hand).abs().max() < 0.02 * by_hand.abs().max()
    assert (output - exact(x)).abs().max() < 0.03 * by_hand.abs().max()


@pytest.mark.skipif(fast.HAS_VNNI, reason="sums of pairs have 32 bits here")
def test_int8_does_not_overflow_without_vnni():
    exact = nn.Linear(64, 8, bias=False)
    nn.init.ones_(exact.weight)
    given = Int8Linear(exact)(torch.ones(1, 64))
    assert torch.allclose(given, torch.full((1, 8), 64.0), rtol=0.02)


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


def test_importing_and_preparing_leave_warnings_as_they_were():
    program = """
import warnings
from gpt2lib import load_model
assert not any("quantize" in str(rule) for rule in warnings.filters)
warnings.simplefilter("error", UserWarning)
before = warnings.filters[:]
load_model(precision="int8")
assert warnings.filters == before
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_int8_is_refused_on_a_gpu():
    with pytest.raises(ValueError, match="int8 is for the CPU, got device 'cuda'"):
        load_model(precision="int8", device="cuda")


def test_float16_without_fbgemm_computes_in_it(monkeypatch):
    monkeypatch.setattr(fast, "HAS_FBGEMM", False)
    assert load_model(precision="float16")(torch.tensor([[1, 2]])).dtype == torch.half


def judged(precision):
    """Bits per byte of a trained model on stories, and the ids it would go on with."""
    tales, tokenizer = judge.unseen_stories(20), load_tokenizer()
    model = load_model(precision=precision)
    ids = torch.tensor([tokenizer.encode(tale)[:40] for tale in tales])
    with torch.no_grad():
        next_ids = model(ids).argmax(dim=-1)
    return judge.story_bits_per_byte(model, tokenizer, tales), next_ids


@pytest.fixture(scope="module")
def exact():
    return judged("float32")


@pytest.mark.parametrize(
    ("precision", "cost", "agreement"),
    [("bfloat16", 0.05, 0.9), ("float16", 0.001, 0.99), ("int8", 0.05, 0.9)],
)
def test_what_fewer_bytes_cost_on_a_trained_model(exact, precision, cost, agreement):
    bits, next_ids = judged(precision)
    assert abs(bits / exact[0] - 1) < cost
    assert (next_ids == exact[1]).float().mean() >= agreement


def test_bfloat16_that_is_emulated_is_warned_of(monkeypatch):
    monkeypatch.setattr(fast, "HAS_ONEDNN", True)
    monkeypatch.setattr(fast, "HAS_BFLOAT16", False)
    with pytest.warns(UserWarning, match="no bfloat16 .* for inference use float16"):
        load_model(precision="bfloat16")
    with pytest.warns(UserWarning, match="train in float32"):
        Trainer(load_model(), TrainingSettings(1, precision="bfloat16"))


def test_bfloat16_that_the_processor_has_is_not(monkeypatch, recwarn):
    monkeypatch.setattr(fast, "HAS_ONEDNN", True)
    monkeypatch.setattr(fast, "HAS_BFLOAT16", True)
    load_model(precision="bfloat16")
    fast.warn_if_emulated("bfloat16", "cuda")
    assert not recwarn.list
