"""The checkers of chapter 7: finetuning: instructions."""

import torch
from torch.nn import functional as F

from gpt2lib.course.check.report import (
    WrongAnswer,
    called,
    exercise,
    expect,
    is_pair,
    plain,
)
from gpt2lib.data import IGNORED, pad
from gpt2lib.finetuning import alpaca_prompt, token_f1


@exercise
def format_alpaca(answer):
    for instruction, given in (
        ("Say hello.", ""),
        ("Name the animal.", "A wet fox."),
        ("Turn the list around.", "A bead,\na key"),
    ):
        wanted = alpaca_prompt(instruction, given)
        closed = wanted.removesuffix("\n")
        with_input = alpaca_prompt(instruction, "x").replace("Input:\nx", "Input:\n")
        slips = [
            ("there is a space before Write", wanted.replace(". Write", ".Write")),
            ("the response begins on a line of its own", closed),
            ("without an input, nothing speaks of one", with_input),
        ]
        call = f"format_alpaca({instruction!r}, {given!r})"
        expect(call, answer(instruction, given), wanted, slips)


@exercise
def mask_prompt(answer):
    for prompt, response, end in (
        ([5, 6, 7], [8, 9], 0),
        ([4], [3, 2, 1], 0),
        ([2, 2, 6, 6], [5], 9),
    ):
        ids, own = [*prompt, *response, end], len(prompt) - 1
        wanted = ids[:-1], [IGNORED] * own + ids[1 + own :]
        late = [IGNORED] * (own + 1) + ids[2 + own :]
        slips = [
            ("the prompt is learned, too", (ids[:-1], ids[1:])),
            ("the first token of the response is to be learned", (ids[:-1], late)),
            (
                "a target is the id that comes next",
                (ids, [IGNORED] * len(prompt) + ids[len(prompt) :]),
            ),
            ("nothing tells it where to stop", (wanted[0][:-1], wanted[1][:-1])),
        ]
        call, given = called("mask_prompt", answer, prompt, response, end)
        expect(call, plain(given), wanted, slips)


@exercise
def pad_batch(answer):
    three = [([5, 6], [6, 7]), ([8], [9]), ([1, 2, 3], [IGNORED, 3, 4])]
    alone = [([4, 5], [IGNORED, 6])]
    for examples, filler in ((three, 0), (three, 7), (alone, 7), (three[::-1], 1)):
        wanted, learned = [], []
        for ids, targets in examples:
            missing = max(len(ids) for ids, _ in examples) - len(ids)
            padded = ids + [filler] * missing
            wanted.append((padded, targets + [IGNORED] * missing))
            learned.append((padded, targets + [filler] * missing))
        slips = [("the padding would be learned: its targets are not -100", learned)]
        call, given = called("pad_batch", answer, examples, filler)
        expect(call, plain(given), wanted, slips)


@exercise
def word_f1(answer):
    for said, wanted in (
        ("it is the kite of Una", "the kite"),
        ("red red kite", "red kite"),
        ("the red kite", "a red kite"),
        ("a bead and a bead", "a key and a bead"),
        ("A Kite", "a kite"),
        ("blue", "red"),
        ("", "a red kite"),
        ("a red kite", ""),
    ):
        mine, theirs = said.lower().split(), wanted.lower().split()
        shared = sum(min(mine.count(word), theirs.count(word)) for word in {*mine})
        sets = 2 * len({*mine} & {*theirs}) / max(1, len({*mine}) + len({*theirs}))
        slips = [
            ("a word that comes twice counts twice", sets),
            ("that is the share of the words said", shared / max(1, len(mine))),
            ("that is the share of the words wanted", shared / max(1, len(theirs))),
            ("case does not matter", token_f1(said.swapcase(), wanted) and 0.0),
        ]
        call = f"word_f1({said!r}, {wanted!r})"
        expect(call, answer(said, wanted), token_f1(said, wanted), slips)


@exercise
def collate(answer):
    rows = [([5, 6, 7], [8]), ([4, 4], [3, 2, 1, 9]), ([6], [7, 7])]
    long = ([1, 2, 3, 4, 5], [6, 7])
    for pairs, end, context_length in (
        (rows, 0, 10),
        ([*rows, long], 50, 6),  # the second row just fits, the last does not
        (rows[:1], 0, 4),
    ):
        examples = []
        for prompt, response in pairs:
            ids, own = [*prompt, *response, end], len(prompt) - 1
            if len(ids) - 1 <= context_length:
                examples.append((ids[:-1], [IGNORED] * own + ids[1 + own :]))
        inputs, targets = pad(examples)
        call, given = called("collate", answer, pairs, end, context_length)
        if not is_pair(given):
            expect(call, given, "two tensors, inputs and targets")
        expect(f"{call}: the targets", given[1], targets)
        real = torch.arange(inputs.shape[1]) < torch.tensor(
            [[len(ids)] for ids, _ in examples]
        )
        expect(f"{call}: the inputs", _where(given[0], real), inputs * real)
        for part in given:
            if part.dtype != torch.int64:
                raise WrongAnswer(f"{call} gave {part.dtype}, the model wants int64")


def _where(given, real):
    """The inputs with zeros for the padding, which may be any id."""
    alike = isinstance(given, torch.Tensor) and given.shape == real.shape
    return given * real if alike else given


@exercise
def response_loss(answer):
    for seed, (B, T, V), masked in (
        (0, (2, 6, 9), 4),
        (1, (4, 3, 5), 1),
        (2, (1, 8, 7), 0),
        (3, (3, 4, 6), 4),
    ):
        rng = torch.Generator().manual_seed(seed)
        logits = torch.randn(B, T, V, generator=rng)
        targets = torch.randint(V, (B, T), generator=rng)
        targets[:, :masked] = IGNORED
        if masked < T:
            targets[0, -1] = IGNORED  # rows with unequal numbers of targets
        sizes = f"logits {(B, T, V)}, {int((targets != IGNORED).sum())} targets"
        call = f"response_loss({sizes}, the other {int((targets < 0).sum())} masked)"
        wanted = F.cross_entropy(logits.mT, targets, reduction="sum")
        wanted = wanted / max(1, int((targets != IGNORED).sum()))
        given = answer(logits.clone(), targets.clone())
        if isinstance(given, int | float):
            given = torch.tensor(float(given))
        if not targets.ge(0).any() and _is_nan(given):
            raise WrongAnswer(f"{call} gave nan: without a target the loss is 0")
        over_all = wanted * (targets != IGNORED).sum() / targets.numel()
        slips = [("masked positions still count in the mean", over_all)]
        expect(call, given, wanted, slips)


def _is_nan(given):
    return isinstance(given, torch.Tensor) and bool(given.isnan().all())
