"""The checkers of chapter 4: pretraining."""

import dataclasses
import math
from collections.abc import Iterator

import torch

from gpt2lib.config import GPTConfig
from gpt2lib.course.check.report import (
    WrongAnswer,
    brief,
    exercise,
    expect,
    number,
)
from gpt2lib.model import GPTModel


@exercise
def mean_loss(answer):
    generator = torch.Generator().manual_seed(1)
    for scale in (1, 300):
        logits = scale * torch.randn(5, 7, generator=generator)
        targets = torch.randint(7, (5,), generator=generator)
        picked = logits.log_softmax(dim=-1)[range(5), targets]
        slips = [
            ("that is the sum; a loss is the mean over tokens", -picked.sum()),
            ("a loss is positive: mind the sign", picked.mean()),
            ("these are bits: use the natural logarithm", -picked.mean() / math.log(2)),
        ]
        given = answer(logits, targets)
        if isinstance(given, int | float):
            given = torch.tensor(given)
        if isinstance(given, torch.Tensor) and not given.isfinite().all():
            raise WrongAnswer(
                f"with logits up to {logits.max():.0f} mean_loss gave {brief(given)}: "
                "a probability became 0 before its logarithm was taken"
            )
        expect("mean_loss(logits, targets)", given, -picked.mean(), slips)


