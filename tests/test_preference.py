"""Preferences: the loss by its definition, a reference that stays, whole small runs."""

import copy
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small import SMALL, lively
from test_pretraining import assert_same_weights
from torch.nn import functional as F

from gpt2lib import GPTModel, load_model, load_tokenizer
from gpt2lib.__main__ import main
from gpt2lib.data import IGNORED
from gpt2lib.finetuning import (
    Preference,
    PreferenceBatches,
    PreferenceLoss,
    PreferenceTask,
    add_lora,
    divergence,
    dpo_loss,
    encode_preference,
    finetune,
    log_probs_of,
    margins,
    merge_lora,
    pair_log_probs,
    parse_preference,
    read_splits,
)
from gpt2lib.training import Metrics, Trainer, TrainingSettings, records
from gpt2lib.training.loss import token_log_probs

RUN = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3}
WORDS = ["milk", "the bus", "my sister", "a cake", "the dog", "rice", "tea", "a hat"]


def small(drop_rate=0.1, seed=0):
    torch.manual_seed(seed)
    cfg = SMALL.__class__(**vars(SMALL) | {"drop_rate": drop_rate})
    return lively(GPTModel(cfg)).eval()


def random_pairs(count=7, seed=0):
    """Pairs of examples with prompts and texts of different lengths."""
    generator = torch.Generator().manual_seed(seed)

    def ids(low, high):
        size = torch.randint(low, high, (1,), generator=generator).item()
        return torch.randint(1, 90, (size,), generator=generator).tolist()

    def example(prompt, text):
        return [*prompt, *text[:-1]], [IGNORED] * (len(prompt) - 1) + text

    prompts = [ids(1, 6) for _ in range(count)]
    return [tuple(example(p, ids(2, 14)) for _ in range(2)) for p in prompts]


# -------------------------------------------------------------------------------- loss


def by_definition(policy, reference, beta):
    """Equation 7 of the paper in NumPy, with probabilities ratio by ratio."""
    policy, reference = np.exp(policy), np.exp(reference)
    chosen = beta * np.log(policy[:, 0] / reference[:, 0])
    rejected = beta * np.log(policy[:, 1] / reference[:, 1])
    return -np.log(1 / (1 + np.exp(-(chosen - rejected))))


def some_log_probs():
    generator = torch.Generator().manual_seed(1)
    return [-8 * torch.rand(20, 2, generator=generator).double() for _ in range(2)]


@pytest.mark.parametrize("beta", [0.05, 0.5, 3.0])
def test_the_loss_is_that_of_the_definition(beta):
    policy, reference = some_log_probs()
    wanted = by_definition(policy.numpy(), reference.numpy(), beta)
    np.testing.assert_allclose(dpo_loss(policy, reference, beta), wanted, rtol=1e-6)
    assert dpo_loss(policy, policy, beta).allclose(
        torch.full((20,), math.log(2.0)).double()
    )


def test_the_loss_is_that_of_trl():
    dpo_trainer = pytest.importorskip("trl.trainer.dpo_trainer", exc_type=ImportError)
    theirs = getattr(dpo_trainer.DPOTrainer, "dpo_loss", None)
    if theirs is None:
        pytest.skip("this version of TRL has no function of its own for the loss")
    policy, reference = some_log_probs()
    stand_in = SimpleNamespace(  # what the function reads of its trainer
        accelerator=SimpleNamespace(device="cpu"),
        beta=0.3,
        loss_type="sigmoid",
        label_smoothing=0.0,
        reference_free=False,
        f_divergence_type="reverse_kl",
        f_divergence_params={},
    )
    losses = theirs(stand_in, *policy.unbind(1), *reference.unbind(1))[0]
    torch.testing.assert_close(dpo_loss(policy, reference, 0.3), losses)


def test_the_gradient_raises_the_chosen_and_lowers_the_rejected_text():
    policy, reference = some_log_probs()
    policy.requires_grad_()
    dpo_loss(policy, reference, 0.1).sum().backward()
    assert (policy.grad[:, 0] < 0).all() and (policy.grad[:, 1] > 0).all()
    # Pairs that the model gets wrong pull harder.
    order = margins(policy, reference).argsort()
    assert (policy.grad[order, 1].diff() < 0).all()


def test_no_loss_however_large_the_margin_is_infinite():
    policy = torch.tensor([[-5000.0, -1.0], [-1.0, -5000.0]])
    losses = dpo_loss(policy, torch.zeros(2, 2), 1.0)
    torch.testing.assert_close(losses, torch.tensor([4999.0, 0.0]))


# ----------------------------------------------------------------------- probabilities


def one_by_one(model, example):
    """log p of the targets of an example, from a softmax over all logits."""
    ids, targets = example
    with torch.no_grad():
        likely = model(torch.tensor([ids]))[0].softmax(-1)
    kept = [(t, id) for t, id in enumerate(targets) if id != IGNORED]
    return sum(math.log(likely[t, id]) for t, id in kept)


