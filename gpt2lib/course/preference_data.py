"""Pairs of stories with the same opening, of which one agrees with itself.

`python -m gpt2lib.course.preference_data` writes data/preferences/stories.jsonl. Pocket
goes on from each opening several times at temperature 1, and `check_story` judges. The
first story that holds and the first that does not are a pair, in the form that TRL
reads. Sampling depends on rounding, so another processor may write other pairs.
"""

import json
import re

import torch

from gpt2lib.course.judge import QUESTION
from gpt2lib.course.stories import check_story, stories
from gpt2lib.files import DATA, write_text
from gpt2lib.finetuning import generate_ragged
from gpt2lib.tokenizer import ENDOFTEXT, load_tokenizer
from gpt2lib.weights import load_model

FILE = DATA / "preferences" / "stories.jsonl"
PREFERENCE_SEED = 3_000_000  # for stories used nowhere else
OPENINGS = 1500
TRIES = 8  # stories from each opening
PAIRS = 1000  # at most
OPENING = re.compile(r"(\S+\s+){5}\S+")  # six words


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


def pair(opening, ends):
    """A record, or None unless one of the ends holds and another does not."""
    judged = [(check_story(opening + end).holds, end) for end in ends if end]
    chosen, rejected = (
        next((end for holds, end in judged if holds is wanted), None)
        for wanted in (True, False)
    )
    if chosen is None or rejected is None:
        return None
    return {"prompt": opening, "chosen": chosen, "rejected": rejected}


def pair_lines(count=OPENINGS):
    """The content of data/preferences/stories.jsonl, one record per line."""
    begun = openings(count)
    beginnings = [opening for opening in begun for _ in range(TRIES)]
    ends = iter(continuations(load_model(), load_tokenizer(), beginnings))
    pairs = [pair(opening, [next(ends) for _ in range(TRIES)]) for opening in begun]
    records = [found for found in pairs if found][:PAIRS]
    return "".join(json.dumps(record) + "\n" for record in records)


if __name__ == "__main__":
    write_text(FILE, pair_lines())
