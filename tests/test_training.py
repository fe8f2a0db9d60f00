"""Training: what a step does, that it can stop anywhere, and what it refuses."""

import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from small import SMALL, lively
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from gpt2lib import (
    GPT2_124M,
    GPT2_355M,
    GPT2_774M,
    GPT2_1558M,
    GPTModel,
    fast,
    save_model,
)
from gpt2lib.data import IGNORED, ShuffledWindows
from gpt2lib.files import ROOT
from gpt2lib.finetuning import add_lora
from gpt2lib.training import (
    LossOf,
    Metrics,
    Processes,
    Trainer,
    TrainingSettings,
    bits_per_byte,
    decay_groups,
    evaluate,
    learning_rate_at,
    perplexity,
    process_count,
    total_loss,
    training_flops,
    training_memory,
)
from gpt2lib.training.loss import autocast
from gpt2lib.training.runs import total_seconds
from gpt2lib.training.sharding import sharded_memory
from gpt2lib.training.state import StateWriter

CFG = replace(SMALL, drop_rate=0.1, context_length=8)
RUN = TrainingSettings(steps=8, learning_rate=1e-2)
IDS = torch.randint(CFG.vocab_size, (500,), generator=torch.Generator().manual_seed(1))
WINDOWS = ShuffledWindows(IDS, CFG.context_length, batch_size=4)


def new_trainer(cfg=CFG, settings=RUN):
    torch.manual_seed(0)
    return Trainer(GPTModel(cfg), settings)


def train(trainer, steps=None):
    for done in trainer.run(WINDOWS.batch):
        if done.step == steps:
            break
    return trainer


def weights(trainer):
    return [p.detach().clone() for p in trainer.model.parameters()]


def assert_same(one, other):
    assert all(torch.equal(a, b) for a, b in zip(weights(one), weights(other)))


# ------------------------------------------------------------------------------- losses


def test_loss_is_averaged_over_tokens_not_batches():
    model = lively(GPTModel(CFG)).eval()
    inputs, targets = WINDOWS.batch(0)
    targets = targets.clone()
    targets[0, 2:] = IGNORED
    batches = [(inputs[:3], targets[:3]), (inputs[3:], targets[3:])]
    with torch.no_grad():
        logits = model(inputs)
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()
    assert evaluate(model, batches) == pytest.approx(expected, abs=1e-6)
    each = [evaluate(model, [batch]) for batch in batches]
    assert sum(each) / 2 != pytest.approx(expected, abs=1e-4)


def test_judging_leaves_the_mode_and_needs_a_token():
    model = lively(GPTModel(CFG))
    inputs, targets = WINDOWS.batch(0)
    for training in (True, False):
        model.train(training)
        evaluate(model, [(inputs, targets)])
        assert model.training is training
    model.train().final_norm.eval()
    with pytest.raises(ValueError, match="no token"):
        evaluate(model, [(inputs, torch.full_like(targets, IGNORED))])
    with pytest.raises(ValueError, match="token ids"):
        evaluate(model, [(inputs + CFG.vocab_size, targets)])
    assert model.training and not model.final_norm.training


def test_a_model_that_knows_nothing_hesitates_between_all_tokens():
    logits, targets = torch.zeros(2, 3, 50), torch.zeros(2, 3, dtype=torch.int64)
    loss = total_loss(logits, targets).item() / 6
    assert perplexity(loss) == pytest.approx(50)
    assert perplexity(1e4) == math.inf
    # log2(50) bits for each of 6 tokens, spread over 12 bytes
    assert bits_per_byte(loss, 6, 12) == pytest.approx(math.log2(50) * 6 / 12)


# -------------------------------------------------------------------------------- steps


def test_rate_rises_in_a_line_and_falls_along_a_cosine():
    run = TrainingSettings(steps=200, learning_rate=2.0, warmup=20, final_rate=0.1)
    rates = [learning_rate_at(step, run) for step in range(200)]
    assert rates[:20] == pytest.approx([2.0 * n / 20 for n in range(1, 21)])
    fall = rates[20:]
    assert fall[0] == 2.0 and fall[-1] == pytest.approx(0.2)
    assert fall == sorted(fall, reverse=True)
    middle = (fall[0] + fall[-1]) / 2
    for early, late in zip(fall, fall[::-1]):  # a half cosine is odd about its middle
        assert early - middle == pytest.approx(middle - late)


