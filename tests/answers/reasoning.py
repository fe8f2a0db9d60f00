"""Wrong and right answers to the exercises of chapter 8."""

import re
from collections import Counter

from gpt2lib.course import check
from gpt2lib.data import IGNORED


def only_the_tags(record):
    user, assistant = record["messages"]
    parts = re.findall(r">\s*([^<]*?)\s*</", assistant["content"], re.DOTALL)
    return user["content"], *parts


def without_stripping(record):
    user, assistant = record["messages"]
    info = assistant["info"] or {"think_content": None, "answer_content": None}
    parts = re.findall(r">([^<]+)</", assistant["content"])
    thought = info["think_content"] or parts[0]
    return user["content"], thought, info["answer_content"] or parts[1]


def all_or_nothing(record):
    user, assistant = record["messages"]
    info = assistant["info"] or {}
    if any(info.values()):
        return user["content"], *(str(text).strip() for text in info.values())
    return only_the_tags(record)


def turns_unmasked(turns, end):
    ids = [id for role, said in turns for id in said + [end] * (role == "assistant")]
    return ids[:-1], ids[1:]


def first_turn_masked(turns, end):
    inputs, targets = turns_unmasked(turns, end)
    first = len(turns[0][1]) - 1
    return inputs, [IGNORED] * first + targets[first:]


def one_end(turns, end):
    ids = [id for _, said in turns for id in said] + [end]
    own = [role == "assistant" for role, said in turns for _ in said] + [True]
    return ids[:-1], [i if o else IGNORED for i, o in zip(ids[1:], own[1:])]


def flags_unmoved(turns, end):
    inputs, targets = turns_unmasked(turns, end)
    own = [
        role == "assistant"
        for role, said in turns
        for _ in said + [end] * (role == "assistant")
    ]
    return inputs, [i if o else IGNORED for i, o in zip(targets, own)]


def sums_alone(thought):
    for number, step in enumerate(thought.split(", "), 1):
        task, result = step.split(" = ")
        if eval(task) != int(result):
            return number
    return 0


def joints_alone(thought):
    steps = [step.split() for step in thought.split(", ")]
    for number, (step, after) in enumerate(zip(steps, steps[1:]), 2):
        if step[-1] != after[0]:
            return number
    return 0


def last_result(thought):
    *_, last = thought.split(", ")
    task, result = last.split(" = ")
    return 0 if eval(task) == int(result) else thought.count(",") + 1


def counted_from_zero(thought):
    return max(0, sums_alone(thought) - 1)


def last_of_the_frequent(answers):
    texts = [answer.strip() for answer in answers if answer is not None]
    return max(reversed(texts), key=texts.count)


def largest_of_the_frequent(answers):
    texts = [answer.strip() for answer in answers if answer is not None]
    return max(sorted(set(texts), reverse=True), key=texts.count)


def none_has_a_vote(answers):
    return Counter(a and a.strip() for a in answers).most_common(1)[0][0] or "none"


def votes_with_spaces(answers):
    votes = Counter(answer for answer in answers if answer is not None)
    return votes.most_common(1)[0][0]


WRONG = [
    (check.parse_record, only_the_tags, "fields of info come first"),
    (check.parse_record, without_stripping, "spaces around"),
    (check.parse_record, all_or_nothing, ""),
    (check.mask_turns, turns_unmasked, ""),
    (check.mask_turns, first_turn_masked, "second question is not"),
    (check.mask_turns, one_end, ""),
    (check.mask_turns, flags_unmoved, ""),
    (check.follow, sums_alone, "begins where the one before ended"),
    (check.follow, joints_alone, ""),
    (check.follow, last_result, ""),
    (check.follow, counted_from_zero, ""),
    (check.majority, last_of_the_frequent, ""),
    (check.majority, largest_of_the_frequent, ""),
    (check.majority, none_has_a_vote, ""),
    (check.majority, votes_with_spaces, ""),
]

RIGHT = []
