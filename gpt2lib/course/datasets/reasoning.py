"""Word problems about gains and losses, with step-by-step reasoning.

`python -m gpt2lib.course.datasets.reasoning` writes data/reasoning/problems.jsonl, and
data/practice/problems.jsonl: longer ones, too, with answers only, to practise on. The
wordings are in a table with one block per scene.
"""

import json
import random
from itertools import islice
from typing import NamedTuple

from gpt2lib.course.datasets.extras import SCENE, changed
from gpt2lib.course.datasets.words import fill, read_blocks
from gpt2lib.files import DATA, write_text

FILE = DATA / "reasoning" / "problems.jsonl"
NUMBER = 3000
PRACTICE = DATA / "practice" / "problems.jsonl"
PRACTISED = (700, 60, 60, 100, 180, 800, 500, 400)  # of one step, of two ...
LARGEST = 58  # up to 58, a number after a space is one token in pocket


class Problem(NamedTuple):
    """A question, the chain of sums that solves it, and the result."""

    question: str
    thought: str
    answer: str


def problems(seed, steps=None):
    """Endless problems of `steps` steps, 2 to 5 if None; no question repeats."""
    rng, told = random.Random(seed), set()
    while True:
        problem = make_problem(rng, steps or rng.randrange(2, 6))
        if problem.question not in told:
            told.add(problem.question)
            yield problem


def make_problem(rng, steps):
    """A problem in a random scene: a start, `steps` changes, and the final question."""
    scene = rng.choice(SCENES) | cast(rng)
    total = rng.randrange(2, 31)
    story, chain = [fill(rng, "{start}", scene | {0: total})], []
    while len(chain) < steps:
        step, after, gains = changed(rng, total)
        if after <= LARGEST:
            change = {0: step.split()[2]}
            story.append(fill(rng, "{gain}" if gains else "{loss}", scene | change))
            chain.append(step)
            total = after
    story.append(fill(rng, "{ask}", scene))
    return Problem(" ".join(story), ", ".join(chain), str(total))


def cast(rng):
    """Slots: a person, a friend with a different pronoun, a thing."""
    name, he = rng.choice(SCENE["person"]).split()
    others = [person.split()[0] for person in SCENE["person"] if f" {he}" not in person]
    slots = {
        "name": name,
        "he": he,
        "him": {"he": "him", "she": "her"}[he],
        "friend": rng.choice(others),
        "thing": rng.choice(SCENE["thing"]),
    }
    return {slot: [word] for slot, word in slots.items()}


def record(problem):
    """The problem as a record in the format of AM-DeepSeek-R1-Distilled."""
    question, thought, answer = problem
    info = dict.fromkeys(
        ["source", "reference_answer", "test_case", "think_content", "answer_content"]
    ) | {"source": "gpt2lib", "reference_answer": answer}
    solution = {"think_content": thought, "answer_content": answer}
    content = f"<think>{thought}</think><answer>{answer}</answer>"
    return {
        "messages": [
            {"role": "user", "content": question, "info": info},
            {"role": "assistant", "content": content, "info": info | solution},
        ]
    }


def problem_lines():
    """The content of data/reasoning/problems.jsonl, one record per line."""
    drawn = islice(problems(seed=0), NUMBER)
    return "".join(json.dumps(record(problem)) + "\n" for problem in drawn)


def practice_lines():
    """The content of data/practice/problems.jsonl; its problems are of 1 to 8 steps."""
    rows = []
    for steps, count in enumerate(PRACTISED, start=1):
        kind = f"{steps}_step" if steps == 1 else f"{steps}_steps"
        for question, _, answer in islice(problems(f"practice {steps}", steps), count):
            rows.append({"question": question, "answer": answer, "kind": kind})
    random.Random("practice").shuffle(rows)
    return "".join(json.dumps(row) + "\n" for row in rows)


SCENES = read_blocks("reasoning-scenes")


if __name__ == "__main__":
    write_text(FILE, problem_lines())
    write_text(PRACTICE, practice_lines())
