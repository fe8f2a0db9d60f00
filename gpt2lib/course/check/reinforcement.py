"""The checkers of chapter 12: reinforcement."""

import torch

from gpt2lib.course.check.report import WrongAnswer, exercise, expect, same


def as_floats(given):
    """A float32 tensor of any numbers; anything else as it is."""
    try:
        return torch.as_tensor(given, dtype=torch.float32).detach()
    except (TypeError, ValueError, RuntimeError):
        return given


@exercise
def group_advantages(answer):
    for rewards in (
        [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 1.0]],
        [[0.5, 2.0, 3.5], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [3.0, 1.0, 2.0]],
    ):
        table = torch.tensor(rewards)
        above = table - table.mean(dim=1, keepdim=True)
        spread = table.std(dim=1, keepdim=True, correction=0)
        wanted = torch.where(spread > 0, above / spread.clamp(min=1e-9), 0.0)
        of_sample = above / table.std(dim=1, keepdim=True).clamp(min=1e-9)
        whole = (table - table.mean()) / table.std(correction=0)
        slips = [
            ("each group has a mean and a deviation of its own", whole),
            ("divide by the standard deviation, too", above),
            ("the sum of squares is divided by n here, not by n - 1", of_sample),
        ]
        given = as_floats(answer([list(group) for group in rewards]))
        if isinstance(given, torch.Tensor) and not given.isfinite().all():
            raise WrongAnswer(
                f"group_advantages({rewards}) gave\n{given}\na group without signal "
                "has a deviation of 0: its advantages are 0"
            )
        kept_from_zero = above / (spread + 1e-4)  # a usual way, as in TRL
        if not same(given, kept_from_zero):
            expect(f"group_advantages({rewards})", given, wanted, slips)


@exercise
def clipped_loss(answer):
    generator = torch.Generator().manual_seed(0)
    for rows, length, clip in ((2, 3, 0.2), (4, 5, 0.1)):
        new, old = torch.randn(2, rows, length, generator=generator)
        above = torch.randn(rows, generator=generator)
        learned = torch.rand(rows, length, generator=generator) < 0.6
        learned[:, 0] = True
        ratio, sign = (new - old).exp(), above[:, None]
        sides = ratio * sign, ratio.clamp(1 - clip, 1 + clip) * sign
        gain = torch.minimum(*sides)
        wanted = -gain[learned].mean()
        slips = [
            ("a loss goes down where the gain goes up: mind the sign", -wanted),
            ("padding and prompt must not count", -gain.mean()),
            (
                "the smaller of the two sides counts",
                -torch.maximum(*sides)[learned].mean(),
            ),
            ("clip the ratio", -sides[0][learned].mean()),
        ]
        given = as_floats(answer(new, old, above, learned, clip))
        call = f"clipped_loss of {rows} answers of {length} tokens"
        expect(call, given, wanted, slips)


@exercise
def bandit_step(answer):
    for logits, arms, rewards in (
        ([0.0, 0.0, 0.0], [0, 1, 2, 2], [1.0, 0.0, 0.0, 0.0]),
        ([1.0, 0.0, -1.0], [0, 0, 1, 2, 0], [10.0, 11.0, 10.0, 11.0, 10.0]),
    ):
        start, drawn = torch.tensor(logits), torch.tensor(arms)
        paid = torch.tensor(rewards)
        towards = torch.nn.functional.one_hot(drawn, 3) - start.softmax(dim=0)
        step = 0.5 * ((paid - paid.mean())[:, None] * towards).mean(dim=0)
        without = 0.5 * (paid[:, None] * towards).mean(dim=0)
        slips = [
            ("it walks downhill: the arm that pays becomes less likely", start - step),
            (
                "where is the baseline? What all rewards share says nothing",
                start + without,
            ),
            ("downhill, and without a baseline", start - without),
        ]
        given = as_floats(answer(start.clone(), drawn, paid, 0.5))
        expect(
            f"bandit_step({logits}, {arms}, {rewards}, 0.5)", given, start + step, slips
        )


CHAIN = "12 + 5 = 17, 17 - 3 = 14"
CHEATS = {
    f"{CHAIN}\nAnswer: 15": "the answer is not the result of the last sum",
    "\nAnswer: 14": "there is no thought",
    "14\nAnswer: 14": "the thought is not a chain of sums",
    "7 + 7 = 15, 15 - 1 = 14\nAnswer: 14": "a sum is wrong",
    "12 + 5 = 17, 17 - 3 = 13, 13 + 1 = 14\nAnswer: 14": "a sum is wrong",
    "12 + 5 = 17, 16 - 2 = 14\nAnswer: 14": "a step begins with another number",
    "1 + 1 = 2, 2 + 1 = 3, 9 + 5 = 14\nAnswer: 14": "a step begins with another number",
    f"{CHAIN}\nAnswer: 14\nAnswer: 15": "there are two answers",
    f"Answer: 14\n{CHAIN}\nAnswer: 14": "there are two answers",
    f"{CHAIN}\nAnswer: 14 or 15": "more than the number stands behind Answer",
    f"{CHAIN}\nAnswer: 14.": "more than the number stands behind Answer",
    "12 + 5 = 17 17 - 3 = 14\nAnswer: 14": "there is no comma between the steps",
    "9 - 4 = 5\nAnswer: 14": "the chain does not come to the answer",
    "12 + 5 = 17 I think, 17 - 3 = 14\nAnswer: 14": "a step is more than a sum",
    f"{CHAIN} Answer: 14": "the answer does not stand on a line of its own",
    CHAIN: "there is no answer",
    "": "there is nothing",
}


@exercise
def strict_reward(answer):
    right = f"{CHAIN}\nAnswer: 14"
    long = f"{CHAIN}, 14 + 9 = 23, 23 - 23 = 0\nAnswer: 0"
    for text, number in ((right, "14"), ("9 - 4 = 5\nAnswer: 5", "5"), (long, "0")):
        expect(f"strict_reward({text!r}, {number!r})", answer(text, number), 1.0)
    expect(f"strict_reward({right!r}, '15')", answer(right, "15"), 0.0)
    for text, reason in CHEATS.items():
        slips = [(reason, 1.0)]
        expect(f"strict_reward({text!r}, '14')", answer(text, "14"), 0.0, slips)
