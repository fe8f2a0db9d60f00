"""Ids become more ids: read the prompt once (prefill), then add one id at a time.

What a model has read stays in its KV caches, so a step costs one position instead of
all of them. Once the window is full it slides: every token then has a new position,
the caches are void, and a step reads the whole window again.
"""

from contextlib import contextmanager

import torch

from gpt2lib.sampling import check_sampling, sample


def generate(
    model,
    idx,
    max_new_tokens,
    context_size=None,
    temperature=0.0,
    top_k=None,
    top_p=None,
    eos_id=None,
    generator=None,
):
    """Continues every row of ids by up to `max_new_tokens` ids.

    A row that met `eos_id` is filled with it; all stop once every row has.

    Args:
        idx: prompts, on any device; they are moved to the model's.
        context_size: most recent tokens the model sees; the model's limit if None, and
            never more than that.
        temperature: 0 is greedy; below 1 sharper, above 1 flatter.
        top_k: choose among the k likeliest ids.
        top_p: choose among the likeliest ids that together reach this probability.
        generator: source of randomness; a fresh one if None, so torch's global
            generator is never touched. Pass `torch.Generator().manual_seed(1)` to
            repeat a run.

    Shapes: idx (B, T) int64 -> (B, T + new) on the model's device

    Raises:
        ValueError: a setting or an id out of range; the message says what is allowed.
    """
    new_ids = list(
        stream(
            model,
            idx,
            max_new_tokens,
            context_size,
            temperature,
            top_k,
            top_p,
            eos_id,
            generator,
        )
    )
    idx = idx.to(model.device)
    return torch.cat([idx] + [ids[:, None] for ids in new_ids], dim=1)


def stream(
    model,
    idx,
    max_new_tokens,
    context_size=None,
    temperature=0.0,
    top_k=None,
    top_p=None,
    eos_id=None,
    generator=None,
):
    """`generate`, one step at a time: yields the next id of every row as it is drawn.

    Arguments are checked at the call, before the first step.

    Shapes: idx (B, T) -> yields (B,)
    """
    limit = model.cfg.context_length
    context_size = limit if context_size is None else min(context_size, limit)
    if context_size < 1:
        raise ValueError(f"context_size must be at least 1, got {context_size}")
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must be at least 0, got {max_new_tokens}")
    vocab_size = model.cfg.vocab_size
    if eos_id is not None and not 0 <= eos_id < vocab_size:
        raise ValueError(f"eos_id must be in [0, {vocab_size - 1}], got {eos_id}")
    check_sampling(vocab_size, temperature, top_k, top_p)
    idx = idx.to(model.device)
    model.check_ids(idx[..., -context_size:])
    model.check_range(idx)
    if generator is None and temperature > 0:
        generator = torch.Generator()
        generator.seed()

    def choose(logits):
        return sample(logits, temperature, top_k, top_p, generator)

    return _steps(model, idx, max_new_tokens, context_size, choose, eos_id)


def _steps(model, idx, max_new_tokens, context_size, choose, eos_id):
    window = idx[:, -context_size:]
    caches = model.new_caches(min(window.shape[1] + max_new_tokens, context_size))
    unread = window
    finished = torch.zeros(len(idx), dtype=torch.bool, device=idx.device)
    for _ in range(max_new_tokens):
        with torch.no_grad(), evaluating(model):
            next_ids = choose(next_token_logits(model, unread, caches))
        if eos_id is not None:
            next_ids = next_ids.masked_fill(finished, eos_id)
            finished |= next_ids == eos_id
        yield next_ids
        if eos_id is not None and finished.all():
            return
        window = torch.cat([window, next_ids[:, None]], dim=1)
        if window.shape[1] > context_size:  # the window slides
            window = window[:, -context_size:]
            caches, unread = None, window
        else:
            unread = next_ids[:, None]


def next_token_logits(model, ids, caches=None):
    """Scores for the id after the last one; the head runs on that position alone.

    Shapes: ids (B, T) -> (B, V)
    """
    return model.out_head(model.hidden_states(ids, caches)[:, -1])


@contextmanager
def evaluating(model):
    """Puts the model in eval mode for a while, then every module back as it was."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
