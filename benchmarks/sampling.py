"""Sampling answers: bin/thinker at temperature 1, several answers to each problem.

What a step of reinforcement learning waits for: prompts of different lengths, answers
that end at different times. Each program draws its own, so the table has seconds for
1,000 of its tokens.
"""

from functools import partial

import torch

from benchmarks.programs import DEVICE, Transformers
from benchmarks.timing import Limits, report, take_turns
from gpt2lib import generate, load_model, load_tokenizer
from gpt2lib.course.pocket import thinker
from gpt2lib.finetuning import ReinforcementTask, generate_ragged

CROWDS = ((8, 8), (16, 8), (16, 16))  # problems, answers to each
NEW = 100


def prompts(problems, answers, tokenizer):
    """Ids of the questions, each so many times; one to six steps in equal shares."""
    job = ReinforcementTask(tokenizer, 256)
    unseen = [thinker.unseen(steps, problems) for steps in range(1, 7)]
    rows = [row for some in zip(*unseen) for row in some]
    return [ids for row in rows[:problems] for ids in answers * [job.prompt(row)]]


class Together:
    """gpt2lib: all rows at once; a prompt is read once, and rows leave as they end."""

    def __init__(self, tokenizer):
        self.model, self.tokenizer = load_model("thinker", device=DEVICE), tokenizer

    def count(self, asked):
        """Writes answers, and returns how many tokens they have."""
        end, n_vocab = self.tokenizer.eot_token, self.tokenizer.n_vocab
        limits = NEW, end, len(asked), n_vocab
        generator = torch.Generator().manual_seed(0)
        drawn = generate_ragged(self.model, asked, *limits, 1.0, generator)
        return sum(map(len, drawn))


class OneByOne(Together):
    """gpt2lib's `generate`, once for each problem."""

    def count(self, asked):
        total, generator = 0, torch.Generator().manual_seed(0)
        for ids in dict.fromkeys(map(tuple, asked)):
            rows = torch.tensor(asked.count(list(ids)) * [ids])
            end, n_vocab = self.tokenizer.eot_token, self.tokenizer.n_vocab
            settings = {"eos_id": end, "vocab_size": n_vocab, "generator": generator}
            new = generate(self.model, rows, NEW, temperature=1.0, **settings)
            total += written(new[:, len(ids) :], end)
        return total


class PaddedLeft:
    """transformers' `generate`: padded on the left, it goes on until all rows ended."""

    def __init__(self, tokenizer):
        self.model = Transformers(thinker.FOLDER, "float32").model
        self.end = tokenizer.eot_token

    def count(self, asked):
        longest = max(map(len, asked))
        rows = [(longest - len(ids)) * [self.end] + ids for ids in asked]
        mask = [(longest - len(ids)) * [0] + len(ids) * [1] for ids in asked]
        ids, mask = (torch.tensor(t, device=DEVICE) for t in (rows, mask))
        torch.manual_seed(0)
        new = self.model.generate(
            ids,
            attention_mask=mask,
            max_new_tokens=NEW,
            do_sample=True,
            top_k=0,
            eos_token_id=self.end,
            pad_token_id=self.end,
        )
        return written(new[:, longest:], self.end)


def written(new, end):
    """The number of ids, those behind the first `end` of each row not counted."""
    before = (new == end).cumsum(dim=1) - (new == end).int()
    return int((before == 0).sum())


def main(nanogpt=None, turns=5, crowds=CROWDS):
    del nanogpt  # it does not stop at the end of an answer
    print(Limits())
    tokenizer = load_tokenizer()
    programs = {
        "gpt2lib": Together(tokenizer),
        "gpt2lib, one problem at a time": OneByOne(tokenizer),
        "transformers": PaddedLeft(tokenizer),
    }
    for problems, answers in crowds:
        asked = prompts(problems, answers, tokenizer)
        tokens = {name: program.count(asked) for name, program in programs.items()}
        run = {name: partial(each.count, asked) for name, each in programs.items()}
        seconds = {
            name: [1000 * s / tokens[name] for s in each]
            for name, each in take_turns(run, turns, pause=0.3).items()
        }
        title = f"1,000 tokens of {answers} answers to each of {problems} problems"
        report(title, seconds, "transformers", 1000, "tokens")