@exercise
def learning_rate(answer):
    def wanted(step, steps, warmup, peak):
        if step < warmup:
            return peak * (step + 1) / warmup
        fall = (step - warmup) / (steps - 1 - warmup)
        return peak * (1 + math.cos(math.pi * fall)) / 2

    for steps, warmup, peak in ((100, 10, 1.0), (50, 5, 0.3), (50, 0, 1.0)):
        for step in (0, warmup // 2, warmup, warmup + 7, steps - 2):
            slips = []
            if step < warmup:
                late = peak * step / warmup
                slips = [("the first step moves already, so count it from 1", late)]
            given = answer(step, steps, warmup, peak)
            call = f"learning_rate({step}, {steps}, {warmup}, {peak})"
            right = wanted(step, steps, warmup, peak)
            if _close(given, right):
                continue
            expect(call, given, right, slips)


def _close(given, wanted):
    """Whether a number of any type, float32 too, is nearly another."""
    try:
        return math.isclose(float(given), wanted, rel_tol=1e-5, abs_tol=1e-7)
    except (TypeError, ValueError, RuntimeError):
        return False


@exercise
def decayed(answer):
    cfg = GPTConfig(vocab_size=11, context_length=8, emb_dim=8, n_heads=2, n_layers=1)
    for fused in (True, False):
        model = GPTModel(dataclasses.replace(cfg, fused_qkv=fused))
        named = dict(model.named_parameters())
        wanted = sorted(name for name, p in named.items() if p.ndim == 2)
        unbiased = sorted(name for name in named if not name.endswith("bias"))
        slips = [("the scale and shift of a norm are vectors, too", unbiased)]
        given = answer(model)
        if isinstance(given, Iterator | set):
            given = sorted(given)
        expect("decayed(model)", given, wanted, slips)


@exercise
def hours(answer):
    for n_params, tokens, gpus, flops, utilisation in (
        (124_439_808, 10**10, 1, 989e12, 0.4),
        (1_557_611_200, 3 * 10**10, 64, 312e12, 0.35),
    ):
        given = answer(n_params, tokens, gpus, flops, utilisation)
        seconds = 6 * n_params * tokens / (gpus * flops * utilisation)
        slips = [
            ("these are seconds", seconds),
            ("a way back costs twice a way forward: 6, not 2", seconds / 3600 / 3),
            ("more GPUs take less time", seconds / 3600 * gpus**2),
            ("nobody reaches the promised speed", seconds / 3600 * utilisation),
        ]
        expect(
            f"hours({n_params}, {tokens}, {gpus}, {flops}, {utilisation})",
            given,
            seconds / 3600,
            slips,
        )


def _small_model(seed):
    cfg = GPTConfig(
        vocab_size=11,
        context_length=8,
        emb_dim=8,
        n_heads=2,
        n_layers=1,
        drop_rate=0.0,
    )
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return GPTModel(cfg)


def _step(model, optimizer, inputs, targets, clip, clear=True):
    logits = model(inputs).flatten(0, 1)
    loss = torch.nn.functional.cross_entropy(logits, targets.flatten())
    if clear:
        optimizer.zero_grad()
    loss.backward()
    if clip is not None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    return loss.item()


def _weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@exercise
def training_step(answer):
    generator = torch.Generator().manual_seed(3)
    for kind, rate, clip in (
        (torch.optim.SGD, 0.5, 0.1),
        (torch.optim.SGD, 0.5, 100.0),
        (torch.optim.AdamW, 0.01, 1.0),
    ):
        given, right = _small_model(4), _small_model(4)
        models = {"clear": _small_model(4), "clip": _small_model(4)}
        theirs, ours = (kind(m.parameters(), lr=rate) for m in (given, right))
        others = {n: kind(m.parameters(), lr=rate) for n, m in models.items()}
        for step in range(3):
            batch = torch.randint(11, (2, 3, 5), generator=generator).unbind()
            loss = answer(given, theirs, *batch, clip)
            wanted = _step(right, ours, *batch, clip)
            _step(models["clear"], others["clear"], *batch, clip, clear=False)
            _step(models["clip"], others["clip"], *batch, None)
            call = f"training_step with {kind.__name__}, clip={clip}, step {step + 1}"
            if loss is None or not _close(number(loss), wanted):
                expect(f"{call}: the loss before the step", number(loss), wanted)
            slips = [
                ("the gradients of the step before are still there", models["clear"]),
                ("the gradients were not clipped as one vector", models["clip"]),
            ]
            slips = [(words, _weights(model)) for words, model in slips]
            expect(f"{call}: the weights", _weights(given), _weights(right), slips)


@exercise
def sample_top_p(answer):
    shares = torch.tensor(
        [
            [0.02, 0.5, 0.03, 0.3, 0.15],
            [0.9, 0.04, 0.03, 0.02, 0.01],
            [0.08, 0.12, 0.2, 0.25, 0.35],
        ]
    )
    for temperature, p in ((1.0, 0.85), (2.0, 0.6), (0.5, 0.95), (1.0, 0.3)):
        logits = (3 * shares.log()).repeat_interleave(2000, dim=0) / 3 + 5
        probabilities = (shares.log() / temperature).softmax(dim=-1)
        wanted = _nucleus(probabilities, p)
        call = f"sample_top_p(logits, {temperature}, {p}, generator)"
        drawn = []
        for _ in range(2):
            generator = torch.Generator().manual_seed(1)
            given = answer(logits.clone(), temperature, p, generator)
            if isinstance(given, list) and all(type(id) is int for id in given):
                given = torch.tensor(given)
            whole = torch.zeros(len(logits), dtype=torch.int64)
            if not isinstance(given, torch.Tensor) or given.shape != whole.shape:
                expect(call, given, whole)
            drawn.append(given.long())
        if not drawn[0].equal(drawn[1]):
            raise WrongAnswer(f"{call}: the same generator drew other ids")
        _expect_shares(call, drawn[0].reshape(3, 2000), probabilities, wanted)


def _nucleus(probabilities, p):
    """The shares with which ids should be drawn, by brute force."""
    wanted = torch.zeros_like(probabilities)
    for row, values in enumerate(probabilities.tolist()):
        reached = 0.0
        for id in sorted(range(len(values)), key=lambda id: -values[id]):
            if reached >= p:
                break
            wanted[row, id] = values[id]
            reached += values[id]
    return wanted / wanted.sum(dim=-1, keepdim=True)


def _expect_shares(call, drawn, probabilities, wanted):
    for row, ids in enumerate(drawn):
        if not ((ids >= 0) & (ids < 5)).all():
            raise WrongAnswer(f"{call} gave ids that are not in the vocabulary")
        found = torch.bincount(ids, minlength=5) / len(ids)
        given = [round(share, 2) for share in probabilities[row].tolist()]
        message = f"{call}: of the probabilities {given} "
        if outside := (found * (wanted[row] == 0)).nonzero().flatten().tolist():
            raise WrongAnswer(f"{message}id {outside[0]} must never be drawn")
        if (found - wanted[row]).abs().max() > 0.06:
            shares = [[round(x, 2) for x in v.tolist()] for v in (found, wanted[row])]
            raise WrongAnswer(f"{message}it drew {shares[0]}, expected {shares[1]}")


@exercise
def mended_split(answer):
    for length, context_length, share in (
        (400, 8, 0.9),
        (1000, 20, 0.8),
        (301, 16, 0.9),
    ):
        ids = torch.arange(length)
        call = f"mended_split(arange({length}), {context_length}, {share})"
        given = answer(ids, context_length, share)
        if not _is_two_pairs(given):
            expect(call, given, "two pairs of tensors (inputs, targets)")
        for inputs, targets in given:
            shape = (len(inputs), context_length)
            if inputs.shape != shape or not targets.equal(inputs + 1):
                raise WrongAnswer(
                    f"{call}: expected inputs (N, {context_length}) and targets one "
                    "token ahead"
                )
        used = [set(torch.cat([*pair]).flatten().tolist()) for pair in given]
        if len(both := used[0] & used[1]) > 1:  # one: the last target and first input
            raise WrongAnswer(f"{call}: {len(both)} tokens are on both sides")
        for part, tokens, wanted in zip(
            ("to learn from", "held out"), used, (share, 1 - share)
        ):
            if abs(len(tokens) - wanted * length) > 2 * context_length + 2:
                raise WrongAnswer(
                    f"{call}: {len(tokens)} of {length} tokens are {part}, expected "
                    f"about {wanted * length:.0f}"
                )


def _is_two_pairs(given):
    def pair(value, kind):
        alike = isinstance(value, list | tuple) and len(value) == 2
        return alike and all(map(kind, value))

    def tensor(value):
        return isinstance(value, torch.Tensor)

    return pair(given, lambda value: pair(value, tensor))
