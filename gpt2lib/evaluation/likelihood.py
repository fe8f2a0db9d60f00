"""How probable a model finds given endings: log-likelihoods, many at a time.

Definitions are those of EleutherAI's lm-evaluation-harness (lm_eval/api/model.py,
lm_eval/models/huggingface.py, lm_eval/utils.py, version 0.4.13).
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from tqdm import tqdm

from gpt2lib.checks import check_logits
from gpt2lib.data import pad
from gpt2lib.generate import evaluating
from gpt2lib.model import GPTModel
from gpt2lib.tokenizer import Tokenizer
from gpt2lib.weights.vocabulary import end_of_text

IDS_AT_ONCE = 1024  # in a batch: enough to keep a processor's cores busy
SPREAD = 8  # ids by which shared contexts of a batch may differ in length
LOGITS_AT_ONCE = 256  # rows of the output head, whose logits are large


class Question(NamedTuple):
    """Ids of a context, at least one, and of the endings that may follow it."""

    context: list[int]
    endings: list[list[int]]


class Likelihood(NamedTuple):
    """log p(ending | context) in nats, and whether greedy decoding would write it."""

    nats: float
    greedy: bool


def encode_question(
    context: str, endings: Iterable[str], tokenizer: Tokenizer
) -> Question:
    """A question in ids; the endings' are taken from the ids of the whole text.

    White space at the end of the context goes to the endings, where GPT-2's tokens have
    it. An empty context is <|endoftext|>.
    """

    def encode(text):
        return tokenizer.encode(text, allowed_special="all", disallowed_special=())

    stem = context.rstrip()
    ids = encode(stem)
    rest = [context[len(stem) :] + ending for ending in endings]
    if not ids:
        return Question([end_of_text(tokenizer)], [encode(text) for text in rest])
    return Question(ids, [encode(stem + text)[len(ids) :] for text in rest])


def rolling_questions(
    ids: list[int], start: int, length: int, stride: int | None = None
) -> Iterator[Question]:
    """Windows of at most `length` ids that together predict each id of a text once.

    Args:
        ids: the text.
        start: an id to put in front, so that the first one is predicted too.
        stride: ids predicted per window after the first, which predicts `length`.
            The default is `length`: disjoint windows, each of which forgets the one
            before it. A smaller one gives more context and takes longer.

    >>> for context, endings in rolling_questions([1, 2, 3, 4, 5], 0, 3):
    ...     print(context, endings)
    [0] [[1, 2, 3]]
    [2, 3] [[4, 5]]
    """
    stride = length if stride is None else stride
    if not 1 <= stride <= length:
        raise ValueError(
            f"stride must be from 1 to the context length, {length}, got {stride}"
        )
    ids, done, end = [start, *ids], 1, length + 1
    while done < len(ids):
        end = min(end, len(ids))
        yield Question(ids[max(0, end - 1 - length) : done], [ids[done:end]])
        done, end = end, end + stride


def check_fits(question: Question, length: int) -> None:
    """Raises ValueError unless each ending has ids, at most `length` of them."""
    for ending in question.endings:
        if not 0 < len(ending) <= length:
            raise ValueError(
                f"an ending has {len(ending)} tokens, but must have from 1 to the "
                f"model's {length} positions"
            )


def log_likelihoods(
    model: GPTModel, questions: list[Question], progress: bool = False
) -> list[list[Likelihood]]:
    """The likelihood of every ending of every question.

    A context too long for the model loses its beginning. Questions of similar length
    share a batch, and a context that several endings share is read once, into a KV
    cache.
    """
    length, jobs = model.cfg.context_length, []
    for number, question in enumerate(questions):
        check_fits(question, length)
        longest = max(map(len, question.endings))
        shared = len(question.endings) > 1
        if shared and len(question.context) + longest - 1 <= length:
            jobs.append((number, 0, question))
        else:
            for i, ending in enumerate(question.endings):
                context = question.context[-(length + 1 - len(ending)) :]
                jobs.append((number, i, Question(context, [ending])))
    found: list[list] = [[None] * len(question.endings) for question in questions]
    modules = [*model.modules()]
    with tqdm(total=len(jobs), unit="row", disable=not progress) as bar:
        for batch in _passes(jobs):
            with torch.inference_mode(), evaluating(modules):
                answers = iter(_answer(model, [question for *_, question in batch]))
            for number, first, question in batch:
                for i in range(len(question.endings)):
                    found[number][first + i] = next(answers)
            bar.update(len(batch))
    return found


def _passes(jobs):
    """Groups of jobs for one pass each, largest first: too little memory shows at once.

    In a group, contexts that are shared differ little in length.
    """

    def size(job):
        *_, (context, endings) = job
        longest = max(map(len, endings))
        if len(endings) == 1:
            return 1, 0, len(context) + longest
        return len(endings), len(context), longest

    batch, ids, first = [], 0, (0, 0, 0)
    for job in sorted(jobs, key=size, reverse=True):
        many, context, longest = size(job)
        more = context + many * longest
        alike = many == first[0] and first[1] - context <= SPREAD
        if batch and not (alike and ids + more <= IDS_AT_ONCE):
            yield batch
            batch, ids = [], 0
        if not batch:
            first = size(job)
        batch.append(job)
        ids += more
    if batch:
        yield batch


def _answer(model, questions):
    """The likelihoods of all endings of a batch, in order."""
    read = _read_shared if len(questions[0].endings) > 1 else _read_alone
    hidden = read(model, questions)
    endings = [ending for _, endings in questions for ending in endings]
    targets = torch.tensor([id for ending in endings for id in ending])
    nats, greedy = [], []
    for rows, ids in zip(
        hidden.split(LOGITS_AT_ONCE), targets.to(hidden.device).split(LOGITS_AT_ONCE)
    ):
        logits = model.out_head(rows).float()
        check_logits(logits)
        chosen = logits.gather(-1, ids[:, None]).squeeze(-1)
        nats.append((chosen - logits.logsumexp(dim=-1)).double().cpu())
        greedy.append((logits.argmax(dim=-1) == ids).cpu())
    sizes = [len(ending) for ending in endings]
    of_endings = zip(torch.cat(nats).split(sizes), torch.cat(greedy).split(sizes))
    return [Likelihood(n.sum().item(), bool(g.all())) for n, g in of_endings]


def _read_alone(model, questions):
    """The final vectors that predict the only ending of each context, (N, C)."""
    rows = [context + ending[:-1] for context, (ending,) in questions]
    inputs, _ = pad([(row, row) for row in rows])
    hidden = model.hidden_states(inputs.to(model.device))
    spans = ((len(c) - 1, len(row)) for (c, _), row in zip(questions, rows))
    return torch.cat([h[start:end] for h, (start, end) in zip(hidden, spans)])


def _read_shared(model, questions):
    """The same for several endings of each context, of which the start is read once.

    The start has the length of the shortest context; what is left of a longer one is
    read with each of its endings.
    """
    shortest = min(len(context) for context, _ in questions)
    times = torch.tensor([len(endings) for _, endings in questions]).to(model.device)
    starts = torch.tensor([context[:shortest] for context, _ in questions])
    rests = [(c[shortest:], ending) for c, endings in questions for ending in endings]
    rows = [rest + ending[:-1] for rest, ending in rests]
    longest = max(map(len, rows))
    caches = model.new_caches(shortest + longest)
    hidden = model.hidden_states(starts.to(model.device), caches)[:, -1:]
    hidden = hidden.repeat_interleave(times, dim=0)
    if longest:
        for cache in caches:
            cache.keys = cache.keys.repeat_interleave(times, dim=0)
            cache.values = cache.values.repeat_interleave(times, dim=0)
        inputs, _ = pad([(row, row) for row in rows])
        after = model.hidden_states(inputs.to(model.device), caches)
        hidden = torch.cat([hidden, after], dim=1)
    spans = ((len(rest), len(rest) + len(ending)) for rest, ending in rests)
    return torch.cat([h[start:end] for h, (start, end) in zip(hidden, spans)])
