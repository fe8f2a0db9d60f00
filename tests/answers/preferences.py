"""Wrong and right answers to the exercises of chapter 11."""

import torch
from torch.nn import functional as F

from gpt2lib.course import check


def row_loses(rewards):
    return (rewards - rewards[:, None]).sigmoid()


def gaps_of_rewards(rewards):
    return rewards[:, None] - rewards


def best_of_all(rewards):
    return rewards.softmax(-1).expand(len(rewards), -1).T


def rewards_as_strengths(rewards):
    return rewards[:, None] / (rewards[:, None] + rewards)


def without_reference(reference, rewards, beta):
    return (rewards / beta).softmax(-1)


def beta_upside_down(reference, rewards, beta):
    return (reference.log() + rewards * beta).softmax(-1)


def tilted_only(reference, rewards, beta):
    return reference * (rewards / beta).exp()


def divided_by_infinity(reference, rewards, beta):
    tilted = tilted_only(reference, rewards, beta)
    return tilted / tilted.sum()


def reference_forgotten(policy, reference, beta):
    return -F.logsigmoid(beta * (policy[:, 0] - policy[:, 1])).mean()


def columns_swapped(policy, reference, beta):
    gained = policy - reference
    return -F.logsigmoid(beta * (gained[:, 1] - gained[:, 0])).mean()


def beta_outside(policy, reference, beta):
    gained = policy - reference
    return -beta * F.logsigmoid(gained[:, 0] - gained[:, 1]).mean()


def log_of_sigmoid(policy, reference, beta):
    gained = policy - reference
    return -(beta * (gained[:, 0] - gained[:, 1])).sigmoid().log().mean()


def summed_over_pairs(policy, reference, beta):
    gained = policy - reference
    return -F.logsigmoid(beta * (gained[:, 0] - gained[:, 1])).sum()


def votes_of_all(policy, reference, winners, beta):
    gained = policy - reference
    won, lost = gained[:, winners], gained[:, 1 - winners]
    return -F.logsigmoid(beta * (won - lost)).mean()


def losers_win(policy, reference, winners, beta):
    rows, gained = torch.arange(len(winners)), policy - reference
    gap = gained[rows, 1 - winners] - gained[rows, winners]
    return -F.logsigmoid(beta * gap).mean()


def first_always_wins(policy, reference, winners, beta):
    gained = policy - reference
    return -F.logsigmoid(beta * (gained[:, 0] - gained[:, 1])).mean()


def by_strengths(rewards):
    strength = rewards.double().exp()
    return strength[:, None] / (strength[:, None] + strength)


def win_by_win(rewards):
    gaps = [[(a - b).sigmoid() for b in rewards] for a in rewards]
    return torch.tensor(gaps).numpy()


def normalised_in_logs(reference, rewards, beta):
    logits = reference.log() + rewards / beta
    return (logits - logits.logsumexp(0)).exp()


def shifted_first(reference, rewards, beta):
    tilted = reference.double() * ((rewards - rewards.max()).double() / beta).exp()
    return tilted / tilted.sum()


def softplus_of_the_gap(policy, reference, beta):
    chosen, rejected = (policy - reference).unbind(1)
    return F.softplus(beta * (rejected - chosen)).mean()


def pair_by_pair(policy, reference, beta):
    losses = [
        F.softplus(-beta * ((p[0] - r[0]) - (p[1] - r[1])))
        for p, r in zip(policy, reference)
    ]
    return sum(losses).item() / len(losses)


def gathered(policy, reference, winners, beta):
    gained, winners = policy - reference, winners[:, None]
    gap = gained.gather(1, winners) - gained.gather(1, 1 - winners)
    return -F.logsigmoid(beta * gap).mean()


def turned_by_sign(policy, reference, winners, beta):
    gap = (policy - reference).double() @ torch.tensor([1.0, -1.0]).double()
    return -F.logsigmoid(beta * gap * (1 - 2 * winners)).mean()


WRONG = [
    (check.win_table, row_loses, "the row loses"),
    (check.win_table, gaps_of_rewards, "not yet probabilities"),
    (check.win_table, best_of_all, ""),
    (check.win_table, rewards_as_strengths, "is not a strength"),
    (check.best_policy, without_reference, "without the reference"),
    (check.best_policy, beta_upside_down, "β divides"),
    (check.best_policy, tilted_only, "the sum is not 1"),
    (check.best_policy, divided_by_infinity, "overflows"),
    (check.preference_loss, reference_forgotten, "reference is missing"),
    (check.preference_loss, columns_swapped, "first column is the chosen"),
    (check.preference_loss, beta_outside, "inside the logarithm"),
    (check.preference_loss, log_of_sigmoid, "F.logsigmoid"),
    (check.preference_loss, summed_over_pairs, "mean over the pairs"),
    (check.loss_of_votes, votes_of_all, "the votes of all"),
    (check.loss_of_votes, losers_win, "the loser won"),
    (check.loss_of_votes, first_always_wins, "votes are not looked at"),
]

RIGHT = [
    (check.win_table, by_strengths),
    (check.win_table, win_by_win),
    (check.best_policy, normalised_in_logs),
    (check.best_policy, shifted_first),
    (check.preference_loss, softplus_of_the_gap),
    (check.preference_loss, pair_by_pair),
    (check.loss_of_votes, gathered),
    (check.loss_of_votes, turned_by_sign),
]
