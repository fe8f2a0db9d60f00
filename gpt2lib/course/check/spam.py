"""The checkers of chapter 6: finetuning: spam."""

import math
from collections import Counter

import torch

from gpt2lib.course.check.report import (
    WrongAnswer,
    brief,
    exercise,
    expect,
    number,
)


@exercise
def last_token_logits(answer):
    generator = torch.Generator().manual_seed(7)
    for lengths in ([4, 2, 1], [5, 1, 3]):
        logits = torch.randn(3, 5, 2, generator=generator)
        wanted = torch.stack([row[n - 1] for row, n in zip(logits, lengths)])
        slips = [
            ("that is the last position; the message ended before", logits[:, -1]),
            ("expected one position, not a mean", logits.mean(dim=1)),
        ]
        if max(lengths) < 5:
            late = torch.stack([row[n] for row, n in zip(logits, lengths)])
            slips.append(("one too far: the last of n tokens has index n - 1", late))
        call = f"last_token_logits(logits of shape (3, 5, 2), {lengths})"
        expect(call, answer(logits, lengths), wanted, slips)


@exercise
def precision_recall(answer):
    for labels, predicted, wanted in (
        ([1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 0, 1, 1, 0, 0, 0], (2 / 4, 2 / 3)),
        ([1, 0, 1, 1], [0, 0, 0, 1], (1.0, 1 / 3)),
        ([1, 0], [0, 0], (0.0, 0.0)),
        ([0, 0], [1, 0], (0.0, 0.0)),
    ):
        call = f"precision_recall({labels}, {predicted})"
        given = answer(labels, predicted)
        if not isinstance(given, tuple | list) or len(given) != 2 or None in given:
            expect(call, given, wanted)
            raise WrongAnswer(f"{call} gave {brief(given)}, expected a pair")
        given = [number(value) for value in given]
        if wanted[0] != wanted[1] and given == [*reversed(wanted)]:
            raise WrongAnswer(f"{call}: these are (recall, precision)")
        for name, score, right in zip(("precision", "recall"), given, wanted):
            expect(f"{call}: the {name}", score, right)


@exercise
def lora_merge(answer):
    generator = torch.Generator().manual_seed(8)
    for out, in_, rank, alpha in ((6, 4, 2, 16), (4, 4, 1, 2)):
        W = torch.randn(out, in_, generator=generator)
        A = torch.randn(rank, in_, generator=generator)
        B = torch.randn(out, rank, generator=generator)
        before, detour = W.clone(), B @ A
        slips = [
            ("the detour was expected with its factor alpha / r", W + detour),
            ("alpha is shared out over the r dimensions", W + alpha * detour),
            ("that is the detour alone", alpha / rank * detour),
        ]
        call = f"lora_merge(W, A, B, {alpha}) with W {out} × {in_} and r = {rank}"
        expect(call, answer(W, A, B, alpha), before + alpha / rank * detour, slips)
        expect("W after the call", W, before)


@exercise
def lora_forward(answer):
    generator = torch.Generator().manual_seed(9)
    for shape, out, rank, alpha, biased in (
        ((2, 3, 4), 6, 2, 16, True),
        ((5, 4), 4, 1, 2, False),
        ((1, 2, 7, 3), 5, 2, 1, True),
    ):
        x = torch.randn(shape, generator=generator)
        W = torch.randn(out, shape[-1], generator=generator)
        A = torch.randn(rank, shape[-1], generator=generator)
        B = torch.randn(out, rank, generator=generator)
        b = torch.randn(out, generator=generator) if biased else None
        plain = torch.nn.functional.linear(x, W, b)
        detour = x @ A.T @ B.T
        slips = [
            ("the detour is multiplied by alpha / r", plain + detour),
            ("alpha is shared out over the r dimensions", plain + alpha * detour),
            ("that is the frozen layer alone", plain),
            ("the frozen layer is missing", alpha / rank * detour),
        ]
        leaves = [W.requires_grad_(), A.requires_grad_(), B.requires_grad_()]
        call = f"lora_forward(x {shape}, W {tuple(W.shape)}, …, r = {rank}, {alpha})"
        given = answer(x, W, b, A, B, alpha)
        wanted = (plain + alpha / rank * detour).detach()
        expect(call, given, wanted, slips)
        _expect_lora_gradients(call, given, leaves)


def _expect_lora_gradients(call, given, leaves):
    if not isinstance(given, torch.Tensor) or not given.requires_grad:
        raise WrongAnswer(f"{call}: no gradient reaches A and B")
    found = torch.autograd.grad(given.sum(), leaves, allow_unused=True)
    for name, gradient in zip("AB", found[1:]):
        if gradient is None:
            raise WrongAnswer(f"{call}: no gradient reaches {name}")
    if found[0] is not None and found[0].any():
        raise WrongAnswer(f"{call}: W is frozen, but a gradient reaches it")


@exercise
def mended_verdicts(answer):
    generator = torch.Generator().manual_seed(10)
    scores = torch.randn(11, 2, generator=generator)

    def model(inputs):  # like a causal model: each position depends on those before
        weights = torch.arange(1.0, inputs.shape[1] + 1)[:, None]
        return (scores[inputs] * weights).cumsum(dim=1)

    for rows in (
        [[3, 0, 5, 0], [2], [0, 0, 4], [7, 10, 10], [0]],
        [[10, 9, 8], [1, 2, 3, 4, 5, 6], [6, 0]],
        [[*range(11)], [10, 0], [5], [0, 10]],
    ):
        before = [[*row] for row in rows]
        wanted = torch.stack([model(torch.tensor([row]))[0, -1] for row in rows])
        call = f"mended_verdicts(model, {rows})"
        given = answer(model, rows)
        expect(call, given, wanted)
        expect(f"the rows after {call}", rows, before)


@exercise
def fool(answer):
    def by_words(text):
        weights = {"PIN": 2.0, "now": 1.0, "please": -0.4, "thanks": -1.2}
        return _logistic(sum(weights.get(word, 0) for word in text.split()) - 1)

    def by_order(text):
        return 0.1 if "not send" in text else 0.9

    def by_both(text):
        pairs = text.count("not send") + text.count("no PIN")
        return _logistic(3 - 2 * pairs - 0.1 * text.count("no"))

    words = ["please", "now", "thanks"]
    _expect_fooled(answer, "send your PIN now", by_words, words, 2)
    _expect_fooled(answer, "please send your PIN", by_order, ["friend", "not"], 1)
    _expect_fooled(answer, "send your PIN", by_both, ["not", "friend", "no"], 2)


def _logistic(odds):
    return 1 / (1 + math.exp(-odds))


def _expect_fooled(answer, text, p_spam, additions, n):
    call = f"fool({text!r}, p_spam, {additions}, {n})"
    given = answer(text, p_spam, additions, n)
    if not isinstance(given, str):
        expect(call, given, "a text")
    rest = iter(given.split())
    if not all(word in rest for word in text.split()):
        raise WrongAnswer(f"{call} gave {given!r}: words of the message are gone")
    added = Counter(given.split()) - Counter(text.split())
    if strange := [*added.keys() - set(additions)]:
        raise WrongAnswer(f"{call} gave {given!r}: {strange[0]!r} is not in the list")
    if added.total() > n:
        raise WrongAnswer(f"{call} gave {given!r}: {added.total()} words were added")
    if p_spam(given) >= 0.5:
        raise WrongAnswer(
            f"{call} gave {given!r}, which is spam with {p_spam(given):.2f} still; "
            "there is a way"
        )
