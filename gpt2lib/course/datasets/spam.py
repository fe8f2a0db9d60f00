"""Short phone messages, ham and spam, that a list of keywords cannot tell apart.

`python -m gpt2lib.course.datasets.spam` writes them to data/spam, in the layout of the
UCI SMS collection. Both kinds mention banks, parcels, prizes and links, and share
openings and endings; what makes a message spam is what it asks for: your data, your
money, an expensive call, a hurried click.
"""

import random
import re
from itertools import islice

from gpt2lib.course.datasets.extras import MESSAGES, SHORT
from gpt2lib.course.datasets.words import fill, read_choices
from gpt2lib.files import DATA, write_text

FILE = DATA / "spam" / "messages.tsv"
NUMBER = 2000


def labelled_messages(seed):
    """Endless (label, text), 3 ham to 2 spam; no two differ only in digits or case."""
    rng, sent = random.Random(seed), set()
    while True:
        for label in rng.sample(["ham"] * 3 + ["spam"] * 2, 5):
            text = make_message(rng, label)
            while without_numbers(text) in sent:
                text = make_message(rng, label)
            sent.add(without_numbers(text))
            yield label, text


def without_numbers(text):
    """The text without digits, in lower case, to recognise duplicates."""
    return re.sub(r"\d", "", text.lower())


def make_message(rng, label):
    """A message of 20 to 300 characters; some are abbreviated, some in lower case."""
    text = ""
    while not 20 <= len(text) <= 300:
        text = fill(rng, f"{{{label}}}", TEXTS)
    if rng.random() < 0.15:
        text = re.sub(r"[\w']+", lambda word: SHORT.get(word[0], word[0]), text)
    return text.lower() if rng.random() < 0.2 else text


def message_lines():
    """The content of data/spam/messages.tsv: label, tab and message on each line."""
    drawn = islice(labelled_messages(seed=0), NUMBER)
    return "".join(f"{label}\t{text}\n" for label, text in drawn)


# Shared by both kinds: openings, endings, small talk, first halves of many notices.
SHARED = read_choices("spam-shared")

HAM = read_choices("spam-ham")

SPAM = read_choices("spam-spam")

TEXTS = MESSAGES | SHARED | HAM | SPAM


if __name__ == "__main__":
    write_text(FILE, message_lines())
