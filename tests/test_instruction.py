"""Templates, masks, ragged prompts, and figures that follow their definitions."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import SMALL, lively

from gpt2lib import GPTModel, generate, load_tokenizer
from gpt2lib.data import IGNORED, PaddedBatches, pad
from gpt2lib.finetuning import (
    Instruction,
    InstructionTask,
    Reasoning,
    ReasoningTask,
    alpaca_prompt,
    classify,
    divergence,
    encode_pair,
    exact_match,
    generate_ragged,
    parse_instruction,
    reasoning_prompt,
    reasoning_response,
    replace_head,
    respond,
    seed_prompt,
    split_response,
    texts_as_ids,
    token_f1,
)
from gpt2lib.training import Trainer, TrainingSettings, evaluate, total_loss


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer()


@pytest.fixture(scope="module")
def model():
    return lively(GPTModel(SMALL), amount=0.2).eval()


def test_alpacas_template_has_its_space():
    text = alpaca_prompt("Add.", "1 and 2")
    assert text == (
        "Below is an instruction that describes a task, paired with an input that "
        "provides further context. Write a response that appropriately completes the "
        "request.\n\n### Instruction:\nAdd.\n\n### Input:\n1 and 2\n\n### Response:\n"
    )
    assert "describes a task. Write a" in alpaca_prompt("Add.")
    assert "### Input" not in alpaca_prompt("Add.")
    assert "describes a task.Write a" in seed_prompt("Add.", "1 and 2")
    assert seed_prompt("Add.", "x").endswith("### Input:\nx\n\n### Response:\n")


def test_the_response_and_its_end_are_learned_and_nothing_else(tokenizer):
    ids, targets = encode_pair("Say hi.\n", "Hi to you.", tokenizer)
    prompt = tokenizer.encode("Say hi.\n")
    learned = [(i, t) for i, t in zip(ids, targets) if t != IGNORED]
    wanted = [*tokenizer.encode("Hi to you."), tokenizer.eot_token]
    assert [t for _, t in learned] == wanted
    assert ids == prompt + wanted[:-1]
    assert learned[0][0] == prompt[-1]
    ids, targets = encode_pair("Say hi.\n", "Hi.", tokenizer, learn_prompt=True)
    assert targets == ids[1:] + [tokenizer.eot_token]


def test_a_template_in_the_text_is_only_text(tokenizer):
    """A response that holds <|endoftext|> as words does not end there."""
    ids, targets = encode_pair("a <|endoftext|>\n", "b <|endoftext|> c", tokenizer)
    assert tokenizer.eot_token not in ids
    assert targets.count(tokenizer.eot_token) == 1


def test_padding_changes_no_loss(model):
    examples = [([5, 6, 7], [IGNORED, 7, 8]), ([9], [10]), ([1] * 9, [2] * 9)]
    with torch.no_grad():
        inputs, targets = pad(examples)
        together = total_loss(model(inputs), targets)
        alone = sum(total_loss(model(i), t) for i, t in (pad([e]) for e in examples))
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-5)


def test_a_row_with_nothing_to_learn_gives_no_nan(model):
    examples = [([5, 6], [IGNORED, IGNORED]), ([9], [10])]
    batch = pad(examples)
    assert math.isfinite(evaluate(model, [batch, pad(examples[:1])]))
    trainer = Trainer(lively(GPTModel(SMALL)), TrainingSettings(steps=2))
    for part in (batch, pad(examples[:1])):
        assert math.isfinite(trainer.train_step(*part).loss)
    assert all(p.isfinite().all() for p in trainer.model.parameters())


examples = st.lists(
    st.lists(st.integers(1, 9), min_size=1, max_size=7).map(lambda ids: (ids, ids)),
    min_size=1,
    max_size=40,
)


@given(examples, st.integers(1, 7), st.integers(0, 3))
def test_every_pass_has_each_example_once(examples, batch_size, seed):
    batches = PaddedBatches(examples, batch_size, seed)
    for epoch in range(2):
        seen = []
        for step in range(len(batches)):
            inputs, targets = batches.batch(epoch * len(batches) + step)
            assert inputs.shape == targets.shape and len(inputs) <= batch_size
            assert ((targets == inputs) | (targets == IGNORED)).all()
            seen += [row[row > 0].tolist() for row in inputs]
        assert sorted(seen) == sorted(ids for ids, _ in examples)


def test_passes_differ_and_follow_the_seed():
    examples = [([i], [i]) for i in range(50)]

    def order(seed, epoch):
        batches = PaddedBatches(examples, 5, seed)
        steps = range(epoch * len(batches), (epoch + 1) * len(batches))
        return torch.cat([batches.batch(step)[0] for step in steps]).tolist()

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)
    with pytest.raises(ValueError, match="there are no examples"):
        PaddedBatches([], 5)


PROMPTS = [[3, 4, 5], [6], [7] * 11, [1, 2, 3, 4], [8, 9, 1], [90] * 20]


@pytest.mark.parametrize("batch_size", [2, 64])
@pytest.mark.parametrize("eos_id", [None, "met"])
@pytest.mark.parametrize("room", [1, 32])
def test_ragged_prompts_get_what_each_gets_alone(
    model, batch_size, eos_id, room, monkeypatch
):
    monkeypatch.setattr("gpt2lib.finetuning.responses.ROOM", room)  # caches grow

    def alone(ids, new):
        said = generate(model, torch.tensor([ids]), new, eos_id=eos_id)
        return said[0, len(ids) :].tolist()

    if eos_id:  # an id that some rows meet early
        eos_id = None
        eos_id = alone(PROMPTS[0], 3)[1]
    answers = generate_ragged(model, PROMPTS, 4, eos_id, batch_size)
    assert answers == [alone(ids, 4) for ids in PROMPTS]
    if eos_id is not None:
        assert {len(new) for new in answers} > {4}
    assert generate_ragged(model, [*map(tuple, PROMPTS)], 4, eos_id) == answers
    longest = generate_ragged(model, PROMPTS, None, eos_id, batch_size)
    whole = SMALL.context_length
    assert longest == [alone(ids, whole - len(ids)) for ids in PROMPTS]


def test_no_new_tokens_are_none(model):
    for temperature in (0.0, 1.0):
        options = {"max_new_tokens": 0, "temperature": temperature}
        assert generate_ragged(model, PROMPTS, **options) == [[] for _ in PROMPTS]


@pytest.mark.parametrize("ids", [[], [1] * SMALL.context_length])
def test_a_prompt_without_room_is_refused(model, ids):
    with pytest.raises(ValueError, match=f"{len(ids)} ids"):
        generate_ragged(model, [[1], ids])


@pytest.mark.parametrize("prompts", ["ab", [1, 2], [torch.tensor([1, 2])]])
def test_prompts_that_are_no_lists_of_ids_are_refused(model, prompts):
    with pytest.raises(TypeError, match="must be a list of ids, got (str|int|Tensor)"):
        generate_ragged(model, prompts)


def test_one_text_is_not_taken_for_a_list_of_characters(model, tokenizer):
    spam = replace_head(GPTModel(SMALL), 2)
    for call in (
        lambda: respond(model, "ab", tokenizer),
        lambda: classify(spam, "ab", tokenizer),
        lambda: divergence(model, model, "ab", tokenizer),
        lambda: texts_as_ids("ab", tokenizer),
    ):
        with pytest.raises(TypeError, match=r"got a single str: pass \[text\]"):
            call()


def test_stopping_is_told_from_running_out_of_room(tokenizer):
    cfg = dataclasses.replace(SMALL, vocab_size=tokenizer.n_vocab)
    model = lively(GPTModel(cfg), amount=0.2).eval()
    said = respond(model, ["a", "b"], tokenizer, max_new_tokens=3)
    assert [stopped for _, stopped in said] == [False, False]
    with torch.no_grad():  # now the end is always the likeliest
        model.final_norm.scale.zero_()
        model.final_norm.shift.copy_(100 * model.tok_emb.weight[tokenizer.eot_token])
    assert respond(model, ["a", "b"], tokenizer) == [("", True), ("", True)]


def test_exact_match_and_f1():
    assert exact_match(" It is Zoe.\n", "It is Zoe.")
    assert not exact_match("it is Zoe.", "It is Zoe.")
    assert token_f1("a a b", "a b b") == pytest.approx(2 / 3)
    assert token_f1("A cat.", "a cat.") == 1.0
    assert token_f1("x", "y") == token_f1("", "y") == 0.0


def test_what_does_not_fit_is_told(tokenizer):
    task = InstructionTask(tokenizer, 140)
    row = Instruction("Say hi.", "", "Hi.")
    assert task.fits(row)
    assert not task.fits(row._replace(output="so " * 100))
    thinking = ReasoningTask(tokenizer, 30)
    assert thinking.fits(Reasoning("1 + 1?", "1 + 1 = 2", "2"))
    assert not thinking.fits(Reasoning("1 + 1?", "1 + 1 = 2, " * 9, "2"))


def test_the_reasoning_prompt_is_the_seeds():
    prompt = reasoning_prompt("1 + 1?")
    response = reasoning_response("1 + 1 = 2", "2")
    assert prompt + response == (
        "Question: 1 + 1?\nLet's think step by step.\n1 + 1 = 2\nAnswer: 2"
    )
    at_once = reasoning_prompt("1 + 1?", False), reasoning_response("no", "2", False)
    assert "".join(at_once) == "Question: 1 + 1?\nAnswer: 2"


@pytest.mark.parametrize(
    ("said", "parts"),
    [
        ("1 + 1 = 2\nAnswer: 2", ("1 + 1 = 2", "2")),
        ("a\nAnswer: 1\nAnswer: 2", ("a\nAnswer: 1", "2")),
        ("only thoughts", ("only thoughts", None)),
        ("\nAnswer: ", ("", "")),
    ],
)
def test_a_response_is_taken_apart(said, parts):
    assert split_response(said) == parts


def test_an_answer_that_is_missing_is_never_right(tokenizer):
    class Mute(ReasoningTask):
        def answers(self, model, rows):
            return [("thought", None, True), ("thought", "2", False)]

        def perplexity(self, model, rows):
            return 1.0

    rows = [Reasoning("a", "b", "2")] * 2
    figures = Mute(tokenizer, 64).measure(None, {"test": rows})
    shares = {"exact_match": 0.5, "format_kept": 0.5, "stops": 0.5}
    assert figures == shares | {"response_perplexity": 1.0}


def test_other_peoples_kinds_are_not_in_the_way():
    row = parse_instruction({"instruction": "Go.", "output": "Gone.", "kind": 3})
    assert row.kind == ""