@pytest.mark.parametrize("cfg", [CFG, replace(CFG, fused_qkv=False, tied_head=False)])
def test_matrices_decay_and_nothing_else(cfg):
    model = GPTModel(cfg)
    matrices, vectors = decay_groups(model, 0.1)
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.1, 0.0)
    assert {p.ndim for p in matrices["params"]} == {2}
    assert {p.ndim for p in vectors["params"]} == {1}
    both = matrices["params"] + vectors["params"]
    assert sum(p.numel() for p in both) == cfg.n_params


def test_training_is_that_of_transformers_with_a_plain_loop(tmp_path):
    cfg = replace(CFG, drop_rate=0.0)
    settings = TrainingSettings(steps=6, learning_rate=3e-3, warmup=0, final_rate=1.0)
    ours = new_trainer(cfg, settings)
    save_model(ours.model, tmp_path)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path).train()
    decayed = [p for p in theirs.parameters() if p.ndim == 2]
    rest = [p for p in theirs.parameters() if p.ndim == 1]
    groups = [{"params": decayed}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, 3e-3, (0.9, 0.95), weight_decay=0.1)
    for done in ours.run(WINDOWS.batch):
        inputs, targets = WINDOWS.batch(done.step - 1)
        logits = theirs(inputs).logits
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        optimizer.step()
        assert done.loss == pytest.approx(loss.item(), abs=2e-5)
        assert done.gradient_norm == pytest.approx(norm.item(), rel=1e-3)


def test_small_parts_give_the_gradient_of_the_whole():
    cfg = replace(CFG, drop_rate=0.0)
    inputs, targets = WINDOWS.batch(0)
    targets = targets.clone()
    targets[1:, 3:] = IGNORED  # parts of different weight
    whole, parts = (
        new_trainer(cfg, replace(RUN, micro_batch_size=rows)) for rows in (None, 1)
    )
    one, other = (t.train_step(inputs, targets) for t in (whole, parts))
    assert one.loss == pytest.approx(other.loss, abs=1e-5)
    assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-4)
    for a, b in zip(whole.model.parameters(), parts.model.parameters()):
        assert torch.allclose(a.grad, b.grad, atol=1e-6)


def test_a_batch_with_nothing_to_learn_is_no_nan():
    trainer = new_trainer()
    inputs, targets = WINDOWS.batch(0)
    done = trainer.train_step(inputs, torch.full_like(targets, IGNORED))
    assert done.loss == 0 and done.tokens == 0
    assert all(p.isfinite().all() for p in trainer.model.parameters())


def test_training_learns():
    trainer = new_trainer(settings=replace(RUN, steps=60))
    pattern = ShuffledWindows(torch.arange(500) % 7, CFG.context_length, batch_size=4)
    losses = [done.loss for done in trainer.run(pattern.batch)]
    assert losses[0] == pytest.approx(math.log(CFG.vocab_size), abs=0.3)
    # What dropout draws depends on the processor, so the bound is wide.
    assert sum(losses[-10:]) / 10 < 0.2 * losses[0]


@pytest.mark.parametrize("learned", [1, 2, 4, 5])
def test_a_batch_may_have_few_tokens_to_learn(learned, monkeypatch):
    """Their logits are written over, whichever product made them."""
    monkeypatch.setattr(fast, "SMALL", 0)
    targets = torch.full((2, 8), IGNORED)
    targets.view(-1)[:learned] = 3
    done = new_trainer().train_step(torch.ones(2, 8, dtype=torch.int64), targets)
    assert done.tokens == learned and done.loss > 0


