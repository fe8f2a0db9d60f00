"""The checkers of chapter 7: finetuning: instructions."""

from gpt2lib.course.check.report import as_list, exercise, expect
from gpt2lib.data import IGNORED
from gpt2lib.finetuning import alpaca_prompt, token_f1


@exercise
def format_alpaca(answer):
    for instruction, given in (("Say hello.", ""), ("Name the animal.", "A wet fox.")):
        wanted = alpaca_prompt(instruction, given)
        closed = wanted.removesuffix("\n")
        with_input = alpaca_prompt(instruction, "x").replace("Input:\nx", "Input:\n")
        slips = [
            ("there is a space before Write", wanted.replace(". Write", ".Write")),
            ("the response begins on a line of its own", closed),
            ("without an input, nothing speaks of one", with_input),
        ]
        call = f"format_alpaca({instruction!r}, {given!r})"
        expect(call, answer(instruction, given), wanted, slips)


@exercise
def mask_prompt(answer):
    for prompt, response in (([5, 6, 7], [8, 9]), ([4], [3, 2, 1])):
        ids, own = [*prompt, *response, 0], len(prompt) - 1
        wanted = ids[:-1], [IGNORED] * own + ids[1 + own :]
        late = [IGNORED] * (own + 1) + ids[2 + own :]
        slips = [
            ("the prompt is learned, too", (ids[:-1], ids[1:])),
            ("the first token of the response is to be learned", (ids[:-1], late)),
            (
                "a target is the id that comes next",
                (ids, [IGNORED] * len(prompt) + ids[len(prompt) :]),
            ),
            ("nothing tells it where to stop", (wanted[0][:-1], wanted[1][:-1])),
        ]
        given = answer(prompt, response, 0)
        if isinstance(given, tuple | list):
            given = tuple(as_list(part) for part in given)
        expect(f"mask_prompt({prompt}, {response}, 0)", given, wanted, slips)


@exercise
def pad_batch(answer):
    examples = [([5, 6], [6, 7]), ([8], [9]), ([1, 2, 3], [IGNORED, 3, 4])]
    call = f"pad_batch({examples}, 0)"
    wanted = [
        ([5, 6, 0], [6, 7, IGNORED]),
        ([8, 0, 0], [9, IGNORED, IGNORED]),
        ([1, 2, 3], [IGNORED, 3, 4]),
    ]
    learned = [
        ([5, 6, 0], [6, 7, 0]),
        ([8, 0, 0], [9, 0, 0]),
        ([1, 2, 3], [IGNORED, 3, 4]),
    ]
    slips = [("the padding would be learned: its targets are not -100", learned)]
    given = as_list(answer(examples, 0))
    if given is not None:
        given = [tuple(as_list(part) for part in row) for row in given]
    expect(call, given, wanted, slips)


@exercise
def word_f1(answer):
    for said, wanted in (
        ("the red kite", "a red kite"),
        ("red red kite", "red kite"),
        ("it is the kite of Una", "the kite"),
        ("A Kite", "a kite"),
        ("blue", "red"),
        ("", "a red kite"),
    ):
        mine, theirs = said.lower().split(), wanted.lower().split()
        shared = sum(min(mine.count(word), theirs.count(word)) for word in {*mine})
        slips = [("that is the share of the words said", shared / max(1, len(mine)))]
        slips += [("that is the share of the words wanted", shared / len(theirs))]
        call = f"word_f1({said!r}, {wanted!r})"
        expect(call, answer(said, wanted), token_f1(said, wanted), slips)
