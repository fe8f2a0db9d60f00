"""Small stories of gains and losses, with a thought that follows them step by step.

`python -m gpt2lib.course.reasoning_data` writes data/reasoning/problems.jsonl. What the
stories say stands in a table, a block for each scene.
"""

import json
import random
from itertools import islice
from typing import NamedTuple

from gpt2lib.course.extras import SCENE, changed, choices, fill
from gpt2lib.files import DATA, write_text

FILE = DATA / "reasoning" / "problems.jsonl"
NUMBER = 3000
LARGEST = 58  # the last number that is one token of the pocket's, after a space


class Problem(NamedTuple):
    """A question, the chain of sums that solves it, and what comes out."""

    question: str
    thought: str
    answer: str


def problems(seed, steps=None):
    """Endless problems of so many steps, or of 2 to 5; no two questions are alike."""
    rng, told = random.Random(seed), set()
    while True:
        problem = make_problem(rng, steps or rng.randrange(2, 6))
        if problem.question not in told:
            told.add(problem.question)
            yield problem


def make_problem(rng, steps):
    """A problem in one of the scenes: a start, so many changes, how many now."""
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
    """Slots: someone, a friend whom no pronoun can confuse with them, a thing."""
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
    """The problem as a question and its answer, in the form of AM-DeepSeek-R1's."""
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
    """The text of data/reasoning/problems.jsonl, one record a line."""
    drawn = islice(problems(seed=0), NUMBER)
    return "".join(json.dumps(record(problem)) + "\n" for problem in drawn)


