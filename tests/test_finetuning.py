"""The verb finetune: whole small runs, killed and gone on with, and what they leave."""

import importlib
import json
import os
import shutil
import signal
import time
from pathlib import Path

import command as command_line
import pytest
import torch
from safetensors.torch import load_file, save_file
from test_pretraining import assert_same_weights, losses
from test_training import TORCHRUN
from transformers import GPT2ForSequenceClassification

from gpt2lib import load_model, load_tokenizer, save_model
from gpt2lib.__main__ import main
from gpt2lib.course.datasets.reasoning import problems, record
from gpt2lib.finetuning import (
    LABELS,
    TASKS,
    classify,
    finetune,
    finetuning_rate,
    read_splits,
    replace_head,
    texts_as_ids,
)
from gpt2lib.finetuning.finetune import model_card
from gpt2lib.tokenizer import BPETokenizer
from gpt2lib.training import Metrics, Trainer
from gpt2lib.training.runs import working_folder
from gpt2lib.weights.layouts import WEIGHT_FILES

WORDS = ["milk", "the bus", "my sister", "a cake", "the dog", "rice", "tea", "a hat"]


@pytest.fixture(scope="module")
def messages(tmp_path_factory):
    """Messages whose label one word tells, so that a few steps learn them."""
    path = tmp_path_factory.mktemp("data") / "sms.tsv"
    lines = [
        f"{label}\tMessage {i}: {'buy' if label == 'spam' else 'see'} {WORDS[i % 8]}"
        for i in range(80)
        for label in LABELS
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def thoughts(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "problems.jsonl"
    drawn = problems(seed=1, steps=1)
    path.write_text("".join(json.dumps(record(next(drawn))) + "\n" for _ in range(60)))
    return path


@pytest.fixture(scope="module")
def instructions(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "alpaca.json"
    rows = [
        {"instruction": f"Say {so}.", "input": f"{word} {i}", "output": f"It is {so}."}
        for i in range(5)
        for word in WORDS
        for so in ("yes", "no")
    ]
    rows += [{"instruction": f"Talk {i}.", "output": "so " * 300} for i in range(3)]
    path.write_text(json.dumps(rows))
    return path


def arguments(task, data, out, *options):
    return ["finetune", task, "--data", data, "--out", out, "--epochs", 1, *options]


def run(*task):
    return command_line.run(*arguments(*task))


@pytest.fixture(scope="module")
def spam(messages, tmp_path_factory):
    out = tmp_path_factory.mktemp("bin") / "spam"
    return out, run("spam", messages, out, "--epochs", 4)


def test_spam_ends_with_one_line_of_figures(spam):
    out, done = spam
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    figures = json.loads(done.stdout)
    assert figures["task"] == "spam"
    parts = [figures[f"{name}_rows"] for name in ("training", "validation", "test")]
    assert parts == [112, 16, 32]
    assert sum(map(sum, figures["confusion"])) == 32
    right = figures["confusion"][0][0] + figures["confusion"][1][1]
    assert figures["test_accuracy"] == right / 32 >= 0.9
    assert figures["cut"] == figures["bad_rows"] == figures["too_long"] == 0
    ahead = figures["test_accuracy"] - figures["naive_bayes_accuracy"]
    assert figures["test_accuracy_difference"] == pytest.approx(ahead)
    low, high = (figures[f"test_accuracy_difference_{end}"] for end in ("low", "high"))
    assert low <= ahead <= high
    assert figures["beside"] == "naive Bayes on words"


def test_what_it_leaves_opens_everywhere(spam, messages, capsys):
    out, done = spam
    model, tokenizer = load_model(out), load_tokenizer(out)
    config = json.loads((out / "config.json").read_text())
    assert config["finetuning_task"] == "spam"
    said = classify(model, ["Message 5: buy rice"], tokenizer)[0]
    assert said.argmax() == 1
    theirs = GPT2ForSequenceClassification.from_pretrained(out).eval()
    assert theirs.config.id2label == {0: "ham", 1: "spam"}
    with torch.no_grad():
        logits = theirs(torch.tensor([tokenizer.encode("Message 5: buy rice")])).logits
    torch.testing.assert_close(logits[0].softmax(-1), said, atol=1e-5, rtol=1e-4)
    shown = ask(out, "Message 5: buy rice")
    assert shown == f"spam ({said[1]:.1%})"
    card = (out / "README.md").read_text()
    assert messages.name in card
    assert f"{json.loads(done.stdout)['test_accuracy']:.4f}" in card


def ask(model, prompt):
    done = command_line.run("generate", prompt, "--model", model)
    assert done.returncode == 0, done.stderr
    return done.stdout.rstrip("\n")


def test_the_best_moment_is_kept_and_not_the_last(spam):
    out, _ = spam
    measured = Metrics(out / "training" / "metrics.jsonl").read()
    judged = [m for m in measured if "val_loss" in m]
    assert len(judged) == 7  # 28 steps, one after every fourth
    best = max(judged, key=lambda m: (m["val_accuracy"], -m["val_loss"]))
    figures = json.loads(spam[1].stdout)
    assert figures["step"] == best["step"]
    assert figures["val_accuracy"] == best["val_accuracy"]


def test_a_run_killed_again_and_again_ends_as_the_unbroken_one(
    spam, messages, tmp_path
):
    out = tmp_path / "killed"
    options = ["--epochs", 4, "--resume"]
    for steps in (2, 9, 15):
        process = command_line.begin(*arguments("spam", messages, out, *options))
        while len(losses(out)) < steps:
            assert process.exitcode is None, "ended before it could be killed"
            time.sleep(0.01)
        process.kill()
        process.join()
    done = run("spam", messages, out, *options)
    assert done.returncode == 0, done.stderr
    assert_same_weights(out, spam[0])
    ours, theirs = json.loads(done.stdout), json.loads(spam[1].stdout)
    assert ours | {"seconds": 0} == theirs | {"seconds": 0}


def test_an_interrupted_run_leaves_its_best_so_far_and_goes_on(
    spam, messages, tmp_path
):
    out = tmp_path / "interrupted"
    process = command_line.begin(*arguments("spam", messages, out, "--epochs", 4))
    while len(losses(out)) < 6:  # the first judgement came after four
        assert process.exitcode is None, "ended before it could be interrupted"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    process.join()
    assert process.exitcode == 130
    assert load_model(out).cfg.n_classes == 2
    assert ask(out, "Message 5: buy rice").split()[0] in LABELS
    done = run("spam", messages, out, "--epochs", 4, "--resume")
    assert done.returncode == 0, done.stderr
    assert_same_weights(out, spam[0])


def test_what_an_older_run_left_is_not_taken_for_the_best(messages, tmp_path):
    """Killed between its first best weights and its first checkpoint."""
    left = tmp_path / "training" / "best.safetensors"
    left.parent.mkdir()
    left.write_bytes(b"of another run")
    with pytest.raises(FloatingPointError, match="step 1"):
        finetune("spam", messages, tmp_path, epochs=1, learning_rate=1e30, warmup=0)
    assert not left.exists() and not (tmp_path / "model.safetensors").exists()


def test_an_interrupt_before_the_first_checkpoint_can_be_gone_on_from(
    messages, tmp_path, monkeypatch
):
    def interrupted(trainer):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "state", interrupted)
        finetune("spam", messages, tmp_path / "out", epochs=1)
    assert not (tmp_path / "out" / "model.safetensors").exists()
    assert finetune("spam", messages, tmp_path / "out", epochs=1, resume=True)["steps"]


def test_a_task_survives_an_export(spam, tmp_path):
    assert main(["export", str(spam[0]), str(tmp_path / "copy")]) == 0
    assert ask(tmp_path / "copy", "Message 5: buy rice").startswith("spam")


@pytest.fixture(scope="module")
def adapted(messages, tmp_path_factory):
    out = tmp_path_factory.mktemp("bin") / "adapted"
    return out, finetune("spam", messages, out, adapt=2, epochs=1)


def test_a_model_that_has_read_the_texts_predicts_such_texts(adapted):
    _, figures = adapted
    assert figures["texts_val_loss"] < 0.7 * figures["texts_val_loss_before"]
    assert figures["test_accuracy"] > 0.5


@pytest.mark.parametrize("last", [3, 9])  # while it reads, while it learns labels
def test_an_adaptation_that_was_interrupted_ends_as_the_unbroken_one(
    adapted, messages, tmp_path, last, monkeypatch
):
    steps, train_step = [], Trainer.train_step

    def interrupted(trainer, *batch):
        steps.append(trainer.step)
        if len(steps) > last:
            raise KeyboardInterrupt
        return train_step(trainer, *batch)

    monkeypatch.setattr(Trainer, "train_step", interrupted)
    given = ("spam", messages, tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        finetune(*given, adapt=2, epochs=1)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="already holds checkpoint.pt"):
        finetune(*given, adapt=2, epochs=1)
    with pytest.raises(ValueError, match="adapt 2, not 1"):
        finetune(*given, adapt=1, epochs=1, resume=True)
    with pytest.raises(ValueError, match="a run with adapt: give the same arguments"):
        finetune(*given, epochs=1, resume=True)
    figures = finetune(*given, adapt=2, epochs=1, resume=True)
    assert_same_weights(tmp_path / "out", adapted[0])
    seconds = {"seconds": 0, "texts_seconds": 0}
    assert figures | seconds == adapted[1] | seconds


def test_texts_are_read_whole_in_an_order_of_the_seed():
    tokenizer = load_tokenizer()
    texts = [f"Message {i}: see {word}" for i, word in enumerate(WORDS)]
    ids, other = (texts_as_ids(texts, tokenizer, seed) for seed in (0, 1))
    between = tokenizer.decode(ids.tolist()).split("<|endoftext|>")
    assert between[0] == between[-1] == ""
    assert sorted(between[1:-1]) == sorted(texts) != between[1:-1]
    assert len(ids) == len(other) and not torch.equal(ids, other)


def test_what_balancing_drops_may_be_read_unless_it_is_held_out(messages, tmp_path):
    ham = [f"ham\tOne more {i}: call {WORDS[i % 8]}" for i in range(60)]
    kept = messages.read_text().splitlines()
    again = [line.upper().replace("HAM\t", "ham\t") for line in kept if line[0] == "h"]
    path = tmp_path / "sms.tsv"
    path.write_text("\n".join(kept + again + ham) + "\n")
    job = TASKS["spam"](load_tokenizer(), 256)
    splits, counts = read_splits(job, path, balance=True)
    assert counts["training_rows"] + counts["test_rows"] < 160
    texts = {name: {m.text.upper() for m in rows} for name, rows in splits.items()}
    assert texts["surplus"]
    for name in ("training", "validation", "test"):
        assert not texts["surplus"] & texts[name]
    assert len(set.union(*texts.values())) == 80 + 80 + 60


def test_what_is_held_out_is_not_read(messages, tmp_path, monkeypatch):
    path = tmp_path / "sms.tsv"
    path.write_text(messages.read_text() + "ham\tOne more: call the bus\n")
    job, read = TASKS["spam"](load_tokenizer(), 256), []

    def note(trainer, windows, held_out, work):
        read.append(windows.ids.tolist())
        raise KeyboardInterrupt

    module = importlib.import_module("gpt2lib.finetuning.finetune")
    monkeypatch.setattr(module, "adapt_to_texts", note)
    with pytest.raises(KeyboardInterrupt):
        finetune("spam", path, tmp_path / "out", balance=True, adapt=1)
    splits, _ = read_splits(job, path, balance=True)
    may_be_read = splits["training"] + splits["surplus"]
    texts = job.tokenizer.decode(read[0]).split("<|endoftext|>")[1:-1]
    assert sorted(texts) == sorted(message.text for message in may_be_read)


def test_an_adapter_of_an_adapted_model_is_refused(messages, tmp_path):
    with pytest.raises(ValueError, match="adapt changes all weights"):
        finetune("spam", messages, tmp_path / "out", train="lora", adapt=1)
    with pytest.raises(ValueError, match="adapt must be a whole number from 0"):
        finetune("spam", messages, tmp_path / "out", adapt=-1)


def test_a_classifier_cannot_read_texts(messages, tmp_path):
    save_model(replace_head(load_model(), 2), tmp_path / "ham", load_tokenizer())
    with pytest.raises(ValueError, match="2 classes, but adapt needs a model that"):
        finetune("spam", messages, tmp_path / "out", tmp_path / "ham", adapt=1)


def test_a_run_inside_the_folder_of_its_data_is_refused(messages, tmp_path):
    """It would be a second data file there, when the run ends or is resumed."""
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(messages, data)
    for out in (data / "out", data):
        with pytest.raises(ValueError, match="exactly one data file: choose a folder"):
            finetune("spam", data, out)
    assert [path.name for path in data.iterdir()] == [messages.name]


def test_lora_leaves_its_adapter_and_a_merged_model(messages, tmp_path):
    out = tmp_path / "lora"
    figures = finetune("spam", messages, out, train="lora", epochs=2)
    assert figures["trained_parameters"] <= 0.02 * load_model().cfg.n_params
    saved = load_file(out / "adapter.safetensors")
    assert sum(t.numel() for t in saved.values()) == figures["trained_parameters"]
    base = load_model(out)
    assert not any("linear" in name for name in base.state_dict())
    adapter = str(out / "adapter.safetensors")
    assert main(["export", "pocket", str(tmp_path / "x"), "--adapter", adapter]) == 0
    for wrong, given in ((str(out), adapter), ("thinker", adapter), ("pocket", "")):
        command = ["export", wrong, str(tmp_path / "wrong"), "--adapter", given]
        assert main(command) == 1 and not (tmp_path / "wrong").exists()
    again = load_model(tmp_path / "x")
    ids = torch.tensor([load_tokenizer().encode("Message 5: buy rice")])
    with torch.no_grad():
        torch.testing.assert_close(again(ids), base(ids), atol=1e-5, rtol=1e-5)
    assert ask(tmp_path / "x", "Message 5: buy rice") == ask(out, "Message 5: buy rice")


def test_instructions_are_followed_and_what_is_too_long_is_counted(
    instructions, tmp_path
):
    out = tmp_path / "it"
    figures = finetune("instruction", instructions, out, epochs=2)
    assert figures["too_long"] == 3
    assert figures["base_exact_match"] == 0
    assert figures["exact_match"] > 0.5 and figures["stops"] > 0.5
    assert figures["response_perplexity"] < figures["base_response_perplexity"]
    assert ask(out, "Say no.\nthe bus 7") == "It is no."


def test_thoughts_come_before_answers(thoughts, tmp_path):
    out = tmp_path / "thinks"
    figures = finetune("reasoning", thoughts, out, epochs=2)
    assert {"exact_match", "base_exact_match"} <= set(figures)
    assert figures["base_format_kept"] == figures["base_stops"] == 0
    assert figures["format_kept"] > 0 and figures["stops"] > 0
    assert 10 * figures["response_perplexity"] < figures["base_response_perplexity"]
    answer = ask(out, "There are 3 cars. 4 more drive in. How many cars are there now?")
    assert "Let's think" not in answer and answer


def test_higher_rates_where_less_moves():
    all, last_block, head = (
        finetuning_rate(10**8, part) for part in ("all", "last-block", "head")
    )
    assert 0 < all < last_block < head


REFUSED = {
    "prompt": (["--learn-prompt"], "is for the task instruction, not for reasoning"),
    "balance": (["--balance"], "is for the task spam, not for reasoning"),
    "adapt": (["--adapt"], "adapt is for the task spam, not for reasoning"),
    "epochs": (["--epochs", 0], "epochs must be a whole number from 1"),
    "batch": (["--batch-size", 0], "batch_size must be a whole number from 1"),
    "head": (
        ["--train", "head"],
        "so it cannot be trained alone",
    ),
    "a file": (["--out", __file__], "test_finetuning.py is a file"),
    "no name": (["--out", ""], "output folder is empty"),
    "model": (["--model", "none-such"], "no model at 'none-such'"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_work_is_refused_in_one_line(
    thoughts, tmp_path, options, message, capsys
):
    given = arguments("reasoning", thoughts, tmp_path / "out", *options)
    assert main([*map(str, given)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [*WEIGHT_FILES, "README.md", "adapter.safetensors"])
def test_a_folder_that_holds_something_else_is_not_written_over(
    thoughts, tmp_path, name
):
    (tmp_path / name).write_bytes(b"weights")
    with pytest.raises(ValueError, match="already holds"):
        finetune("reasoning", thoughts, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_folder_in_use_by_another_run_is_refused(thoughts, tmp_path):
    with (
        working_folder(tmp_path, resume=False),
        pytest.raises(ValueError, match="another run is writing to"),
    ):
        finetune("reasoning", thoughts, tmp_path)


def test_torchrun_is_refused(thoughts, tmp_path, monkeypatch):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="2 processes, but finetune uses one"):
        finetune("reasoning", thoughts, tmp_path / "out")


def test_a_classifier_cannot_learn_to_respond(spam, thoughts, tmp_path):
    with pytest.raises(ValueError, match="head for 2 classes, but"):
        finetune("reasoning", thoughts, tmp_path / "out", spam[0])


def endless(tokenizer):
    return BPETokenizer(tokenizer.vocab, tokenizer.merges, {})


def larger(tokenizer):
    specials = tokenizer.special_tokens | {"<|more|>": tokenizer.n_vocab}
    return BPETokenizer(tokenizer.vocab, tokenizer.merges, specials)


class Unsavable(BPETokenizer):
    def save(self, folder):
        raise OSError("cannot be saved")


def unsavable(tokenizer):
    return Unsavable(tokenizer.vocab, tokenizer.merges, tokenizer.special_tokens)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (endless, "has no <|endoftext|>"),
        (larger, "the tokenizer has 3073 ids, the model only 3072"),
        (unsavable, "cannot be saved"),
    ],
)
def test_a_tokenizer_that_will_not_do_is_noticed_before_the_work(
    thoughts, tmp_path, monkeypatch, change, message
):
    changed = change(load_tokenizer())
    module = importlib.import_module("gpt2lib.finetuning.finetune")
    monkeypatch.setattr(module, "tokenizer_of", lambda path: changed)
    with pytest.raises((ValueError, OSError), match=message):
        finetune("reasoning", thoughts, tmp_path / "out")
    assert not losses(tmp_path / "out")


def test_half_a_character_is_named_by_its_line_whatever_its_split(tmp_path):
    rows = [{"instruction": f"Say {i}.", "output": f"{i}"} for i in range(40)]
    rows[20]["output"] = "\ud83d"
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows, indent=0))
    job = TASKS["instruction"](load_tokenizer(), 256)
    with pytest.raises(ValueError, match="line 82.*unpaired surrogate"):
        read_splits(job, path)
    splits, counts = read_splits(job, path, skip_bad_rows=True)
    assert counts["bad_rows"] == 1 and sum(map(len, splits.values())) == 39


def test_the_card_is_utf8_in_any_locale(messages):
    name = "caf\udcc3\udca9"  # as Python names it where the locale is ASCII
    facts = {"task": "spam", "base": f"bin/{name}"}
    card = model_card(messages.parent / name, messages, facts, {"test_accuracy": 0.5})
    assert "# café" in card and "bin/café" in card


def test_the_card_has_the_name_of_the_folder_it_is_in(messages, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    card = model_card(Path("."), messages, {"task": "spam", "base": "pocket"}, {})
    assert f"# {tmp_path.name}\n" in card


def test_a_model_is_given_by_name_or_path(messages, tmp_path):
    with pytest.raises(TypeError, match=r"by its name or path, not by a \w*GPTModel"):
        finetune("spam", messages, tmp_path / "out", load_model())


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def other_weights(path):
    save_file({"final_norm.scale": torch.zeros(3)}, path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "is missing or damaged"),
        (os.unlink, "is missing or damaged"),
        (other_weights, "holds other weights than those being trained"),
    ],
)
def test_damaged_best_weights_are_noticed_when_a_run_goes_on(
    spam, messages, tmp_path, damage, message
):
    out = tmp_path / "copy"
    shutil.copytree(spam[0], out)
    damage(out / "training" / "best.safetensors")
    before = (out / "model.safetensors").read_bytes()
    with pytest.raises(ValueError, match=message):
        finetune("spam", messages, out, epochs=4, resume=True)
    assert (out / "model.safetensors").read_bytes() == before


