"""The checkers of chapter 8: finetuning: reasoning."""

import copy
import random

import torch

from gpt2lib.course.check.report import (
    WrongAnswer,
    called,
    exercise,
    expect,
    plain,
    same,
)
from gpt2lib.data import IGNORED


@exercise
def parse_record(answer):
    question, thought = "Two and two?", "2 + 2 = 4\nThat is all."
    full = {"think_content": f" {thought}\n", "answer_content": "4"}
    null = dict.fromkeys(full)
    tagged = f"<think>\n{thought}</think>\n<answer> 4 </answer>"
    for info, content in (
        (full, "<think>Hm.</think><answer>four</answer>"),
        (None, tagged),
        (null, tagged),
        (full | {"answer_content": None}, tagged.replace("2 + 2", "two and two")),
        (full | {"think_content": None}, tagged.replace(" 4 <", "four<")),
    ):
        user = {"role": "user", "content": question, "info": None}
        reply = {"role": "assistant", "content": content, "info": info}
        wanted = question, thought, "4"
        spaces = question, f" {thought}\n", "4"
        slips = [
            ("there are spaces around a text", spaces),
            ("the fields of info come first", (question, "Hm.", "four")),
        ]
        record = {"messages": [user, reply]}
        own = copy.deepcopy(record)
        given = plain(answer(own))
        call = f"parse_record(a record with the reply {reply})"
        if given is not None and own != record:
            raise WrongAnswer(f"{call} gave a result, but changed the record")
        expect(call, given, wanted, slips)


@exercise
def mask_turns(answer):
    one = [("user", [5, 6, 7]), ("assistant", [8, 9])]
    two = [*one, ("user", [3]), ("assistant", [2, 1])]
    three = [*two, ("user", [4, 4]), ("assistant", [6])]
    for turns, end in ((one, 0), (two, 0), (three, 50)):
        ids, own = [], []
        for role, said in turns:
            said = said + [end] if role == "assistant" else said
            ids, own = ids + said, own + [role == "assistant"] * len(said)
        wanted = ids[:-1], [i if o else IGNORED for i, o in zip(ids[1:], own[1:])]
        unmoved = ids, [i if o else IGNORED for i, o in zip(ids, own)]
        late = ids[:-1], [i if o else IGNORED for i, o in zip(ids[1:], own)]
        first = len(one[0][1]) - 1
        from_there = ids[:-1], [IGNORED] * first + ids[1 + first :]
        slips = [
            ("everything is learned, the user's words, too", (ids[:-1], ids[1:])),
            ("a target is the id that comes next", unmoved),
            ("the flags were not moved together with the ids", late),
            ("the second question is not to be learned either", from_there),
        ]
        call, given = called("mask_turns", answer, turns, end)
        expect(call, plain(given), wanted, slips)


@exercise
def follow(answer):
    for thought, wanted, slip in (
        ("12 + 5 = 17, 17 - 3 = 14", 0, ""),
        ("12 + 5 = 17, 17 - 3 = 13", 2, ""),
        ("12 + 5 = 19, 19 - 3 = 16", 1, "every step counts, not only the last"),
        ("12 + 5 = 17, 16 - 3 = 13", 2, "a step begins where the one before ended"),
        ("12 + 5 = 16, 17 - 3 = 13", 1, "the first wrong step was asked for"),
        ("7 + 5 = 12, 12 + 1 = 13, 13 - 9 = 4, 5 + 5 = 10", 4, ""),
        ("9 - 4 = 5", 0, ""),
        *_chains(),
    ):
        given = answer(thought)
        if slip and given is not None and not same(given, wanted):
            raise WrongAnswer(f"follow({thought!r}) gave {given!r}: {slip}")
        expect(f"follow({thought!r})", given, wanted)


def _chains():
    """Chains drawn at random, one step of most of them wrong."""
    rng = random.Random(8)
    for wrong in (0, 1, 2, 3, 4, 5, 3, 2):
        total, steps = rng.randrange(20, 40), []
        for number in range(1, 6):
            sign, change = rng.choice("+-"), rng.randrange(1, 9)
            result = total + change if sign == "+" else total - change
            shown = result + (number == wrong)
            steps.append(f"{total} {sign} {change} = {shown}")
            total = shown
        yield ", ".join(steps), wrong, ""


@exercise
def majority(answer):
    for given, wanted in (
        (["4", "7", "4"], "4"),
        (["7", "4 ", " 4", "7", "4"], "4"),
        (["9", "4", "9", "4"], "9"),
        (["12", "8", "8", "12"], "12"),
        ([None, None, "4"], "4"),
        (["10", "9", "10", "9", "9", None], "9"),
        ([None, "21\n", "3", None, None, "21"], "21"),
    ):
        call, voted = called("majority", answer, given)
        if voted is None and None in given:
            raise WrongAnswer(f"{call} gave None: None is no answer and has no vote")
        voted = str(voted) if type(voted) is int else voted
        expect(call, voted, wanted)


class Countdown(torch.nn.Module):
    """A model for tests: after every id comes the next smaller one, after 0 a 9."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, ids):
        self.calls += 1
        return torch.nn.functional.one_hot((ids - 1) % 10, 10).float()


@exercise
def answers_of(answer):
    for rows, end, limit in (
        ([[7, 3], [9, 5]], 0, 20),
        ([[4, 2, 6]], 1, 20),
        ([[1, 9], [8, 2], [0, 4]], 0, 5),
        ([[5], [5]], 7, 3),
    ):
        model, wanted = Countdown(), []
        for row in rows:
            said = [(row[-1] - n) % 10 for n in range(1, limit + 1)]
            wanted.append(said[: said.index(end)] if end in said else said)
        needed = min(limit, max(len(said) for said in wanted) + 1)
        call = f"answers_of(a model that counts down, {rows}, end={end}, limit={limit})"
        ids = torch.tensor(rows)
        given = plain(answer(model, ids, end, limit))
        with_end = [s + [end] if len(s) < limit else s for s in wanted]
        whole = [row + said for row, said in zip(rows, wanted)]
        slips = [
            ("the end is not part of the answer", with_end),
            ("only what is new was asked for, without the prompt", whole),
        ]
        expect(call, given, wanted, slips)
        if model.calls > needed:
            raise WrongAnswer(
                f"{call} gave the right answers, but asked the model {model.calls} "
                f"times: after {needed} every row has ended"
            )


@exercise
def share_right(answer):
    for said, wanted in (
        (["4 + 9 = 13\nAnswer: 13", "5 - 1 = 4\nAnswer: 5"], ["13", "4"]),
        (["2 + 2 = 4\nAnswer: 4", "Answer:  7 "], ["4", "7"]),
        (["Answer: 123456789", "Answer: 15", "Answer: 15"], ["5", "5", "1"]),
        (["Answer: 3\nAnswer: 8", "Answer: 8, no.\nAnswer: 2"], ["8", "8"]),
        (["4 + 9 = 13", ""], ["13", "1"]),
        (["Answer:", "6\nAnswer: 1", "Answer: 1"], ["6", "11", "1"]),
    ):
        answers = [text.rpartition("Answer:")[2].strip() for text in said]
        right = [text == number for text, number in zip(answers, wanted)]
        inside = [number in text for text, number in zip(answers, wanted)]
        slips = []
        if inside != right:
            slip = "a number inside another text is not the answer"
            slips = [(slip, sum(inside) / len(inside))]
        call, given = called("share_right", answer, said, wanted)
        expect(call, given, sum(right) / len(right), slips)
