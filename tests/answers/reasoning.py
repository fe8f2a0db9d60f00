"""Wrong and right answers to the exercises of chapter 8."""

import re
from collections import Counter

import torch

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


def only_if_both(record):
    user, assistant = record["messages"]
    info = assistant["info"] or {}
    if all(info.get(name) for name in ("think_content", "answer_content")):
        return user["content"], *(text.strip() for text in info.values())
    return only_the_tags(record)


def empties_the_record(record):
    user, assistant = record["messages"]
    info = assistant["info"] or {}
    tags = only_the_tags(record)
    thought = info.pop("think_content", None) or tags[1]
    answer = info.pop("answer_content", None) or tags[2]
    return user["content"], thought.strip(), answer.strip()


def turns_changed(turns, end):
    for role, said in turns:
        if role == "assistant":
            said += [end]
    ids = [id for _, said in turns for id in said]
    own = [role == "assistant" for role, said in turns for _ in said]
    return ids[:-1], [i if o else IGNORED for i, o in zip(ids[1:], own[1:])]


def turns_end_with_zero(turns, end):
    return turns_right(turns, 0)


def first_step_counts_alone(thought):
    return int(sums_alone(thought.split(", ")[0]) > 0)


def votes_in_place(answers):
    while None in answers:
        answers.remove(None)
    return Counter(answer.strip() for answer in answers).most_common(1)[0][0]


def none_counted(answers):
    return Counter(a and a.strip() for a in answers).most_common(1)[0][0]


def write(model, ids, end, limit):
    start = ids.shape[1]
    for _ in range(limit):
        new = model(ids)[:, -1].argmax(dim=-1)
        ids = torch.cat([ids, new[:, None]], dim=1)
    return ids[:, start:].tolist()


def never_stops(model, ids, end, limit):
    return write(model, ids, end, limit)


def cut_but_late(model, ids, end, limit):
    said = write(model, ids, end, limit)
    return [row[: row.index(end)] if end in row else row for row in said]


def first_row_stops_all(model, ids, end, limit):
    start = ids.shape[1]
    for _ in range(limit):
        new = model(ids)[:, -1].argmax(dim=-1)
        if (new == end).any():
            break
        ids = torch.cat([ids, new[:, None]], dim=1)
    return ids[:, start:].tolist()


def end_belongs_to_it(model, ids, end, limit):
    said = write(model, ids, end, limit)
    return [row[: row.index(end) + 1] if end in row else row for row in said]


def with_the_prompt(model, ids, end, limit):
    said = answers_right(model, ids, end, limit)
    return [row + new for row, new in zip(ids.tolist(), said)]


def somewhere_inside(said, wanted):
    answers = [text.rpartition("Answer:")[2] for text in said]
    return sum(w in a for a, w in zip(answers, wanted)) / len(wanted)


def begins_with_it(said, wanted):
    answers = [text.rpartition("Answer:")[2].strip() for text in said]
    return sum(a.startswith(w) for a, w in zip(answers, wanted)) / len(wanted)


def not_stripped(said, wanted):
    answers = [text.rpartition("Answer: ")[2] for text in said]
    return sum(a == w for a, w in zip(answers, wanted)) / len(wanted)


def first_answer(said, wanted):
    answers = [text.partition("Answer:")[2].strip() for text in said]
    return sum(a == w for a, w in zip(answers, wanted)) / len(wanted)


def count_right(said, wanted):
    return round(share_right(said, wanted) * len(wanted))


def last_number(said, wanted):
    numbers = [re.findall(r"\d+", text) for text in said]
    right = [found[-1:] == [number] for found, number in zip(numbers, wanted)]
    return sum(right) / len(right)


def record_by_lookup(record):
    question, reply = (message for message in record["messages"])
    info = {
        **dict.fromkeys(["think_content", "answer_content"]),
        **(reply["info"] or {}),
    }
    text = reply["content"]
    thought = text[text.index("<think>") + 7 : text.index("</think>")]
    answer = text[text.index("<answer>") + 8 : text.index("</answer>")]
    thought = info["think_content"] if info["think_content"] is not None else thought
    answer = info["answer_content"] if info["answer_content"] is not None else answer
    return [question["content"].strip(), thought.strip(), answer.strip()]


