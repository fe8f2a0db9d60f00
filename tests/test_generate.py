"""Sampling against transformers' filters; generation against the plain loop."""

import dataclasses

import numpy as np
import pytest
import torch
from small import SMALL, lively
from transformers import TopKLogitsWarper, TopPLogitsWarper

from gpt2lib import GPTModel, generate, stream
from gpt2lib.finetuning import generate_ragged
from gpt2lib.generate import draw, keep_top_k, keep_top_p, sample


def prompts(rows=3, length=5):
    generator = torch.Generator().manual_seed(7)
    return torch.randint(0, SMALL.vocab_size, (rows, length), generator=generator)


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def plain_loop(model, ids, new, context_size, choose):
    """Reads the whole window again for every token: slow, and obviously right."""
    for _ in range(new):
        logits = model(ids[:, -context_size:])[:, -1]
        ids = torch.cat([ids, choose(logits)[:, None]], dim=1)
    return ids


# ---------------------------------------------------------------- sampling


@pytest.mark.parametrize("k", [1, 5, 97])
def test_top_k_equals_transformers(k):
    logits = torch.randn(4, 97)
    assert keep_top_k(logits, k).equal(TopKLogitsWarper(k)(None, logits))


@pytest.mark.parametrize("p", [0.01, 0.3, 0.9, 0.999, 1.0])
@pytest.mark.parametrize(("vocab_size", "spread"), [(97, 3), (3000, 6), (3000, 0.5)])
def test_top_p_equals_transformers(p, vocab_size, spread):
    """Also where 512 likely ids are enough, and where they are not."""
    logits = spread * torch.randn(4, vocab_size, dtype=torch.float64)  # no near ties
    expected = logits if p == 1 else TopPLogitsWarper(p)(None, logits)
    assert keep_top_p(logits, p).equal(expected)


def test_top_k_keeps_k_even_among_equals():
    assert keep_top_k(torch.zeros(2, 9), 3).isfinite().sum(dim=-1).tolist() == [3, 3]


def test_filters_do_not_change_their_argument():
    logits = torch.randn(2, 9)
    before = logits.clone()
    keep_top_k(logits, 2), keep_top_p(logits, 0.5), sample(logits, 0.7, 3, 0.9)
    assert logits.equal(before)


def test_draws_follow_the_probabilities():
    probabilities = torch.tensor([0.5, 0.0, 0.3, 0.2, 0.0])
    ids = draw(probabilities.expand(40_000, 5), seeded())
    shares = ids.bincount(minlength=5) / 40_000
    assert torch.allclose(shares, probabilities, atol=0.01)
    assert shares[1] == shares[4] == 0


@pytest.mark.parametrize("point", [0.0, 1 - 2**-24])
def test_the_ends_of_the_line_are_possible_ids(monkeypatch, point):
    def fixed(*shape, **_):
        return torch.full(shape, point)

    monkeypatch.setattr(torch, "rand", fixed)
    probabilities = torch.tensor([[0.0, 0.25, 0.75, 0.0], [0.1, 0.2, 0.3, 0.4]])
    ids = draw(probabilities)
    assert (probabilities.gather(1, ids[:, None]) > 0).all()


@pytest.mark.parametrize("temperature", [1e-40, 1e-8, 1e30])
@pytest.mark.parametrize("top_p", [None, 1e-300, 1e-8])
def test_extreme_settings_still_draw_real_ids(temperature, top_p):
    """Both once gave an id beyond the vocabulary."""
    logits = torch.randn(50, 20) - 100
    ids = sample(logits, temperature, top_p=top_p, generator=seeded())
    assert ids.max() < 20
    if temperature < 1 or top_p:
        assert ids.equal(logits.argmax(dim=-1))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_no_numbers_are_refused(model, bad, temperature):
    with torch.no_grad():
        model.final_norm.shift.fill_(bad)
    with pytest.raises(ValueError, match="NaN or infinity"):
        generate(model, prompts(), 3, temperature=temperature)
    with pytest.raises(ValueError, match="NaN or infinity"):
        generate_ragged(model, [[1, 2]])


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_ids_that_no_token_has_are_never_chosen(model, temperature):
    """A vocabulary padded to a round number, as nanoGPT's, has rows without a token."""
    settings = {"temperature": temperature, "vocab_size": 5}
    ids = generate(model, prompts(), 20, generator=seeded(), **settings)
    assert ids[:, prompts().shape[1] :].max() < 5
    assert max(generate_ragged(model, [[1, 2]], vocab_size=5)[0]) < 5
    with pytest.raises(ValueError, match="top_k must be from 1 to the vocabulary's 5"):
        generate(model, prompts(), 1, top_k=6, vocab_size=5)
    with pytest.raises(ValueError, match="top_k must be from 1 .* got 5.0"):
        generate(model, prompts(), 1, temperature=1, top_k=5.0)
    with pytest.raises(ValueError, match=r"must have shape \(batch, positions\)"):
        generate(model, torch.tensor(5), 1)


