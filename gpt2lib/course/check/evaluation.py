"""The checkers of chapter 10: evaluation."""

import math
from collections.abc import Iterator
from numbers import Real
from statistics import fmean

import torch

from gpt2lib.course.check.report import WrongAnswer, exercise, expect
from gpt2lib.evaluation import rolling_questions


@exercise
def interval(answer):
    for right, items in ((8, 10), (10, 10), (0, 4), (640, 1000)):
        low, high = wanted = _wilson(right, items, 1.96)
        share, z2_n = right / items, 1.96**2 / items
        error = math.sqrt(share * (1 - share) / items)
        plain = [share - 1.96 * error, share + 1.96 * error]
        undivided = [low * (1 + z2_n), high * (1 + z2_n)]
        slips = [
            ("an interval without width, but so few items prove little", [share] * 2),
            ("that is the share ± 1.96 standard errors", plain),
            ("z is 1.96; an interval with z = 1 covers 68 %", _wilson(right, items, 1)),
            ("middle and half are both divided by 1 + z² / n", undivided),
            ("these are (high, low)", [high, low]),
        ]
        _expect(f"interval({right}, {items})", answer(right, items), wanted, slips)


def _wilson(right, items, z):
    share, z2_n = right / items, z * z / items
    half = z * math.sqrt(share * (1 - share) / items + z2_n / items / 4)
    return [(share + z2_n / 2 + sign * half) / (1 + z2_n) for sign in (-1, 1)]


@exercise
def choose(answer):
    four = ["No.", "It is a red ox.", "Extraordinary weather, unfortunately.", "Zzz"]
    whole = "sums prefer short endings: divide by the number of characters"
    words = "divide by the number of characters, not of words"
    worst = "that is the least likely: of numbers below 0 the one nearest 0 is largest"
    for nats, endings, wanted, slips in (
        ([-6.0, -18.0, -22.0, -24.0], four, 2, [(whole, 0), (words, 1), (worst, 3)]),
        ([-4.0, -2.0, -9.0], ["wait", "go", "run"], 0, [("of equals, the first", 1)]),
        ([-6.0, -8.0], ["éééèé", "a letter"], 1, [("é is one character", 0)]),
        ([-3.0, 0.0], ["never", "always"], 1, []),
    ):
        call, given = f"choose({nats}, {endings})", ([*nats], [*endings])
        slips = [*slips, ("its index was expected", endings[wanted])]
        _expect(call, answer(*given), wanted, slips)
        _expect(f"the lists after {call}", given, [nats, endings])


@exercise
def sliding(answer):
    for n_ids, length, stride in (
        *((8, 4, 2), (9, 4, 2), (7, 3, 3), (6, 3, 3)),
        *((7, 5, 1), (2, 4, 3), (12, 6, 4), (4, 1, 1)),
    ):
        ids, given_ids = [list(range(11, 11 + n_ids)) for _ in range(2)]
        wanted = _windows(ids, 0, length, stride)
        long, lonely, text, done = [], [], [0, *ids], 1
        for context, targets in wanted:
            long.append([text[max(0, done - len(context) - 1) : done], targets])
            lonely.append([text[done - 1 : done], targets])
            done += len(targets)
        slips = [
            ("the first id is never predicted", _windows(ids[1:], 11, length, stride)),
            ("the last window is missing, even a short one counts", wanted[:-1]),
            (f"a context is one id too long for {length} inputs", long),
            ("there is room for more context", lonely),
        ]
        if stride < length:
            short = _windows(ids, 0, length - 1, stride)
            slips.append(("the last target is no input: one more id fits", short))
        call = f"sliding({ids}, 0, {length}, {stride})"
        _expect(call, answer(given_ids, 0, length, stride), wanted, slips)
        _expect(f"ids after {call}", given_ids, ids)


def _windows(ids, start, length, stride):
    windows = rolling_questions(ids, start, length, stride)
    return [[context, targets] for context, (targets,) in windows]


@exercise
def mean_nats(answer):
    generator = torch.Generator().manual_seed(10)
    for lengths in ([[4, 1]], [[3, 3], [6, 2, 1]], [[5], [1, 1, 2], [7, 1]]):
        masks = [torch.arange(max(n)) < torch.tensor(n)[:, None] for n in lengths]
        all_nats = [5 * torch.rand(m.shape, generator=generator) * m for m in masks]
        all_nats[0][0, 0] = 0  # a real id that was certain
        batches = [(nats.clone(), own.clone()) for nats, own in zip(all_nats, masks)]
        sums, counts = [[x.sum().item() for x in xs] for xs in (all_nats, masks)]
        rows = [(x.sum(1) / m.sum(1)).tolist() for x, m in zip(all_nats, masks)]
        of_batches = [total / count for total, count in zip(sums, counts)]
        uncertain = sum(x.count_nonzero().item() for x in all_nats)
        slips = [
            ("padding is counted", sum(sums) / sum(m.numel() for m in masks)),
            ("padding is still counted", fmean(x.mean().item() for x in all_nats)),
            ("a small batch counts as much as a large one", fmean(of_batches)),
            ("a short text counts as much as a long one", fmean(sum(rows, []))),
            ("that is the sum", sum(sums)),
            ("a real id of 0 nats counts, too", sum(sums) / uncertain),
        ]
        call = f"mean_nats(batches of texts with {lengths} ids)"
        _expect(call, answer(batches), sum(sums) / sum(counts), slips)
        _expect(f"the batches after {call}", batches, _plain([*zip(all_nats, masks)]))


@exercise
def pass_at_k(answer):
    for n, right, k in ((10, 3, 5), (10, 8, 5), (10, 3, 1), (5, 0, 2), (200, 9, 100)):
        none = math.comb(n - right, k) / math.comb(n, k)
        slips = [
            ("an answer is not drawn twice", 1 - (1 - right / n) ** k),
            ("that is the share of right answers", right / n),
            ("that is the probability that none is right", none),
        ]
        _expect(f"pass_at_k({n}, {right}, {k})", answer(n, right, k), 1 - none, slips)


def _expect(call, given, wanted, slips=()):
    """Like `expect`, for numbers up to rounding, of any type and in any sequence."""
    given = _plain(given)
    if given is None:
        expect(call, given, wanted)
    if not _close(given, wanted):
        known = [explanation for explanation, value in slips if _close(given, value)]
        reason = known[0] if known else f"expected\n{wanted!r}"
        raise WrongAnswer(f"{call} gave\n{given!r}\n{reason}")


def _plain(value):
    """Lists of Python's numbers, from tensors, arrays, tuples and generators."""
    if isinstance(value, list | tuple | range | Iterator):
        return [_plain(part) for part in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _close(given, wanted):
    if isinstance(wanted, list):
        alike = isinstance(given, list) and len(given) == len(wanted)
        return alike and all(map(_close, given, wanted))
    if isinstance(wanted, Real) and isinstance(given, Real):
        return math.isclose(given, wanted, rel_tol=1e-4, abs_tol=1e-5)
    return given == wanted
