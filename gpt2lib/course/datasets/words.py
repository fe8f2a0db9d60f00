"""Fills templates from the word tables in data/words.

An entry is `name: this / that / ...`, with further lines indented. A choice may have
slots: {3-9}, a random number; {a|b}, either; {name}, a random choice of that entry,
itself filled; {0}, a fact that the caller passes in.
"""

import re

from gpt2lib.files import DATA

FOLDER = DATA / "words"
SLOT = re.compile(r"\{(.*?)\}")


def read_choices(name):
    """name -> its choices, from one table."""
    return _choices(_table(name))


def read_blocks(name):
    """`read_choices` for each block of a table; blank lines separate the blocks."""
    return [_choices(block) for block in _table(name).split("\n\n")]


def read_pairs(name):
    """(left, right) for each `left/right` in a table."""
    return [tuple(word.split("/")) for word in _table(name).split()]


def _table(name):
    return (FOLDER / f"{name}.txt").read_text(encoding="utf-8").strip()


def _choices(text):
    entries = re.split(r"\n(?=\w)", text.strip())
    named = (" ".join(entry.split()).split(": ", 1) for entry in entries)
    return {name: values.split(" / ") for name, values in named}


def fill(rng, text, words):
    """The text with its slots filled and its sentences capitalised.

    A slot is {3-9}, a random number; {a|b}, either; {name}, one of the choices
    in words[name], itself filled; or {0}, the fact words[0].
    """

    def choose(slot):
        low, *high = slot[1].split("-")
        if "|" in slot[1]:
            return rng.choice(slot[1].split("|"))
        if high:
            return str(rng.randrange(int(low), int(high[0]) + 1))
        if low.isdigit():
            return str(words[int(low)])
        return re.sub(SLOT, choose, rng.choice(words[low]))

    text = re.sub(SLOT, choose, text)
    return re.sub(r"(?:^|[.!?] )[a-z]", lambda start: start[0].upper(), text)
