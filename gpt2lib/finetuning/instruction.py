"""Following instructions: a template, a loss on the response alone, and exact match.

Source of the template: Taori et al. 2023, Stanford Alpaca.
"""

from collections import Counter
from typing import NamedTuple

from gpt2lib.data import IGNORED
from gpt2lib.finetuning.tasks import Task
from gpt2lib.generate import generate_ragged

PREAMBLE = "Below is an instruction that describes a task"
REQUEST = "Write a response that appropriately completes the request."
MEASURED = 500  # rows of the test split, at most, to which responses are generated


class Instruction(NamedTuple):
    """One row in the Alpaca fields; `kind` is ours, and empty in other data."""

    instruction: str
    input: str
    output: str
    kind: str = ""


def parse_instruction(record):
    """A row of Alpaca's data; `input` may be empty or absent."""
    fields = {name: record.get(name) for name in Instruction._fields}
    fields = {name: "" if text is None else text for name, text in fields.items()}
    for name, text in fields.items():
        if not isinstance(text, str):
            raise ValueError(f"{name} is {text!r}, must be a text")
    for name in ("instruction", "output"):
        if not fields[name].strip():
            raise ValueError(f"{name} is empty or absent")
    return Instruction(**fields)


def alpaca_prompt(instruction, input=""):
    """All that stands before the response.

    >>> alpaca_prompt("Say hello.").splitlines()[2:]
    ['### Instruction:', 'Say hello.', '', '### Response:']
    """
    if not input:
        return f"{PREAMBLE}. {REQUEST}{_after_preamble(instruction)}"
    context = ", paired with an input that provides further context"
    return f"{PREAMBLE}{context}. {REQUEST}{_after_preamble(instruction, input)}"


def seed_prompt(instruction, input=""):
    """The same as the seed's weights know it: one preamble, and no space in it."""
    return f"{PREAMBLE}.{REQUEST}{_after_preamble(instruction, input)}"


def _after_preamble(instruction, input=""):
    given = f"\n\n### Input:\n{input}" if input else ""
    return f"\n\n### Instruction:\n{instruction}{given}\n\n### Response:\n"


def encode_pair(prompt, response, tokenizer, learn_prompt=False):
    """(ids, targets) of a prompt, its response, and the <|endoftext|> that ends it.

    The model learns the response and where to stop; the prompt, too, if asked to.
    """
    prompt = tokenizer.encode_ordinary(prompt)
    ids = prompt + tokenizer.encode_ordinary(response) + [tokenizer.eot_token]
    given = 0 if learn_prompt else len(prompt) - 1
    return ids[:-1], [IGNORED] * given + ids[1 + given :]


def respond(model, prompts, tokenizer, max_new_tokens=None, batch_size=64):
    """What a model answers to each prompt, greedily, and whether it stopped by itself.

    Args:
        max_new_tokens: all that the context has room for if None.

    Returns: [(text, stopped), ...]

    Raises:
        ValueError: a prompt that leaves no room in the context.
    """
    ids = [tokenizer.encode_ordinary(prompt) for prompt in prompts]
    answers = generate_ragged(
        model, ids, max_new_tokens, tokenizer.eot_token, batch_size, tokenizer.n_vocab
    )
    return [
        (tokenizer.decode([id for id in new if id != tokenizer.eot_token]), stopped)
        for new in answers
        for stopped in [new[-1:] == [tokenizer.eot_token]]
    ]


def exact_match(said, wanted):
    """Whether two texts are the same but for spaces around them."""
    return said.strip() == wanted.strip()


def token_f1(said, wanted):
    """How much of the words two texts share, from 0 to 1 (Rajpurkar et al. 2016).

    >>> token_f1("the red kite", "a red kite")
    0.6666666666666666
    """
    said, wanted = said.lower().split(), wanted.lower().split()
    shared = (Counter(said) & Counter(wanted)).total()
    return 2 * shared / (len(said) + len(wanted)) if shared else 0.0


def mean(values):
    values = list(values)
    return sum(values) / len(values)


class ResponseTask(Task):
    """What tasks have in common whose rows have a `prompt` and a `response`."""

    learn_prompt = False

    def encode(self, row):
        """(ids, targets), from `encode_pair`."""
        pair = self.prompt(row), self.response(row)
        return encode_pair(*pair, self.tokenizer, self.learn_prompt)

    def says(self, model, rows):
        """(text, whether it stops by itself) in response to each row."""
        prompts = [self.prompt(row) for row in rows]
        wanted = [self.tokenizer.encode_ordinary(self.response(row)) for row in rows]
        room = max(map(len, wanted)) + 10  # a few more than a right answer needs
        return respond(model, prompts, self.tokenizer, room)


class InstructionTask(ResponseTask):
    """Following instructions."""

    name = "instruction"

    def __init__(self, tokenizer, context_length, learn_prompt=False):
        super().__init__(tokenizer, context_length)
        self.learn_prompt = learn_prompt

    def parse(self, record):
        return parse_instruction(record)

    def key(self, row):
        return row.input or row.instruction

    def keys(self):
        """The input; where too few rows have one of their own, the whole request."""
        return [self.key, lambda row: f"{row.instruction}\n{row.input}"]

    def prompt(self, row):
        return alpaca_prompt(row.instruction, row.input)

    def response(self, row):
        return row.output

    def answers(self, model, rows):
        """(what it says, whether it stops by itself) to each row."""
        return self.says(model, rows)

    def measure(self, model, splits):
        """Exact match, token F1 and the share that stops, on the test split."""
        test = splits["test"][:MEASURED]
        answers = self.answers(model, test)
        pairs = [(said, row.output) for (said, _), row in zip(answers, test)]
        return {
            "exact_match": mean(exact_match(*pair) for pair in pairs),
            "token_f1": mean(token_f1(*pair) for pair in pairs),
            "stops": mean(stopped for _, stopped in answers),
        }
