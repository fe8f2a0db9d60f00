"""Text generation: process the prompt once (prefill), then add one id at a time.

KV caches hold what the model has processed, so a step costs one position instead of
all. Once the window is full it slides: every token then has a new position, the caches
are invalid, and each step processes the whole window again.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch

from gpt2lib.attention import KVCache
from gpt2lib.model import GPTModel


def generate(
    model: GPTModel,
    idx: torch.Tensor,
    max_new_tokens: int,
    context_size: int | None = None,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    eos_id: int | None = None,
    generator: torch.Generator | None = None,
    vocab_size: int | None = None,
) -> torch.Tensor:
    """Continues every row of ids by up to `max_new_tokens` ids.

    A row that generated `eos_id` is padded with it; all stop once every row has.

    Args:
        idx: prompts, on any device.
        context_size: most recent tokens to read; all that fit in the context if None.
        temperature: 0 is greedy; below 1 sharper, above 1 flatter.
        top_k: sample from the k most likely ids.
        top_p: sample from the most likely ids that together reach this probability.
        generator: source of randomness; a fresh one if None, never torch's global one.
            `torch.Generator().manual_seed(1)` makes a run reproducible.
        vocab_size: the tokenizer's, if the model's is padded; padding is never chosen.

    Shapes: idx (B, T) int64 -> (B, T + new) on the model's device

    Raises:
        ValueError: a setting or an id out of range, or logits with NaN or infinity.
    """
    settings = (context_size, temperature, top_k, top_p, eos_id, generator, vocab_size)
    new_ids = list(stream(model, idx, max_new_tokens, *settings))
    return torch.cat([idx.to(model.device)] + [ids[:, None] for ids in new_ids], dim=1)


def stream(
    model: GPTModel,
    idx: torch.Tensor,
    max_new_tokens: int,
    context_size: int | None = None,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    eos_id: int | None = None,
    generator: torch.Generator | None = None,
    vocab_size: int | None = None,
) -> Iterator[torch.Tensor]:
    """`generate`, one step at a time: yields the next id of every row.

    Arguments are checked by the call itself, before the first step.

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
            if step == 0 or logits.device.type == "cpu":  # a GPU would wait
                check_logits(logits)
            next_ids = choose(logits)
        next_ids = next_ids.clone()  # not an inference tensor
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
    model: GPTModel,
    prompts: list[list[int]],
    max_new_tokens: int | None = None,
    eos_id: int | None = None,
    batch_size: int = 64,
    vocab_size: int | None = None,
) -> list[list[int]]:
    """Greedy continuations of prompts of different lengths, in batches.

    Rows are aligned on the left, without padding: shorter prompts are continued while
    longer ones are still being read. The ids are those of one prompt at a time, as
    many as the context holds if max_new_tokens is None; arguments as in `generate`.

    Returns: the new ids of each prompt, eos_id included.

    Raises:
        ValueError: a prompt that is empty or leaves no room in the context.
    """
    _check_head(model)
    limit = model.cfg.context_length
    wrong = [len(ids) for ids in prompts if not 0 < len(ids) < limit]
    if wrong:
        raise ValueError(
            f"a prompt has {wrong[0]} ids, but must have 1 to {limit - 1}, to leave "
            "room for an answer in the context: shorten it"
        )
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    answers: dict[int, list[int]] = {}
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        rows = [prompts[i] for i in chosen]
        new = limit if max_new_tokens is None else max_new_tokens
        ends = [min(len(ids) + new, limit) for ids in rows]
        answers |= zip(chosen, _continue_all(model, rows, ends, eos_id, vocab_size))
    return [answers[i] for i in range(len(prompts))]


def _continue_all(model, prompts, ends, eos_id, vocab_size):
    """New ids for each prompt of a batch, which is sorted by length."""
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
            f"this model has a classification head for {model.cfg.n_classes} classes "
            "and cannot continue a text: use classify from gpt2lib.finetuning"
        )


def next_token_logits(
    model: GPTModel, ids: torch.Tensor, caches: list[KVCache] | None = None
) -> torch.Tensor:
    """Logits for the next id; the output head runs on the last position only.

    Shapes: ids (B, T) -> (B, V)
    """
    return model.out_head(model.hidden_states(ids, caches)[:, -1])


@contextmanager
def evaluating(modules: Iterable[torch.nn.Module]) -> Iterator[None]:
    """Puts a model's modules in eval mode, and restores their modes afterwards."""
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


# ----------------------------------------------------------------------------- sampling


def sample(
    logits: torch.Tensor,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Samples the next id of every row, greedily at temperature 0.

    Shapes: logits (B, V) -> (B,) int64
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    logits = logits.float()
    logits = logits - logits.amax(dim=-1, keepdim=True)  # prevents overflow
    logits = logits / max(temperature, 1e-20)
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    if top_p is not None:
        logits = keep_top_p(logits, top_p)
    return draw(logits.softmax(dim=-1), generator)


def draw(
    probabilities: torch.Tensor, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Samples one id per row from its probabilities (inverse transform sampling).

    One uniform number per row, drawn on the generator's device, gives the same ids on
    every device; `torch.multinomial` does not.

    Shapes: (B, V) -> (B,) int64
    """
    device = generator.device if generator is not None else probabilities.device
    point = 1 - torch.rand(len(probabilities), 1, generator=generator, device=device)
    ends = probabilities.cumsum(dim=-1)
    point = point.to(ends.device) * ends[:, -1:]  # > 0: no id of probability 0
    return torch.searchsorted(ends, point).squeeze(-1)


def keep_top_k(logits: torch.Tensor, k: int) -> torch.Tensor:
    """Keeps the k largest logits of each row; all others become -inf.

    Shapes: (..., V) -> (..., V)

    >>> keep_top_k(torch.tensor([1.0, 3.0, 2.0]), 2)
    tensor([-inf, 3., 2.])
    """
    values, ids = logits.topk(k, dim=-1)
    return torch.full_like(logits, -torch.inf).scatter(-1, ids, values)


def keep_top_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Keeps the fewest ids whose probabilities sum to at least p (nucleus sampling).

    Shapes: (..., V) -> (..., V). Source: Holtzman et al. 2020, section 3.1.
    """
    if p == 1:  # rounding would cut off the tail
        return logits
    total = logits.logsumexp(dim=-1, keepdim=True)
    values, ids = logits.topk(min(512, logits.shape[-1]), dim=-1)
    if ((values - total).exp().sum(dim=-1) < p).any():  # too few: sort them all
        values, ids = logits.sort(dim=-1, descending=True)
    probabilities = (values - total).exp()
    reached_before = probabilities.cumsum(dim=-1) - probabilities
    surplus = (reached_before >= p) & (reached_before > 0)  # the first is always kept
    values = values.masked_fill(surplus, -torch.inf)
    return torch.full_like(logits, -torch.inf).scatter(-1, ids, values)


def check_logits(logits: torch.Tensor) -> None:
    """Raises ValueError if the largest logit of a row of (B, V) is not finite."""
    if not logits.amax(dim=-1).isfinite().all():
        raise ValueError(
            "the logits contain NaN or infinity, so no id can be chosen: the model's "
            "weights are damaged, or its training diverged"
        )


def check_sampling(
    vocab_size: int, temperature: float, top_k: int | None, top_p: float | None
) -> None:
    """Raises ValueError for a sampling setting out of range."""
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
