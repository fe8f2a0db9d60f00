"""Pairs of stories that begin alike, of which one agrees with itself.

`python -m gpt2lib.course.datasets.preferences` writes them to data/preferences. Pocket
tells a story twice from the same opening, with the same random numbers, once freely and
once without its least likely tokens. `check_story` judges. Where the free story breaks
and the careful one does not, they are a pair, in the form that TRL reads. Sampling
depends on rounding, so another processor may write other pairs.
"""

import json
import math
import os
import re

import torch
from torch import nn

from gpt2lib.course.stories import QUESTION, check_story, stories
from gpt2lib.files import DATA, write_text
from gpt2lib.finetuning import generate_ragged
from gpt2lib.tokenizer import ENDOFTEXT, load_tokenizer
from gpt2lib.weights import load_model

FILE = DATA / "preferences" / "stories.jsonl"
PREFERENCE_SEED = 3_000_000  # for stories used nowhere else
OPENINGS = 1500
TRIES = 8  # stories from each opening
OPENING = re.compile(r"(\S+\s+){5}\S+")  # six words
SENTENCE_END = re.compile(r'[.!?]"?(?=\s)')
LEAST = 1 / 20  # of the probability of the likeliest token


class Careful(nn.Module):
    """An output head for which tokens below LEAST are impossible."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, hidden):
        logits = self.head(hidden)
        lowest = logits.amax(dim=-1, keepdim=True) + math.log(LEAST)
        return logits.masked_fill(logits < lowest, -1e4)


def openings(count, seed=PREFERENCE_SEED):
    """The first words of stories, no two alike."""
    found, tales = {}, stories(seed)
    while len(found) < count:
        found[OPENING.match(next(tales))[0]] = None
    return list(found)


def continuations(model, tokenizer, beginnings, seed=0):
    """How the model goes on from each text at temperature 1; None if it does not end.

    Stories that a question follows, as in pocket's training texts, are None, too.
    """
    ids = [tokenizer.encode(text) for text in beginnings]
    end, generator = tokenizer.eot_token, torch.Generator().manual_seed(seed)
    sampling = {"temperature": 1.0, "generator": generator, "batch_size": 128}
    drawn = generate_ragged(model, ids, None, end, **sampling)
    texts = [tokenizer.decode(new) for new in drawn]
    return [
        text.removesuffix(ENDOFTEXT)
        if text.endswith(ENDOFTEXT) and QUESTION not in text
        else None
        for text in texts
    ]


def pair(opening, free, careful):
    """A record, whose prompt is all that both have; None if the careful one breaks."""
    if not careful or not check_story(opening + careful).holds:
        return None
    shared = os.path.commonprefix([opening + careful, opening + free])
    ends = [found.end() for found in SENTENCE_END.finditer(shared)]
    at = max([len(opening), *ends])
    chosen, rejected = (opening + careful)[at:], (opening + free)[at:]
    if not chosen or not rejected:
        return None
    return {"prompt": shared[:at], "chosen": chosen, "rejected": rejected}


def records(model, tokenizer):
    """At most one pair for each opening: its first free story that breaks."""
    begun = openings(OPENINGS)
    each = [opening for opening in begun for _ in range(TRIES)]
    free = continuations(model, tokenizer, each)
    model.out_head = Careful(model.out_head)
    careful = continuations(model, tokenizer, each)
    for first in range(0, len(each), TRIES):
        for i in range(first, first + TRIES):
            if free[i] and not check_story(each[i] + free[i]).holds:
                yield pair(each[i], free[i], careful[i])
                break


def pair_lines():
    """The content of data/preferences/stories.jsonl, one record per line."""
    found = filter(None, records(load_model(), load_tokenizer()))
    return "".join(json.dumps(record) + "\n" for record in found)


if __name__ == "__main__":
    write_text(FILE, pair_lines())
