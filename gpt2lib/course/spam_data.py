"""Short phone messages, wanted and unwanted, that no list of words can tell apart.

`python -m gpt2lib.course.spam_data` writes data/spam/messages.tsv, in the layout of the
UCI's SMS collection. Both kinds talk of banks, parcels, prizes and links, with the same
openings and ends; a message is spam for what it wants: your data, your money, a costly
call, a click in a hurry.
"""

import random
import re
from itertools import islice

from gpt2lib.course.extras import MESSAGES, SHORT
from gpt2lib.course.words import fill, read_choices
from gpt2lib.files import DATA, write_text

FILE = DATA / "spam" / "messages.tsv"
NUMBER = 2000


def labelled_messages(seed):
    """Endless (label, text), 3 ham to 2 spam, no two with the same words."""
    rng, sent = random.Random(seed), set()
    while True:
        for label in rng.sample(["ham"] * 3 + ["spam"] * 2, 5):
            text = make_message(rng, label)
            while without_numbers(text) in sent:
                text = make_message(rng, label)
            sent.add(without_numbers(text))
            yield label, text


def without_numbers(text):
    """What must differ between two messages: the words, whatever their case."""
    return re.sub(r"\d", "", text.lower())


def make_message(rng, label):
    """A message of 20 to 300 characters, some in short words, some without capitals."""
    text = ""
    while not 20 <= len(text) <= 300:
        text = fill(rng, f"{{{label}}}", TEXTS)
    if rng.random() < 0.15:
        text = re.sub(r"[\w']+", lambda word: SHORT.get(word[0], word[0]), text)
    return text.lower() if rng.random() < 0.2 else text


def message_lines():
    """The text of data/spam/messages.tsv: a label, a tab and a message on each line."""
    drawn = islice(labelled_messages(seed=0), NUMBER)
    return "".join(f"{label}\t{text}\n" for label, text in drawn)


# What both kinds share: openings, ends, small talk, the first half of many notices.
SHARED = read_choices("spam-shared")

HAM = read_choices("spam-ham")

SPAM = read_choices("spam-spam")

TEXTS = MESSAGES | SHARED | HAM | SPAM


if __name__ == "__main__":
    write_text(FILE, message_lines())
