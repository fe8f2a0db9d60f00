"""What the small model reads besides stories: right, various, plain, repeatable."""

import functools
import random
import re
from itertools import islice

import pytest

from gpt2lib.course.datasets import extras

KINDS = [extras.messages, extras.sums, extras.word_games]
RESULT = {"+": int.__add__, "-": int.__sub__, "x": int.__mul__}


@functools.cache
def drawn(kind, number=2000, seed=7):
    return list(islice(kind(random.Random(seed)), number))


def found(pattern, kind):
    return re.findall(pattern, "\n".join(drawn(kind)), re.MULTILINE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_decides_the_texts(kind):
    assert drawn(kind, 50) == drawn(kind, 50) != drawn(kind, 50, seed=8)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_plain_of_bounded_length_and_hardly_ever_repeat(kind):
    texts = drawn(kind)
    assert all(text.isascii() and 20 <= len(text) <= 500 for text in texts)
    assert not any(re.search(r"[{}|\t]|  | $|^ | / ", text) for text in texts)
    assert len(set(texts)) >= 0.95 * len(texts)


@pytest.mark.parametrize("kind, words", zip(KINDS, [750, 90, 550]))
def test_the_vocabulary_is_large(kind, words):
    assert len(set(re.findall("[a-z]+", "\n".join(drawn(kind)).lower()))) > words


def test_every_slot_of_the_messages_has_its_choices():
    lines = [line for lines in extras.MESSAGES.values() for line in lines]
    slots = re.findall(r"\{([a-z]+)\}", " ".join(lines))
    assert sorted(set(slots) | {"message"}) == sorted(extras.MESSAGES)


def test_every_written_sum_is_right():
    written = found(r"(\d+) ([-+x]) (\d+) = (\d+)", extras.sums)
    assert len(written) > 3000 and {sign for _, sign, *_ in written} == set("+-x")
    for a, sign, b, result in written:
        assert RESULT[sign](int(a), int(b)) == int(result)


def test_every_story_adds_up():
    stories = found(
        r"has (\d+) (\w+) and (.*) Now s?he has (\d+) (\w+)\.$", extras.sums
    )
    assert len(stories) > 500
    for before, things, what, after, same in stories:
        changes = re.findall(r"[a-z] (\d+)( more)?\b", what)
        total = sum(int(n) if more else -int(n) for n, more in changes)
        assert (int(before) + total, things) == (int(after), same)


@pytest.mark.parametrize(
    "pattern, right",
    [
        (r"^(\d+) (?:and|plus) (\d+) (?:is|make) (\d+)\.", lambda a, b, c: a + b == c),
        (r"^(\d+) more than (\d+) is (\d+)\.", lambda a, b, c: a + b == c),
        (r"^(\d+) minus (\d+) (?:is|leaves) (\d+)\.", lambda a, b, c: a - b == c),
        (r"^(\d+) less than (\d+) is (\d+)\.", lambda a, b, c: b - a == c),
        (r"^(\d+) times (\d+) (?:is|makes) (\d+)\.", lambda a, b, c: a * b == c),
        (r"^Twice (\d+) is (\d+)\.", lambda a, b: 2 * a == b),
        (r"^Half of (\d+) is (\d+)\.", lambda a, b: a == 2 * b),
        (r"^(\d+) is even, (\d+) is odd\.", lambda a, b: a % 2 == 0 and b % 2),
        (r"^(\d+) is (?:more|greater) than (\d+)\.", lambda a, b: a > b),
        (r"^Is (\d+) more than (\d+)\? Yes\.", lambda a, b: a > b),
        (r"^Is (\d+) more than (\d+)\? No\.", lambda a, b: a <= b),
        (r"^(\d+) is between (\d+) and (\d+)\.", lambda a, b, c: b < a < c),
        (r"(\d+) \w+ hold (\d+) .* has (\d+)", lambda a, b, c: a * b == c),
        (r"shares (\d+) \w+ between (\d+) \w+: (\d+)", lambda a, b, c: b * c == a),
    ],
)
def test_every_sum_in_words_is_right(pattern, right):
    facts = found(pattern, extras.sums)
    assert len(facts) > 20 and all(right(*map(int, fact)) for fact in facts)


def test_no_word_has_two_opposites_and_no_plural_is_its_singular():
    words = [word for pair in extras.OPPOSITES for word in pair]
    assert len(words) == len(set(words)) > 130
    for table in (extras.PLURALS, extras.PASTS):
        assert len(table) == len(dict(table)) == len({right for _, right in table})
        assert all(left != right for left, right in table)


def test_opposites_and_plurals_are_those_of_the_tables():
    opposites = found(r"^The opposite of (\w+) is (\w+)\.$", extras.word_games)
    both_ways = extras.OPPOSITES + [pair[::-1] for pair in extras.OPPOSITES]
    assert len(opposites) > 100 and set(opposites) <= set(both_ways)
    plurals = found(r"^One (\w+), two (\w+)\.$", extras.word_games)
    assert len(plurals) > 100 and set(plurals) <= set(extras.PLURALS)


def test_words_are_counted_turned_sorted_and_raised():
    for phrase, number in found(r'^"(.*)" has (\d+) words\.', extras.word_games):
        assert len(phrase.split()) == int(number)
    for phrase, turned in found(r'^"(.*)" backwards is "(.*)"\.', extras.word_games):
        assert phrase.split()[::-1] == turned.split()
    for phrase, raised in found(r'^"(.*)" in capitals is "(.*)"\.', extras.word_games):
        assert phrase.upper() == raised
    rows = found(r"^The words (.*) in order: (.*)\.", extras.word_games)
    assert len(rows) > 20
    assert all(sorted(row.split(", ")) == right.split(", ") for row, right in rows)
