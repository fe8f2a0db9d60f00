"""Wrong and right answers to the exercises of chapter 4."""

import math

import torch

from gpt2lib.course import check


def summed_loss(logits, targets):
    return torch.nn.functional.cross_entropy(logits, targets, reduction="sum")


def overflowing_loss(logits, targets):
    return -logits.softmax(-1)[range(len(targets)), targets].log().mean()


def rate_from_zero(step, steps, warmup, peak):
    if step < warmup:
        return peak * step / warmup
    return peak * (1 + math.cos(math.pi * (step - warmup) / (steps - 1 - warmup))) / 2


def cosine_over_all_steps(step, steps, warmup, peak):
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (1 + math.cos(math.pi * step / (steps - 1))) / 2


def all_but_biases(model):
    return sorted(n for n, _ in model.named_parameters() if not n.endswith("bias"))


def hours_in_seconds(n_params, tokens, gpus, flops, utilisation):
    return 6 * n_params * tokens / (gpus * flops * utilisation)


def hours_on_paper(n_params, tokens, gpus, flops, utilisation):
    return 6 * n_params * tokens / (gpus * flops) / 3600


WRONG = [
    (check.mean_loss, summed_loss, ""),
    (check.mean_loss, overflowing_loss, ""),
    (check.learning_rate, rate_from_zero, ""),
    (check.learning_rate, cosine_over_all_steps, ""),
    (check.decayed, all_but_biases, ""),
    (check.hours, hours_in_seconds, ""),
    (check.hours, hours_on_paper, ""),
]

RIGHT = []