@pytest.mark.parametrize("size", [0, -5])
def test_a_vocabulary_without_tokens_is_refused(model, size):
    with pytest.raises(ValueError, match=f"vocab_size must be .* >= 1, got {size}"):
        generate(model, prompts(), 1, vocab_size=size)
    with pytest.raises(ValueError, match="vocab_size must be a whole number >= 1"):
        generate_ragged(model, [[1, 2]], vocab_size=size)


@pytest.mark.parametrize("value", [2.5, "3", -1])
@pytest.mark.parametrize(
    "name", ["max_new_tokens", "context_size", "vocab_size", "eos_id", "top_k"]
)
def test_counts_that_are_no_whole_numbers_are_refused(model, name, value):
    settings = {"max_new_tokens": 2, "temperature": 1.0} | {name: value}
    with pytest.raises(ValueError, match=f"{name} must be .*got {value!r}"):
        generate(model, prompts(), **settings)


@pytest.mark.parametrize("name", ["max_new_tokens", "batch_size"])
@pytest.mark.parametrize("value", [2.5, "3", -1])
def test_answers_need_whole_numbers(model, name, value):
    """A negative batch size once gave no answers, and no error."""
    with pytest.raises(ValueError, match=f"{name} must be a whole number"):
        generate_ragged(model, [[1, 2]], **{name: value})


@pytest.mark.parametrize("value", ["1", None, -0.5, torch.nan])
def test_a_temperature_is_a_number(model, value):
    with pytest.raises(ValueError, match="temperature must be finite and >= 0"):
        generate(model, prompts(), 2, temperature=value)
    with pytest.raises(ValueError, match="top_p must be in"):
        generate(model, prompts(), 2, temperature=1.0, top_p=value or "1")


def test_numbers_of_other_libraries_are_numbers(model):
    wanted = generate(model, prompts(), 3, temperature=0.5, top_k=4, generator=seeded())
    new, temperature, top_k = np.int64(3), torch.tensor(0.5), np.int64(4)
    settings = {"top_k": top_k, "generator": seeded()}
    ids = generate(model, prompts(), new, temperature=temperature, **settings)
    assert ids.equal(wanted)


def test_temperature_zero_is_greedy_and_low_is_nearly_so():
    logits = torch.randn(50, 20)
    assert sample(logits, 0.0).equal(logits.argmax(dim=-1))
    assert sample(logits, 1e-4, generator=seeded()).equal(logits.argmax(dim=-1))


# -------------------------------------------------------------- generation

SETTINGS = [
    {},
    {"temperature": 1.0},
    {"temperature": 0.7, "top_k": 10},
    {"temperature": 1.3, "top_p": 0.8},
    {"temperature": 1.0, "top_k": 20, "top_p": 0.9},
]


@pytest.mark.parametrize("fused_qkv", [True, False])
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("context_size", [24, 7])
def test_cached_equals_uncached_even_when_the_window_slides(
    fused_qkv, settings, context_size
):
    model = lively(GPTModel(dataclasses.replace(SMALL, fused_qkv=fused_qkv))).eval()
    generator = seeded()

    def choose(logits):
        return sample(logits, generator=generator, **settings)

    expected = plain_loop(model, prompts(), 40, context_size, choose)
    given = generate(model, prompts(), 40, context_size, generator=seeded(), **settings)
    assert given.equal(expected)


def test_a_context_size_beyond_the_limit_is_the_limit(model):
    assert generate(model, prompts(), 30, 1024).equal(generate(model, prompts(), 30))


def test_a_prompt_longer_than_the_window_is_read_from_its_end(model):
    long = prompts(length=60)
    new = generate(model, long, 5)
    assert new[:, :60].equal(long)
    assert new[:, 60:].equal(generate(model, long[:, -24:], 5)[:, 24:])


def test_rows_of_a_batch_equal_rows_alone(model):
    together = generate(model, prompts(), 30)
    for row, alone in enumerate(prompts()):
        assert together[row].equal(generate(model, alone[None], 30)[0])


def test_rows_stop_at_different_steps(model):
    def text(**eos):
        return generate(
            model, prompts(), 20, temperature=1.0, generator=seeded(), **eos
        )

    free = text()
    eos_id = free[0, 8].item()
    stopped = text(eos_id=eos_id)
    lengths = []
    for row, whole in zip(stopped[:, 5:], free[:, 5:]):
        hits = (whole == eos_id).nonzero().flatten().tolist()
        end = hits[0] + 1 if hits else len(whole)
        lengths.append(end)
        assert row[:end].equal(whole[:end])
        assert row[end:].eq(eos_id).all()
    assert stopped.shape[1] == 5 + max(lengths)
    assert len(set(lengths)) > 1, "the rows should stop at different steps"


