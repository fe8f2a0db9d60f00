"""Wrong and right answers to the exercises of chapter 7."""

from collections import Counter

from gpt2lib.course import check
from gpt2lib.finetuning import alpaca_prompt


def no_space(instruction, input):
    return alpaca_prompt(instruction, input).replace(". Write", ".Write")


def one_preamble(instruction, input):
    text = alpaca_prompt(instruction, input)
    return text.replace(", paired with an input that provides further context", "")


def always_an_input(instruction, input):
    return alpaca_prompt(instruction, input or "\0").replace("\0", "")


def response_beside_its_heading(instruction, input):
    return alpaca_prompt(instruction, input).rstrip()


def whole_prompt_masked(prompt, response, end):
    ids = [*prompt, *response, end]
    return ids[:-1], [-100] * len(prompt) + ids[len(prompt) + 1 :]


def not_shifted(prompt, response, end):
    ids = [*prompt, *response, end]
    return ids, [-100] * len(prompt) + ids[len(prompt) :]


def nothing_masked(prompt, response, end):
    ids = [*prompt, *response, end]
    return ids[:-1], ids[1:]


def no_end(prompt, response, end):
    ids = [*prompt, *response]
    return ids[:-1], [-100] * (len(prompt) - 1) + response


def padded(examples, filler, target):
    length = max(len(ids) for ids, _ in examples)
    return [
        (ids + [filler] * (length - len(ids)), t + [target] * (length - len(t)))
        for ids, t in examples
    ]


def filler_is_learned(examples, filler):
    return padded(examples, filler, filler)


def padded_in_front(examples, filler):
    turned = [(ids[::-1], t[::-1]) for ids, t in examples]
    return [(ids[::-1], t[::-1]) for ids, t in padded(turned, filler, -100)]


def cut_to_the_shortest(examples, filler):
    length = min(len(ids) for ids, _ in examples)
    return [(ids[:length], targets[:length]) for ids, targets in examples]


def f1_of_sets(said, wanted):
    said, wanted = set(said.lower().split()), set(wanted.lower().split())
    return 2 * len(said & wanted) / (len(said) + len(wanted))


def f1_with_case(said, wanted):
    shared = (Counter(said.split()) & Counter(wanted.split())).total()
    return 2 * shared / (len(said.split()) + len(wanted.split()))


def recall(said, wanted):
    said, wanted = said.lower().split(), wanted.lower().split()
    return (Counter(said) & Counter(wanted)).total() / len(wanted)


WRONG = [
    (check.format_alpaca, no_space, ""),
    (check.format_alpaca, one_preamble, ""),
    (check.format_alpaca, always_an_input, ""),
    (check.format_alpaca, response_beside_its_heading, ""),
    (check.mask_prompt, whole_prompt_masked, ""),
    (check.mask_prompt, not_shifted, ""),
    (check.mask_prompt, nothing_masked, ""),
    (check.mask_prompt, no_end, ""),
    (check.pad_batch, filler_is_learned, ""),
    (check.pad_batch, padded_in_front, ""),
    (check.pad_batch, cut_to_the_shortest, ""),
    (check.word_f1, f1_of_sets, ""),
    (check.word_f1, f1_with_case, ""),
    (check.word_f1, recall, ""),
]

RIGHT = []
