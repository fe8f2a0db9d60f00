"""Pairs of stories that begin alike, of which one agrees with itself.

`python -m gpt2lib.course.datasets.preferences` writes them to data/preferences. Pocket
tells a story twice from the same opening, with the same random numbers, once freely and
once without its least likely tokens. `check_story` judges. Where the free story breaks
and the careful one does not, they are a pair, in the form that TRL reads. Sampling
depends on rounding, so another processor may write other pairs.

A second file has these pairs cut down to one sentence: the rejected story goes wrong
where the two part, and then goes on as the chosen one.
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
SENTENCES = DATA / "preferences" / "sentences.jsonl"
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


def one_sentence(record):
    """The record if the rejected story went on as the chosen one after a sentence.

    None if it would hold then, so that the first sentence was not what broke it.
    """
    _, rest = first_sentence(record["chosen"])
    odd, _ = first_sentence(record["rejected"])
    if check_story(record["prompt"] + odd + rest).holds:
        return None
    return record | {"rejected": odd + rest}


def first_sentence(text):
    """A text's first sentence, and what follows it."""
    found = SENTENCE_END.search(text)
    end = found.end() if found else len(text)
    return text[:end], text[end:]


def of_one_sentence(pairs, careful, tokenizer):
    """Pairs cut down to `one_sentence`, where that sentence is at fault.

    It is not if the careful model can go on from it to a story that holds.
    """
    cut = [pair for pair in map(one_sentence, pairs) if pair]
    odd = [pair["prompt"] + first_sentence(pair["rejected"])[0] for pair in cut]
    rests = continuations(careful, tokenizer, odd)
    for pair, begun, rest in zip(cut, odd, rests):
        if not rest or not check_story(begun + rest).holds:
            yield pair


def as_lines(records):
    """Records as JSON, one per line."""
    return "".join(json.dumps(record) + "\n" for record in records)


if __name__ == "__main__":
    pocket, tokenizer = load_model(), load_tokenizer()
    pairs = list(filter(None, records(pocket, tokenizer)))  # pocket is careful now
    write_text(FILE, as_lines(pairs))
    write_text(SENTENCES, as_lines(of_one_sentence(pairs, pocket, tokenizer)))