def test_bfloat16_follows_float32():
    runs = [
        train(new_trainer(settings=replace(RUN, precision=precision))).history
        for precision in ("float32", "bfloat16")
    ]
    for one, other in zip(*runs):
        assert other.loss == pytest.approx(one.loss, rel=0.03)
    assert [a.loss for a in runs[0]] != [b.loss for b in runs[1]]


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() == "DEFAULT",
    reason="torch's compiler writes vector code that a masked processor cannot build",
)
def test_compiled_model_trains_alike():
    cfg = replace(CFG, n_layers=1, drop_rate=0.0)
    plain, compiled = (
        train(new_trainer(cfg, replace(RUN, compile=flag)), steps=3)
        for flag in (False, True)
    )
    for one, other in zip(plain.history, compiled.history):
        assert other.loss == pytest.approx(one.loss, abs=1e-4)


# ---------------------------------------------------------------------- stop and go on


def test_dropout_leaves_the_global_generator_alone():
    trainer = new_trainer()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    trainer.train_step(*WINDOWS.batch(0))
    assert torch.equal(torch.rand(3), expected)


def test_going_on_from_a_checkpoint_is_exact(tmp_path):
    unbroken = train(new_trainer())
    train(new_trainer(), steps=3).save(tmp_path / "checkpoint.pt")
    resumed = new_trainer()
    torch.manual_seed(99)  # the state of the world is not the state of the run
    resumed.load(tmp_path / "checkpoint.pt")
    assert_same(unbroken, train(resumed))
    losses = [done.loss for done in unbroken.history]
    assert [done.loss for done in resumed.history] == losses[3:]


def test_an_interrupt_keeps_model_and_history():
    unbroken, interrupted = train(new_trainer()), new_trainer()
    with pytest.raises(KeyboardInterrupt):
        for done in interrupted.run(WINDOWS.batch):
            if done.step == 5:
                raise KeyboardInterrupt
    assert len(interrupted.history) == interrupted.step == 5
    assert_same(unbroken, train(interrupted))


def test_the_state_is_a_copy_and_shares_what_the_model_shares():
    trainer = train(new_trainer(), steps=2)
    state = trainer.state()
    before = {name: t.clone() for name, t in state["model"].items()}
    moment = state["optimizer"]["state"][0]["exp_avg"].clone()
    train(trainer)
    assert all(torch.equal(before[name], t) for name, t in state["model"].items())
    assert torch.equal(moment, state["optimizer"]["state"][0]["exp_avg"])
    tensors = state["model"]
    assert tensors["out_head.weight"] is tensors["tok_emb.weight"]
    places = {tensor.data_ptr() for tensor in tensors.values()}
    assert len(places) == len(tensors) - 1


def test_what_could_not_be_written_beside_the_steps_is_said(tmp_path):
    state, blocked = new_trainer().state(), tmp_path / "file"
    blocked.write_text("not a folder")
    for wait in ("next", "end"):
        with pytest.raises(OSError, match="file"), StateWriter() as writer:
            writer.write(state, blocked / "checkpoint.pt")
            if wait == "next":
                writer.write(state, tmp_path / "never.pt")
    with pytest.raises(KeyboardInterrupt), StateWriter() as writer:
        writer.write(state, tmp_path / "checkpoint.pt")
        raise KeyboardInterrupt
    new_trainer().load(tmp_path / "checkpoint.pt")
    assert not (tmp_path / "never.pt").exists()


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_before_the_weights_suffer(poison):
    trainer = train(new_trainer(), steps=2)
    with torch.no_grad():
        trainer.model.final_norm.shift[0] = poison
    before = weights(trainer)
    with pytest.raises(FloatingPointError, match="step 3"):
        train(trainer)
    for old, new in zip(before, weights(trainer)):
        assert torch.allclose(old, new, rtol=0, atol=0, equal_nan=True)
    assert trainer.step == 2


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    path = tmp_path / "checkpoint.pt"
    train(new_trainer(), steps=1).save(path)
    with pytest.raises(ValueError, match="learning_rate 0.01, not 0.5"):
        new_trainer(settings=replace(RUN, learning_rate=0.5)).load(path)
    with pytest.raises(ValueError, match=f"n_heads {CFG.n_heads}, not 1"):
        new_trainer(replace(CFG, n_heads=1)).load(path)  # of the same shapes
    with pytest.raises(ValueError, match="another model"):
        Trainer(add_lora(GPTModel(CFG)), RUN).load(path)


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('the checkpoint was run')",))


