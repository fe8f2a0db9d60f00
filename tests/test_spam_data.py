"""The messages for the spam chapter: as committed, unlike, not to be told by a word."""

import functools
import re
from collections import Counter
from itertools import islice

from gpt2lib.course.datasets import spam
from gpt2lib.course.datasets.spam import labelled_messages

SUSPICIOUS = re.findall(
    r"\w+",
    """won prize free urgent winner congratulations call claim click code confirm pin
    password account bank card pounds pay fee parcel now offer send reply stop text
    example job tickets""",
)


@functools.cache
def drawn(number, seed=0):
    return list(islice(labelled_messages(seed), number))


def words_of(label):
    texts = [text.lower() for kind, text in drawn(2000) if kind == label]
    return Counter(re.findall("[a-z]+", " ".join(texts)))


def test_a_seed_decides_the_messages():
    first = list(islice(labelled_messages(1), 50))
    assert first == drawn(50, seed=1) != drawn(50, seed=2)


def test_every_slot_has_its_choices_and_every_table_is_used():
    texts = spam.TEXTS
    slots = {
        slot
        for lines in texts.values()
        for slot in re.findall(r"\{([^|}]*[a-z][^|}]*)\}", " ".join(lines))
    }
    assert slots <= set(texts)
    own = spam.SHARED | spam.HAM | spam.SPAM
    assert set(own) - slots == {"ham", "spam"}


def test_messages_are_plain_lines_of_bounded_length_with_every_slot_filled():
    for _, text in drawn(2000):
        assert text.isascii() and 20 <= len(text) <= 300
        assert not re.search(r"[{}|\t\n]|  | / |^[ \"]| $", text)


def test_no_two_messages_are_alike_even_but_for_their_numbers():
    texts = {re.sub(r"\d+", "", text.lower()) for _, text in drawn(2000)}
    assert len(texts) == 2000


def test_there_are_three_ham_to_two_spam_in_no_order():
    labels = [label for label, _ in drawn(2000)]
    assert Counter(labels) == {"ham": 1200, "spam": 800}
    assert len({tuple(labels[i : i + 5]) for i in range(0, 2000, 5)}) == 10


def test_the_frequent_words_and_those_of_every_keyword_list_stand_in_both():
    ham, spam = words_of("ham"), words_of("spam")
    frequent = [word for word, _ in (ham + spam).most_common(30)]
    for word in frequent + SUSPICIOUS:
        assert ham[word] and spam[word], word


def test_short_words_and_lack_of_capitals_say_nothing():
    for found in (str.islower, re.compile(r"\b(u|ur|n|pls|2nite)\b").search):
        shares = {}
        for label in ("ham", "spam"):
            texts = [text for kind, text in drawn(2000) if kind == label]
            shares[label] = sum(bool(found(text)) for text in texts) / len(texts)
        assert abs(shares["ham"] - shares["spam"]) < 0.06 and min(shares.values()) > 0.1


def test_the_committed_file_is_what_the_generator_writes():
    text = spam.FILE.read_text(encoding="utf-8")
    assert text == spam.message_lines()
    assert all(line.count("\t") == 1 for line in text.splitlines())
