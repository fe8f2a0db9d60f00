"""The rows for evaluating models: as committed, right, varied and short enough."""

import json
import re
from collections import Counter
from math import inf

import pytest

from gpt2lib import load_tokenizer
from gpt2lib.course.datasets import evaluation
from gpt2lib.course.datasets.evaluation import BUCKETS, mentions
from gpt2lib.course.stories import check_story, word_lists

FILES = (evaluation.ENDINGS, evaluation.LAST_WORDS)
ENDINGS, LAST_WORDS = (
    [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for file in FILES
)
EXAMPLE = (
    "Once upon a time Ada wanted to collect acorns, as many as possible. By noon she "
    "had two acorns, and her feet were wet. A muddy fox named Otto was watching. "
    '"What are you doing?" he asked.\n'
    '"I have two acorns," said Ada, "but I would like more." Otto ran off and found '
    "three more behind a bush. They put them in a row and counted. There were five "
    "acorns now."
)


def own_part(text):
    """The text without the opening of another story."""
    return text.rpartition("\n\n")[2]


def contradicts(text):
    report = check_story(text)
    return bool(report.broken or report.unreadable)


def test_the_committed_files_are_what_the_generator_writes():
    """Both in one test, since both choose from the same stories, made once."""
    makers = (evaluation.endings_row, evaluation.last_word_row)
    for file, make in zip(FILES, makers):
        assert file.read_text(encoding="utf-8") == evaluation.lines(make)


def test_distances_by_hand():
    assert check_story(EXAMPLE).broken == []
    known = [(m.word, m.distance) for m in mentions(EXAMPLE) if m.distance < inf]
    assert known == [
        ("she", 11),  # Ada
        ("acorns", 10),
        ("her", 5),  # she
        ("he", 7),  # Otto
        ("I", 17),  # her
        ("two", 22),
        ("acorns", 22),
        ("Ada", 38),
        ("I", 2),  # Ada; the other I could be anyone's
        ("Otto", 20),
        ("five", 29),  # two, farther than three
        ("acorns", 29),
    ]


def test_only_the_labelled_ending_agrees_with_its_context():
    for row in ENDINGS:
        part = own_part(row["context"])
        for number, ending in enumerate(row["endings"]):
            wrong = number != row["label"]
            assert contradicts(f"{part} {ending}") == wrong, (row, ending)


def test_endings_are_different_sentences_in_a_line():
    for row in ENDINGS:
        assert row["context"] == row["context"].strip() != ""
        endings = row["endings"]
        assert len(set(endings)) == len(endings)
        assert len(endings) == 4 or (row["about"] == "pronoun" and len(endings) > 1)
        assert all(re.fullmatch(r"[^\s\"].*[.!?]\"?", ending) for ending in endings)


def test_most_wrong_names_and_numbers_were_read_before():
    for about, least in (("name", 0.9), ("number", 0.8), ("thing", 0.4)):
        tempting = 0
        for row in (rows := [row for row in ENDINGS if row["about"] == about]):
            words = [set(re.findall(r"[\w-]+", text)) for text in row["endings"]]
            new = set().union(*words) - words[row["label"]]
            read = row["context"].lower()
            tempting += any(re.search(rf"\b{word.lower()}\b", read) for word in new)
        assert tempting / len(rows) > least, about


def test_a_last_word_stands_alone_and_was_read_as_far_back_as_the_row_says():
    for row in LAST_WORDS:
        words = own_part(row["text"]).split()
        assert re.search(r"\S [\w-]+$", row["text"])
        if row["about"] in ("name", "thing"):
            evidence = words[-1 - row["distance"]]
            assert words[-1].lower() in evidence.lower(), row
        elif row["about"] == "number":
            before = {word.strip('".,!?').lower() for word in words[:-1]}
            numbers = before.intersection(word_lists()["number"])
            assert words[-1] in numbers or len(numbers) > 1, row


@pytest.mark.parametrize("rows", [ENDINGS, LAST_WORDS], ids=["endings", "last words"])
def test_kinds_and_distances_and_openings_are_about_equally_frequent(rows):
    assert len(rows) == 400
    buckets = [max(b for b in BUCKETS if b <= row["distance"]) for row in rows]
    kinds = Counter((row["about"], bucket) for row, bucket in zip(rows, buckets))
    assert {about for about, _ in kinds} == {"name", "thing", "number", "pronoun"}
    rare = ("pronoun", 60)  # few stories have one
    assert kinds.pop(rare) > 5 and len(kinds) == 15 and min(kinds.values()) > 20
    two = Counter(row["stories"] for row in rows)
    assert set(two) == {1, 2} and abs(two[1] - two[2]) < 20
    for row in rows:
        text = row.get("context") or row["text"]
        assert text.count("\n\n") == row["stories"] - 1


def test_no_text_comes_twice_and_labels_are_spread_evenly():
    assert len({row["context"] for row in ENDINGS}) == len(ENDINGS)
    assert len({row["text"] for row in LAST_WORDS}) == len(LAST_WORDS)
    labels = Counter(row["label"] for row in ENDINGS if len(row["endings"]) == 4)
    assert set(labels) == set(range(4)) and min(labels.values()) > 50


def test_every_text_fits_in_pockets_window():
    tokenizer = load_tokenizer("pocket")
    texts = [row["text"] for row in LAST_WORDS]
    texts += [f"{row['context']} {e}" for row in ENDINGS for e in row["endings"]]
    assert max(len(tokenizer.encode(text)) for text in texts) <= 250
