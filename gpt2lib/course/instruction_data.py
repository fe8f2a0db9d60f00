"""Small tasks in Alpaca's fields: about a sentence, a list, a story, numbers, words.

`python -m gpt2lib.course.instruction_data` writes data/instructions/instructions.json.
What is asked stands in a table, a block for each form of input, so that the same input
comes with several instructions; a function for each block draws words that agree.
"""

import json
import random
from itertools import islice

from gpt2lib.course import extras
from gpt2lib.course.extras import choices, fill
from gpt2lib.course.stories import name_pronouns, word_lists
from gpt2lib.files import DATA, write_text

FILE = DATA / "instructions" / "instructions.json"
NUMBER = 5000


def instructions(seed):
    """Endless rows, as many of each kind; no two ask the same of the same input."""
    rng, asked = random.Random(seed), set()
    shares = [max(1, (len(table) - 1) / 2) for table in TABLES]  # for rows in pairs
    while True:
        draw, table = rng.choices(list(zip(DRAWS, TABLES)), shares)[0]
        for row in rows_about(rng, draw(rng), table):
            key = row["instruction"], row["input"]
            if key not in asked:
                asked.add(key)
                yield row


def rows_about(rng, drawn, table):
    """Rows of two kinds of a table, or of its only one, about the same input."""
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
    """The text of data/instructions/instructions.json: a list, one row a line."""
    rows = islice(instructions(seed=0), NUMBER)
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"


# ----------------------------------------------------------------- words for the slots


def happening(rng):
    """Someone does something with a thing somewhere."""
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
    """Somebody or something is as one adjective says, or as its opposite does."""
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
    """Two numbers that are not close to each other, in any order."""
    small = rng.randrange(1, 50)
    large = rng.randrange(small + 5, 59)
    first, second = rng.sample([small, large], 2)
    return {"first": first, "second": second, "small": small, "large": large}


def few_things(rng):
    """Three things, as they are and backwards."""
    lists = word_lists()
    known = {thing for kind in ("toy", "goods", "plant") for thing in lists[kind]}
    short = sorted(thing for thing in known if " " not in thing)
    things = [f"a {thing}" for thing in rng.sample(short, 3)]
    return {"row": ", ".join(things), "back": ", ".join(things[::-1])}


def two_animals(rng):
    """Two animals with names, and the one of them that is asked about."""
    lists, called = word_lists(), rng.choice(["called", "named"])
    kinds, names = rng.sample(lists["creature"], 2), rng.sample(lists["friend"], 2)
    one, other = (f"a {kind} {called} {name}" for kind, name in zip(kinds, names))
    animal, name = rng.choice(list(zip(kinds, names)))
    return {"one": one, "other": other, "animal": animal, "name": name}


def two_sums(rng):
    """A number and a small one, their sum and their difference."""
    a, b = rng.randrange(10, 49), rng.randrange(2, 11)
    return {"a": a, "b": b, "sum": a + b, "rest": a - b}


def one_group(rng):
    """Three of a category and the word for them; no animals, which birds are, too."""
    group = rng.choice([group for group in extras.CATEGORIES if group != "animal"])
    drawn = rng.sample(extras.CATEGORIES[group], 3)
    things = [("an " if thing[0] in "aeiou" else "a ") + thing for thing in drawn]
    return {"group": group} | dict(zip("xyz", things))


WORDS = choices("""
verb: find / hide / paint / see / lose / leave / sell / buy / break / draw / forget /
  win
my: the / my / your / our / his / her
""")
SUBJECTS = choices("""
goose child baby pony puppy cat dog bird horse mouse fox wolf: happy / asleep / strong /
  loud / fast / big / wet / clean / polite / lucky
dish stone apple table spoon tomato potato peach cup glass loaf house: hot / wet / big /
  clean / cheap
door window book box letter: open / thick / wet / big / clean / cheap
boat key toy chair knife shelf: wet / big / clean / cheap
""")
DRAWS = [happening, state, two_numbers, few_things, two_animals, two_sums, one_group]