NO_CHECKPOINTS = [b"", b"no checkpoint", pickle.dumps(Bomb())]


@pytest.mark.parametrize("contents", NO_CHECKPOINTS)
def test_what_is_no_checkpoint_is_refused_and_never_run(tmp_path, contents):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(contents)
    with pytest.raises(ValueError, match="not a training state.*delete it"):
        new_trainer().load(path)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint, whose contents a test may change."""
    path = tmp_path_factory.mktemp("trained") / "checkpoint.pt"
    train(new_trainer(), steps=1).save(path)
    return path


@pytest.mark.parametrize("place", [0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999])
def test_a_flipped_bit_is_noticed(checkpoint, tmp_path, place):
    contents = bytearray(checkpoint.read_bytes())
    contents[int(place * len(contents))] ^= 16
    (tmp_path / "flipped.pt").write_bytes(contents)
    try:
        resumed = new_trainer()
        resumed.load(tmp_path / "flipped.pt")
    except ValueError as error:
        assert "is damaged" in str(error)
    else:  # between the files in the archive is nothing to notice
        loaded = torch.load(checkpoint, weights_only=True)["model"]
        assert all(p.equal(loaded[n]) for n, p in resumed.model.state_dict().items())


def without(name):
    return lambda state: state.pop(name)


def replaced(name, value):
    return lambda state: state.update({name: value})


def misshapen(state):
    state["optimizer"]["state"][3]["exp_avg"] = torch.zeros(2)


def misshapen_weight(state):
    state["model"]["pos_emb.weight"] = torch.zeros(2)


DAMAGES = {
    "no step": (without("step"), "no step"),
    "no facts": (without("facts"), "no facts"),
    "no model": (without("model"), "no model"),
    "no optimizer": (without("optimizer"), "no optimizer"),
    "step a text": (replaced("step", "1"), "no step"),
    "facts a list": (replaced("facts", []), "no facts"),
    "a fact a tensor": (lambda s: s["facts"].update(clip=torch.zeros(2)), "clip"),
    "model a tensor": (replaced("model", torch.zeros(2)), "no model"),
    "model empty": (replaced("model", {}), "another model"),
    "a weight misshapen": (misshapen_weight, "another model"),
    "optimizer a list": (replaced("optimizer", [1]), "no optimizer"),
    "optimizer empty": (replaced("optimizer", {}), "other parameters"),
    "moments a text": (replaced("optimizer", {"state": "a"}), "other parameters"),
    "moments lists": (replaced("optimizer", {"state": {0: [1]}}), "other parameters"),
    "no moments": (replaced("optimizer", {"state": {}}), "other parameters"),
    "a moment misshapen": (misshapen, "other parameters"),
    "moments of no parameter": (
        lambda s: s["optimizer"]["state"].update({99: s["optimizer"]["state"][0]}),
        "other parameters",
    ),
    "other groups": (
        lambda s: s["optimizer"]["param_groups"][0]["params"].pop(),
        "other parameters",
    ),
    "all moments gone": (lambda s: s["optimizer"]["state"].clear(), "other param"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_a_checkpoint_with_parts_missing_is_refused(
    checkpoint, tmp_path, damage, message
):
    state = torch.load(checkpoint, weights_only=True)
    damage(state)
    torch.save(state, tmp_path / "damaged.pt")
    with pytest.raises(ValueError, match=message):
        new_trainer().load(tmp_path / "damaged.pt")


def test_a_checkpoint_is_of_the_same_data_if_it_says_so(checkpoint, tmp_path):
    trainer = train(Trainer(GPTModel(CFG), RUN, data="ab"), steps=1)
    trainer.save(tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="data ab, not cd"):
        Trainer(GPTModel(CFG), RUN, data="cd").load(tmp_path / "checkpoint.pt")
    Trainer(GPTModel(CFG), RUN, data="cd").load(checkpoint)  # of an earlier version


def test_a_parameter_without_a_gradient_has_nothing_to_restore(tmp_path):
    def trainer():
        torch.manual_seed(0)
        model = GPTModel(CFG)
        model.unused = torch.nn.Linear(3, 3)
        return Trainer(model, RUN)

    unbroken, first, second = train(trainer()), train(trainer(), steps=2), trainer()
    first.save(tmp_path / "checkpoint.pt")
    second.load(tmp_path / "checkpoint.pt")
    assert_same(unbroken, train(second))


@pytest.mark.parametrize(
    "fact", [Path("x"), np.int64(3), np.float64(0.1), math.nan, [1, Path("x")]]
)
def test_a_fact_that_could_not_be_read_again_is_refused_at_once(fact):
    with pytest.raises(ValueError, match="data is .*no training state can hold"):
        Trainer(GPTModel(CFG), RUN, data=fact)


@pytest.mark.parametrize("micro_batch_size", [None, 2])
def test_a_batch_has_as_many_targets_as_inputs(micro_batch_size):
    run = replace(RUN, micro_batch_size=micro_batch_size)
    inputs, targets = WINDOWS.batch(0)
    trainer = new_trainer(settings=run)
    for pair in ((inputs[:2], targets), (inputs, targets[:2])):
        with pytest.raises(ValueError, match="rows of inputs and .* equally many"):
            trainer.train_step(*pair)
    assert trainer.step == 0


def test_what_else_is_in_a_batch_is_cut_into_as_many_parts():
    """It may have another number of rows, as the stories beside chapter 6's texts."""
    inputs, targets = WINDOWS.batch(0)
    trainer = new_trainer(settings=replace(RUN, micro_batch_size=2))
    trainer.loss.count = lambda inputs, targets, others: 1
    with pytest.raises(ValueError, match="shorter"):
        trainer.train_step(inputs, targets, inputs[:2])
    assert trainer.step == 0


