"""The checkers of chapter 11: preferences."""

import torch
from torch.nn import functional as F

from gpt2lib.course.check.report import WrongAnswer, exercise, expect


@exercise
def win_table(answer):
    for rewards in ([1.0, 3.0], [2.0, 0.0, -1.0], [5.0, 5.0, 8.0, 0.5]):
        r = torch.tensor(rewards)
        gaps = r[:, None] - r
        wanted = gaps.sigmoid()
        slips = [
            ("that is the probability that the row loses", wanted.T),
            ("these are differences, not yet probabilities", gaps),
            (
                "a comparison is between two, not among all",
                r.softmax(-1).expand_as(gaps),
            ),
            (
                "a reward is not a strength: take exp(reward)",
                r[:, None] / (r[:, None] + r),
            ),
        ]
        given = answer(r.clone())
        expect(f"win_table({rewards})", given, wanted, slips)


@exercise
def best_policy(answer):
    for reference, rewards, beta in (
        ([0.5, 0.3, 0.2], [0.0, 1.0, 2.0], 1.0),
        ([0.7, 0.2, 0.1], [1.0, -1.0, 0.5], 0.2),
        ([0.25, 0.75], [3.0, 3.0], 0.5),
        ([0.9, 0.1], [0.0, 40.0], 0.1),
    ):
        p, r = torch.tensor(reference), torch.tensor(rewards)
        wanted = (p.log() + r / beta).softmax(-1)
        slips = [
            ("without the reference, it forgets its language", (r / beta).softmax(-1)),
            ("β divides the rewards", (p.log() + r * beta).softmax(-1)),
            ("the sum is not 1", p * (r / beta).exp()),
            ("multiply by the reference, do not add it", (p + r / beta).softmax(-1)),
        ]
        call, given = (
            f"best_policy({reference}, {rewards}, {beta})",
            (p.clone(), r.clone()),
        )
        given = answer(*given, beta)
        if isinstance(given, torch.Tensor) and given.isnan().any():
            raise WrongAnswer(
                f"{call}: exp(reward / β) overflows, work with logarithms"
            )
        expect(call, given, wanted, slips)


@exercise
def preference_loss(answer):
    generator = torch.Generator().manual_seed(11)
    for pairs, beta in ((1, 0.1), (4, 0.5), (6, 1.0)):
        policy, reference = -4 * torch.rand(2, pairs, 2, generator=generator)
        wanted = _loss(policy, reference, beta)
        far = torch.tensor([[-80.0, 0.0]])
        slips = [
            ("the reference is missing", _loss(policy, 0 * policy, beta)),
            (
                "the first column is the chosen text",
                _loss(policy.flip(1), reference.flip(1), beta),
            ),
            ("the gain is policy minus reference", _loss(reference, policy, beta)),
            ("β is missing", _loss(policy, reference, 1.0)),
            ("β belongs inside the logarithm", beta * _loss(policy, reference, 1.0)),
            ("the sign is wrong: a loss is above 0", -wanted),
            ("the mean over the pairs was asked for", wanted * pairs),
        ]
        call = f"preference_loss({policy.tolist()}, {reference.tolist()}, {beta})"
        given = answer(policy.clone(), reference.clone(), beta)
        expect(call, given, wanted, slips)
        call = f"preference_loss({far.tolist()}, [[0.0, 0.0]], 10.0)"
        given = answer(far.clone(), 0 * far, 10.0)
        slips = [("it overflows: try F.logsigmoid", torch.tensor(torch.inf))]
        expect(call, given, torch.tensor(800.0), slips)


def _loss(policy, reference, beta):
    gained = policy - reference
    return -F.logsigmoid(beta * (gained[:, 0] - gained[:, 1])).mean()


@exercise
def loss_of_votes(answer):
    generator = torch.Generator().manual_seed(12)
    for votes in ([0], [0, 0, 0], [0, 1], [1, 1], [1, 0, 0, 1, 1]):
        winners, beta = torch.tensor(votes), 0.5
        policy, reference = -9 * torch.rand(2, len(votes), 2, generator=generator)
        swap = winners[:, None].bool()
        ordered = [torch.where(swap, t.flip(1), t) for t in (policy, reference)]
        wanted, gained = _loss(*ordered, beta), policy - reference
        every = gained[:, winners] - gained[:, 1 - winners]
        slips = [
            (
                "each pair is asked for the votes of all",
                -F.logsigmoid(beta * every).mean(),
            ),
            ("the loser won", _loss(*(t.flip(1) for t in ordered), beta)),
            ("the votes are not looked at", _loss(policy, reference, beta)),
            ("the mean over the pairs was asked for", wanted * len(votes)),
        ]
        call = f"loss_of_votes(policy, reference, {votes}, {beta})"
        given = answer(policy.clone(), reference.clone(), winners.clone(), beta)
        expect(call, given, wanted, slips)
