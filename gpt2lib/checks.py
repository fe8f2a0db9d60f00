"""Arguments that cannot be meant are refused: what was given, and what is allowed."""

from typing import Any

import torch

from gpt2lib.config import GPTConfig


def check_whole(name: str, value: object, lowest: int = 1) -> None:
    """Raises ValueError unless `value`, which is to be stored, is an int in range."""
    if type(value) is not int or not lowest <= value < 2**63:
        raise ValueError(
            f"{name} must be a whole number from {lowest} to 2**63 - 1 (an int), got "
            f"{value!r}"
        )


def check_int(name: str, value: Any, lowest: int = 1, most: int | None = None) -> int:
    """A whole number, cut to `most`, which None stands for; otherwise a ValueError."""
    if value is None and most is not None:
        value = most
    if not hasattr(value, "__index__") or value < lowest:
        raise ValueError(f"{name} must be a whole number >= {lowest}, got {value!r}")
    return value if most is None else min(value, most)


def check_positions(given: int, allowed: int) -> None:
    """Raises ValueError if a sequence has more positions than allowed."""
    if given > allowed:
        raise ValueError(
            f"the sequence has {given} positions, but at most {allowed} fit: "
            f"shorten it, or keep its last {allowed} tokens"
        )


def check_can_continue(cfg: GPTConfig) -> None:
    """Raises ValueError for a model whose head predicts classes."""
    if cfg.n_classes:
        raise ValueError(
            f"this model has a classification head for {cfg.n_classes} classes "
            "and cannot continue a text: use classify from gpt2lib.finetuning"
        )


def check_sampling(
    vocab_size: int, temperature: float, top_k: int | None, top_p: float | None
) -> None:
    """Raises ValueError for a sampling setting out of range."""
    if not hasattr(temperature, "__float__") or not 0 <= temperature < float("inf"):
        raise ValueError(
            f"temperature must be finite and >= 0 (0 is greedy), got {temperature!r}"
        )
    is_whole = hasattr(top_k, "__index__")
    if top_k is not None and not (is_whole and 1 <= top_k <= vocab_size):
        raise ValueError(
            f"top_k must be from 1 to the vocabulary's {vocab_size}, got {top_k!r}; "
            "leave it out to keep every token"
        )
    if top_p is not None and (not hasattr(top_p, "__float__") or not 0 < top_p <= 1):
        raise ValueError(
            f"top_p must be in (0, 1], got {top_p!r}; leave it out to keep every token"
        )


def check_logits(logits: torch.Tensor) -> None:
    """Raises ValueError if the largest logit of a row of (B, V) is not finite."""
    if not logits.amax(dim=-1).isfinite().all():
        raise ValueError(
            "the logits contain NaN or infinity, so no id can be chosen: the model's "
            "weights are damaged, or its training diverged"
        )
