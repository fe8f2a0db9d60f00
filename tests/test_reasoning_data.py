"""The problems for reasoning: right by an independent reading, varied, as committed."""

import json
import re
from collections import Counter
from itertools import islice

import pytest

from gpt2lib.course.datasets import reasoning
from gpt2lib.course.datasets.reasoning import problems, record

GAIN = re.compile(
    r"\b(finds?|buys|wins|earns|saves|puts|adds|brings|(get|step) on|climb in|come|join"
    r"|land|arrive|(fly|drive|roll|drops) in|grows|picks up|collects|lay"
    r"|(gives|pays|hands) (him|her)|gets \d+ from (?!him|her))\b"
)
LOSS = re.compile(
    r"\b(gives (\d+|away)|loses|sells|takes|spends|lends?|lent|costs|pays \d+|get off"
    r"|climb out|go (ashore|home)|leave|step off|borrows|eats?|steals|fly (away|off|to)"
    r"|waddle|hide|scares|goodbye|drives|drive away|(roll|hands) out|towed|fall|knocks"
    r"|removes|delivers|drops off|gets \d+ from (him|her)|boils|breaks|bakes)\b"
)


def follow(question):
    """The answer, read from the question alone: each number with its verb."""
    first, *changes = re.findall(r"[^.?]*\d[^.?]*", question)
    total = int(re.search(r"\d+", first)[0])
    for sentence in changes:
        (change,) = re.findall(r"\d+", sentence)
        gains, loses = bool(GAIN.search(sentence)), bool(LOSS.search(sentence))
        assert gains != loses, sentence
        total += int(change) if gains else -int(change)
    return str(total)


def drawn(number, seed=5, steps=None):
    return list(islice(problems(seed, steps), number))


def test_a_seed_decides_the_problems_and_no_two_ask_the_same():
    assert drawn(50) == drawn(50) != drawn(50, seed=6)
    assert len({problem.question for problem in drawn(2000)}) == 2000


def test_who_reads_only_the_question_comes_to_the_same_answer():
    for problem in drawn(1500) + drawn(100, steps=10):
        assert follow(problem.question) == problem.answer


def test_a_thought_starts_with_the_first_number_and_each_sum_with_the_last_result():
    for question, thought, answer in drawn(1000):
        total = start = int(re.search(r"\d+", question)[0])
        for step in thought.split(", "):
            a, sign, b, _, result = step.split()
            assert int(a) == total and 2 <= int(b) <= 10
            total += int(b) if sign == "+" else -int(b)
            assert total == int(result) and 0 <= total <= 58
        assert 2 <= start <= 30 and answer == str(total)


@pytest.mark.parametrize("steps", range(1, 11))
def test_a_problem_has_as_many_steps_as_asked_for(steps):
    for question, thought, _ in drawn(20, steps=steps):
        assert thought.count("=") == steps
        assert len(re.findall(r"\d+", question)) == steps + 1


def test_otherwise_two_to_five_steps_are_equally_frequent():
    steps = Counter(problem.thought.count("=") for problem in drawn(2000))
    assert set(steps) == {2, 3, 4, 5} and min(steps.values()) > 400


def test_questions_are_plain_text_with_every_slot_filled():
    for question, *_ in drawn(1000):
        assert question.isascii() and question.endswith("?") and len(question) < 400
        assert not re.search(r"[{}|/]|  |[.?] [a-z]|^[a-z]", question)


def test_a_record_has_the_keys_of_the_data_set_it_stands_in_for():
    problem = drawn(1)[0]
    user, assistant = record(problem)["messages"]
    nothing = {"test_case": None, "think_content": None, "answer_content": None}
    info = {"source": "gpt2lib", "reference_answer": problem.answer, **nothing}
    solution = {"think_content": problem.thought, "answer_content": problem.answer}
    content = f"<think>{problem.thought}</think><answer>{problem.answer}</answer>"
    assert user == {"role": "user", "content": problem.question, "info": info}
    assert assistant == {
        "role": "assistant",
        "content": content,
        "info": info | solution,
    }


def test_the_committed_file_is_what_the_generator_writes():
    text = reasoning.FILE.read_text(encoding="utf-8")
    assert text == reasoning.problem_lines()
    assert len([json.loads(line) for line in text.splitlines()]) == 3000
