"""Reinforcement learning with verifiable rewards: the model tries, a function scores.

A step answers some questions several times each. An answer that is better than the
others of its group becomes more likely, a worse one less likely (group-relative policy
optimisation, GRPO). Source: Shao et al. 2024, section 4.1; the clipped ratio: Schulman
et al. 2017; the loss averaged over tokens, groups without signal left out: Yu et al.
2025.
"""

import copy
import math
import random
from collections.abc import Callable
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import nn

from gpt2lib.checks import check_whole
from gpt2lib.data import IGNORED, Example, pad
from gpt2lib.devices import move
from gpt2lib.evaluation.figures import Figure, described
from gpt2lib.finetuning.instruction import exact_match, mean
from gpt2lib.finetuning.reasoning import (
    parse_reasoning,
    reasoning_prompt,
    split_response,
)
from gpt2lib.finetuning.responses import answer_log_probs, generate_ragged
from gpt2lib.finetuning.tasks import Task
from gpt2lib.generate import evaluating
from gpt2lib.model import GPTModel
from gpt2lib.training.loss import Batch

TRIES = 4  # draws of a batch, until one of its groups has a signal
MEASURED = 500  # test rows, at most, that are answered
AT_ONCE = 128  # answers that are written side by side


class Verifiable(NamedTuple):
    """A question and its answer; `kind` names a group of rows in the figures."""

    question: str
    answer: str
    kind: str = ""


def parse_verifiable(record: dict) -> Verifiable:
    """Question, answer and, if there, kind; or those of a record of AM-DeepSeek-R1."""
    if "messages" in record:
        question, _, answer = parse_reasoning(record)
        return Verifiable(question, answer)
    fields = record["question"], record["answer"], record.get("kind") or ""
    for name, text in zip(Verifiable._fields, fields):
        if not isinstance(text, str):
            raise ValueError(f"{name} is {text!r}, must be a string")
        if name != "kind" and not text.strip():
            raise ValueError(f"{name} is empty")
    return Verifiable(*(text.strip() for text in fields))


def right_answer(row: Verifiable, text: str) -> float:
    """The usual reward: 1 if the text ends with the right answer, 0 otherwise."""
    return float(exact_match(split_response(text)[1] or "", row.answer))


def by_kind(rows: list[Verifiable], rewards: list[float]) -> dict[str, float]:
    """The mean reward of the rows of each kind, as reward_KIND.

    As reward_kind_KIND if that is the name of an end of the reward's interval.
    """
    found: dict[str, list[float]] = {}
    for row, reward in zip(rows, rewards):
        if row.kind:
            taken = row.kind in ("low", "high")
            name = f"reward_kind_{row.kind}" if taken else f"reward_{row.kind}"
            found.setdefault(name, []).append(reward)
    return {name: mean(found[name]) for name in sorted(found)}


# ----------------------------------------------------------------------------- the loss


def advantages(rewards: torch.Tensor, scale: bool = True) -> torch.Tensor:
    """How much better each answer is than the mean of its group.

    Args:
        rewards: of each answer (groups, samples).
        scale: divide by the standard deviation of the group, as in the paper. Without
            it, groups that are nearly all right or all wrong count less (Liu et al.
            2025).

    Shapes: (groups, samples) -> (groups, samples); zeros for a group without signal

    >>> advantages(torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]), False)
    tensor([[ 0.7500, -0.2500, -0.2500, -0.2500],
            [ 0.0000,  0.0000,  0.0000,  0.0000]])
    """
    above = rewards - rewards.mean(dim=1, keepdim=True)
    if scale:
        above = above / rewards.std(dim=1, keepdim=True, correction=0).clamp(min=1e-6)
    return above


def clipped_objective(
    log_probs: torch.Tensor, old: torch.Tensor, advantages: torch.Tensor, clip: float
) -> torch.Tensor:
    """What is gained at each token, clipped so that one batch does not change too much.

    The ratio of the new to the old probability is rewarded only up to 1 ± clip.

    Shapes: log_probs and old (B, T), advantages (B, 1) -> (B, T)
    """
    ratio = (log_probs - old).exp()
    kept = ratio.clamp(1 - clip, 1 + clip)
    return torch.minimum(ratio * advantages, kept * advantages)


