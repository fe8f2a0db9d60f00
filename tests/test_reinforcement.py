"""Reinforcement: the loss against its definition, and runs that learn from a reward."""

import dataclasses
import functools
import json
from collections import Counter

import numpy as np
import pytest
import torch
from small import SMALL, lively
from test_pretraining import assert_same_weights

from gpt2lib import GPTModel, load_model, save_model
from gpt2lib.course.datasets.reasoning import PRACTICE, practice_lines, problems, record
from gpt2lib.data import IGNORED, pad
from gpt2lib.finetuning import (
    PolicyLoss,
    ReinforcementTask,
    Rollouts,
    Verifiable,
    add_lora,
    advantages,
    clipped_objective,
    finetune,
    generate_ragged,
    kl_estimate,
    parse_verifiable,
    read_records,
    right_answer,
)
from gpt2lib.finetuning.reinforcement import by_kind
from gpt2lib.finetuning.responses import answer_log_probs
from gpt2lib.training import Trainer, TrainingSettings
from gpt2lib.training.loss import token_log_probs
from gpt2lib.training.runs import Metrics

ROWS = [Verifiable(f"{i} and {i}?", str(2 * i)) for i in range(12)]


def ends(row, text):
    """A reward that random weights can earn: 1 for coming to an end at all."""
    return 1.0


@pytest.fixture
def small(tokenizer):
    """A model that ends its answers now and then: at one token in ten or so."""
    cfg = dataclasses.replace(SMALL, vocab_size=tokenizer.n_vocab, context_length=128)
    model = lively(GPTModel(dataclasses.replace(cfg, drop_rate=0.0)), amount=0.02)
    with torch.no_grad():
        model.final_norm.shift += 28 * model.tok_emb.weight[tokenizer.eot_token]
    return model


def job_of(tokenizer, **options):
    options = {"reward": ends, "max_new_tokens": 6} | options
    return ReinforcementTask(tokenizer, 128, **options)


# ----------------------------------------------------------------------------- the loss


def test_advantages_are_rewards_standardised_within_their_group():
    rewards = torch.rand(5, 8)
    wanted = rewards.numpy()
    wanted = wanted - wanted.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(advantages(rewards, scale=False), wanted, atol=1e-6)
    wanted = wanted / rewards.numpy().std(axis=1, keepdims=True)
    np.testing.assert_allclose(advantages(rewards), wanted, rtol=1e-4)
    assert not advantages(torch.full((2, 4), 0.3)).any()


def test_the_ratio_is_rewarded_up_to_the_clip_and_no_further():
    old = torch.zeros(2, 3)
    new = torch.tensor([[1.1, 1.5, 0.5]]).log().expand(2, 3).clone().requires_grad_()
    above = torch.tensor([[1.0], [-1.0]])
    gain = clipped_objective(new, old, above, clip=0.2)
    torch.testing.assert_close(
        gain, torch.tensor([[1.1, 1.2, 0.5], [-1.1, -1.5, -0.8]])
    )
    gain.sum().backward()  # none where the clipped side is the smaller
    torch.testing.assert_close(
        new.grad, torch.tensor([[1.1, 0.0, 0.5], [-1.1, -1.5, 0.0]])
    )


def test_the_kl_estimate_is_unbiased_and_never_negative():
    p, q = torch.randn(2, 7).double().softmax(dim=-1)
    estimate = kl_estimate(p.log(), q.log())
    exact = torch.nn.functional.kl_div(q.log(), p, reduction="sum")
    torch.testing.assert_close((p * estimate).sum(), exact)
    assert (estimate >= 0).all() and not kl_estimate(p.log(), p.log()).any()


def policy_batch(rows=4):
    inputs = torch.randint(97, (rows, 9))
    targets = torch.randint(97, (rows, 9))
    targets[:, :3] = IGNORED
    targets[0, 7:] = IGNORED
    return inputs, targets, torch.randn(rows, 1)


def test_its_gradient_is_that_of_the_score_function(model):
    inputs, targets, above = policy_batch()
    old = token_log_probs(model, inputs, targets).detach()
    PolicyLoss(model)(inputs, targets, above, old, old).backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    log_p = model(inputs).log_softmax(dim=-1)
    chosen = log_p.gather(-1, targets.clamp(min=0)[..., None]).squeeze(-1)
    (-(above * chosen)[targets != IGNORED].sum()).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            found[name], parameter.grad, rtol=1e-4, atol=1e-5, msg=name
        )


