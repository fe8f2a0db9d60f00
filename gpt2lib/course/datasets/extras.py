"""Training texts for a small model besides stories: messages, sums, word games.

Three endless iterators of short plain texts, drawn from a `random.Random`: the same
seed gives the same texts. The wordings are in the tables of data/words; the code only
fills them in.
"""

import re

from gpt2lib.course.datasets.words import fill, read_choices, read_pairs


def messages(rng):
    """Short phone messages: friends, families, shops, clubs, and some dubious ones."""
    while True:
        text = fill(rng, "{message}", MESSAGES)
        if rng.random() < 0.15:
            text = re.sub(r"\w+", lambda word: SHORT.get(word[0], word[0]), text)
        if rng.random() < 0.15:
            text = text.lower()
        if 20 <= len(text) <= 500:
            yield text


def sums(rng):
    """A few lines of correct arithmetic with whole numbers below 100."""
    return pages(rng, SUMS)


def word_games(rng):
    """A few lines of facts about words: opposites, plurals, rhymes, order, capitals."""
    return pages(rng, WORD_GAMES)


def pages(rng, table):
    """Endless texts of up to ten different lines, of one to three kinds of text."""
    while True:
        kinds = rng.sample(list(table), rng.randrange(1, 4))
        drawn = [rng.choice(kinds) for _ in range(rng.randrange(3, 11))]
        lines = [fill(rng, rng.choice(table[k]), FACTS[k](rng)) for k in drawn]
        text = "\n".join(dict.fromkeys(lines))
        if 20 <= len(text) <= 500:
            yield text


# --------------------------------------------------------------------------- messages

MESSAGES = read_choices("messages")
SHORT = dict(read_pairs("short-words"))

# ------------------------------------------------------------------------------- sums

SUMS = read_choices("sums")
SCENE = read_choices("scene")


def amount(rng):
    """A number from 0 to 49; small ones are more likely."""
    return rng.randrange(rng.choice([10, 10, 20, 50]))


def added(rng):
    a, b = amount(rng), amount(rng)
    return a, b, a + b


def multiplied(rng):
    a, b = rng.randrange(2, 10), rng.randrange(2, 10)
    return a, b, a * b


def doubled(rng):
    a = amount(rng)
    return a, 2 * a, 2 * a + 1


def changed(rng, total):
    """A small change to a total: (the sum as text, its result, whether it adds)."""
    change = rng.randrange(2, 11)
    if total < change + 2 or rng.random() < 0.55:
        return f"{total} + {change} = {total + change}", total + change, True
    return f"{total} - {change} = {total - change}", total - change, False


def chained(rng):
    """Several sums, each starting from the result of the one before."""
    total, steps = amount(rng), []
    for _ in range(rng.randrange(2, 5)):
        step, total, _ = changed(rng, total)
        steps.append(step)
    return [", ".join(steps)]


def by_tens(rng):
    a, tens, ones = 10 + amount(rng), 10 * rng.randrange(1, 4), rng.randrange(1, 10)
    return a, tens, ones, tens + ones, a + tens, a + tens + ones


def counted(rng):
    start, step = rng.randrange(50), rng.choice([1, 1, 1, 2, 3, 5, 10])
    row = [str(start + step * i) for i in range(rng.randrange(3, 6))]
    return ", ".join(row), ", ".join(reversed(row)), start, start + 1


def happened(rng):
    """Someone gains or loses things, once or twice, with or without the sums shown."""
    name, pronoun = rng.choice(SCENE["person"]).split()
    thing, total, written = rng.choice(SCENE["thing"]), 2 + amount(rng), rng.random()
    text = f"{name} has {total} {thing}"
    for link in [" and", f". Then {pronoun}"][: rng.randrange(1, 3)]:
        step, total, gains = changed(rng, total)
        verb, change = rng.choice(SCENE["gain" if gains else "loss"]), step.split()[2]
        text += f"{link} {verb} {change}" + " more" * gains
        text += f": {step}" * (written < 0.4)
    return [f"{text}. Now {pronoun} has {total} {thing}."]


def packed(rng):
    name = rng.choice(SCENE["person"]).split()[0]
    return (
        *multiplied(rng),
        name,
        rng.choice(SCENE["holder"]),
        rng.choice(SCENE["thing"]),
    )


# ------------------------------------------------------------------------- word games

WORD_GAMES = read_choices("word-games")
OPPOSITES = read_pairs("opposites")
PLURALS = read_pairs("plurals")
PASTS = read_pairs("pasts")
COLOURS = read_choices("colours")
CATEGORIES = read_choices("categories")
RHYMES = read_choices("rhymes")
WORDS = sorted({word for pair in OPPOSITES + PLURALS + PASTS for word in pair})
NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven"]


def coloured(rng):
    right, wrong = rng.sample(list(COLOURS), 2)
    return right, *rng.sample(COLOURS[right], 2), wrong


def sorted_out(rng):
    """Three words of a category, its name and another category's, with articles."""
    kind, other = rng.sample(list(CATEGORIES), 2)
    words = *rng.sample(CATEGORIES[kind], 3), kind, other
    return [("an " if word[0] in "aeiou" else "a ") + word for word in words]


def rhymed(rng):
    family, other = rng.sample(list(RHYMES), 2)
    return *rng.sample(RHYMES[family], 2), rng.choice(RHYMES[other])


def capitalised(rng):
    phrase = " ".join(rng.sample(WORDS, rng.randrange(1, 4)))
    return phrase, phrase.upper()


def ordered(rng):
    words = rng.sample(WORDS, 3)
    return " ".join(words), " ".join(words[::-1]), ", ".join(sorted(words)), *words


def spelled(rng):
    number, word = rng.randrange(2, 8), rng.choice(WORDS)
    phrase = " ".join(rng.sample(WORDS, number))
    letters = (word, len(word), word[0], word[-1], "-".join(word))
    return phrase, number, NUMBERS[number], *letters


FACTS = {
    "plus": added,
    "minus": added,
    "times": multiplied,
    "double": doubled,
    "chain": chained,
    "tens": by_tens,
    "compare": lambda rng: sorted(rng.sample(range(100), 3)),
    "count": counted,
    "story": happened,
    "boxes": packed,
    "opposite": lambda rng: rng.sample(rng.choice(OPPOSITES), 2),
    "plural": lambda rng: rng.choice(PLURALS),
    "past": lambda rng: rng.choice(PASTS),
    "colour": coloured,
    "category": sorted_out,
    "rhyme": rhymed,
    "capitals": capitalised,
    "order": ordered,
    "spelling": spelled,
}
