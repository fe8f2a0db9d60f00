"""The checkers of chapter 8: finetuning: reasoning."""

from gpt2lib.course.check.report import WrongAnswer, as_list, exercise, expect
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
        (full | {"answer_content": None}, tagged),
        (full | {"think_content": None}, tagged),
    ):
        user = {"role": "user", "content": question, "info": None}
        reply = {"role": "assistant", "content": content, "info": info}
        wanted = question, thought, "4"
        spaces = question, f" {thought}\n", "4"
        slips = [
            ("there are spaces around a text", spaces),
            ("the fields of info come first", (question, "Hm.", "four")),
        ]
        given = answer({"messages": [user, reply]})
        given = tuple(given) if isinstance(given, tuple | list) else given
        expect(f"parse_record(a record with the reply {reply})", given, wanted, slips)


@exercise
def mask_turns(answer):
    one = [("user", [5, 6, 7]), ("assistant", [8, 9])]
    two = [*one, ("user", [3]), ("assistant", [2, 1])]
    for turns in (one, two):
        ids, own = [], []
        for role, said in turns:
            said = said + [0] if role == "assistant" else said
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
        given = answer(turns, 0)
        if isinstance(given, tuple | list):
            given = tuple(as_list(part) for part in given)
        expect(f"mask_turns({turns}, 0)", given, wanted, slips)


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
    ):
        given = answer(thought)
        if slip and given is not None and given != wanted:
            raise WrongAnswer(f"follow({thought!r}) gave {given}: {slip}")
        expect(f"follow({thought!r})", given, wanted)


@exercise
def majority(answers):
    for given, wanted in (
        (["4", "7", "4"], "4"),
        (["7", "4 ", " 4", "7", "4"], "4"),
        (["9", "4", "9", "4"], "9"),
        (["12", "8", "8", "12"], "12"),
        ([None, None, "4"], "4"),
        (["10", "9", "10", "9", "9", None], "9"),
    ):
        expect(f"majority({given})", answers(list(given)), wanted)
