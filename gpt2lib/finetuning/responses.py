"""Responses to many prompts at once, drawn or scored.

Prompts may have different lengths, and equal ones are read once.
"""

import math

import torch

from gpt2lib.attention import KVCache
from gpt2lib.checks import check_can_continue, check_int, check_logits, check_sampling
from gpt2lib.data import IGNORED, pad
from gpt2lib.generate import draw_at, evaluating
from gpt2lib.model import GPTModel
from gpt2lib.tokenizer import Tokenizer
from gpt2lib.training.loss import log_probs_after, token_log_probs

ROOM = 32  # new positions that a cache has room for at first
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

    All rows begin to write together, equal prompts are read once, and rows that have
    ended leave the batch. The ids are those of one prompt at a time, as many as the
    context holds if max_new_tokens is None.

    Args:
        temperature: as in `generate`, like the other arguments.
        generator: gives each prompt a seed of its own, so that what is drawn for one
            does not depend on the others; a fresh one if None.

    Returns: the new ids of each prompt, eos_id included.

    Raises:
        TypeError: prompts that are not lists of ids.
        ValueError: a prompt that is empty or leaves no room in the context.
    """
    check_can_continue(model.cfg)
    check_sampling(model.cfg.vocab_size, temperature, None, None)
    limit = model.cfg.context_length
    new = check_int("max_new_tokens", max_new_tokens, 0, limit)
    batch_size = check_int("batch_size", batch_size)
    vocab_size = check_int("vocab_size", vocab_size, 1, model.cfg.vocab_size)
    _check_prompts(prompts, limit)
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
                likely = (logits.float() / max(temperature, 1e-20)).softmax(dim=-1)
                ids = draw_at(torch.stack(at), likely)
            batch.write(ids.tolist(), answers, eos_id)
    return answers


def _check_prompts(prompts, limit):
    for ids in prompts:
        if not isinstance(ids, (list, tuple)):
            raise TypeError(
                f"each prompt must be a list of ids, got {type(ids).__name__}: pass "
                "[tokenizer.encode(text), ...]"
            )
        if not 0 < len(ids) < limit:
            raise ValueError(
                f"a prompt has {len(ids)} ids, but must have 1 to {limit - 1}, to "
                "leave room for an answer in the context: shorten it"
            )


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
    """Rows that are written side by side; those with the same prompt share its cache.

    Attributes:
        rows: the indices of their prompts.
        logits: of the next id of each row, (rows, V).
    """

    def __init__(self, model, prompts, ends, rows):
        self.model, self.prompts, self.ends = model, prompts, ends
        self.modules = list(model.modules())
        self.rows, self.going = rows, set(rows)
        which, lengths, inputs = _prompts_of([prompts[i] for i in rows])
        read = model.new_caches(inputs.shape[1])
        with torch.inference_mode(), evaluating(self.modules):
            hidden = model.hidden_states(inputs.to(model.device), read)
            last = hidden[torch.arange(len(lengths)), lengths - 1]
            self.logits = model.out_head(last[which])
        self.lengths = lengths[which].to(model.device)
        branches = _Branches(which, lengths, model.device)
        self.caches = [_SharedCache(ROOM, branches, c.keys, c.values) for c in read]

    def write(self, ids, answers, eos_id):
        """Appends an id to each answer; computes the next logits of those going on."""
        for i, id in zip(self.rows, ids):
            if i in self.going:
                answers[i].append(id)
                whole = len(self.prompts[i]) + len(answers[i])
                if id == eos_id or whole == self.ends[i]:
                    self.going.remove(i)
        with torch.inference_mode(), evaluating(self.modules):
            if len(self.going) < CROWD * len(self.rows):
                ids = self._leave(ids)
            if self.rows:
                self._read(torch.tensor(ids)[:, None].to(self.model.device))

    def _read(self, unread):
        last = self.model.cfg.context_length - 1  # for rows that have ended
        at = (self.lengths + self.caches[0].length).clamp(max=last)[:, None]
        hidden = self.model.hidden_states(unread, self.caches, at)
        self.logits = self.model.out_head(hidden[:, -1])

    def _leave(self, ids):
        """Drops the rows that have ended, and prompts that nobody continues."""
        kept = [n for n, i in enumerate(self.rows) if i in self.going]
        self.rows = [self.rows[n] for n in kept]
        if kept:
            self.lengths = self.lengths[kept]
            branches, prompts = self.caches[0].branches.of(kept)
            for cache in self.caches:
                cache.keep(kept, prompts, branches)
        return [ids[n] for n in kept]


class _Branches:
    """Which rows continue which prompt.

    Side by side, every prompt has as many places as the one with the most rows.
    """

    def __init__(self, which, lengths, device):
        self.which, self.lengths = which, lengths
        before = (which[:, None] == which).tril(-1).sum(dim=1)
        self.shape = len(lengths), int(before.max()) + 1
        places = which * self.shape[1] + before
        rows = places.new_zeros(math.prod(self.shape))  # row 0 where there is none
        rows[places] = torch.arange(len(places))
        self.places, self.rows = places.to(device), rows.to(device)
        padding = torch.arange(int(lengths.max())) >= lengths[:, None]
        self.padding = padding[:, None, None].to(device)

    def of(self, rows):
        """The branches of some rows, and the prompts that these continue."""
        prompts, which = self.which[rows].unique(return_inverse=True)
        return _Branches(which, self.lengths[prompts], self.padding.device), prompts

    def side_by_side(self, x):
        """The positions of all rows of a prompt, one row after the other.

        Shapes: (rows, H, T, X) -> (prompts, H, branches * T, X)
        """
        x = x.index_select(0, self.rows).unflatten(0, self.shape)
        return x.transpose(1, 2).flatten(2, 3)

    def in_rows(self, x):
        """The reverse. Shapes: (prompts, H, branches * T, X) -> (rows, H, T, X)"""
        x = x.unflatten(2, (self.shape[1], -1)).transpose(1, 2)
        return x.flatten(0, 1).index_select(0, self.places)


class _SharedCache(KVCache):
    """Keys and values of what each row has written, and of the prompts before it.

    A prompt is stored, and read, once for all rows that continue it: with many rows,
    reading its keys anew for each of them would take most of attention's time.
    """

    def __init__(self, capacity, branches, keys, values):
        super().__init__(capacity)
        self.branches = branches
        self.prompt_keys, self.prompt_values = keys, values

    def append(self, keys, values):
        """As in `KVCache`, but a full one grows: to touch new memory is slow."""
        if self.length + keys.shape[2] > self.capacity:
            written = [t[:, :, : self.length] for t in (self.keys, self.values)]
            self.keys = self.values = None
            self.length, self.capacity = 0, 2 * self.capacity
            super().append(*written)
        return super().append(keys, values)

    def attend(self, queries, keys, values):
        """What the queries of each row find in its prompt and in its own text.

        Shapes: (rows, H, T_q, D), two of (rows, H, T, D) -> (rows, H, T_q, D)
        """
        T_q, T = queries.shape[2], keys.shape[2]
        queries = queries / math.sqrt(queries.shape[-1])
        own = queries @ keys.mT
        if T_q > 1:
            own += own.new_full((T_q, T), -torch.inf).triu(T - T_q + 1)
        shared = self.branches.side_by_side(queries) @ self.prompt_keys.mT
        shared.masked_fill_(self.branches.padding, -torch.inf)
        scores = torch.cat([self.branches.in_rows(shared), own], dim=-1)
        weights = scores.softmax(dim=-1, dtype=torch.float32).type_as(values)
        shared, own = weights.split([shared.shape[-1], T], dim=-1)
        found = self.branches.side_by_side(shared) @ self.prompt_values
        return self.branches.in_rows(found) + own @ values

    def keep(self, rows, prompts, branches):
        """Drops all other rows and prompts; the rest moves up: new memory is slow."""
        longest = branches.padding.shape[-1]
        self.branches = branches
        self.prompt_keys = self.prompt_keys[prompts, :, :longest]
        self.prompt_values = self.prompt_values[prompts, :, :longest]
        if self.length:
            for stored in (self.keys, self.values):
                stored[: len(rows), :, : self.length] = stored[rows, :, : self.length]
            self.keys, self.values = self.keys[: len(rows)], self.values[: len(rows)]


def answer_log_probs(
    model: GPTModel, inputs: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """`token_log_probs` of answers, for which equal prompts are read once.

    The answer of a row is one run of targets that are not IGNORED.

    Shapes: inputs (B, T), targets (B, T) -> (B, T)
    """
    learned = targets != IGNORED
    starts, counts = learned.int().argmax(dim=1), learned.sum(dim=1)
    rows = zip(inputs.tolist(), starts.tolist())
    before = [ids[:start] for ids, start in rows]  # the last id reads with the answer
    which, lengths, prompts = _prompts_of(before)
    if not prompts.numel():
        return token_log_probs(model, inputs, targets)
    read = model.new_caches(prompts.shape[1])
    model.hidden_states(prompts.to(model.device), read)
    branches = _Branches(which, lengths, model.device)
    longest = int(counts.max())
    caches: list[KVCache] = [
        _SharedCache(longest, branches, c.keys, c.values) for c in read
    ]
    step = torch.arange(longest, device=inputs.device)
    at = (starts[:, None] + step).clamp(max=inputs.shape[1] - 1)
    hidden = model.hidden_states(inputs.gather(1, at), caches, at)
    return log_probs_after(model, hidden[step < counts[:, None]], targets)


def _prompts_of(rows):
    """Which prompt each row has; lengths and ids of the different ones, padded."""
    different = {tuple(ids): None for ids in rows}
    number = {ids: n for n, ids in enumerate(different)}
    which = torch.tensor([number[tuple(ids)] for ids in rows])
    lengths = torch.tensor([len(ids) for ids in different])
    prompts, _ = pad([(list(ids), []) for ids in different])
    return which, lengths, prompts


def check_are_texts(texts: object) -> None:
    """Raises TypeError for one text, which would be taken for a list of characters."""
    if isinstance(texts, str):
        raise TypeError("texts must be a list of str, got a single str: pass [text]")


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
        TypeError: one text in place of several.
        ValueError: a prompt that leaves no room in the context.
    """
    check_are_texts(prompts)
    ids = [tokenizer.encode_ordinary(prompt) for prompt in prompts]
    answers = generate_ragged(
        model, ids, max_new_tokens, tokenizer.eot_token, batch_size, tokenizer.n_vocab
    )
    return [
        (tokenizer.decode([id for id in new if id != tokenizer.eot_token]), stopped)
        for new in answers
        for stopped in [new[-1:] == [tokenizer.eot_token]]
    ]
