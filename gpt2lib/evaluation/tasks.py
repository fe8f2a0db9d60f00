"""The tasks of the verb evaluate: rows of a file -> questions -> figures."""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from gpt2lib import files
from gpt2lib.evaluation.figures import Figure
from gpt2lib.evaluation.likelihood import (
    Likelihood,
    Question,
    check_fits,
    encode_question,
    log_likelihoods,
    rolling_questions,
)
from gpt2lib.model import GPTModel
from gpt2lib.tokenizer import ENDOFTEXT, Tokenizer
from gpt2lib.training.records import read_records
from gpt2lib.training.texts import is_text_file, read_texts
from gpt2lib.weights.vocabulary import end_of_text

Answers = list[list[Likelihood]]  # for every question of an item, of its endings


class Choice(NamedTuple):
    """A context and endings, of which the one numbered `label` is right.

    `lengths` are the endings' in characters.
    """

    questions: list[Question]
    lengths: list[int]
    label: int


class LastWord(NamedTuple):
    """A text whose last word is to be predicted from all the others."""

    questions: list[Question]


class StoryItem(NamedTuple):
    """A choice or a last word in a story, and the parts of the test it belongs to."""

    questions: list[Question]
    kind: str
    parts: list[str]
    item: Choice | LastWord


class Document(NamedTuple):
    """A text in windows, with its size."""

    questions: list[Question]
    words: int
    bytes: int
    window_bytes: list[int]


class Benchmark(ABC):
    """What a model is asked, and the figures that follow from its likelihoods.

    Attributes:
        sources: files or folders in data/ that are used if none is given.
        published: figures that others report, by model and name, as fractions.
        used: for each row that was parsed, whether it was usable.
    """

    sources: tuple[str, ...] = ()
    published: dict[str, dict[str, float]] = {}

    def __init__(self, tokenizer: Tokenizer, length: int, stride: int | None = None):
        self.tokenizer = tokenizer
        self.length = length
        self.stride = stride
        self.used: list[bool] = []

    def read(
        self, path: Path, skip_bad_rows: bool, limit: int | None = None
    ) -> tuple[list, int]:
        """All items of a file, or the first ones, and the number of rows left out."""

        def parse(record):
            self.used.append(False)
            item = self.parse(record)
            self.used[-1] = True
            return item

        return read_records(path, parse, skip_bad_rows, limit)

    @abstractmethod
    def parse(self, record: Any) -> Any:
        """The item in a row; raises ValueError if it is unusable."""

    @abstractmethod
    def figures(self, items: list, answers: list[Answers]) -> dict[str, Figure]:
        """The figures, by name."""

    def question(self, context: str, endings: list[str]) -> Question:
        """A question in ids, after a check that its endings fit."""
        question = encode_question(context, endings, self.tokenizer)
        check_fits(question, self.length)
        return question


class Choices(Benchmark):
    """Which of several endings is the most likely, and the most likely per character.

    A row is {"context": str, "endings": [str, ...], "label": int}; context and ending
    are joined by a space. Long endings are less likely only because they are long;
    `acc_norm` divides by their length.
    """

    def parse(self, record: Any) -> Choice:
        endings = record["endings"]
        if isinstance(endings, list) and "" in endings:  # HellaSwag's may be
            raise ValueError("an ending is empty")
        return self.choice(_text(record, "context"), endings, record["label"])

    def choice(self, context: str, endings: list[str], label: Any) -> Choice:
        if not isinstance(endings, list) or len(endings) < 2:
            raise ValueError("endings must be a list of at least two texts")
        if not all(isinstance(ending, str) for ending in endings):
            raise ValueError("each ending must be a text")
        if isinstance(label, str) and label.isdecimal():
            label = int(label)
        if type(label) is not int or not 0 <= label < len(endings):
            raise ValueError(
                f"label must be from 0 to {len(endings) - 1}, got {label!r}"
            )
        question = self.question(context, [" " + ending for ending in endings])
        return Choice([question], [len(e) for e in endings], label)

    def figures(self, items: list[Choice], answers: list[Answers]) -> dict[str, Figure]:
        right, right_norm = [], []
        for item, (endings,) in zip(items, answers):
            nats = [likelihood.nats for likelihood in endings]
            sized = zip(nats, item.lengths)
            per_character = [n / length if length else -math.inf for n, length in sized]
            right.append(_first_largest(nats) == item.label)
            right_norm.append(_first_largest(per_character) == item.label)
        return {"acc": Figure.share(right), "acc_norm": Figure.share(right_norm)}


