"""Thinking before answering: question, thought, answer, and the end.

The prompt is that of the project this one grew out of; what was missing there is the
<|endoftext|> after the answer, without which a model never learns to stop.
"""

import re
from typing import NamedTuple

from gpt2lib.instruction import (
    MEASURED,
    encode_pair,
    exact_match,
    longest,
    mean,
    respond,
)

THOUGHT = re.compile(r"<think>(.*?)</think>", re.DOTALL)
ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
THINKING = "Let's think step by step.\n"
CONCLUSION = "\nAnswer: "


class Reasoning(NamedTuple):
    """A question, the thought that leads to its answer, and the answer."""

    question: str
    thought: str
    answer: str


def parse_reasoning(record):
    """A record of the AM-DeepSeek-R1 data; null info fields are read from content."""
    user, assistant = record["messages"][:2]
    info, content = assistant.get("info") or {}, assistant["content"]
    thought = info.get("think_content") or _inside(THOUGHT, content)
    answer = info.get("answer_content") or _inside(ANSWER, content)
    fields = Reasoning(user["content"], thought, answer)
    for name, text in fields._asdict().items():
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{name} is empty or absent")
    return Reasoning(*(text.strip() for text in fields))


def _inside(tags, content):
    found = tags.search(content or "")
    return found[1] if found else ""


def reasoning_prompt(question, think=True):
    """What the model is given; without thoughts it has to answer at once."""
    return f"Question: {question}\n" + (THINKING if think else "Answer:")


def reasoning_response(thought, answer, think=True):
    """What it learns to say."""
    return thought + CONCLUSION + answer if think else f" {answer}"


def split_response(text):
    """(thought, answer) of what a thinking model said; None where a part is missing.

    >>> split_response("2 + 3 = 5\\nAnswer: 5")
    ('2 + 3 = 5', '5')
    """
    thought, found, answer = text.rpartition(CONCLUSION)
    return (thought.strip(), answer.strip()) if found else (text.strip(), None)


class ReasoningTask:
    """What `finetune` needs to know of thinking before answering."""

    name = "reasoning"
    shares = (0.85, 0.05, 0.1)  # training, validation, test
    epochs = 2
    has_base = True
    settings = {}

    def __init__(self, tokenizer, context_length, think=True):
        self.tokenizer = tokenizer
        self.context_length = context_length
        self.think = think
        self.parse = parse_reasoning

    def prepare(self, model, seed=0):
        return model

    def key(self, row):
        return row.question

    def prompt(self, row):
        return reasoning_prompt(row.question, self.think)

    def response(self, row):
        return reasoning_response(row.thought, row.answer, self.think)

    def encode(self, row):
        return encode_pair(self.prompt(row), self.response(row), self.tokenizer)

    def fits(self, row):
        return len(self.encode(row)[0]) <= self.context_length

    def answers(self, model, rows):
        """(thought, answer, whether it stopped by itself) to each row."""
        prompts = [self.prompt(row) for row in rows]
        outputs = [self.tokenizer.encode_ordinary(self.response(row)) for row in rows]
        said = respond(model, prompts, self.tokenizer, longest(outputs))
        if not self.think:
            return [("", text.strip(), stopped) for text, stopped in said]
        return [(*split_response(text), stopped) for text, stopped in said]

    def judge(self, model, rows):
        return {}  # the loss says it

    def measure(self, model, splits):
        """Right answers, format kept and the share that stops, on the test split."""
        test = splits["test"][:MEASURED]
        answers = self.answers(model, test)
        return {
            "exact_match": mean(
                exact_match(answer or "", row.answer)
                for (_, answer, _), row in zip(answers, test)
            ),
            "format_kept": mean(answer is not None for _, answer, _ in answers),
            "stops": mean(stopped for *_, stopped in answers),
        }
