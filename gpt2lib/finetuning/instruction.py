"""Following instructions: Alpaca's template, loss on the response only, exact match.

Source of the template: Taori et al. 2023, Stanford Alpaca.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from gpt2lib.data import IGNORED, Example
from gpt2lib.finetuning.responses import respond
from gpt2lib.finetuning.tasks import Task, batches_of
from gpt2lib.model import GPTModel
from gpt2lib.tokenizer import Tokenizer
from gpt2lib.training.loss import evaluate, perplexity
from gpt2lib.weights.vocabulary import end_of_text

PREAMBLE = "Below is an instruction that describes a task"
REQUEST = "Write a response that appropriately completes the request."
MEASURED = 500  # test rows, at most, for which responses are generated


class Instruction(NamedTuple):
    """One row with Alpaca's fields; `kind` is only in the course's own data."""

    instruction: str
    input: str
    output: str
    kind: str = ""


def parse_instruction(record: dict) -> Instruction:
    """A row of Alpaca's data; `input` may be empty or absent."""
    fields: dict[str, Any] = {name: record.get(name) for name in ("input", "kind")}
    fields |= {name: record[name] for name in ("instruction", "output")}
    fields = {name: "" if text is None else text for name, text in fields.items()}
    if not isinstance(fields["kind"], str):  # other people's, about something else
        fields["kind"] = ""
    for name, text in fields.items():
        if not isinstance(text, str):
            raise ValueError(f"{name} is {text!r}, must be a string")
    for name in ("instruction", "output"):
        if not fields[name].strip():
            raise ValueError(f"{name} is empty")
    return Instruction(**fields)


def alpaca_prompt(instruction: str, input: str = "") -> str:
    """Alpaca's template, up to the response.

    >>> alpaca_prompt("Say hello.").splitlines()[2:]
    ['### Instruction:', 'Say hello.', '', '### Response:']
    """
    if not input:
        return f"{PREAMBLE}. {REQUEST}{_after_preamble(instruction)}"
    context = ", paired with an input that provides further context"
    return f"{PREAMBLE}{context}. {REQUEST}{_after_preamble(instruction, input)}"


def seed_prompt(instruction: str, input: str = "") -> str:
    """The template that the seed's weights were trained on, with one preamble."""
    return f"{PREAMBLE}.{REQUEST}{_after_preamble(instruction, input)}"


def _after_preamble(instruction, input=""):
    given = f"\n\n### Input:\n{input}" if input else ""
    return f"\n\n### Instruction:\n{instruction}{given}\n\n### Response:\n"


def encode_pair(
    prompt: str, response: str, tokenizer: Tokenizer, learn_prompt: bool = False
) -> Example:
    """(ids, targets) of a prompt, its response, and the <|endoftext|> that ends it.

    The loss covers the response and its end, and the prompt only if `learn_prompt`.
    """
    ids = tokenizer.encode_ordinary(prompt)
    given = 0 if learn_prompt else len(ids) - 1
    ids += [*tokenizer.encode_ordinary(response), end_of_text(tokenizer)]
    return ids[:-1], [IGNORED] * given + ids[1 + given :]


def exact_match(said: str, wanted: str) -> bool:
    """Whether two texts are equal, up to white space around them."""
    return said.strip() == wanted.strip()


def token_f1(said: str, wanted: str) -> float:
    """F1 score of the words that two texts share, 0 to 1 (Rajpurkar et al. 2016).

    >>> token_f1("the red kite", "a red kite")
    0.6666666666666666
    """
    found, needed = said.lower().split(), wanted.lower().split()
    shared = (Counter(found) & Counter(needed)).total()
    return 2 * shared / (len(found) + len(needed)) if shared else 0.0


def mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)


class ResponseTask(Task):
    """The base class of tasks whose rows have a `prompt` and a `response`."""

    learn_prompt: bool = False

    @abstractmethod
    def prompt(self, row: Any) -> str:
        """What the model is given."""

    @abstractmethod
    def response(self, row: Any) -> str:
        """What the model learns to answer."""

    def encode(self, row: Any) -> Example:
        """(ids, targets), from `encode_pair`."""
        pair = self.prompt(row), self.response(row)
        return encode_pair(*pair, self.tokenizer, self.learn_prompt)

    def perplexity(self, model: GPTModel, rows: list) -> float:
        """Per token of the responses."""
        return perplexity(evaluate(model, batches_of(self, rows)))

    def says(self, model: GPTModel, rows: list) -> list[tuple[str, bool]]:
        """The response to each row, and whether <|endoftext|> ended it."""
        prompts = [self.prompt(row) for row in rows]
        wanted = [self.tokenizer.encode_ordinary(self.response(row)) for row in rows]
        room = max(map(len, wanted)) + 10  # a few more than the reference needs
        return respond(model, prompts, self.tokenizer, room)


class InstructionTask(ResponseTask):
    """Following instructions."""

    name = "instruction"
    options = {"learn_prompt": False}

    def parse(self, record: dict) -> Instruction:
        return parse_instruction(record)

    def key(self, row: Instruction) -> str:
        return row.input or row.instruction

    def keys(self) -> list[Callable[[Instruction], str]]:
        """The input; if too few rows have distinct ones, the whole request."""
        return [self.key, lambda row: f"{row.instruction}\n{row.input}"]

    def prompt(self, row: Instruction) -> str:
        return alpaca_prompt(row.instruction, row.input)

    def response(self, row: Instruction) -> str:
        return row.output

    def answers(
        self, model: GPTModel, rows: list[Instruction]
    ) -> list[tuple[str, bool]]:
        """The response to each row, and whether <|endoftext|> ended it."""
        return self.says(model, rows)

    def measure(
        self, model: GPTModel, splits: dict[str, list[Instruction]]
    ) -> dict[str, Any]:
        """Exact match, token F1 and the share ended by <|endoftext|>, on test rows."""
        test = splits["test"][:MEASURED]
        answers = self.answers(model, test)
        pairs = [(said, row.output) for (said, _), row in zip(answers, test)]
        return {
            "exact_match": mean(exact_match(*pair) for pair in pairs),
            "token_f1": mean(token_f1(*pair) for pair in pairs),
            "stops": mean(stopped for _, stopped in answers),
            "response_perplexity": self.perplexity(model, splits["test"]),
        }
