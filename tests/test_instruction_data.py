"""The rows for instructions: right by an independent reading, various, as committed."""

import functools
import json
import re
from collections import Counter, defaultdict
from itertools import islice

import pytest

from gpt2lib import load_tokenizer
from gpt2lib.course.datasets import extras
from gpt2lib.course.datasets.instructions import (
    FILE,
    TABLES,
    instruction_lines,
    instructions,
)
from gpt2lib.course.stories import name_pronouns

LISTED = {thing for things in extras.CATEGORIES.values() for thing in things}
FIELDS = ["instruction", "input", "output", "kind"]


@functools.cache
def drawn(number=3000, seed=5):
    return list(islice(instructions(seed), number))


def of_kind(kind):
    """(instruction, input, output) of each row of a kind."""
    rows = [tuple(row.values())[:3] for row in drawn() if row["kind"] == kind]
    assert len(rows) > 100
    return rows


def numbers(text):
    return [int(number) for number in re.findall(r"\d+", text)]


def words(text):
    return re.findall(r"[\w'-]+", text.lower())


def test_a_seed_decides_the_rows_and_no_two_ask_the_same():
    assert drawn(50) == list(islice(instructions(5), 50)) != drawn(50, seed=6)
    asked = {(row["instruction"], row["input"]) for row in drawn()}
    assert len(asked) == len(drawn())


def test_what_is_asked_twice_is_answered_alike():
    answers = defaultdict(set)
    for row in drawn() + drawn(1500, seed=6):
        answers[row["instruction"], row["input"]].add(row["output"])
    assert len(answers) < 4500 and all(len(known) == 1 for known in answers.values())


def test_there_are_many_kinds_in_equal_parts_with_several_wordings():
    kinds = Counter(row["kind"] for row in drawn())
    assert 14 <= len(kinds) <= 16
    assert max(kinds.values()) < 1.5 * min(kinds.values())
    entries = [entry for t in TABLES for entry in t.items()]
    wordings = {kind: set(said[1:]) for kind, said in entries if kind != "input"}
    assert wordings.keys() == kinds.keys()
    assert all(3 <= len(said) <= 6 for said in wordings.values())


def test_inputs_vary_and_the_same_one_comes_with_different_instructions():
    asked = defaultdict(list)
    for row in drawn():
        asked[row["input"]].append(row["kind"])
    assert len(asked.pop("")) > 450 and len(asked) > 1200
    assert sum(len(set(kinds)) > 1 for kinds in asked.values()) > 900


def test_rows_are_short_plain_text_with_every_slot_filled():
    encode = load_tokenizer().encode_ordinary
    for row in drawn():
        assert list(row) == FIELDS
        text = "\n".join([row["instruction"], row["input"], row["output"]])
        assert text.isascii() and len(encode(text)) <= 90
        assert not re.search(r"[{}|/]|  |[.?!] [a-z]|^[a-z]| $", text, re.MULTILINE)
        assert row["instruction"][-1] in ".?"
        assert 1 <= len(row["output"].split()) <= 17


@pytest.mark.parametrize("kind, sign", [("plus", 1), ("minus", -1)])
def test_sums_are_right(kind, sign):
    for asked, _, answer in of_kind(kind):
        a, b = sorted(numbers(asked), reverse=True)
        assert numbers(answer) == [a, b, a + sign * b] and a + b < 60


@pytest.mark.parametrize("kind, pick", [("larger", max), ("smaller", min)])
def test_of_two_numbers_the_right_one_is_named(kind, pick):
    for _, given, answer in of_kind(kind):
        assert len(set(numbers(given))) == 2
        assert numbers(answer) == [pick(numbers(given))]


def test_a_list_is_turned_around():
    for _, given, answer in of_kind("backwards"):
        assert given.lower().split(", ")[::-1] == answer.lower().split(", ")


@pytest.mark.parametrize("kind", ["what", "where"])
def test_part_of_a_sentence_is_the_answer(kind):
    for _, given, answer in of_kind(kind):
        assert f" {answer[:-1].lower()}" in given.lower() and answer.endswith(".")


def test_who_does_it_is_the_only_name_in_the_sentence():
    for _, given, answer in of_kind("who"):
        name = answer.removeprefix("It is ").removesuffix(".")
        assert [word for word in given.split() if word in name_pronouns()] == [name]


@pytest.mark.parametrize("kind", ["past", "pronoun", "opposite"])
def test_a_sentence_is_rewritten_in_one_word(kind):
    opposites = extras.OPPOSITES + [pair[::-1] for pair in extras.OPPOSITES]
    pasts = [(now + "s", before) for now, before in extras.PASTS]
    right = {"past": pasts, "pronoun": name_pronouns().items(), "opposite": opposites}
    for _, given, answer in of_kind(kind):
        pairs = zip(given[:-1].split(" "), answer[:-1].split(" "), strict=True)
        (changed,) = [(old, new.lower()) for old, new in pairs if old != new]
        assert changed in right[kind] and given[-1] == answer[-1] == "."


def test_a_statement_becomes_a_question_and_a_plural():
    for _, given, answer in of_kind("question"):
        my, noun, _, adjective = words(given)
        assert answer == f"Is {my} {noun} {adjective}?"
    for _, given, answer in of_kind("plural"):
        my, noun, _, adjective = words(given)
        assert words(answer) == [my, dict(extras.PLURALS)[noun], "are", adjective]


def test_animals_and_names_belong_together():
    known = r"[aA] ((?:guinea |field )?\w+(?: cub)?) (?:called|named) (\w+)"
    for kind in ("named", "animal"):
        for asked, given, answer in of_kind(kind):
            pairs = re.findall(known, given)
            assert len(pairs) == 2
            by_name = {name: animal for animal, name in pairs}
            assert len(set(by_name.values())) == len(by_name) == 2
            if kind == "animal":
                (name,) = set(by_name) & set(re.findall(r"\w+", asked))
                assert answer == f"A {by_name[name]}."
            else:
                animal, name = re.match(r"The (.*) is called (\w+)\.", answer).groups()
                assert by_name[name] == animal and f" {animal}" in asked


def test_a_group_is_the_only_one_that_has_all_three():
    for asked, _, answer in of_kind("category"):
        things = [word for word in words(asked) if word in LISTED]
        groups = [
            g for g, members in extras.CATEGORIES.items() if {*things} <= {*members}
        ]
        assert len(things) == 3 and groups == [answer.lower()]


def test_the_committed_file_is_what_the_generator_writes():
    text = FILE.read_text(encoding="utf-8")
    assert text == instruction_lines()
    assert len(json.loads(text)) == text.count("\n") - 2 == 5000
    assert len(text) < 1_000_000
