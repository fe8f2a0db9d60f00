"""Ids become more ids: read the prompt once (prefill), then add one id at a time.

What a model has read stays in its KV caches, so a step costs one position instead of
all of them. Once the window is full it slides: every token then has a new position,
the caches are void, and a step reads the whole window again.
"""

from contextlib import contextmanager

import torch


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
    vocab_size=None,
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
        generator: source of randomness; a fresh one if None, never torch's global one.
            With `torch.Generator().manual_seed(1)` a run can be repeated.
        vocab_size: the tokenizer's, where the model's is padded: ids that no token has
            are never chosen.

    Shapes: idx (B, T) int64 -> (B, T + new) on the model's device

    Raises:
        ValueError: a setting or an id out of range, or logits that are not finite.
    """
    settings = (context_size, temperature, top_k, top_p, eos_id, generator, vocab_size)
    new_ids = list(stream(model, idx, max_new_tokens, *settings))
    return torch.cat([idx.to(model.device)] + [ids[:, None] for ids in new_ids], dim=1)


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
    vocab_size=None,
):
    """`generate`, one step at a time: yields the next id of every row as it is drawn.

    Arguments are checked at the call, before the first step.

    Shapes: idx (B, T) -> yields (B,)
    """
    _check_head(model)
    limit = model.cfg.context_length
    context_size = limit if context_size is None else min(context_size, limit)
    if context_size < 1:
        raise ValueError(f"context_size must be at least 1, got {context_size}")
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must be at least 0, got {max_new_tokens}")
    vocab_size = min(vocab_size or model.cfg.vocab_size, model.cfg.vocab_size)
    if eos_id is not None and not 0 <= eos_id < vocab_size:
        raise ValueError(f"eos_id must be in [0, {vocab_size - 1}], got {eos_id}")
    check_sampling(vocab_size, temperature, top_k, top_p)
    model.check_ids(idx[..., -context_size:])
    model.check_range(idx)
    idx = idx.to(model.device)
    if generator is None and temperature > 0:
        generator = torch.Generator()
        generator.seed()

    def choose(logits):
        return sample(logits[:, :vocab_size], temperature, top_k, top_p, generator)

    return _steps(model, idx, max_new_tokens, context_size, choose, eos_id)


def _steps(model, idx, max_new_tokens, context_size, choose, eos_id):
    window = idx[:, -context_size:]
    caches = model.new_caches(min(window.shape[1] + max_new_tokens, context_size))
    unread = window
    finished = torch.zeros(len(idx), dtype=torch.bool, device=idx.device)
    modules = [*model.modules()]
    for step in range(max_new_tokens):
        with torch.inference_mode(), evaluating(modules):
            logits = next_token_logits(model, unread, caches)
            if step == 0 or logits.device.type == "cpu":  # a GPU would have to wait
                check_logits(logits)
            next_ids = choose(logits)
        next_ids = next_ids.clone()  # usable in training too
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


def generate_ragged(
    model, prompts, max_new_tokens=None, eos_id=None, batch_size=64, vocab_size=None
):
    """The likeliest continuation of prompts of different lengths, many at a time.

    Rows begin together, so nothing is padded in front: while a long prompt is still
    being read, shorter rows answer already. The ids are those of one by one.

    Args:
        prompts: lists of ids.
        max_new_tokens: for each row; what the context has room for if None.
        vocab_size: as in `generate`.

    Returns: the new ids of each prompt; the last one is eos_id if the row met it.

    Raises:
        ValueError: a prompt that is empty or leaves no room in the context.
    """
    _check_head(model)
    limit = model.cfg.context_length
    wrong = [len(ids) for ids in prompts if not 0 < len(ids) < limit]
    if wrong:
        raise ValueError(
            f"a prompt has {wrong[0]} ids, must have 1 to {limit - 1}, so that the "
            "context has room for an answer"
        )
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    answers = {}
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        rows = [prompts[i] for i in chosen]
        new = limit if max_new_tokens is None else max_new_tokens
        ends = [min(len(ids) + new, limit) for ids in rows]
        answers |= zip(chosen, _continue_all(model, rows, ends, eos_id, vocab_size))
    return [answers[i] for i in range(len(prompts))]


def _continue_all(model, prompts, ends, eos_id, vocab_size):
    """New ids for each of a batch of prompts, the shortest first."""
    caches, new = model.new_caches(max(ends)), [[] for _ in prompts]
    unread = torch.tensor([ids[: len(prompts[0])] for ids in prompts])
    modules, going = list(model.modules()), True
    while going:
        with torch.inference_mode(), evaluating(modules):
            logits = next_token_logits(model, unread.to(model.device), caches)
        logits = logits[:, :vocab_size]
        check_logits(logits)
        column, place, going = logits.argmax(dim=-1).tolist(), caches[0].length, False
        for i, prompt in enumerate(prompts):
            if place < len(prompt):
                column[i] = prompt[place]
                going = True
            elif place < ends[i] and new[i][-1:] != [eos_id]:
                new[i].append(column[i])
                going = going or (place + 1 < ends[i] and column[i] != eos_id)
        unread = torch.tensor(column)[:, None]
    return new


def _check_head(model):
    if model.cfg.n_classes:
        raise ValueError(
            f"this model tells {model.cfg.n_classes} classes apart and cannot continue "
            "a text: use classify from gpt2lib.finetuning"
        )


def next_token_logits(model, ids, caches=None):
    """Scores for the id after the last one; the head runs on that position alone.

    Shapes: ids (B, T) -> (B, V)
    """
    return model.out_head(model.hidden_states(ids, caches)[:, -1])


@contextmanager
def evaluating(modules):
    """Puts a model's modules in eval mode for a while, then back as they were."""
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


# ----------------------------------------------------------------------------- sampling


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