def test_rows_that_cannot_be_shared_out_are_refused():
    trainer = new_trainer()
    trainer.processes = Processes(rank=0, count=3)
    with pytest.raises(ValueError, match="multiple of 3"):
        trainer.train_step(*WINDOWS.batch(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be a whole number from 1 .* got 0"),
        ({"steps": 2.0}, "steps must be a whole number"),
        ({"seed": -1}, r"seed must be a whole number from 0 to 2\*\*63 - 1 .*got -1"),
        ({"seed": 2**63}, "seed must be a whole number"),
        ({"seed": 0.5}, "seed must be a whole number"),
        ({"seed": None}, "seed must be a whole number"),
        ({"warmup": -1}, "warmup must be a whole number from 0"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"learning_rate": "fast"}, "learning_rate must be a number"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"weight_decay": math.nan}, "weight_decay must be a number >= 0"),
        ({"final_rate": -0.1}, "final_rate must be a number >= 0"),
        ({"clip": 0.0}, "clip must be above 0"),
        ({"micro_batch_size": 0}, "micro_batch_size"),
        ({"precision": "float16"}, "'float32' or 'bfloat16'"),
    ],
)
def test_settings_that_cannot_work_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        TrainingSettings(**{"steps": 1} | change)


def test_metrics_survive_a_line_that_was_cut_off(tmp_path):
    metrics = Metrics(tmp_path / "metrics.jsonl")
    assert metrics.read() == []
    for step in (1, 2, 3):
        metrics.add(step=step, loss=1 / step)
    with open(metrics.path, "a") as file:
        file.write('{"step": 4, "lo')
    assert [m["step"] for m in metrics.read()] == [1, 2, 3]
    metrics.cut(2)
    metrics.add(step=3, loss=0.1)
    assert [m["loss"] for m in metrics.read()] == [1.0, 0.5, 0.1]


@pytest.mark.parametrize(
    "line", [b"no JSON", b"{}", b'{"step": "1"}', b"[1]", b"3", b"\0\0", b"\xff", b""]
)
def test_metrics_that_are_none_are_named(tmp_path, line):
    metrics = Metrics(tmp_path / "metrics.jsonl")
    metrics.add(step=1, loss=1.0)
    with open(metrics.path, "ab") as file:
        file.write(line + b"\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2 .*remove the line"):
        metrics.cut(1)


