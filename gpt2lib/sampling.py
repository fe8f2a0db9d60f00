"""Logits become the next id. Pure functions: nothing is stored, nothing is changed.

Shapes: logits (B, V) -> ids (B,)
"""

import torch


def sample(logits, temperature=0.0, top_k=None, top_p=None, generator=None):
    """Draws the next id for every row; temperature 0 takes the likeliest (greedy).

    Randomness comes from `generator`. Arguments as `check_sampling` allows.

    Shapes: logits (B, V) -> (B,) int64
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    logits = logits.float()
    logits = logits - logits.amax(dim=-1, keepdim=True)  # so that nothing overflows
    logits = logits / max(temperature, 1e-20)
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    if top_p is not None:
        logits = keep_top_p(logits, top_p)
    return draw(logits.softmax(dim=-1), generator)


def draw(probabilities, generator=None):
    """Draws one id a row, each as often as its probability says.

    A point is thrown on the line of stacked probabilities; the id it falls on is
    drawn. One uniform number a row, made where the generator lives, gives the same
    ids on every device, which `torch.multinomial` does not.

    Shapes: (B, V) -> (B,) int64
    """
    device = generator.device if generator is not None else probabilities.device
    point = 1 - torch.rand(len(probabilities), 1, generator=generator, device=device)
    ends = probabilities.cumsum(dim=-1)
    point = point.to(ends.device) * ends[:, -1:]  # in (0, total]: never on a gap
    return torch.searchsorted(ends, point).squeeze(-1)


def keep_top_k(logits, k):
    """The k largest logits of each row stay, all others become -inf.

    Shapes: (..., V) -> (..., V)

    >>> keep_top_k(torch.tensor([1.0, 3.0, 2.0]), 2)
    tensor([-inf, 3., 2.])
    """
    values, ids = logits.topk(k, dim=-1)
    return torch.full_like(logits, -torch.inf).scatter(-1, ids, values)


def keep_top_p(logits, p):
    """The fewest likeliest ids whose probabilities reach p stay (nucleus sampling).

    Shapes: (..., V) -> (..., V). Source: Holtzman et al. 2020, section 3.1.
    """
    if p == 1:  # rounding would cut off the tail
        return logits
    total = logits.logsumexp(dim=-1, keepdim=True)
    values, ids = logits.topk(min(512, logits.shape[-1]), dim=-1)
    if ((values - total).exp().sum(dim=-1) < p).any():  # the rest is needed, sorted
        values, ids = logits.sort(dim=-1, descending=True)
    probabilities = (values - total).exp()
    reached_before = probabilities.cumsum(dim=-1) - probabilities
    surplus = (reached_before >= p) & (reached_before > 0)  # the first always stays
    values = values.masked_fill(surplus, -torch.inf)
    return torch.full_like(logits, -torch.inf).scatter(-1, ids, values)


def check_logits(logits):
    """Raises ValueError for logits (B, V) that nothing can be chosen by."""
    if not logits.amax(dim=-1).isfinite().all():
        raise ValueError(
            "the logits have NaN or infinity in them, so nothing can be chosen: the "
            "model's weights are damaged, or its training had failed"
        )


def check_sampling(vocab_size, temperature, top_k, top_p):
    """Raises ValueError for settings no distribution can follow."""
    if not 0 <= temperature < float("inf"):
        raise ValueError(
            f"temperature must be a finite number >= 0 (0 is greedy), got {temperature}"
        )
    if top_k is not None and not 1 <= top_k <= vocab_size:
        raise ValueError(
            f"top_k must be from 1 to the vocabulary's {vocab_size}, got {top_k}; "
            "leave it out to keep every token"
        )
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(
            f"top_p must be in (0, 1], got {top_p}; leave it out to keep every token"
        )