def test_log_probabilities_are_those_of_one_text_at_a_time():
    model, pairs = small(), random_pairs(40)
    found = pair_log_probs(model, pairs)
    wanted = [[one_by_one(model, example) for example in pair] for pair in pairs]
    torch.testing.assert_close(found, torch.tensor(wanted), atol=1e-3, rtol=1e-4)


def test_the_prompt_does_not_count_and_the_end_does():
    tokenizer = load_tokenizer()
    row = Preference("Once upon a time", " there was a kite.", " it rained.")
    prompt = tokenizer.encode(row.prompt)
    for (ids, targets), text in zip(encode_preference(row, tokenizer), row[1:]):
        learned = [id for id in targets if id != IGNORED]
        assert ids == prompt + tokenizer.encode(text)
        assert learned == [*tokenizer.encode(text), tokenizer.eot_token]
        assert len(ids) == len(targets)


def test_dropout_does_not_disturb_the_comparison_with_the_reference():
    model, pairs = small(drop_rate=0.5), random_pairs()
    batches = PreferenceBatches(model, pairs, len(pairs))
    loss = PreferenceLoss(model.train(), 0.1)(*batches.batch(0))
    assert loss.item() == pytest.approx(len(pairs) * math.log(2), rel=1e-5)
    assert model.training


def steps_of(model, batches, steps, **settings):
    run = TrainingSettings(steps=steps, learning_rate=3e-3, **settings)
    trainer = Trainer(model, run, loss=PreferenceLoss(model, 0.1))
    return list(trainer.run(batches.batch))


def test_the_reference_is_computed_once_and_stays():
    model, pairs = small(), random_pairs()
    before = pair_log_probs(model, pairs)
    batches = PreferenceBatches(model, pairs, 3)
    done = steps_of(model, batches, 30)
    assert torch.equal(batches.reference, before)
    assert done[0].loss == pytest.approx(math.log(2), rel=1e-4)
    assert done[-1].loss < 0.5 * math.log(2)
    assert (margins(pair_log_probs(model, pairs), before) > 0).all()


def test_batches_hold_every_pair_once_a_pass_with_its_own_reference():
    model, pairs = small(), random_pairs(7)
    batches, seen = PreferenceBatches(model, pairs, 3, seed=4), []
    for step in range(len(batches)):
        inputs, targets, reference = batches.batch(step)
        assert inputs.shape == targets.shape and inputs.shape[:2] == reference.shape
        for row, known in zip(zip(inputs.tolist(), targets.tolist()), reference):
            examples = []
            for ids, wanted in zip(*row):
                size = max(t for t, id in enumerate(wanted) if id != IGNORED) + 1
                examples.append((ids[:size], wanted[:size]))
            seen.append(pairs.index(tuple(examples)))
            assert torch.equal(known, batches.reference[seen[-1]])
    assert sorted(seen) == list(range(7))


def test_micro_batches_give_the_same_gradient():
    gradients = []
    for rows in (None, 1, 3):
        model = small()
        steps_of(
            model, PreferenceBatches(model, random_pairs(), 7), 1, micro_batch_size=rows
        )
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], atol=1e-6, rtol=1e-3)


def test_with_lora_the_reference_is_the_model_without_its_adapter():
    base, pairs = small(), random_pairs()
    model = add_lora(copy.deepcopy(base))
    batches = PreferenceBatches(model, pairs, 7)
    torch.testing.assert_close(batches.reference, pair_log_probs(base, pairs))
    steps_of(model, batches, 20)
    changed = margins(pair_log_probs(merge_lora(model), pairs), batches.reference)
    assert changed.mean() > 1
    torch.testing.assert_close(batches.reference, pair_log_probs(base, pairs))


def test_a_model_does_not_diverge_from_itself_but_from_another():
    letters = SimpleNamespace(
        encode_ordinary=lambda text: [ord(letter) - 40 for letter in text],
        eot_token=96,
        n_vocab=97,
    )
    model, other = small(), small(seed=1)
    prompts = ["a", "by", "kite"] * 10
    assert divergence(model, model, prompts, letters).abs().max() < 1e-3
    found = divergence(other, model, prompts, letters)
    assert found.shape == (30,) and found.mean() > 1
    assert torch.equal(found, divergence(other, model, prompts, letters, seed=0))
    assert not torch.equal(found, divergence(other, model, prompts, letters, seed=1))


# -------------------------------------------------------------------------------- rows


def message(role, content):
    return {"role": role, "content": content}


