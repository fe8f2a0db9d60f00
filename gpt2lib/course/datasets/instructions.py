"""Small tasks in Alpaca's format: about a sentence, a list, animals, numbers, words.

`python -m gpt2lib.course.datasets.instructions` writes them to data/instructions. The
tasks are in a table with one block per form of input, so that the same input comes
with several instructions; one function per block draws words that fit together.
"""

import json
import random
from itertools import islice

from gpt2lib.course.datasets import extras
from gpt2lib.course.datasets.words import fill, read_blocks, read_choices
from gpt2lib.course.stories import name_pronouns, word_lists
from gpt2lib.files import DATA, write_text

FILE = DATA / "instructions" / "instructions.json"
NUMBER = 5000


def instructions(seed):
    """Endless rows, kinds equally likely; no instruction and input occur twice."""
    rng, asked = random.Random(seed), set()
    shares = [max(1, (len(table) - 1) / 2) for table in TABLES]  # two rows per draw
    while True:
        draw, table = rng.choices(list(zip(DRAWS, TABLES)), shares)[0]
        for row in rows_about(rng, draw(rng), table):
            key = row["instruction"], row["input"]
            if key not in asked:
                asked.add(key)
                yield row


def rows_about(rng, drawn, table):
    """Rows about one input: two kinds from the table, or its only one."""
    slots = word_lists() | {slot: [str(word)] for slot, word in drawn.items()}
    given = fill(rng, rng.choice(table["input"]), slots)
    kinds = [kind for kind in table if kind != "input"]
    for kind in rng.sample(kinds, min(len(kinds), 2)):
        answer, *wordings = table[kind]
        yield {
            "instruction": fill(rng, rng.choice(wordings), slots),
            "input": given,
            "output": fill(rng, answer, slots),
            "kind": kind,
        }


def instruction_lines():
    """The content of data/instructions/instructions.json: a list, one row per line."""
    rows = islice(instructions(seed=0), NUMBER)
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"


# ----------------------------------------------------------------- words for the slots


def happening(rng):
    """Slots: a person, a verb in three forms, a thing and a place."""
    lists, verb = word_lists(), rng.choice(WORDS["verb"])
    name = rng.choice([hero for hero in lists["hero"] if " " not in hero])
    return {
        "name": name,
        "he": name_pronouns()[name],
        "do": verb,
        "does": verb + "s",
        "did": dict(extras.PASTS)[verb],
        "thing": rng.choice([toy for toy in lists["toy"] if " " not in toy]),
        "place": rng.choice(lists["where"] + lists["home"]),
    }


def state(rng):
    """Slots: a subject, an adjective that suits it, and the opposite adjective."""
    nouns, adjectives = rng.choice(list(SUBJECTS.items()))
    noun, adjective = rng.choice(nouns.split()), rng.choice(adjectives)
    one, other = rng.sample([adjective, dict(extras.OPPOSITES)[adjective]], 2)
    return {
        "my": rng.choice(WORDS["my"]),
        "noun": noun,
        "nouns": dict(extras.PLURALS)[noun],
        "adjective": one,
        "opposite": other,
    }


def two_numbers(rng):
    """Slots: two numbers at least 5 apart, in either order."""
    small = rng.randrange(1, 50)
    large = rng.randrange(small + 5, 59)
    first, second = rng.sample([small, large], 2)
    return {"first": first, "second": second, "small": small, "large": large}


def few_things(rng):
    """Slots: a list of three things, and the same list reversed."""
    lists = word_lists()
    known = {thing for kind in ("toy", "goods", "plant") for thing in lists[kind]}
    short = sorted(thing for thing in known if " " not in thing)
    things = [f"a {thing}" for thing in rng.sample(short, 3)]
    return {"row": ", ".join(things), "back": ", ".join(things[::-1])}


def two_animals(rng):
    """Slots: two named animals, and which of them is asked about."""
    lists, called = word_lists(), rng.choice(["called", "named"])
    kinds, names = rng.sample(lists["creature"], 2), rng.sample(lists["friend"], 2)
    one, other = (f"a {kind} {called} {name}" for kind, name in zip(kinds, names))
    animal, name = rng.choice(list(zip(kinds, names)))
    return {"one": one, "other": other, "animal": animal, "name": name}


def two_sums(rng):
    """Slots: a number and a smaller one, their sum and their difference."""
    a, b = rng.randrange(10, 49), rng.randrange(2, 11)
    return {"a": a, "b": b, "sum": a + b, "rest": a - b}


def one_group(rng):
    """Slots: a category and three members; never animals, since birds are animals."""
    group = rng.choice([group for group in extras.CATEGORIES if group != "animal"])
    drawn = rng.sample(extras.CATEGORIES[group], 3)
    things = [("an " if thing[0] in "aeiou" else "a ") + thing for thing in drawn]
    return {"group": group} | dict(zip("xyz", things))


WORDS = read_choices("instruction-words")
SUBJECTS = read_choices("instruction-subjects")
DRAWS = [happening, state, two_numbers, few_things, two_animals, two_sums, one_group]

# One block per draw: the forms of the input, then each kind's answer and wordings.
TABLES = read_blocks("instructions")


if __name__ == "__main__":
    write_text(FILE, instruction_lines())