def test_kl_pulls_back_to_the_reference(model):
    inputs, targets, above = policy_batch()
    log_probs = token_log_probs(model, inputs, targets).detach()
    reference = log_probs - 0.5 * (targets != IGNORED)
    loss, leashed = (
        PolicyLoss(model, kl=kl)(inputs, targets, 0 * above, log_probs, reference)
        for kl in (0.0, 0.1)
    )
    tokens = PolicyLoss(model).count(inputs, targets)
    assert tokens == (targets != IGNORED).sum()
    wanted = 0.1 * tokens * (np.exp(-0.5) + 0.5 - 1)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert leashed.item() == pytest.approx(wanted, rel=1e-4)


# -------------------------------------------------------------------------- the answers


def test_what_is_drawn_for_a_prompt_does_not_depend_on_the_others(model):
    prompts = [[3, 4, 5], [6], [7] * 11, [6], [8, 9, 1], [90] * 20]

    def drawn(prompts, batch_size=64, seed=1):
        generator = torch.Generator().manual_seed(seed)
        return generate_ragged(
            model, prompts, 9, None, batch_size, None, 1.0, generator
        )

    answers = drawn(prompts)
    assert drawn(prompts, batch_size=2) == answers != drawn(prompts, seed=2)
    assert drawn([*prompts[:4], [1] * 15])[:4] == answers[:4]
    assert answers[1] != answers[3]  # the same prompt, its own numbers
    with pytest.raises(ValueError, match="temperature must be"):
        generate_ragged(model, prompts, temperature=-1.0)
    coldest = generate_ragged(model, prompts, 9, temperature=1e-45)
    assert coldest == generate_ragged(model, prompts, 9)


@pytest.mark.parametrize("new", [9, None])
def test_rows_of_one_prompt_share_it_until_they_end(model, new):
    prompts = [[3, 4, 5], [6], [7] * 11, [90] * 20] * 8

    def drawn(end, batch_size=64):
        generator = torch.Generator().manual_seed(3)
        return generate_ragged(
            model, prompts, new, end, batch_size, None, 1.0, generator
        )

    [(end, _)] = Counter(ids[0] for ids in drawn(None)).most_common(1)
    answers = drawn(end)
    assert len({len(ids) for ids in answers}) > 3 and [end] in answers
    assert answers == drawn(end, batch_size=1)


def test_most_rows_may_end_with_their_first_id(model):
    alone = generate_ragged(model, [[id] for id in range(97)], 4)
    end, long = alone[0][0], next(ids for ids in alone if alone[0][0] not in ids)
    crowd = [[0]] * 3 + [[alone.index(long)]]
    assert generate_ragged(model, crowd, 4, end) == [[end]] * 3 + [long]


def test_ids_are_drawn_by_their_probabilities(model):
    generator = torch.Generator().manual_seed(0)
    arguments = [[3, 4, 5]] * 4000, 1, None, 1000, None, 0.7, generator
    drawn = torch.tensor(generate_ragged(model, *arguments)).flatten()
    with torch.no_grad():
        likely = (model(torch.tensor([[3, 4, 5]]))[0, -1] / 0.7).softmax(dim=-1)
    seen = drawn.bincount(minlength=97) / 4000
    assert (seen - likely).abs().max() < 4 * 0.5 / 4000**0.5


def test_groups_without_signal_are_left_out_and_counted(small, tokenizer):
    calls = []

    def lucky(row, text):  # every second row is right in its first answer only
        calls.append(row)
        return float(ROWS.index(row) % 2 and calls.count(row) == 1)

    job = job_of(tokenizer, reward=lucky, samples=3)
    job.score = lambda row, ids: lucky(row, "")
    rollouts = Rollouts(job, small, ROWS, 12, seed=0)
    inputs, targets, above = rollouts.batch(0)
    assert len(inputs) == 6 * 3
    assert rollouts.figures["without_signal"] == pytest.approx(0.5)
    assert rollouts.figures["reward"] == pytest.approx(6 / 36)
    torch.testing.assert_close(above.sum(), torch.tensor(0.0), atol=1e-5, rtol=0)
    assert (above > 0).sum() == 6
    prompts = (targets != IGNORED).int().argmax(dim=1).tolist()
    assert prompts == sorted(prompts)  # micro-batches of one length
    rows = [tokenizer.decode(ids.tolist()) for ids in inputs]
    assert all(row.startswith("Question: ") for row in rows)