SCENES = [
    choices(block)
    for block in """
start: {name} has {0} {thing}. / {name} starts with {0} {thing}. / {name} has a bag
  of {0} {thing}.
gain: {then}{he} finds {0} more. / {then}{he} buys {0} more. / {then}{he} gets {0} from
  {friend}. / {friend} gives {him} {0}. / {then}{he} wins {0} {thing}.
loss: {then}{he} gives {0} to {friend}. / {then}{he} loses {0}. / {then}{he} sells {0}
  {thing}. / {friend} takes {0} from {him}. / {then}{he} gives away {0}.
ask: How many {thing} does {name} have now? / How many {thing} has {he} now? / How many
  {thing} does {he} have in the end?
then: {||Then |Later |Next }

start: {name} has {0} coins. / {name} has saved {0} coins. / There are {0} coins in
  {name}'s purse.
gain: {then}{he} earns {0}. / {then}{he} finds {0} coins. / Grandma gives {him} {0}. /
  {friend} pays {him} back {0}. / {then}{he} saves {0} more.
loss: {then}{he} spends {0}. / {then}{he} lends {friend} {0}. / A {cake|ticket|kite}
  costs {him} {0}. / {then}{he} pays {0} for {lunch|the bus|a hat}. / {then}{he} loses
  {0} coins.
ask: How many coins does {name} have now? / How many coins has {he} now?
then: {||Then |Today |Later }

start: A bus sets out with {0} passengers. / There are {0} people on the bus. / The bus
  has {0} people on it.
gain: At the {stop} {0} get on. / {0} more get on. / {0} people get on at the {stop}. /
  Then {0} climb in.
loss: At the {stop} {0} get off. / {0} get off. / {0} people get off at the {stop}. /
  Then {0} climb out.
ask: How many people are on the bus now? / How many are on the bus in the end?
stop: school / market / station / park / library / pool / church / museum

start: {0} people are on the ferry. / The ferry has {0} people on board. / There are {0}
  people on a boat.
gain: At the {pier} {0} come aboard. / {0} more come aboard. / {0} people step on board
  at the {pier}.
loss: At the {pier} {0} go ashore. / {0} leave the boat. / {0} people step off at the
  {pier}.
ask: How many people are on board now? / How many people are on the boat now?
pier: pier / island / lighthouse / harbour / old mill

start: There are {0} books on the shelf. / {0} books stand on {name}'s shelf. / A shelf
  holds {0} books.
gain: {name} puts {0} more on it. / {friend} brings back {0}. / {name} adds {0} books. /
  {0} new books come in the post.
loss: {name} takes {0} off it. / {friend} borrows {0}. / {name} gives {0} books away. /
  {0} books are lent to {friend}.
ask: How many books are on the shelf now? / How many books does the shelf hold now?

start: There are {0} {sweets|biscuits|nuts} in a jar. / A jar holds {0}
  {sweets|biscuits|plums}. / {name} fills a jar with {0} {sweets|biscuits|nuts}.
gain: {name} puts in {0} more. / {friend} adds {0}. / {when} {name} drops in {0}. /
  {when} {friend} puts {0} back.
loss: {name} eats {0}. / {friend} takes out {0}. / {when} {name} and {friend} eat {0}. /
  {when} the dog steals {0}.
ask: How many are in the jar now? / How many does the jar hold now?
when: Then / Later / Soon / Next

start: {0} ducks swim on the pond. / There are {0} ducks on a pond. / {name} counts {0}
  ducks on the pond.
gain: {0} more fly in. / {then}{0} ducks join them. / {then}{0} land on the water. / {0}
  come out of the reeds.
loss: {0} fly away. / {then}{0} ducks leave the pond. / {then}{0} waddle off. / {0} hide
  in the reeds.
ask: How many ducks are on the pond now? / How many ducks are there in the end?
then: {|Then |Soon |Next |Later }

start: {0} birds sit in a tree. / There are {0} {crows|robins|sparrows} in the old oak.
  / {name} sees {0} birds on the roof.
gain: {0} more land there. / {then}{0} fly in. / {then}{0} come to join them. / {0}
  arrive from the {north|south|fields}.
loss: {0} fly off. / {then}{0} leave. / A cat scares {0} away. / {then}{0} fly to the
  {barn|garden|fields}.
ask: How many birds are there now? / How many are there in the end?
then: {|Then |Soon |After a while |Later }

start: There are {0} guests at {name}'s party. / {name}'s party begins with {0} guests.
gain: {then}{0} more arrive. / {friend} brings {0} friends along. / {0} guests
  come in. / {0} more ring the bell and come in.
loss: {then}{0} go home. / {0} have to leave. / {0} guests say goodbye. / {friend}
  drives {0} home.
ask: How many guests are there now? / How many guests are at the party now?
then: {|Then |Soon |A little later }

start: {0} cars are in the car park. / There are {0} cars in the car park. / A car park
  has {0} cars in it.
gain: {0} more drive in. / {then}{0} cars come in. / {then}{0} roll in. / {then}{0} find
  a space.
loss: {0} drive away. / {then}{0} cars leave. / {then}{0} roll out. / {0} are towed
  away.
ask: How many cars are in the car park now? / How many cars are parked there now?
then: {|Then |Soon |Next |Later }

start: {name} builds a tower of {0} blocks. / A tower has {0} blocks.
gain: {name} puts {0} on top. / {friend} adds {0} more. / {then}{name} adds {0} blocks.
  / {then}it grows by {0}.
loss: {0} fall off. / {friend} takes {0} away. / The cat knocks off {0}. / {then}{name}
  removes {0} blocks.
ask: How many blocks does the tower have now? / How many blocks are in the tower now?
then: {|Then |Next |Later }

start: The postman has {0} letters in his bag. / The postman's bag holds {0} letters.
gain: He picks up {0} more. / At the {house} he collects {0}. / {name} hands him {0} to
  send. / Then he puts in {0}.
loss: He delivers {0}. / At the {house} he drops off {0}. / {name} gets {0} from him. /
  Then he hands out {0}.
ask: How many letters are in the bag now? / How many letters has the postman now?
house: school / farm / bakery / mill / hotel / town hall

start: {name} has {0} eggs. / {0} eggs are in the basket. / There are {0} eggs
  in {name}'s kitchen.
gain: The hens lay {0} more. / {name} brings in {0}. / {friend} finds {0} in the barn. /
  {then}{name} buys {0}.
loss: {name} boils {0}. / {friend} breaks {0} by accident. / {then}{name} bakes a cake
  with {0}. / A fox steals {0}.
ask: How many eggs are there now? / How many eggs are there in the end?
then: {|Then |Later |The next day }
""".strip().split("\n\n")
]


if __name__ == "__main__":
    write_text(FILE, problem_lines())