# A block for each: the forms of the input, then its kinds: the answer, the wordings.
TABLES = [
    choices(block)
    for block in """
input: {name} {does} a {thing} {place}.
who: It is {name}. / Who is this sentence about? / Name the person in the sentence. /
  Who {does} a {thing}? / Tell me who {does} something. / Which person is mentioned
  here?
what: A {thing}. / What does {name} {do}? / Name the thing that {name} {does}. / Tell me
  what {name} {does}. / Which thing does {name} {do}? / What is it that {name} {does}?
where: {place}. / Where does this happen? / Where does {name} {do} the {thing}? / Name
  the place in the sentence. / Tell me where {name} is. / In which place does it happen?
past: {name} {did} a {thing} {place}. / Rewrite the sentence in the past tense. /
  Put the sentence into the past. / How do you say this in the past tense? / Write the
  sentence with {does} in the past tense. / Can you say this in the past tense?
pronoun: {he} {does} a {thing} {place}. / Rewrite the sentence with "he" or "she"
  instead of the name. / Say "he" or "she" in place of {name}. / Replace the name with a
  pronoun. / Can you use a pronoun instead of {name}? / How do you say this without the
  name, with "he" or "she"?

input: {my} {noun} is {adjective}.
opposite: {my} {noun} is {opposite}. / Change the last word to its opposite. / Replace
  {adjective} with its opposite. / Rewrite the sentence with the opposite of
  {adjective}. / How does it sound with the opposite of {adjective}? / Can you say it
  with the opposite of {adjective}?
question: Is {my} {noun} {adjective}? / Turn the sentence into a question. / Make it a
  question. / Ask whether this is true. / How do you ask whether it is so? / Can you
  write this as a question?
plural: {my} {nouns} are {adjective}. / Rewrite the sentence in the plural. / Put the
  sentence into the plural. / Make it about more than one {noun}. / How do you say this
  of more than one {noun}? / Can you say this about several {nouns}?

input: Two numbers: {first} and {second}
larger: The larger number is {large}. / Which number is larger? / Name the larger
  number. / Which of the two is more? / Find the higher number. / Tell me the larger of
  the two.
smaller: The smaller number is {small}. / Which number is smaller? / Name the smaller
  number. / Which of the two is less? / Find the lower number. / Tell me the smaller of
  the two.

input: {row}
backwards: {back} / Write the list backwards. / Turn the list around. / What is this
  list from last to first? / Can you put these things in reverse order? / Begin with the
  last thing and end with the first.

input: {one} met {other} {where}. / {one} lost a {toy} {spot}. {other} found it. / {one}
  lived {home}. {other} lived next door. / {one} and {other} walked through {road}. They
  found a {toy} there. / {one} was afraid of the {monster}. {other} was not. / {one}
  made a {gift}. {other} liked it very much. / {time}, {one} knocked at the door of
  {other}. / The {folk} asked {one} for help. {other} came along. / {one} could not
  sleep. Then {other} told a long story.
named: The {animal} is called {name}. / What is the {animal} called? / Name the
  {animal}. / Who is the {animal}? / Tell me the name of the {animal}. / What name does
  the {animal} have?
animal: A {animal}. / What kind of animal is {name}? / Which animal is {name}? / Tell me
  what animal {name} is. / What is {name}? / Say what sort of animal {name} is.

input: {|}
plus: That is {a} + {b} = {sum}. / What is {a} plus {b}? / Add {b} to {a}. / How much is
  {a} and {b} together? / Work out {a} + {b}. / Find the sum of {a} and {b}. / What do
  {a} and {b} make?
minus: That is {a} - {b} = {rest}. / What is {a} minus {b}? / Take {b} away from {a}. /
  What is {a} take away {b}? / Work out {a} - {b}. / Subtract {b} from {a}. / What is
  left if you take {b} from {a}?

input: {|}
category: {group} / In one word, what is each of these: {x}, {y}, {z}? / Find one word
  for each of these: {x}, {y}, {z}. / Which word suits all three: {x}, {y}, {z}? / What
  can you call {x}, {y} or {z}? / Say in one word what {x}, {y} and {z} have in common.
""".strip().split("\n\n")
]


if __name__ == "__main__":
    write_text(FILE, instruction_lines())