def record_by_pattern(record):
    user, assistant = record["messages"]
    tags = re.search("<think>(.*)</think>.*<answer>(.*)</answer>", *_all_of(assistant))
    info = assistant["info"] or {"think_content": None, "answer_content": None}
    found = zip((info["think_content"], info["answer_content"]), tags.groups())
    return user["content"], *((given or tag).strip() for given, tag in found)


def _all_of(assistant):
    return assistant["content"], re.DOTALL


def turns_right(turns, end):
    ids, targets = [], []
    for role, said in turns:
        said = [*said, end] if role == "assistant" else said
        ids.extend(said)
        targets.extend(said if role == "assistant" else [IGNORED] * len(said))
    return ids[:-1], targets[1:]


def turns_as_tensors(turns, end):
    return [torch.tensor(part) for part in turns_right(turns, end)]


def follow_by_pattern(thought):
    last = None
    for number, step in enumerate(re.findall(r"(\d+) ([+-]) (\d+) = (\d+)", thought)):
        a, sign, b, c = step
        if last not in (None, a) or int(a) + int(sign + b) != int(c):
            return number + 1
        last = c
    return 0


def follow_backwards(thought):
    steps = thought.split(", ")
    wrong = [n for n, step in enumerate(steps, 1) if sums_alone(step)]
    ends = [step.split() for step in steps]
    wrong += [n for n, (a, b) in enumerate(zip(ends, ends[1:]), 2) if a[-1] != b[0]]
    return torch.tensor(min(wrong, default=0))


def majority_of_numbers(answers):
    numbers = [int(answer) for answer in answers if answer is not None]
    return max(numbers, key=numbers.count)


def majority_by_counting(answers):
    votes = {}
    for answer in filter(None, answers):
        votes[answer.strip()] = votes.get(answer.strip(), 0) + 1
    return max(votes, key=votes.get)


def answers_right(model, ids, end, limit):
    said, going = [[] for _ in ids], set(range(len(ids)))
    while going and limit:
        limit -= 1
        new = model(ids)[:, -1].argmax(dim=-1)
        ids = torch.cat([ids, new[:, None]], dim=1)
        for row in sorted(going):
            if new[row] == end:
                going.remove(row)
            else:
                said[row].append(new[row])
    return said


def answers_cut(model, ids, end, limit):
    new = ids[:, :0]
    while new.shape[1] < limit and not (new == end).any(dim=1).all():
        logits = model(torch.cat([ids, new], dim=1))
        new = torch.cat([new, logits[:, -1:].argmax(dim=-1)], dim=1)
    said = new.tolist()
    return tuple(tuple(row[: (row + [end]).index(end)]) for row in said)


def share_right(said, wanted):
    return sum(
        text.split("Answer:")[-1].strip() == number
        for text, number in zip(said, wanted)
    ) / len(said)


def share_by_pattern(said, wanted):
    found = [re.search(r"Answer:\s*(\d*)\s*$", text) for text in said]
    right = [bool(f) and f[1] == number for f, number in zip(found, wanted)]
    return torch.tensor(right).double().mean()


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
    (check.parse_record, only_if_both, ""),
    (check.parse_record, empties_the_record, "changed the record"),
    (check.mask_turns, turns_changed, "changed the lists it was given"),
    (check.mask_turns, turns_end_with_zero, ""),
    (check.follow, first_step_counts_alone, ""),
    (check.majority, none_counted, "has no vote"),
    (check.majority, votes_in_place, "changed the lists it was given"),
    (check.answers_of, never_stops, ""),
    (check.answers_of, cut_but_late, "but asked the model"),
    (check.answers_of, first_row_stops_all, ""),
    (check.answers_of, end_belongs_to_it, "the end is not part of the answer"),
    (check.answers_of, with_the_prompt, "only what is new"),
    (check.share_right, somewhere_inside, "inside another text"),
    (check.share_right, begins_with_it, ""),
    (check.share_right, not_stripped, ""),
    (check.share_right, first_answer, ""),
    (check.share_right, count_right, ""),
    (check.share_right, last_number, ""),
]

RIGHT = [
    (check.parse_record, record_by_lookup),
    (check.parse_record, record_by_pattern),
    (check.mask_turns, turns_right),
    (check.mask_turns, turns_as_tensors),
    (check.follow, follow_by_pattern),
    (check.follow, follow_backwards),
    (check.majority, majority_of_numbers),
    (check.majority, majority_by_counting),
    (check.answers_of, answers_right),
    (check.answers_of, answers_cut),
    (check.share_right, share_right),
    (check.share_right, share_by_pattern),
]
