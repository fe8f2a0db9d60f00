"""Wrong and right answers to the exercises of chapter 12."""

import re

import numpy as np
import torch
from torch.nn import functional as F

from gpt2lib.course import check


def standardised(rewards, correction=0):
    table = torch.tensor(rewards)
    above = table - table.mean(dim=1, keepdim=True)
    return above / table.std(dim=1, keepdim=True, correction=correction).clamp(min=1e-6)


def kept_from_zero(rewards):
    table = torch.tensor(rewards)
    above = table - table.mean(dim=1, keepdim=True)
    return above / (table.std(dim=1, keepdim=True, correction=0) + 1e-4)


def divided_by_zero(rewards):
    table = np.array(rewards)
    with np.errstate(invalid="ignore"):
        return (table - table.mean(1, keepdims=True)) / table.std(1, keepdims=True)


def one_mean_for_all(rewards):
    table = torch.tensor(rewards)
    return (table - table.mean()) / table.std(correction=0)


def not_divided(rewards):
    table = torch.tensor(rewards)
    return table - table.mean(dim=1, keepdim=True)


def loss_of_clipped(new, old, above, learned, clip, pick=torch.minimum, sign=-1):
    ratio, above = (new - old).exp(), above[:, None]
    return sign * pick(ratio * above, ratio.clamp(1 - clip, 1 + clip) * above)[learned]


def clipped_mean(*given):
    return loss_of_clipped(*given).mean()


def towards_the_worst(*given):
    return loss_of_clipped(*given, sign=1).mean()


def the_larger_side(*given):
    return loss_of_clipped(*given, pick=torch.maximum).mean()


def padding_learned(new, old, above, learned, clip):
    return clipped_mean(new, old, above, torch.ones_like(learned), clip)


def never_clipped(new, old, above, learned, clip):
    return -((new - old).exp() * above[:, None])[learned].mean()


def summed_up(*given):
    return loss_of_clipped(*given).sum()


def uphill(logits, arms, rewards, rate, sign=1, baseline=True):
    above = rewards - rewards.mean() * baseline
    towards = F.one_hot(arms, len(logits)) - logits.softmax(dim=0)
    return logits + sign * rate * (above[:, None] * towards).mean(dim=0)


def downhill(*given):
    return uphill(*given, sign=-1)


def without_a_baseline(*given):
    return uphill(*given, baseline=False)


def only_the_arm_pulled(logits, arms, rewards, rate):
    """With the mean as a baseline, what the policy subtracts adds up to nothing."""
    above = (rewards - rewards.mean())[:, None]
    return logits + rate * (above * F.one_hot(arms, len(logits))).mean(dim=0)


def chain_holds(text, answer):
    thought, *answers = text.split("\nAnswer: ")
    number = None
    for step in thought.split(", "):
        found = re.fullmatch(r"(\d+) ([+-]) (\d+) = (\d+)", step)
        if not found or number not in (None, found[1]):
            return 0.0
        number = found[4]
        sign = 1 if found[2] == "+" else -1
        if int(found[1]) + sign * int(found[3]) != int(number):
            return 0.0
    return float(answers == [answer] == [number])


def last_sum_ignored(text, answer):
    thought, *answers = text.split("\nAnswer: ")
    result = thought.rpartition("= ")[2]
    sound = chain_holds(f"{thought}\nAnswer: {result}", result)
    return float(answers == [answer] and sound)


def holds(steps):
    result = steps[-1].rpartition("= ")[2]
    return chain_holds(f"{', '.join(steps)}\nAnswer: {result}", result)


def first_link_alone(text, answer):
    thought, *answers = text.split("\nAnswer: ")
    steps = thought.split(", ")
    sound = holds(steps[:2]) and all(holds([step]) for step in steps)
    return float(sound and thought.endswith(f"= {answer}") and answers == [answer])


def middle_unchecked(text, answer):
    thought, *answers = text.split("\nAnswer: ")
    steps = thought.split(", ")
    ends = zip(steps, [None, *(step.rpartition(" ")[2] for step in steps)])
    linked = all(before in (None, step.split(" ")[0]) for step, before in ends)
    sound = linked and holds(steps[:1]) and holds(steps[-1:])
    return float(sound and thought.endswith(f"= {answer}") and answers == [answer])


def started_like_a_sum(text, answer):
    thought, *answers = text.split("\nAnswer: ")
    steps = [re.match(r"\d+ [+-] \d+ = \d+", step) for step in thought.split(", ")]
    if None in steps:
        return 0.0
    clean = ", ".join(step[0] for step in steps)
    return chain_holds("\nAnswer: ".join([clean, *answers]), answer)


def on_the_same_line(text, answer):
    thought, *answers = text.split("Answer: ")
    return chain_holds("\nAnswer: ".join([thought.strip(), *answers]), answer)


def stopped_by_no_answer(text, answer):
    thought, said = text.rsplit("\nAnswer: ", 1)
    return chain_holds(text, answer)


def answer_somewhere(text, answer):
    return float(f"Answer: {answer}" in text)


def last_line_alone(text, answer):
    return float(text.splitlines()[-1] == f"Answer: {answer}")


def sums_unchecked(text, answer):
    thought, *answers = text.split("\nAnswer: ")
    return float(thought.endswith(f"= {answer}") and answers == [answer])


def always_right(text, answer):
    return 1.0


WRONG = [
    (check.group_advantages, divided_by_zero, ""),
    (check.group_advantages, one_mean_for_all, ""),
    (check.group_advantages, not_divided, ""),
    (check.group_advantages, lambda rewards: standardised(rewards, correction=1), ""),
    (check.clipped_loss, towards_the_worst, ""),
    (check.clipped_loss, the_larger_side, ""),
    (check.clipped_loss, padding_learned, ""),
    (check.clipped_loss, never_clipped, ""),
    (check.clipped_loss, summed_up, ""),
    (check.bandit_step, downhill, ""),
    (check.bandit_step, without_a_baseline, ""),
    (check.strict_reward, answer_somewhere, ""),
    (check.strict_reward, last_sum_ignored, "does not come to the answer"),
    (check.strict_reward, started_like_a_sum, "more than a sum"),
    (check.strict_reward, first_link_alone, "begins with another number"),
    (check.strict_reward, middle_unchecked, "a sum is wrong"),
    (check.strict_reward, on_the_same_line, "line of its own"),
    (check.strict_reward, stopped_by_no_answer, "ValueError"),
    (check.strict_reward, last_line_alone, ""),
    (check.strict_reward, sums_unchecked, ""),
    (check.strict_reward, always_right, ""),
]

RIGHT = [
    (check.group_advantages, standardised),
    (check.group_advantages, kept_from_zero),
    (check.group_advantages, lambda rewards: standardised(rewards).double()),
    (check.group_advantages, lambda rewards: standardised(rewards).tolist()),
    (check.clipped_loss, clipped_mean),
    (check.clipped_loss, lambda *given: clipped_mean(*given).item()),
    (check.bandit_step, uphill),
    (check.bandit_step, only_the_arm_pulled),
    (check.bandit_step, lambda *given: uphill(*given).numpy().astype("float64")),
    (check.strict_reward, chain_holds),
    (check.strict_reward, lambda *given: int(chain_holds(*given))),
]