class HellaSwag(Choices):
    """Choices from Rowan/hellaswag, prepared as the harness does.

    Source: Zellers et al. 2019.
    """

    sources = ("hellaswag",)
    # By the harness, as quoted in karpathy/build-nanogpt, hellaswag.py.
    published = {
        "gpt2": {"acc": 0.2892, "acc_norm": 0.3114},
        "gpt2-xl": {"acc": 0.4004, "acc_norm": 0.5089},
    }

    def parse(self, record: Any) -> Choice:
        start, end = _text(record, "ctx_a"), _text(record, "ctx_b").capitalize()
        context = f"{_text(record, 'activity_label')}: {start} {end}"
        endings = [_without_marks(ending) for ending in record["endings"]]
        return self.choice(_without_marks(context), endings, record["label"])


class LastWords(Benchmark):
    """Whether greedy decoding writes the last word of a text, {"text": str}.

    Source: Paperno et al. 2016 (LAMBADA).
    """

    sources = ("lambada",)

    def parse(self, record: Any) -> LastWord:
        context, _, word = _text(record, "text").rpartition(" ")
        if not word:
            raise ValueError("text must end in a word, not in a space")
        return LastWord([self.question(context, [" " + word])])

    def figures(self, items: list, answers: list[Answers]) -> dict[str, Figure]:
        words = [word for ((word,),) in answers]
        nats, ones = [-word.nats for word in words], [1] * len(words)
        return {
            "acc": Figure.share([word.greedy for word in words]),
            "perplexity": Figure.ratio(nats, ones, exponential=True),
        }


class Stories(Benchmark):
    """Pocket's own: endings and last words that agree with the story before them.

    Accuracies come also by the distance of the evidence in words, and by whether the
    beginning of another story, with other names and things, stands in front.
    """

    sources = ("evaluation/story-endings.jsonl", "evaluation/story-last-words.jsonl")
    PARTS: dict[str, Callable[[dict], bool]] = {
        "": lambda row: True,
        "_1_9": lambda row: row.get("distance", 0) in range(1, 10),
        "_10_24": lambda row: row.get("distance", 0) in range(10, 25),
        "_25_59": lambda row: row.get("distance", 0) in range(25, 60),
        "_60": lambda row: row.get("distance", 0) >= 60,
        "_alone": lambda row: row.get("stories") == 1,
        "_after_another": lambda row: row.get("stories") == 2,
    }

    def __init__(self, *args):
        super().__init__(*args)
        self.kinds = {"acc": Choices(*args), "last_word": LastWords(*args)}

    def parse(self, record: Any) -> StoryItem:
        kind = "acc" if "endings" in record else "last_word"
        parts = [name for name, holds in self.PARTS.items() if holds(record)]
        item = self.kinds[kind].parse(record)
        return StoryItem(item.questions, kind, parts, item)

    def figures(
        self, items: list[StoryItem], answers: list[Answers]
    ) -> dict[str, Figure]:
        found = {}
        for kind, task in self.kinds.items():
            for part in self.PARTS:
                rows = [
                    (told.item, answer)
                    for told, answer in zip(items, answers)
                    if told.kind == kind and part in told.parts
                ]
                if rows:
                    figure = task.figures(*map(list, zip(*rows)))["acc"]
                    found[kind + part] = figure
        return found


class Perplexity(Benchmark):
    """How well a model predicts texts, per word, per byte, and in bits per byte.

    Documents are lines of a .jsonl file or rows of a Parquet file with a `text`, or the
    texts between two <|endoftext|> of a text file. Each begins after <|endoftext|> and
    is read in windows. WikiText's rows are lines: they are joined into its articles,
    whose spaced marks are undone as the harness does, while its words are counted.
    """

    sources = ("wikitext",)

    def read(
        self, path: Path, skip_bad_rows: bool, limit: int | None = None
    ) -> tuple[list[Document], int]:
        items: list[Document] = []
        bad = 0
        for file in _text_files(path):
            if file.suffix.lower() not in (".jsonl", ".ndjson", ".parquet"):
                items += map(self.parse, _documents(file))
            elif lines := _wikitext(file):
                items += [self.document(undo_spaces(t), t) for t in _articles(lines)]
            else:
                found, left_out = super().read(file, skip_bad_rows, limit)
                items, bad = items + found, bad + left_out
        if not items:
            raise ValueError(f"{path} has no text: give a file or folder with some")
        return items[:limit], bad

    def parse(self, record: Any) -> Document:
        text = record if isinstance(record, str) else _text(record, "text")
        return self.document(text, text)

    def document(self, text: str, counted: str) -> Document:
        """The windows of a text; words and bytes are those of `counted`."""
        ids = self.tokenizer.encode(text, allowed_special="all", disallowed_special=())
        if not ids:
            raise ValueError("the text is empty")
        start = end_of_text(self.tokenizer)
        windows = list(rolling_questions(ids, start, self.length, self.stride))
        size_of = self.tokenizer.decode_single_token_bytes
        sizes = [sum(len(size_of(id)) for id in ids) for _, (ids,) in windows]
        words, bytes_ = len(re.split(r"\s+", counted)), len(counted.encode())
        return Document(windows, words, bytes_, sizes)

    def figures(
        self, items: list[Document], answers: list[Answers]
    ) -> dict[str, Figure]:
        if len(items) == 1:
            items, answers = _windows(items[0], answers[0])
        nats = [-sum(window.nats for (window,) in windows) for windows in answers]
        words, bytes_ = [item.words for item in items], [item.bytes for item in items]
        bits = [n / math.log(2) for n in nats]
        return {
            "word_perplexity": Figure.ratio(nats, words, exponential=True),
            "byte_perplexity": Figure.ratio(nats, bytes_, exponential=True),
            "bits_per_byte": Figure.ratio(bits, bytes_),
        }