def test_steps_follow_from_epochs(thoughts, tmp_path):
    with pytest.raises(ValueError, match="epochs and batch_size"):
        finetune("reasoning", thoughts, tmp_path / "out", steps=5)


def test_going_on_with_other_data_is_refused(spam, messages, tmp_path):
    other = tmp_path / "sms.tsv"
    other.write_text(messages.read_text().replace("rice", "salt"))
    with pytest.raises(ValueError, match="belongs to a run with data"):
        finetune("spam", other, spam[0], epochs=4, resume=True)


def test_going_on_from_other_weights_is_refused(messages, tmp_path):
    base, out = tmp_path / "base", tmp_path / "out"
    save_model(load_model(), base, load_tokenizer())
    finetune("spam", messages, out, base, epochs=1)
    changed = load_model()
    with torch.no_grad():
        changed.tok_emb.weight[5] += 1
    save_model(changed, base, load_tokenizer())
    with pytest.raises(ValueError, match="belongs to a run with weights"):
        finetune("spam", messages, out, base, epochs=1, resume=True)


def test_a_perplexity_beyond_all_bounds_is_null(instructions, tmp_path):
    options = ["--learning-rate", 10, "--batch-size", 1000]
    done = run("instruction", instructions, tmp_path / "out", *options)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["response_perplexity"] is None


def test_a_run_that_did_not_adapt_goes_on_without(spam, messages):
    with pytest.raises(ValueError, match="a run without adapt"):
        finetune("spam", messages, spam[0], epochs=4, adapt=1, resume=True)
    assert not (spam[0] / "training" / "adaptation").exists()


def test_bad_rows_are_named_or_counted(messages, tmp_path):
    bad = tmp_path / "sms.tsv"
    few = messages.read_text().splitlines(keepends=True)[:40]
    bad.write_text("".join(few) + "eggs\tfor all\n")
    with pytest.raises(ValueError, match="line 41: .*--skip-bad-rows"):
        finetune("spam", bad, tmp_path / "out")
    figures = finetune("spam", bad, tmp_path / "out", epochs=1, skip_bad_rows=True)
    assert figures["bad_rows"] == 1
