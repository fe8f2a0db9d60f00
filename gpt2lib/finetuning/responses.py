"""Responses to many prompts at once: batches of prompts of different lengths."""

import torch

from gpt2lib.data import pad
from gpt2lib.generate import (
    check_can_continue,
    check_logits,
    check_sampling,
    draw_at,
    evaluating,
)
from gpt2lib.model import GPTModel
from gpt2lib.tokenizer import Tokenizer

CROWD = 3 / 4  # once fewer rows of a batch than this are going, the others leave it


def generate_ragged(
    model: GPTModel,
    prompts: list[list[int]],
    max_new_tokens: int | None = None,
    eos_id: int | None = None,
    batch_size: int = 64,
    vocab_size: int | None = None,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> list[list[int]]:
    """Continuations of prompts of different lengths, in batches.

    Prompts are aligned on the right, so that all rows begin to write together; equal
    prompts are read once, and rows that have ended leave the batch. The ids are those
    of one prompt at a time, as many as the context holds if max_new_tokens is None.

    Args:
        temperature: as in `generate`, like the other arguments.
        generator: gives each prompt a seed of its own, so that what is drawn for one
            does not depend on the others; a fresh one if None.

    Returns: the new ids of each prompt, eos_id included.

    Raises:
        ValueError: a prompt that is empty or leaves no room in the context.
    """
    check_can_continue(model)
    check_sampling(model.cfg.vocab_size, temperature, None, None)
    if vocab_size is not None and vocab_size < 1:
        raise ValueError(f"vocab_size must be at least 1, got {vocab_size}")
    limit = model.cfg.context_length
    wrong = [len(ids) for ids in prompts if not 0 < len(ids) < limit]
    if wrong:
        raise ValueError(
            f"a prompt has {wrong[0]} ids, but must have 1 to {limit - 1}, to leave "
            "room for an answer in the context: shorten it"
        )
    new = limit if max_new_tokens is None else max(0, max_new_tokens)
    ends = [min(len(ids) + new, limit) for ids in prompts]
    points = _draw_points(prompts, ends, generator) if temperature else None
    answers: list[list[int]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), prompts[i]))
    for start in range(0, len(order) if new else 0, batch_size):
        batch = _Batch(model, prompts, ends, order[start : start + batch_size])
        while batch.rows:
            logits = batch.logits[:, :vocab_size]
            check_logits(logits)
            if points is None:
                ids = logits.argmax(dim=-1)
            else:
                # A row that has ended draws its last number again, to no effect.
                at = [points[i][: len(answers[i]) + 1][-1] for i in batch.rows]
                likely = (logits.float() / temperature).softmax(dim=-1)
                ids = draw_at(torch.stack(at), likely)
            batch.write(ids.tolist(), answers, eos_id)
    return answers


def _draw_points(prompts, ends, generator):
    """For each prompt, a number in (0, 1] for each id that may be drawn."""
    if generator is None:
        generator = torch.Generator()
        generator.seed()
    seeds = torch.randint(2**62, (len(prompts),), generator=generator)
    return [
        1 - torch.rand(end - len(ids), generator=torch.Generator().manual_seed(seed))
        for ids, end, seed in zip(prompts, ends, seeds.tolist())
    ]


class _Batch:
    """Rows that are written side by side, aligned on the right.

    Attributes:
        rows: the indices of their prompts.
        logits: of the next id of each row, (rows, V).
    """

    def __init__(self, model, prompts, ends, rows):
        self.model, self.prompts, self.ends = model, prompts, ends
        self.modules = list(model.modules())
        self.rows, self.going = rows, set(rows)
        different = {tuple(prompts[i]): None for i in rows}
        number = {ids: n for n, ids in enumerate(different)}
        which = torch.tensor([number[tuple(prompts[i])] for i in rows])
        lengths = torch.tensor([len(ids) for ids in different])
        inputs, _ = pad([(list(ids), []) for ids in different])
        self.caches = model.new_caches(inputs.shape[1])
        with torch.inference_mode(), evaluating(self.modules):
            hidden = model.hidden_states(inputs.to(model.device), self.caches)
            last = hidden[torch.arange(len(lengths)), lengths - 1]
            self.logits = model.out_head(last[which])
        self.offsets = inputs.shape[1] - lengths[which]
        self._store(which, torch.arange(inputs.shape[1]) - self.offsets[:, None])

    def _store(self, rows, places):
        """Gives each row a copy of some places of one of the rows in the caches."""
        model, length = self.model, places.shape[1]
        new = max(self.ends[i] - len(self.prompts[i]) for i in self.rows)
        room = min(length + new, model.cfg.context_length)
        mask = torch.arange(room) >= self.offsets[:, None]
        chosen = rows[:, None].to(model.device), slice(None), places.clamp(min=0)
        read, self.caches = self.caches, model.new_caches(room)
        for old, cache in zip(read, self.caches):
            cache.append(*(t[chosen].transpose(1, 2) for t in (old.keys, old.values)))
            cache.mask = mask[:, None, None].to(model.device)

    def write(self, ids, answers, eos_id):
        """Appends an id to each answer; computes the next logits of those going on."""
        for i, id in zip(self.rows, ids):
            if i in self.going:
                answers[i].append(id)
                whole = len(self.prompts[i]) + len(answers[i])
                if id == eos_id or whole == self.ends[i]:
                    self.going.remove(i)
        full = self.caches[0].length == self.model.cfg.context_length
        if full or len(self.going) < CROWD * len(self.rows):
            ids = self._leave(ids)
        if not self.rows:
            return
        unread = torch.tensor(ids)[:, None].to(self.model.device)
        at = (self.caches[0].length - self.offsets)[:, None].to(self.model.device)
        with torch.inference_mode(), evaluating(self.modules):
            hidden = self.model.hidden_states(unread, self.caches, at)
            self.logits = self.model.out_head(hidden[:, -1])

    def _leave(self, ids):
        """Drops the rows that have ended, and places that no other row uses."""
        kept = [n for n, i in enumerate(self.rows) if i in self.going]
        self.rows = [self.rows[n] for n in kept]
        if kept:
            self.offsets = self.offsets[kept]
            first, length = int(self.offsets.min()), self.caches[0].length
            self.offsets = self.offsets - first
            places = torch.arange(first, length).expand(len(kept), -1)
            self._store(torch.tensor(kept), places)
        return [ids[n] for n in kept]


def respond(
    model: GPTModel,
    prompts: list[str],
    tokenizer: Tokenizer,
    max_new_tokens: int | None = None,
    batch_size: int = 64,
) -> list[tuple[str, bool]]:
    """A greedy response to each prompt, and whether <|endoftext|> ended it.

    Args:
        max_new_tokens: as many as fit in the context if None.

    Returns: [(text, stopped), ...]

    Raises:
        ValueError: a prompt that leaves no room in the context.
    """
    ids = [tokenizer.encode_ordinary(prompt) for prompt in prompts]
    answers = generate_ragged(
        model, ids, max_new_tokens, tokenizer.eot_token, batch_size, tokenizer.n_vocab
    )
    return [
        (tokenizer.decode([id for id in new if id != tokenizer.eot_token]), stopped)
        for new in answers
        for stopped in [new[-1:] == [tokenizer.eot_token]]
    ]