USER, RIGHT, WRONG = (
    message("user", "What is 2 + 3?"),
    message("assistant", "It is 5."),
    message("assistant", "It is 6."),
)
ROW = Preference("What is 2 + 3?\n", "It is 5.", "It is 6.")
FORMS = {
    "plain": dict(ROW._asdict()),
    "with more fields": ROW._asdict() | {"score_chosen": 9.0},
    "messages": {"prompt": [USER], "chosen": [RIGHT], "rejected": [WRONG]},
    "no prompt": {"chosen": [USER, RIGHT], "rejected": [USER, WRONG]},
    "prompt twice": {
        "prompt": "What is 2 + 3?",
        "chosen": [USER, RIGHT],
        "rejected": [USER, WRONG],
    },
    "prompt as text": {
        "prompt": "What is 2 + 3?",
        "chosen": [RIGHT],
        "rejected": [WRONG],
    },
    "texts": {"prompt": [USER], "chosen": "It is 5.", "rejected": "It is 6."},
}


@pytest.mark.parametrize("record", FORMS.values(), ids=FORMS)
def test_all_forms_say_the_same(record):
    assert parse_preference(record) == ROW


def test_a_conversation_is_read_line_by_line():
    told = [message("system", "Be brief."), USER, RIGHT, message("user", "And 6 + 1?")]
    chosen = message("assistant", "7.")
    record = {"chosen": [*told, chosen], "rejected": [*told, WRONG]}
    wanted = "Be brief.\nWhat is 2 + 3?\nIt is 5.\nAnd 6 + 1?\n"
    assert parse_preference(record) == Preference(wanted, "7.", "It is 6.")


BAD = {
    "no field 'rejected'": {"prompt": "a", "chosen": "b"},
    "prompt is empty, absent": {"chosen": "b", "rejected": "c"},
    "prompt is empty": {"prompt": " ", "chosen": "b", "rejected": "c"},
    "rejected is empty": {"prompt": "a", "chosen": "b", "rejected": "\n"},
    "chosen is empty, absent or not a text": {
        "prompt": "a",
        "chosen": 3,
        "rejected": "c",
    },
    "the same text": {"prompt": "a", "chosen": "b", "rejected": "b"},
    "must be one message of the assistant": {
        "chosen": [USER, USER],
        "rejected": [USER, WRONG],
    },
    "prompt is empty, absent or": {"chosen": [RIGHT], "rejected": [WRONG]},
    "begin with another prompt": {
        "prompt": "What is 1?",
        "chosen": [USER, RIGHT],
        "rejected": [USER, WRONG],
    },
    "not of the expected form": {"prompt": "a", "chosen": ["b"], "rejected": ["c"]},
    "a NUL character": {"prompt": "a", "chosen": "b\0", "rejected": "c"},
}


@pytest.mark.parametrize(("reason", "record"), BAD.items(), ids=BAD)
def test_bad_rows_are_named_by_line_and_reason(reason, record, tmp_path):
    path = tmp_path / "pairs.jsonl"
    good = {"prompt": "a", "chosen": "b", "rejected": "c"}
    path.write_text("".join(json.dumps(row) + "\n" for row in (good, record, good)))
    with pytest.raises(ValueError, match=f"line 2: .*{reason}"):
        records.read_records(path, parse_preference)
    rows, bad = records.read_records(path, parse_preference, skip_bad_rows=True)
    assert (rows, bad) == ([Preference("a", "b", "c")] * 2, 1)