BENCHMARKS: dict[str, type[Benchmark]] = {
    "perplexity": Perplexity,
    "lambada": LastWords,
    "hellaswag": HellaSwag,
    "stories": Stories,
    "choices": Choices,
}


def figures_of(
    model: GPTModel, task: Benchmark, items: list, progress: bool = False
) -> dict[str, Figure]:
    """The figures of a model on the items of a task."""
    questions = [question for item in items for question in item.questions]
    found = iter(log_likelihoods(model, questions, progress))
    answers = [[next(found) for _ in item.questions] for item in items]
    return task.figures(items, answers)


# -------------------------------------------------------------------------------- texts


def _text(record, name):
    if not isinstance(record[name], str):
        raise ValueError(f"{name} must be a text, got {record[name]!r}")
    return record[name]


def _first_largest(values):
    return max(range(len(values)), key=values.__getitem__)


def _windows(document, answers):
    """A single document as one item a window, for its interval."""
    share = sum(document.window_bytes)
    items = [
        Document([], document.words * size / share, document.bytes * size / share, [])
        for size in document.window_bytes
    ]
    return items, [[answer] for answer in answers]


def _without_marks(text):
    """A text of HellaSwag without WikiHow's marks, such as [header]."""
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


def _text_files(path):
    files.check_given(path)
    if path.is_file():
        return [path]
    there = [] if not path.is_dir() else list(files.visible_files(path))
    found = [f for f in there if is_text_file(f) or f.suffix.lower() == ".parquet"]
    if not found:
        raise FileNotFoundError(
            f"no text at {path}: give a file or folder of .txt, .jsonl, .ndjson or "
            ".parquet"
        )
    return found


def _documents(file):
    """The documents of a text file, between two <|endoftext|>."""
    parts = []
    for chunk in read_texts([file]):
        if chunk != ENDOFTEXT:
            parts.append(chunk)
        elif parts:
            yield "".join(parts)
            parts = []


def _wikitext(file):
    """The lines in a file whose rows are lines, as WikiText's are; None if not."""
    if file.suffix.lower() != ".parquet":
        return None
    lines, _ = read_records(file, lambda record: (_text(record, "text"),), True)
    lines = [line for (line,) in lines]
    are_lines = all(line.endswith("\n") or not line for line in lines)
    return lines if are_lines and any(map(HEADING.fullmatch, lines)) else None


HEADING = re.compile(r" = [^=].*[^=] = \n")  # of an article; sections have = = or more


def _articles(lines):
    """WikiText's articles, each from its heading to the next."""
    article = ""
    for line in lines:
        if HEADING.fullmatch(line) and article.strip():
            yield article
            article = ""
        article += line
    if article.strip():
        yield article


# What the harness's task wikitext undoes, in its order (preprocess_wikitext.py).
UNDO = (
    (r"s '", "s'"),
    *((f" @[{mark}]@ ", mark) for mark in "-,."),
    *((f" [{mark}] ", f"{mark} ") for mark in ":;.!?,"),
    (r"\(\s*([^)]*?)\s*\)", r"(\1)"),
    (r"\[\s*([^]]*?)\s*\]", r"[\1]"),
    (r"{\s*([^}]*?)\s*}", r"{\1}"),
    (r'"\s*([^"]*?)\s*"', r'"\1"'),
    (r"'\s*([^']*?)\s*'", r"'\1'"),
    (r"= = = =", "===="),
    (r"= = =", "==="),
    (r"= =", "=="),
    (r" \u00b0 ", "\u00b0"),
    (r" \n", "\n"),
    (r"\n ", "\n"),
    (r" N ", " 1 "),
    (r" 's", "'s"),
)


def undo_spaces(text: str) -> str:
    """WikiText without its spaces around punctuation, and 10 @,@ 000 as 10,000."""
    for pattern, replacement in UNDO:
        text = re.sub(pattern, replacement, text)
    return text