def test_all_stop_once_every_row_has(model):
    first = generate(model, prompts(rows=1), 1)[0, -1].item()
    assert generate(model, prompts(rows=1), 20, eos_id=first).shape[1] == 6


def test_streaming_yields_what_generate_returns(model):
    steps = stream(model, prompts(), 30, temperature=1.0, generator=seeded())
    first = next(steps)
    assert first.shape == (3,)
    rest = torch.stack([first, *steps], dim=1)
    whole = generate(model, prompts(), 30, temperature=1.0, generator=seeded())
    assert whole.equal(torch.cat([prompts(), rest], dim=1))


def test_no_new_tokens_are_no_new_tokens(model):
    assert generate(model, prompts(), 0).equal(prompts())


def test_the_same_seed_gives_the_same_text_and_no_seed_another(model):
    def text(generator):
        return generate(model, prompts(), 30, temperature=1.0, generator=generator)

    assert text(seeded()).equal(text(seeded()))
    assert not text(None).equal(text(None))


def test_nothing_is_left_changed(model):
    model.train()
    model.trf_blocks[1].eval()
    modes = [module.training for module in model.modules()]
    given, random_state = prompts(), torch.get_rng_state()
    steps = stream(model, given, 30, temperature=1.0)
    next(steps)
    assert [module.training for module in model.modules()] == modes, "between steps"
    for _ in steps:
        pass
    assert [module.training for module in model.modules()] == modes
    assert given.equal(prompts())
    assert torch.get_rng_state().equal(random_state)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_modes_are_put_back_when_a_step_fails(model):
    model.train()
    model.final_norm.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        generate(model, prompts(), 1)
    assert model.training and model.final_norm.training


def test_generated_ids_can_be_trained_on(model):
    ids = generate(model, prompts(), 5)
    model(ids).sum().backward()
    assert model.tok_emb.weight.grad is not None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -0.1}, "temperature.*got -0.1"),
        ({"temperature": float("inf")}, "temperature.*got inf"),
        ({"temperature": float("nan")}, "temperature.*got nan"),
        ({"top_k": 0}, "top_k.*97, got 0"),
        ({"top_k": 98}, "top_k.*97, got 98"),
        ({"top_p": 0.0}, r"top_p.*\(0, 1\], got 0.0"),
        ({"top_p": 1.1}, r"top_p.*\(0, 1\], got 1.1"),
        ({"context_size": 0}, "context_size.*>= 1, got 0"),
        ({"eos_id": 97}, r"eos_id.*\[0, 96\], got 97"),
        ({"max_new_tokens": -1}, "max_new_tokens.*got -1"),
        ({"idx": torch.zeros(1, 3)}, "int64"),
        ({"idx": [1, 2, 3]}, r"got list: pass torch.tensor\(\[tokenizer.encode"),
        ({"idx": "a text"}, "got str"),
        ({"idx": torch.zeros(3, dtype=torch.int64)}, "unsqueeze"),
        ({"idx": torch.tensor([[97]])}, r"\[0, 96\]"),
        ({"idx": torch.tensor([[97] + 30 * [1]])}, r"\[0, 96\], got 1 to 97"),
        ({"idx": torch.zeros(1, 0, dtype=torch.int64)}, "at least one token"),
    ],
)
@pytest.mark.parametrize("function", [generate, stream])
def test_impossible_settings_are_refused_at_the_call(
    model, function, settings, message
):
    arguments = {"idx": prompts(), "max_new_tokens": 5} | settings
    with pytest.raises(ValueError, match=message):
        function(model=model, **arguments)


def test_streamed_ids_can_be_trained_on():
    """Generating records nothing, but what it yields is a tensor like any other."""
    model = lively(GPTModel(SMALL))
    for ids in stream(model, torch.zeros(2, 3, dtype=torch.int64), 3):
        model(ids[:, None]).sum().backward()
    assert model.tok_emb.weight.grad.norm() > 0


def test_a_row_that_fills_the_context_waits_for_the_others(model):
    prompts = [[5] * (SMALL.context_length - 3), *([[7, i] for i in range(6)])]
    drawn = torch.Generator().manual_seed(0)
    together = generate_ragged(model, prompts, temperature=1.0, generator=drawn)
    assert [len(ids) for ids in together] == [3] + [SMALL.context_length - 2] * 6
    drawn = torch.Generator().manual_seed(0)
    alone = generate_ragged(model, prompts[:1], temperature=1.0, generator=drawn)
    assert alone == together[:1]