def kl_estimate(log_probs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """An estimate of KL(policy ‖ reference) from sampled tokens, unbiased and >= 0.

    Shapes: two of (B, T) -> (B, T), in nats. Source: Schulman 2020, estimator k3.
    """
    difference = reference - log_probs
    return difference.exp() - difference - 1


class PolicyLoss(nn.Module):
    """Minus the clipped objective, plus `kl` times the divergence from the reference.

    Dropout is off, as it was when the answers were drawn. Without `old`, the answers
    were drawn from the model as it is.

    Shapes: inputs and targets (B, T), advantages (B, 1), old and reference log p (B, T)
    -> ()
    """

    def __init__(self, model: GPTModel, clip: float = 0.2, kl: float = 0.0):
        super().__init__()
        self.model, self.clip, self.kl = model, clip, kl

    def forward(
        self,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        advantages: torch.Tensor,
        old: torch.Tensor | None = None,
        reference: torch.Tensor | None = None,
    ) -> torch.Tensor:
        with evaluating(self.model.modules()):
            log_probs = answer_log_probs(self.model, inputs, targets)
        old = log_probs.detach() if old is None else old
        gain = clipped_objective(log_probs, old, advantages, self.clip)
        if self.kl:
            if reference is None:
                raise ValueError("kl needs a reference: give its log p of the answers")
            gain = gain - self.kl * kl_estimate(log_probs, reference)
        return -gain[targets != IGNORED].sum()

    def count(self, inputs, targets, *rest):
        """The number of tokens of the answers."""
        return int((targets != IGNORED).sum())


# -------------------------------------------------------------------------- the batches


class Rollouts:
    """Batches of the model's own answers, in groups.

    They are drawn anew for every step, or for every so many (`updates`).

    Groups whose answers all have the same reward teach nothing and are left out. If
    none is left, others are drawn; if none is after several draws, all gradients are 0.

    Attributes:
        figures: measurements of all that was drawn for the last batch: mean reward,
            also by kind, share of groups without signal, mean number of tokens.
    """

    def __init__(
        self,
        job: "ReinforcementTask",
        model: GPTModel,
        rows: list,
        size: int,
        seed: int,
    ):
        self.job, self.model, self.rows, self.size = job, model, rows, size
        self.seed = seed
        self.reference = copy.deepcopy(model) if job.kl else None
        self.updates = job.updates
        self.figures: dict[str, float] = {}
        self._last: tuple[int, Batch] | None = None

    def notes(self) -> dict[str, float]:
        return self.figures

    def batch(self, step: int) -> Batch:
        """Inputs, targets and advantages of all useful answers.

        With several updates or `kl`, also their old log p; with `kl`, the reference's.

        Raises:
            ValueError: at the first step, no group had answers of different rewards.
        """
        draw = step // self.updates
        if self._last is None or self._last[0] != draw:
            self._last = draw, self._new_batch(draw)
        return self._last[1]

    def _new_batch(self, draw):
        drawn = []
        for number in range(TRIES):
            name = f"{self.seed} {draw} {number}"
            rng = random.Random(name)
            rows = rng.sample(self.rows, min(self.size, len(self.rows)))
            generator = torch.Generator().manual_seed(rng.getrandbits(62))
            prompts, answers, rewards = self.job.attempt(self.model, rows, generator)
            useful = rewards.amax(dim=1) > rewards.amin(dim=1)
            drawn += zip(rows, rewards.mean(dim=1).tolist(), useful.tolist(), answers)
            if useful.any():
                break
        all_rows, means, signals, groups = zip(*drawn)
        self.figures = {
            "reward": mean(means),
            "without_signal": 1 - mean(signals),
            "answer_tokens": mean(map(len, chain(*groups))),
        } | by_kind(all_rows, means)
        if draw == 0 and not useful.any():
            raise ValueError(
                f"in each of {len(drawn)} groups of {self.job.samples} answers all had "
                f"the same reward ({self.figures['reward']:.2f} on average): give "
                "easier or harder problems, answers as the reward expects them, or "
                "another reward"
            )
        return self._batch(prompts, answers, rewards, useful)

    def _batch(self, prompts, answers, rewards, useful):
        above = advantages(rewards, self.job.scale)
        useful[:1] |= ~useful.any()  # a batch has at least one group
        examples, weights = [], []
        groups = useful.nonzero().flatten().tolist()
        for group in sorted(groups, key=lambda group: len(prompts[group])):
            given = [IGNORED] * (len(prompts[group]) - 1)
            for new, weight in zip(answers[group], above[group]):
                examples.append(((prompts[group] + new)[:-1], given + new))
                weights.append(weight)
        inputs, targets = pad(examples)
        batch: Batch = (inputs, targets, torch.stack(weights)[:, None])
        if self.updates > 1 or self.reference is not None:
            batch += (self._log_probs(self.model, inputs, targets),)
        if self.reference is not None:
            batch += (self._log_probs(self.reference, inputs, targets),)
        return batch

    @torch.no_grad()
    def _log_probs(self, model, inputs, targets):
        with evaluating(model.modules()):
            found = [
                answer_log_probs(model, *(move(t, model.device) for t in part)).cpu()
                for part in zip(inputs.split(32), targets.split(32))
            ]
        return torch.cat(found)


# ----------------------------------------------------------------------------- the task


class ReinforcementTask(Task):
    """Answering by trial and reward; see `Rollouts`.

    Options: samples of each question; updates made from the same samples; kl, the
    weight of the divergence from the model that training began with; clip, see
    `clipped_objective`; scale, see `advantages`; max_new_tokens of an answer; reward, a
    function (row, text of the answer) -> number. An answer that does not come to its
    end gets the reward 0.
    """

    name = "reinforcement"
    shares = (0.8, 0.1, 0.1)
    epochs = 1
    rate = 0.1  # at three times the rate, pocket forgets how to answer
    training = {"final_rate": 1.0, "weight_decay": 0.0, "micro_batch_size": 32}
    settings = {"finetuning_task": "reasoning"}
    options = {
        "samples": 8,
        "updates": 1,
        "kl": 0.0,
        "clip": 0.2,
        "scale": True,
        "max_new_tokens": 100,
        "reward": right_answer,
    }
    samples: int
    updates: int
    kl: float
    clip: float
    scale: bool
    max_new_tokens: int
    reward: Callable[[Any, str], float]

    def __init__(self, tokenizer, context_length, **options):
        super().__init__(tokenizer, context_length, **options)
        check_whole("samples", self.samples, 2)
        check_whole("updates", self.updates)
        check_whole("max_new_tokens", self.max_new_tokens)
        if not callable(self.reward):
            raise ValueError(
                "the reward must be a function (row, text of the answer) -> number, "
                f"got {self.reward!r}"
            )
        for name in ("kl", "clip"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not 0 <= value < math.inf:
                raise ValueError(
                    f"{name} must be a number >= 0 (an int or float), got {value!r}"
                )

    def parse(self, record: dict) -> Verifiable:
        return parse_verifiable(record)

    def key(self, row: Verifiable) -> str:
        return row.question

    def prompt(self, row: Verifiable) -> list[int]:
        """The ids that an answer follows."""
        return self.tokenizer.encode_ordinary(reasoning_prompt(row.question))

    def encode(self, row: Verifiable) -> Example:
        """The ids of the prompt; nothing of it is learned."""
        ids = self.prompt(row)
        return ids, [IGNORED] * len(ids)

    def fits(self, row: Verifiable) -> bool:
        return len(self.prompt(row)) < self.context_length

    def loss_of(self, model: GPTModel) -> nn.Module:
        return PolicyLoss(model, self.clip, self.kl)

    def batches(self, model, rows, batch_size, seed) -> Rollouts:
        return Rollouts(self, model, rows, batch_size, seed)

    def attempt(
        self,
        model: GPTModel,
        rows: list[Verifiable],
        generator: torch.Generator | None = None,
        samples: int | None = None,
    ) -> tuple[list[list[int]], list[list[list[int]]], torch.Tensor]:
        """Answers drawn at temperature 1, `samples` for each row, and their rewards.

        Returns: ids of the prompts, ids of the answers, rewards (rows, samples)
        """
        samples = samples or self.samples
        prompts = [self.prompt(row) for row in rows]
        copies = [ids for ids in prompts for _ in range(samples)]
        new = self._answers(model, copies, 1.0, generator)
        groups = [new[i : i + samples] for i in range(0, len(new), samples)]
        rewards = [[self.score(row, a) for a in g] for row, g in zip(rows, groups)]
        return prompts, groups, torch.tensor(rewards)

    def score(self, row: Verifiable, ids: list[int]) -> float:
        """The reward of an answer, 0 if it does not end with <|endoftext|>.

        Raises:
            ValueError: the reward is not a finite number.
        """
        if ids[-1:] != [self.tokenizer.eot_token]:
            return 0.0
        reward = self.reward(row, self.tokenizer.decode(ids[:-1]))
        if not hasattr(reward, "__float__") or not math.isfinite(reward):
            raise ValueError(f"the reward must be a finite number, got {reward!r}")
        return float(reward)

    def answers(self, model: GPTModel, rows: list[Verifiable]) -> list[list[int]]:
        """The greedy answer to each row, as ids."""
        return self._answers(model, [self.prompt(row) for row in rows], 0.0)

    def _answers(self, model, prompts, temperature, generator=None):
        end, n_vocab = self.tokenizer.eot_token, self.tokenizer.n_vocab
        limits = self.max_new_tokens, end, AT_ONCE, n_vocab
        return generate_ragged(model, prompts, *limits, temperature, generator)

    def rewards(self, model: GPTModel, rows: list[Verifiable]) -> list[float]:
        """The reward of the greedy answer to each row."""
        return [self.score(*pair) for pair in zip(rows, self.answers(model, rows))]

    def validate(self, model, rows, precision="float32") -> dict[str, float]:
        """The mean reward of greedy answers, and as the loss, minus that."""
        reward = mean(self.rewards(model, rows))
        return {"val_loss": -reward, "val_reward": reward}

    def measure(
        self, model: GPTModel, splits: dict[str, list[Verifiable]]
    ) -> dict[str, Any]:
        """The reward of greedy answers on test rows, with its interval, and by kind."""
        test = splits["test"][:MEASURED]
        rewards = self.rewards(model, test)
        figures = described("reward", Figure.ratio(rewards, [1.0] * len(test)))
        return figures | by_kind(test, rewards)
