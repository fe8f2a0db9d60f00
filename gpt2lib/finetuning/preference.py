"""Learning from preferences: of two texts for a prompt, one is liked better (DPO).

Source: Rafailov et al. 2023, Direct Preference Optimization. The data has the form that
TRL reads.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from gpt2lib.data import IGNORED, Example, PaddedBatches, pad
from gpt2lib.devices import autocast, move
from gpt2lib.evaluation.figures import Figure, described
from gpt2lib.finetuning.instruction import MEASURED, encode_pair
from gpt2lib.finetuning.responses import check_are_texts, generate_ragged
from gpt2lib.finetuning.tasks import Task
from gpt2lib.generate import evaluating
from gpt2lib.model import GPTModel
from gpt2lib.tokenizer import Tokenizer
from gpt2lib.training.loss import token_log_probs

Pair = tuple[Example, Example]  # (ids, targets) of the chosen and of the rejected text


class Preference(NamedTuple):
    """A prompt and two texts that may follow it, of which one is preferred."""

    prompt: str
    chosen: str
    rejected: str


# -------------------------------------------------------------------------------- rows


def parse_preference(record: dict) -> Preference:
    """The row of a record {"prompt", "chosen", "rejected"}, all three texts.

    Each may also be a list of messages {"role", "content"}. Then the contents of the
    prompt's messages become lines, the answer begins on the next line, and the prompt
    may stand at the beginning of both answers, instead of or besides its own field.

    >>> user = {"role": "user", "content": "2 + 3?"}
    >>> right, wrong = ({"role": "assistant", "content": c} for c in "56")
    >>> parse_preference({"chosen": [user, right], "rejected": [user, wrong]})
    Preference(prompt='2 + 3?\\n', chosen='5', rejected='6')
    """
    texts = [record["chosen"], record["rejected"]]
    if any(isinstance(text, list) for text in texts):
        row = _of_messages(record.get("prompt"), *texts)
    else:
        row = Preference(_lines(record.get("prompt")), *texts)
    for name, text in row._asdict().items():
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{name} is empty, absent or not a text")
    if row.chosen == row.rejected:
        raise ValueError("chosen and rejected are the same text")
    return row


def _of_messages(prompt, chosen, rejected):
    begun = 0
    while chosen[begun:-1] and rejected[begun:-1] and chosen[begun] == rejected[begun]:
        begun += 1
    prompt = _lines(prompt) if prompt else _lines(chosen[:begun])
    for name, messages in {"chosen": chosen, "rejected": rejected}.items():
        if [message["role"] for message in messages[begun:]] != ["assistant"]:
            raise ValueError(
                f"{name} must be one message of the assistant, after the same messages "
                "as the other"
            )
    if begun and _lines(chosen[:begun]).strip() != prompt.strip():
        raise ValueError("chosen and rejected begin with another prompt")
    prompt = prompt.rstrip("\n") + "\n"
    return Preference(prompt, chosen[-1]["content"], rejected[-1]["content"])


def _lines(prompt):
    """A prompt as text; of messages, each on a line of its own."""
    if not isinstance(prompt, list):
        return prompt
    return "".join(message["content"] + "\n" for message in prompt)


def encode_preference(row: Preference, tokenizer: Tokenizer) -> Pair:
    """(ids, targets) of the chosen and of the rejected text, each after the prompt.

    Targets are the text and the <|endoftext|> that ends it, not the prompt.
    """
    chosen = encode_pair(row.prompt, row.chosen, tokenizer)
    return chosen, encode_pair(row.prompt, row.rejected, tokenizer)


# -------------------------------------------------------------------------------- loss


def margins(policy: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """How much more the chosen texts have gained than the rejected ones, in nats.

    Shapes: log p of (chosen, rejected) under both models, two of (N, 2) -> (N,)
    """
    gained = policy - reference
    return gained[:, 0] - gained[:, 1]


def dpo_loss(
    policy: torch.Tensor, reference: torch.Tensor, beta: float
) -> torch.Tensor:
    """-log of the probability that the chosen text wins, if rewards are beta x gain.

    Shapes: log p of (chosen, rejected) under both models, two of (N, 2) -> (N,)

    Source: Rafailov et al. 2023, equation 7.
    """
    return -F.logsigmoid(beta * margins(policy, reference))


class PreferenceLoss(nn.Module):
    """A model and its `dpo_loss`, summed over pairs; dropout is off.

    Shapes: inputs (N, 2, T), targets (N, 2, T), reference (N, 2) -> ()
    """

    def __init__(self, model: GPTModel, beta: float):
        super().__init__()
        self.model = model
        self.beta = beta

    def forward(
        self, inputs: torch.Tensor, targets: torch.Tensor, reference: torch.Tensor
    ) -> torch.Tensor:
        policy = text_log_probs(self.model, inputs, targets)
        return dpo_loss(policy, reference, self.beta).sum()

    def count(self, inputs: torch.Tensor, *others: torch.Tensor) -> int:
        """The number of pairs that a batch is averaged over."""
        return len(inputs)


def text_log_probs(
    model: GPTModel, inputs: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """log p of each text in nats, with gradients and without dropout.

    Shapes: inputs (..., T), targets (..., T) -> (...)
    """
    with evaluating(model.modules()):
        each = token_log_probs(model, inputs.flatten(0, -2), targets.flatten(0, -2))
    return each.sum(-1).view(inputs.shape[:-1])


@torch.no_grad()
def log_probs_of(
    model: GPTModel, examples: list[Example], precision: str = "float32"
) -> torch.Tensor:
    """log p in nats of the targets of each example, (N,) float32 on the CPU.

    Examples of similar length are computed together.
    """
    order = sorted(range(len(examples)), key=lambda i: len(examples[i][0]))
    found = torch.empty(len(examples))
    for rows in torch.tensor(order).split(32):
        batch = (move(t, model.device) for t in pad([examples[i] for i in rows]))
        with autocast(model.device, precision):
            found[rows] = text_log_probs(model, *batch).float().cpu()
    return found


def pair_log_probs(
    model: GPTModel, pairs: list[Pair], precision: str = "float32"
) -> torch.Tensor:
    """log p in nats of the chosen and the rejected text of each pair, (N, 2)."""
    texts = [example for pair in pairs for example in pair]
    return log_probs_of(model, texts, precision).view(-1, 2)


class PreferenceBatches(PaddedBatches):
    """Batches of pairs, with their log-probabilities under the model as it is now.

    These are computed once, at the beginning: training needs no second model.
    """

    def __init__(
        self, model: GPTModel, pairs: list[Pair], batch_size: int, seed: int = 0
    ):
        longer = [max(pair, key=lambda example: len(example[0])) for pair in pairs]
        super().__init__(longer, batch_size, seed)
        self.pairs = pairs
        self.reference = pair_log_probs(model, pairs)

    def batch(self, step: int) -> Any:
        """Inputs and targets (N, 2, T), and log p under the reference (N, 2)."""
        epoch, number = divmod(step, len(self))
        rows = self._batches(epoch)[number]
        inputs, targets = pad([example for i in rows for example in self.pairs[i]])
        shape = len(rows), 2, -1
        return inputs.view(shape), targets.view(shape), self.reference[rows]


# -------------------------------------------------------------------------------- task


class PreferenceTask(Task):
    """Direct preference optimization."""

    name = "preference"
    shares = (0.8, 0.1, 0.1)
    epochs = 1
    rate = 0.1  # pairs say little each: a higher rate mostly follows their noise
    options = {"beta": 0.1}
    beta: float

    def __init__(self, tokenizer: Tokenizer, context_length: int, **options: Any):
        super().__init__(tokenizer, context_length, **options)
        if type(self.beta) not in (int, float) or not 0 < self.beta < math.inf:
            raise ValueError(f"beta must be a number above 0, got {self.beta!r}")
        self.held_out: list[Preference] = []
        self.reference: dict[Preference, torch.Tensor] = {}

    def parse(self, record: dict) -> Preference:
        return parse_preference(record)

    def key(self, row: Preference) -> str:
        return row.prompt

    def keys(self) -> list[Callable[[Preference], str]]:
        """The prompt; if too few rows have distinct ones, with its chosen text."""
        return [self.key, lambda row: row.prompt + row.chosen]

    def pair(self, row: Preference) -> Pair:
        return encode_preference(row, self.tokenizer)

    def encode(self, row: Preference) -> Example:
        """(ids, targets) of the longer of its two texts."""
        return max(self.pair(row), key=lambda example: len(example[0]))

    def check(self, splits: dict[str, list]) -> None:
        """Remembers for which held-out rows `batches` will ask the untrained model."""
        self.held_out = splits["validation"]

    def batches(
        self, model: GPTModel, rows: list, batch_size: int, seed: int
    ) -> PreferenceBatches:
        """Training batches; what the untrained model says of held-out rows is kept."""
        known = pair_log_probs(model, [self.pair(row) for row in self.held_out])
        self.reference = dict(zip(self.held_out, known))
        pairs = [self.pair(row) for row in rows]
        return PreferenceBatches(model, pairs, batch_size, seed)

    def loss_of(self, model: GPTModel) -> PreferenceLoss:
        return PreferenceLoss(model, self.beta)

    def validate(
        self, model: GPTModel, rows: list, precision: str = "float32"
    ) -> dict[str, float]:
        """Loss, share of margins above 0, and mean gain in log p of both texts."""
        reference = torch.stack([self.reference[row] for row in rows])
        policy = pair_log_probs(model, [self.pair(row) for row in rows], precision)
        chosen, rejected = (policy - reference).mean(0).tolist()
        return {
            "val_loss": dpo_loss(policy, reference, self.beta).mean().item(),
            "val_accuracy": (margins(policy, reference) > 0).float().mean().item(),
            "val_chosen_gain": chosen,
            "val_rejected_gain": rejected,
        }

    def measure(self, model: GPTModel, splits: dict[str, list]) -> dict[str, Any]:
        """The share of test pairs of which the model finds the chosen text likelier."""
        log_probs = pair_log_probs(model, [self.pair(row) for row in splits["test"]])
        likelier = (log_probs[:, 0] > log_probs[:, 1]).tolist()
        return described("chosen_is_likelier", Figure.share(likelier))

    def beside(
        self, model: GPTModel, base: GPTModel, splits: dict[str, list]
    ) -> dict[str, Any]:
        """What has changed on test pairs, in nats, and the divergence from the base."""
        test = splits["test"]
        policy, reference = (
            pair_log_probs(m, [self.pair(row) for row in test]) for m in (model, base)
        )
        prompts = [row.prompt for row in test[:MEASURED]]
        changes = {
            "margin": margins(policy, reference),
            "chosen_gain": (policy - reference)[:, 0],
            "rejected_gain": (policy - reference)[:, 1],
            "kl": divergence(model, base, prompts, self.tokenizer),
        }
        right = Figure.share((changes["margin"] > 0).tolist())
        figures = super().beside(model, base, splits) | described(
            "test_accuracy", right
        )
        for name, values in changes.items():
            figures |= described(name, Figure(values.double(), torch.ones_like(values)))
        return figures


def divergence(
    model: GPTModel,
    reference: GPTModel,
    prompts: list[str],
    tokenizer: Tokenizer,
    seed: int = 0,
) -> torch.Tensor:
    """log p - log p of the reference, in nats, of texts that the model samples.

    One for each prompt; their mean estimates the Kullback-Leibler divergence from the
    model to the reference.

    Shapes: -> (prompts,)
    """
    check_are_texts(prompts)
    ids = [tokenizer.encode_ordinary(prompt) for prompt in prompts]
    texts = generate_ragged(
        model,
        ids,
        eos_id=tokenizer.eot_token,
        vocab_size=tokenizer.n_vocab,
        temperature=1.0,
        generator=torch.Generator().manual_seed(seed),
    )
    examples = [
        ([*given, *text[:-1]], [IGNORED] * (len(given) - 1) + text)
        for given, text in zip(ids, texts)
    ]
    return log_probs_of(model, examples) - log_probs_of(reference, examples)
