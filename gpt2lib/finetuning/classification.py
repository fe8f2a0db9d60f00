"""Spam or ham: a classification head takes the place of the output head.

A classifier is a GPTModel with cfg.n_classes. It gives logits (B, T, classes) at every
position; those of the last real token are used, since it attends to the whole message
and to no padding. All other targets are IGNORED, so the training loop stays the same.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import nn

from gpt2lib.checks import check_int
from gpt2lib.data import IGNORED, Example, pad
from gpt2lib.evaluation.figures import Figure, described
from gpt2lib.finetuning.responses import check_are_texts
from gpt2lib.finetuning.tasks import Task
from gpt2lib.generate import evaluating
from gpt2lib.model import GPTModel
from gpt2lib.tokenizer import Tokenizer
from gpt2lib.weights.vocabulary import end_of_text

LABELS = ("ham", "spam")
COURSE_LENGTH = 120  # tokens that the course pads every message to
PARTS = ("head", "final-scale", "last-block", "all")


class Message(NamedTuple):
    """A text and the index of its label in LABELS."""

    text: str
    label: int


def parse_message(record: str | dict) -> Message:
    """A row of the UCI file (`ham<TAB>text`), or a record {"text", "label"}.

    The text may also be called sms, as in the hub's file, and the label be a number.

    >>> parse_message({"text": "Call now!", "label": "spam"})
    Message(text='Call now!', label=1)
    """
    if isinstance(record, str):
        label, tab, text = record.partition("\t")
        if not tab:
            raise ValueError("no tab between label and text")
    else:
        label, text = record["label"], record["sms" if "sms" in record else "text"]
    known = {name: i for i, name in enumerate(LABELS)} | {0: 0, "0": 0, 1: 1, "1": 1}
    if label not in known:
        raise ValueError(f"the label is {label!r}, must be ham or 0, spam or 1")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("the message is empty")
    return Message(text.strip(), known[label])


def replace_head(model: GPTModel, n_classes: int, seed: int = 0) -> GPTModel:
    """Replaces the output head, in place, by a new classification head.

    Raises:
        ValueError: fewer than two classes.
    """
    check_int("n_classes", n_classes, 2)
    model.cfg = dataclasses.replace(model.cfg, n_classes=n_classes, tied_head=False)
    head = nn.Linear(model.cfg.emb_dim, n_classes, bias=False)
    generator = torch.Generator().manual_seed(seed)
    weight = 0.02 * torch.randn(head.weight.shape, generator=generator)
    head.weight = nn.Parameter(weight.to(model.tok_emb.weight))
    model.out_head = head
    return model


def train_only(model: GPTModel, part: str) -> GPTModel:
    """Freezes, in place, all but a part: one of `PARTS`.

    "last-block" is what the course trains: the last block, the final norm and the head.
    "final-scale" is the scale of the final norm alone, or with a head for classes. A
    head that is tied to the token embedding is trained only as part of "all".

    Raises:
        ValueError: an unknown part, or "head" if the head is tied.
    """
    if part not in PARTS:
        raise ValueError(f"the part to train must be one of {PARTS}, got {part!r}")
    if part == "head" and model.cfg.tied_head:
        raise ValueError(
            "the output head of this model is its token embedding, so it cannot be "
            "trained alone: use final-scale, last-block, lora or all"
        )
    head: list[Any] = [] if model.cfg.tied_head else [model.out_head]
    trained = {
        "head": head,
        "final-scale": [model.final_norm.scale, *(head if model.cfg.n_classes else [])],
        "last-block": [model.trf_blocks[-1], model.final_norm, *head],
        "all": [model],
    }
    model.requires_grad_(False)
    for module_or_parameter in trained[part]:
        module_or_parameter.requires_grad_(True)
    return model


def encode_message(text: str, tokenizer: Tokenizer, context_length: int) -> list[int]:
    """The ids of a text without outer white space, truncated to the context.

    <|endoftext|> if it is empty.
    """
    ids = tokenizer.encode_ordinary(text.strip()) or [end_of_text(tokenizer)]
    return ids[:context_length]


@torch.no_grad()
def classify(
    model: GPTModel,
    texts: list[str],
    tokenizer: Tokenizer,
    batch_size: int = 64,
    padded_to: int | None = None,
) -> torch.Tensor:
    """The probability of each class for each text, from its last real token.

    Args:
        padded_to: pad with <|endoftext|> to this many tokens and use the last of them;
            only for classifiers trained that way, as the seed's with COURSE_LENGTH.

    Shapes: N texts -> (N, classes)

    Raises:
        TypeError: one text in place of several.
        ValueError: the model has no classification head, or a size below 1.
    """
    check_are_texts(texts)
    check_int("batch_size", batch_size)
    if padded_to is not None:
        check_int("padded_to", padded_to)
    if not model.cfg.n_classes:
        raise ValueError("this model has no classification head: use a finetuned one")
    longest = padded_to or model.cfg.context_length
    rows = [encode_message(text, tokenizer, longest) for text in texts]
    if padded_to is not None:
        end = [end_of_text(tokenizer)]
        rows = [ids + end * (padded_to - len(ids)) for ids in rows]
    found = torch.empty(len(rows), model.cfg.n_classes)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    with evaluating(model.modules()):
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            inputs, _ = pad([(rows[i], []) for i in chosen])
            last = torch.tensor([len(rows[i]) - 1 for i in chosen])
            logits = model(inputs.to(model.device))[range(len(chosen)), last]
            found[chosen] = logits.float().softmax(dim=-1).cpu()
    return found


def confusion_matrix(
    labels: Iterable[int], predicted: Iterable[int]
) -> list[list[int]]:
    """Counts: rows are the true labels, columns the predicted ones.

    >>> confusion_matrix([0, 0, 1], [0, 1, 1])
    [[1, 1], [0, 1]]
    """
    pairs = Counter(zip(labels, predicted))
    size = range(len(LABELS))
    return [[pairs[true, said] for said in size] for true in size]


def scores(confusion: list[list[int]]) -> dict[str, float]:
    """Accuracy, and precision, recall and F1 of spam, as fractions."""
    (ham_kept, ham_lost), (spam_kept, spam_caught) = confusion
    found, there = ham_lost + spam_caught, spam_kept + spam_caught
    return {
        "accuracy": (ham_kept + spam_caught) / sum(map(sum, confusion)),
        "precision": spam_caught / found if found else 0.0,
        "recall": spam_caught / there if there else 0.0,
        "f1": 2 * spam_caught / (found + there) if found + there else 0.0,
    }


class NaiveBayes:
    """Multinomial naive Bayes on n-grams, with add-one smoothing: the baseline to beat.

    Args:
        n: count runs of up to so many words: 1 for words, 2 for pairs too.
    """

    def __init__(self, messages: list[Message], n: int = 1):
        self.n = n
        self.counts = {label: Counter[str]() for label in range(len(LABELS))}
        for text, label in messages:
            self.counts[label].update(self._n_grams(text))
        self.labels = Counter(label for _, label in messages)
        self.vocabulary = len(set().union(*self.counts.values()))

    def predict(self, text: str) -> int:
        """The more likely label."""
        return max(self.counts, key=lambda label: self._log_probability(text, label))

    def right(self, messages: list[Message]) -> list[bool]:
        """For each message, whether its label is the predicted one."""
        return [self.predict(text) == label for text, label in messages]

    def _n_grams(self, text):
        words = text.lower().split()
        for length in range(1, self.n + 1):
            for i in range(len(words) - length + 1):
                yield " ".join(words[i : i + length])

    def _log_probability(self, text, label):
        counts = self.counts[label]
        total = counts.total() + self.vocabulary
        prior = math.log(max(self.labels[label], 1e-9))
        return prior + sum(
            math.log((counts[n_gram] + 1) / total) for n_gram in self._n_grams(text)
        )


N_GRAMS = {"words": 1, "pairs": 2, "triples": 3}


def best_naive_bayes(
    training: list[Message], validation: list[Message]
) -> tuple[str, NaiveBayes]:
    """Its name in N_GRAMS, and the most accurate of these on the validation split."""
    found = {name: NaiveBayes(training, n) for name, n in N_GRAMS.items()}
    best = max(found, key=lambda name: sum(found[name].right(validation)))
    return best, found[best]


class SpamTask(Task):
    """Telling spam from ham."""

    name = "spam"
    shares = (0.7, 0.1, 0.2)  # training, validation, test: the course's
    epochs = 6
    rate = 0.5  # an untrained head sends noisy gradients into the layers below
    has_base = False  # no figures before training: the head is new
    settings = {"id2label": dict(enumerate(LABELS))}

    def parse(self, record: str | dict) -> Message:
        return parse_message(record)

    def key(self, message: Message) -> str:
        return message.text

    def equip(self, model: GPTModel, seed: int = 0) -> GPTModel:
        return replace_head(model, len(LABELS), seed)

    def check(self, splits: dict[str, list[Message]]) -> None:
        """Raises ValueError unless every split has messages of both kinds."""
        for name, messages in splits.items():
            there = {message.label for message in messages}
            if len(there) < len(LABELS):
                raise ValueError(
                    f"all {len(messages)} messages of the {name} split are "
                    f"{LABELS[there.pop()]}, but {' and '.join(LABELS)} are needed: "
                    "add messages of the other kind"
                )

    def encode(self, message: Message) -> Example:
        """(ids, targets): the last target is the label, all others are IGNORED."""
        ids = encode_message(message.text, self.tokenizer, self.context_length)
        return ids, [IGNORED] * (len(ids) - 1) + [message.label]

    def fits(self, message: Message) -> bool:
        return True  # long messages are truncated, and counted by `measure`

    def validate(
        self, model: GPTModel, messages: list[Message], precision: str = "float32"
    ) -> dict[str, float]:
        """The loss, and the share of messages with the right label."""
        said = self._predicted(model, messages)
        right = sum(m.label == label for m, label in zip(messages, said))
        loss = super().validate(model, messages, precision)
        return loss | {"val_accuracy": right / len(messages)}

    def measure(
        self, model: GPTModel, splits: dict[str, list[Message]]
    ) -> dict[str, Any]:
        """The figures on the test split, beside the best naive Bayes."""
        training, test = splits["training"], splits["test"]
        said, every = self._predicted(model, test), chain(*splits.values())
        confusion = confusion_matrix([m.label for m in test], said)
        name, bayes = best_naive_bayes(training, splits["validation"])
        right = Figure.share([m.label == label for m, label in zip(test, said)])
        beside = Figure.share(bayes.right(test))
        lengths = [len(self.tokenizer.encode_ordinary(m.text)) for m in every]
        return {f"test_{name}": value for name, value in scores(confusion).items()} | {
            "beside": f"naive Bayes on {name}",
            "naive_bayes_accuracy": beside.value,
            **described("test_accuracy", right, beside),
            "confusion": confusion,
            "cut": sum(length > self.context_length for length in lengths),
        }

    def _predicted(self, model, messages):
        likely = classify(model, [m.text for m in messages], self.tokenizer)
        return likely.argmax(1).tolist()
