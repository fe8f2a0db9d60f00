"""The checkers of chapter 4: pretraining."""

import dataclasses
import math

import torch

from gpt2lib.config import GPTConfig
from gpt2lib.course.check.report import WrongAnswer, as_list, exercise, expect
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
        given = given if given is None else torch.as_tensor(given)
        if isinstance(given, torch.Tensor) and not given.isfinite().all():
            raise WrongAnswer(
                f"with logits up to {logits.max():.0f} the loss is {given.item()}: a "
                "probability became 0 before its logarithm was taken"
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
            given = given.item() if isinstance(given, torch.Tensor) else given
            call = f"learning_rate({step}, {steps}, {warmup}, {peak})"
            expect(call, given, wanted(step, steps, warmup, peak), slips)


@exercise
def decayed(answer):
    cfg = GPTConfig(vocab_size=11, context_length=8, emb_dim=8, n_heads=2, n_layers=1)
    for fused in (True, False):
        model = GPTModel(dataclasses.replace(cfg, fused_qkv=fused))
        named = dict(model.named_parameters())
        wanted = sorted(name for name, p in named.items() if p.ndim == 2)
        unbiased = sorted(name for name in named if not name.endswith("bias"))
        slips = [("the scale and shift of a norm are vectors, too", unbiased)]
        expect("decayed(model)", as_list(answer(model)), wanted, slips)


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
