"""Text generation: process the prompt once (prefill), then add one id at a time.

KV caches hold what the model has processed, so a step costs one position instead of
all. Once the window is full it slides: every token then has a new position, the caches
are invalid, and each step processes the whole window again.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch

from gpt2lib.attention import KVCache
from gpt2lib.checks import check_can_continue, check_int, check_logits, check_sampling
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
    check_can_continue(model.cfg)
    check_int("max_new_tokens", max_new_tokens, lowest=0)
    context_size = check_int("context_size", context_size, 1, model.cfg.context_length)
    vocab_size = check_int("vocab_size", vocab_size, 1, model.cfg.vocab_size)
    if eos_id is not None and eos_id not in range(vocab_size):
        raise ValueError(f"eos_id must be in [0, {vocab_size - 1}], got {eos_id!r}")
    check_sampling(vocab_size, temperature, top_k, top_p)
    is_batch = torch.is_tensor(idx) and idx.ndim == 2
    model.check_ids(idx[:, -context_size:] if is_batch else idx)
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
    highest = logits.amax(dim=-1, keepdim=True)  # subtracted against overflow
    logits = (logits.float() - highest) / max(temperature, 1e-20)
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    if top_p is not None:
        logits = keep_top_p(logits, top_p)
    return draw(logits.softmax(dim=-1), generator)


def draw(
    probabilities: torch.Tensor, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Samples one id per row from its probabilities.

    One uniform number per row, drawn on the generator's device, gives the same ids on
    every device; `torch.multinomial` does not.

    Shapes: (B, V) -> (B,) int64
    """
    device = generator.device if generator is not None else probabilities.device
    points = 1 - torch.rand(len(probabilities), generator=generator, device=device)
    return draw_at(points, probabilities)


def draw_at(points: torch.Tensor, probabilities: torch.Tensor) -> torch.Tensor:
    """The id at a point in (0, 1] of each row's cumulative probabilities.

    With uniform points, this is inverse transform sampling.

    Shapes: (B,), (B, V) -> (B,) int64
    """
    ends = probabilities.cumsum(dim=-1)
    reached = points.to(ends.device)[:, None] * ends[:, -1:]  # > 0: no impossible id
    return torch.searchsorted(ends, reached).squeeze(-1)


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