# ------------------------------------------------------------------ many processes, one

TORCHRUN = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "here"}
TORCHRUN |= {"MASTER_PORT": "29500"}


def test_torchrun_is_believed(monkeypatch):
    for name in TORCHRUN:
        monkeypatch.delenv(name, raising=False)
    assert process_count() == 1
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert process_count() == 2


STRAY = [("WORLD_SIZE", value) for value in ("", "0", "-1", "abc", "1.5", " ")]
STRAY += [(name, "") for name in TORCHRUN if name != "WORLD_SIZE"]
STRAY += [("RANK", "2"), ("RANK", "x"), ("LOCAL_RANK", "-1")]


@pytest.mark.parametrize(("name", "value"), STRAY)
def test_a_stray_world_size_is_named(monkeypatch, name, value):
    for set_, usual in (TORCHRUN | {name: value}).items():
        monkeypatch.setenv(set_, usual)
    with pytest.raises(ValueError, match="WORLD_SIZE is .*start with torchrun"):
        process_count()


# ------------------------------------------------------------------------ what it takes


def test_flops_are_those_torch_counts():
    cfg = replace(CFG, drop_rate=0.0, context_length=24)
    model, ids = GPTModel(cfg), torch.zeros(1, 24, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        total_loss(model(ids), ids).backward()
    counted = counter.get_total_flops()
    # The formula also counts embeddings that are looked up and not multiplied.
    assert training_flops(cfg, 24) == pytest.approx(counted, rel=0.1)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("ignored", [0, 30])
def test_a_loss_written_over_the_logits_is_total_loss(precision, ignored):
    model = lively(GPTModel(replace(CFG, drop_rate=0.0)))
    ids = torch.randint(CFG.vocab_size, (12, 9), generator=torch.manual_seed(0))
    inputs, targets = ids[:, :-1], ids[:, 1:].clone()
    targets.view(-1)[:ignored] = IGNORED
    losses, gradients = [], []
    for loss_of in (LossOf(model), lambda x, y: total_loss(model(x), y)):
        model.zero_grad()
        with autocast(model.device, precision):
            loss = loss_of(inputs, targets)
        (loss / 7).backward()
        losses.append(loss.item())
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    off_by = (gradients[0] - gradients[1]).norm() / gradients[1].norm()
    assert off_by < (1e-5 if precision == "float32" else 1e-2)


def test_a_second_gradient_from_the_same_logits_is_refused():
    model, ids = GPTModel(CFG), torch.zeros(1, 4, dtype=torch.int64)
    loss = LossOf(model)(ids, ids)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize(
    ("name", "cfg"),
    [
        ("gpt2", GPT2_124M),
        ("gpt2-medium", GPT2_355M),
        ("gpt2-large", GPT2_774M),
        ("gpt2-xl", GPT2_1558M),
    ],
)
def test_the_table_in_the_readme_is_computed(name, cfg):
    readme = (ROOT / "README.md").read_text()
    for billions in (10, 100):
        flops = training_flops(cfg, billions * 10**9)
        hours = flops / (0.4 * 989e12) / 3600
        memory = training_memory(cfg) / 1e9
        two, eight = (sharded_memory(cfg, count) / 1e9 for count in (2, 8))
        assert (
            f"| `{name}` | {billions} billion | {flops:.1e} | {hours:,.1f} | "
            f"{hours / 8:,.1f} | {memory:.1f} GB | {two:.1f} GB | {eight:.1f} GB |"
        ) in readme


def test_runs_of_an_earlier_version_keep_their_seconds():
    steps = [{"seconds": 2.0}, {"tokens": 30, "tokens_per_second": 10.0}]
    assert total_seconds(steps) == 5.0


def test_the_seconds_of_a_step_include_making_its_batch(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    def slow_batch(step):
        clock[0] += 5.0 + step
        return WINDOWS.batch(step)

    done = [done.seconds for done in new_trainer().run(slow_batch)]
    assert done == [5.0 + step for step in range(RUN.steps)]
    assert new_trainer().train_step(*WINDOWS.batch(0)).seconds == 0