def test_dropout_neither_blurs_the_ratio_nor_draws_numbers(small, tokenizer):
    model = GPTModel(dataclasses.replace(small.cfg, drop_rate=0.5))
    model.load_state_dict(small.state_dict())
    model.train()
    before = torch.get_rng_state()
    batch = Rollouts(job_of(tokenizer, kl=0.1), model, ROWS, 8, seed=0).batch(0)
    loss = PolicyLoss(model, kl=0.1)(*batch)
    assert torch.equal(torch.get_rng_state(), before) and model.training
    learned = (batch[1] != IGNORED).sum(dim=1, keepdim=True)
    torch.testing.assert_close(loss, -(batch[2] * learned).sum(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("prompts", [[[5, 6, 7], [8, 9]], [[4], [5, 6]], [[4], [7]]])
def test_reading_prompts_once_changes_neither_values_nor_gradients(prompts, lora):
    """Beside one whole row at a time; some prompts have a single id."""
    model = lively(GPTModel(SMALL)).eval()
    if lora:
        add_lora(model)
    answers = [[1, 2], [3], [2, 2, 2, 9], [1, 5, 5]]
    rows = [
        (prompts[i], answers[j]) for i, j in ((0, 0), (1, 1), (0, 2), (1, 3), (0, 1))
    ]
    inputs, targets = pad(
        [((p + a)[:-1], [IGNORED] * (len(p) - 1) + a) for p, a in rows]
    )
    weights = torch.randn(targets.shape, generator=torch.Generator().manual_seed(0))
    found, gradients = [], []
    for function in (token_log_probs, answer_log_probs):
        model.zero_grad()
        found.append(function(model, inputs, targets))
        (found[-1] * weights).sum().backward()
        trained = [p for p in model.parameters() if p.requires_grad]
        gradients.append([p.grad.clone() for p in trained])
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-4)


def test_prompts_are_read_once(small, monkeypatch):
    inputs = torch.tensor([[5, 6, 7, 1], [5, 6, 7, 2], [5, 6, 7, 3]])
    targets = torch.tensor([[IGNORED, IGNORED, 1, 4]] * 3)
    read, hidden_states = [], small.hidden_states
    monkeypatch.setattr(
        small,
        "hidden_states",
        lambda ids, *more: read.append(tuple(ids.shape)) or hidden_states(ids, *more),
    )
    answer_log_probs(small, inputs, targets)
    assert read == [(1, 2), (3, 2)]


def test_answers_of_the_model_itself_need_no_old_probabilities(small, tokenizer):
    """One update of each draw: the gradient is the same with and without them."""
    inputs, targets, above = Rollouts(job_of(tokenizer), small, ROWS, 8, 0).batch(0)
    old = token_log_probs(small, inputs, targets).detach()
    gradients = []
    for given in ((), (old,)):
        small.zero_grad()
        PolicyLoss(small)(inputs, targets, above, *given).backward()
        gradients.append(small.final_norm.scale.grad.clone())
    assert gradients[0].any()
    torch.testing.assert_close(*gradients)


def test_a_leash_needs_something_to_hold_on_to(small, tokenizer):
    batch = Rollouts(job_of(tokenizer), small, ROWS, 8, 0).batch(0)
    with pytest.raises(ValueError, match="kl needs a reference"):
        PolicyLoss(small, kl=0.1)(*batch)


def test_several_updates_share_the_answers_and_their_probabilities(small, tokenizer):
    rollouts = Rollouts(job_of(tokenizer, updates=2), small, ROWS, 8, seed=0)
    first = rollouts.batch(0)
    torch.testing.assert_close(first[3], token_log_probs(small, *first[:2]))
    with torch.no_grad():
        small.final_norm.shift.zero_()
    assert rollouts.batch(1) is first
    assert not torch.equal(first[3], token_log_probs(small, *first[:2]))
    assert not torch.equal(rollouts.batch(2)[0], first[0])


def test_groups_without_signal_are_counted_in_every_draw(small, tokenizer):
    """Only the last draw has a signal; what was drawn before is measured too."""
    job, draws = job_of(tokenizer, samples=2), []

    def attempt(model, rows, generator):
        draws.append(rows)
        rewards = torch.tensor([[1.0, 1.0]] * 3 + [[1.0, float(len(draws) < 3)]])
        return [[1, 2]] * 4, [[[3] * len(draws), [4]]] * 4, rewards

    job.attempt = attempt
    rollouts = Rollouts(job, small, ROWS, 4, seed=0)
    inputs, *_ = rollouts.batch(0)
    assert len(draws) == 3 and len(inputs) == 2
    assert rollouts.figures["without_signal"] == pytest.approx(11 / 12)
    assert rollouts.figures["reward"] == pytest.approx(23 / 24)
    assert rollouts.figures["answer_tokens"] == pytest.approx((1 + 2 + 3 + 3) / 6)


def test_a_kind_does_not_hide_the_ends_of_the_interval():
    kinds = ("low", "high", "other", "")
    rows = [Verifiable("How many?", "2", kind) for kind in kinds]
    assert by_kind(rows, [0.0, 1.0, 0.5, 0.25]) == {
        "reward_kind_low": 0.0,
        "reward_kind_high": 1.0,
        "reward_other": 0.5,
    }


def test_a_reward_that_never_differs_is_refused(small, tokenizer):
    job = job_of(tokenizer, reward=lambda row, text: 0.0)
    with pytest.raises(ValueError, match="16 groups of 8 answers all had the same"):
        Rollouts(job, small, ROWS, 4, seed=0).batch(0)
    # Later on, when everything has been learned, a step without effect.
    batch = Rollouts(job, small, ROWS, 4, seed=0).batch(1)
    PolicyLoss(small)(*batch).backward()
    assert not any(p.grad.any() for p in small.parameters())
    for reward in (float("nan"), None):
        job = job_of(tokenizer, reward=lambda row, text, given=reward: given)
        with pytest.raises(ValueError, match=f"be a finite number, got {reward}"):
            Rollouts(job, small, ROWS, 12, seed=0).batch(0)


def test_a_model_learns_what_is_rewarded(small, tokenizer):
    job = job_of(tokenizer)
    settings = TrainingSettings(steps=20, learning_rate=1e-3, final_rate=1.0)
    trainer = Trainer(small, settings, loss=job.loss_of(small))
    rollouts, rewards = job.batches(small, ROWS, 6, 0), []
    for _ in trainer.run(rollouts.batch):
        rewards.append(rollouts.figures["reward"])
    assert rewards[0] < 0.7 < 0.95 < sum(rewards[-3:]) / 3, rewards


def test_the_usual_reward_needs_the_answer_and_an_end(tokenizer):
    row = ROWS[3]
    assert right_answer(row, "3 + 3 = 6\nAnswer: 6") == 1
    assert right_answer(row, "Answer: 5\nAnswer: 6 ") == 1
    for text in ("\nAnswer: 7", "6", "\nAnswer: 6\nAnswer: 5", "\nAnswer: 6, yes", ""):
        assert right_answer(row, text) == 0
    job = ReinforcementTask(tokenizer, 128)
    ids = tokenizer.encode("so\nAnswer: 6")
    assert job.score(row, ids) == 0
    assert job.score(row, [*ids, tokenizer.eot_token]) == 1


# ------------------------------------------------------------------------------ the run


@pytest.fixture(scope="module")
def practice(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "practice.jsonl"
    drawn = problems(seed=1, steps=1)
    rows = [next(drawn) for _ in range(40)]
    lines = [
        {"question": row.question, "answer": row.answer, "kind": f"{i % 2}"}
        for i, row in enumerate(rows)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def base(small, tokenizer, tmp_path):
    small.cfg = dataclasses.replace(small.cfg, context_length=128)
    return save_model(small, tmp_path / "base", tokenizer) or tmp_path / "base"


class Ends:
    """A reward with settings of its own."""

    def __call__(self, row, text):
        return 1.0


def test_a_reward_is_told_from_another_by_its_name(tokenizer):
    for reward in (ends, functools.partial(ends), functools.partial(ends, row=1)):
        assert job_of(tokenizer, reward=reward).chosen()["reward"] == "ends"
    assert job_of(tokenizer, reward=Ends()).chosen()["reward"] == "Ends"


@pytest.mark.parametrize(
    "choice",
    [
        {"reward": functools.partial(ends)},
        {"train": "lora", "kl": 0.1, "updates": 2, "reward": Ends()},
    ],
)
def test_a_run_that_was_interrupted_ends_as_the_unbroken_one(
    practice, base, tmp_path, monkeypatch, choice
):
    def train(out, **more):
        options = {"reward": ends, "samples": 4, "max_new_tokens": 6} | choice
        return finetune(
            "reinforcement", practice, out, base, batch_size=6, **options | more
        )

    figures, steps, train_step = train(tmp_path / "whole"), [], Trainer.train_step

    def interrupted(trainer, *batch):
        steps.append(trainer.step)
        if len(steps) > 3:  # with two updates a draw, in the middle of one
            raise KeyboardInterrupt
        return train_step(trainer, *batch)

    monkeypatch.setattr(Trainer, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "out")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="samples 4, not 5"):
        train(tmp_path / "out", samples=5, resume=True)
    resumed = train(tmp_path / "out", resume=True)
    assert_same_weights(tmp_path / "out", tmp_path / "whole")
    assert resumed | {"seconds": 0} == figures | {"seconds": 0}
    assert {"reward_0", "reward_1", "base_reward", "val_reward"} <= figures.keys()
    assert figures["reward_low"] <= figures["reward"] <= figures["reward_high"] + 1e-9
    measured, again = (
        Metrics(tmp_path / name / "training" / "metrics.jsonl").read()
        for name in ("whole", "out")
    )
    norms = [[m.get("gradient_norm") for m in run] for run in (measured, again)]
    assert norms[0] == norms[1]
    assert any(0 < m["without_signal"] < 1 for m in measured if "reward" in m)
    settings = json.loads((tmp_path / "whole" / "config.json").read_text())
    assert settings["finetuning_task"] == "reasoning"  # as generate asks it
    load_model(tmp_path / "whole")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 1}, "samples must be a whole number from 2"),
        ({"kl": -0.1}, "kl must be a number >= 0 .*got -0.1"),
        ({"clip": float("nan")}, "clip must be a number >= 0"),
        ({"max_new_tokens": 0}, "max_new_tokens must be"),
        ({"reward": 3}, "reward must be a function .* got 3"),
    ],
)
def test_settings_out_of_range_are_refused(practice, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        finetune("reinforcement", practice, tmp_path / "out", **options)
    with pytest.raises(ValueError, match="is for the task reinforcement"):
        finetune("spam", practice, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


# -------------------------------------------------------------------------- the records


def test_records_of_questions_and_of_thoughts_are_read(tmp_path):
    problem = next(problems(seed=1, steps=2))
    assert parse_verifiable(record(problem)) == (problem.question, problem.answer, "")
    row = {"question": " a? ", "answer": "b", "other": 1}
    assert parse_verifiable(row) == ("a?", "b", "")
    assert parse_verifiable(row | {"kind": "c"}).kind == "c"
    assert parse_verifiable(row | {"kind": None}).kind == ""
    path = tmp_path / "rows.jsonl"
    bad = [{"question": "a"}, {"question": "a", "answer": 3}, {"question": "a"} | row]
    bad[2]["answer"] = " "
    path.write_text("".join(json.dumps(row) + "\n" for row in bad))
    with pytest.raises(ValueError) as error:
        read_records(path, parse_verifiable)
    for reason in ("line 1: no field 'answer'", "answer is 3", "line 3: answer is emp"):
        assert reason in str(error.value)


def test_the_committed_practice_is_what_the_command_writes():
    text = PRACTICE.read_text(encoding="utf-8")
    assert text == practice_lines()
    rows, _ = read_records(PRACTICE, parse_verifiable)
    assert {row.kind for row in rows} == {
        "1_step",
        *(f"{n}_steps" for n in range(2, 9)),
    }
