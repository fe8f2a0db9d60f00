"""Thinking before answering: a question, a thought, the answer, <|endoftext|>.

The prompt is that of the project this one grew out of. Its examples did not end with
<|endoftext|>, without which a model never learns to stop.
"""

import re
from typing import Any, NamedTuple

from gpt2lib.finetuning.instruction import MEASURED, ResponseTask, exact_match, mean
from gpt2lib.model import GPTModel
from gpt2lib.tokenizer import Tokenizer

ANSWER = re.compile(r"<answer>(.*)</answer>", re.DOTALL)
THINKING = "Let's think step by step.\n"
CONCLUSION = "\nAnswer: "


class Reasoning(NamedTuple):
    """A question, the thought that leads to its answer, and the answer."""

    question: str
    thought: str
    answer: str


def parse_reasoning(record: dict) -> Reasoning:
    """The row of a record of AM-DeepSeek-R1; content stands in for null info fields.

    The question is the user's first message; the assistant's next one answers it.
    """
    messages = iter(record["messages"])  # the second search continues after the first
    question = _next_of("user", messages)["content"]
    assistant = _next_of("assistant", messages)
    info, content = assistant.get("info") or {}, assistant["content"] or ""
    before, _, after = content.partition("</think>")
    thought = info.get("think_content") or before.partition("<think>")[2]
    found = ANSWER.search(after)
    answer = info.get("answer_content") or (found[1] if found else "")
    fields = Reasoning(question, thought, answer)
    for name, text in fields._asdict().items():
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{name} is empty or absent")
    return Reasoning(*(text.strip() for text in fields))


def _next_of(role, messages):
    for message in messages:
        if message.get("role") == role:
            return message
    raise ValueError(f"no message with the role {role!r}")


def reasoning_prompt(question: str, think: bool = True) -> str:
    """What the model is given; with think=False, it must answer at once."""
    return f"Question: {question}\n" + (THINKING if think else "Answer:")


def reasoning_response(thought: str, answer: str, think: bool = True) -> str:
    """What the model learns to answer."""
    return thought + CONCLUSION + answer if think else f" {answer}"


def split_response(text: str) -> tuple[str, str | None]:
    """(thought, answer) in the response of a thinking model; no answer is None.

    >>> split_response("2 + 3 = 5\\nAnswer: 5")
    ('2 + 3 = 5', '5')
    """
    thought, found, answer = text.rpartition(CONCLUSION)
    return (thought.strip(), answer.strip()) if found else (text.strip(), None)


class ReasoningTask(ResponseTask):
    """Thinking before answering."""

    name = "reasoning"

    def __init__(self, tokenizer: Tokenizer, context_length: int, think: bool = True):
        super().__init__(tokenizer, context_length)
        self.think = think

    def parse(self, record: dict) -> Reasoning:
        return parse_reasoning(record)

    def key(self, row: Reasoning) -> str:
        return row.question

    def prompt(self, row: Reasoning) -> str:
        return reasoning_prompt(row.question, self.think)

    def response(self, row: Reasoning) -> str:
        return reasoning_response(row.thought, row.answer, self.think)

    def answers(
        self, model: GPTModel, rows: list[Reasoning]
    ) -> list[tuple[str, str | None, bool]]:
        """(thought, answer, whether <|endoftext|> ended it) for each row."""
        said = self.says(model, rows)
        if not self.think:
            return [("", text.strip(), stopped) for text, stopped in said]
        return [(*split_response(text), stopped) for text, stopped in said]

    def measure(
        self, model: GPTModel, splits: dict[str, list[Reasoning]]
    ) -> dict[str, Any]:
        """Shares of test rows: correct, format kept, ended by <|endoftext|>."""
        test = splits["test"][:MEASURED]
        answers = self.answers(model, test)
        return {
            "exact_match": mean(
                exact_match(answer or "", row.answer)
                for (_, answer, _), row in zip(answers, test)
            ),
            "format_kept": mean(answer is not None for _, answer, _ in answers),
            "stops": mean(stopped for *_, stopped in answers),
            "response_perplexity": self.perplexity(model, splits["test"]),
        }