# ------------------------------------------------------------------------- whole runs


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    rows = [
        {
            "prompt": f"Message {i}: {word}",
            "chosen": " was good.",
            "rejected": " was bad.",
        }
        for i in range(10)
        for word in WORDS
    ]
    rows += [{"prompt": "Long", "chosen": " so" * 300, "rejected": " no."}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def preferring(pairs, tmp_path_factory):
    out = tmp_path_factory.mktemp("bin") / "prefers"
    return out, finetune("preference", pairs, out, **RUN)


def test_a_run_ends_with_figures_and_a_model_like_any_other(preferring, capsys):
    out, figures = preferring
    assert figures["task"] == "preference" and figures["too_long"] == 1
    parts = [figures[f"{name}_rows"] for name in ("training", "validation", "test")]
    assert parts == [64, 8, 8]
    assert figures["test_accuracy"] == 1 and figures["test_accuracy_high"] == 1
    gain = figures["chosen_gain"] - figures["rejected_gain"]
    assert figures["margin"] == pytest.approx(gain, rel=1e-3)
    assert figures["margin_low"] > 1
    assert figures["chosen_is_likelier"] >= figures["base_chosen_is_likelier"]
    assert figures["kl_low"] <= figures["kl"] <= figures["kl_high"]
    assert figures["val_chosen_gain"] > figures["val_rejected_gain"]
    assert (
        json.loads((out / "config.json").read_text())["finetuning_task"] == "preference"
    )
    assert main(["generate", "Message 3: tea", "--model", str(out), "--seed", "1"]) == 0
    assert capsys.readouterr().out.startswith("Message 3: tea")


def test_validations_compare_with_the_untrained_model(preferring, pairs):
    out, figures = preferring
    tokenizer, base, model = load_tokenizer(), load_model(), load_model(out)
    job = PreferenceTask(tokenizer, base.cfg.context_length)
    rows = read_splits(job, pairs)[0]["validation"]
    encoded = [job.pair(row) for row in rows]
    before, after = pair_log_probs(base, encoded), pair_log_probs(model, encoded)
    wanted = dpo_loss(after, before, 0.1).mean().item()
    assert figures["val_loss"] == pytest.approx(wanted, rel=1e-3)


def test_an_interrupted_run_ends_as_the_unbroken_one(
    preferring, pairs, tmp_path, monkeypatch
):
    train_step = Trainer.train_step

    def interrupted(trainer, *batch):
        if trainer.step == 9:
            raise KeyboardInterrupt
        return train_step(trainer, *batch)

    monkeypatch.setattr(Trainer, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        finetune("preference", pairs, tmp_path / "out", **RUN)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"beta 0.1, not 0.5"):
        finetune("preference", pairs, tmp_path / "out", **RUN, beta=0.5, resume=True)
    figures = finetune("preference", pairs, tmp_path / "out", **RUN, resume=True)
    assert_same_weights(tmp_path / "out", preferring[0])
    assert figures | {"seconds": 0} == preferring[1] | {"seconds": 0}


def test_lora_learns_preferences_too(pairs, tmp_path):
    out = tmp_path / "lora"
    figures = finetune(
        "preference",
        pairs,
        out,
        train="lora",
        beta=0.3,
        **RUN | {"learning_rate": 5e-3},
    )
    assert figures["trained_parameters"] <= 0.02 * load_model().cfg.n_params
    assert figures["test_accuracy"] == 1 and figures["margin"] > 1
    steps = [
        m for m in Metrics(out / "training" / "metrics.jsonl").read() if "loss" in m
    ]
    assert steps[0]["loss"] == pytest.approx(math.log(2), rel=1e-3)


def test_the_final_scale_alone_learns_preferences_too(pairs, tmp_path, capsys):
    out = tmp_path / "scaled"
    given = ["finetune", "preference", "--data", str(pairs), "--out", str(out)]
    options = ["--train", "final-scale", "--learning-rate", "0.25", "--batch-size", "8"]
    assert main([*given, *options]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["trained_parameters"] == 192 and figures["margin"] > 0.5
    before, after = load_model().state_dict(), load_model(out).state_dict()
    assert [n for n in before if not before[n].equal(after[n])] == ["final_norm.scale"]
    steps = Metrics(out / "training" / "metrics.jsonl").read()
    assert max(m.get("learning_rate", 0) for m in steps) == 0.25


@pytest.mark.parametrize("beta", [0, -0.1, math.nan, math.inf, "0.1", True])
def test_a_beta_that_cannot_work_is_refused(pairs, tmp_path, beta):
    with pytest.raises(ValueError, match="beta must be a number above 0, got"):
        finetune("preference", pairs, tmp_path / "out", beta=beta)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("beta", ["0.1", "0"])
def test_beta_is_refused_for_other_tasks(pairs, tmp_path, capsys, beta):
    out = str(tmp_path / "out")
    given = ["finetune", "reasoning", "--data", str(pairs), "--out", out]
    assert main([*given, "--beta", beta]) == 1
    assert (
        "beta is for the task preference, not for reasoning" in capsys.readouterr().err
    )


def test_one_prompt_for_all_pairs_will_do(tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [
        {"prompt": "Say", "chosen": f" {i}.", "rejected": " no."} for i in range(40)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    job = PreferenceTask(load_tokenizer(), 256)
    splits, _ = read_splits(job, path)
    assert [len(splits[name]) for name in ("training", "validation", "test")] == [
        32,
        4,
        4,
    ]


def test_log_probs_do_not_read_the_padding(monkeypatch):
    model = small()
    inputs = torch.tensor([[5, 6, 7, 0, 0, 0], [8, 9, 3, 2, 0, 0]])
    targets = torch.full_like(inputs, IGNORED)
    targets[0, 1:3] = torch.tensor([7, 4])
    targets[1, 2] = 2
    nats = F.cross_entropy(model(inputs).mT, targets, reduction="none")
    read, hidden_states = [], model.hidden_states
    monkeypatch.setattr(
        model, "hidden_states", lambda ids: read.append(ids) or hidden_states(ids)
    )
    torch.testing.assert_close(token_log_probs(model, inputs, targets), -nats)
    assert read[0].shape == (2, 3)


def test_log_probs_of_nothing_learned_are_zero():
    assert log_probs_of(small(), [([1, 2], [IGNORED, IGNORED])]).tolist() == [0.0]
