"""Wrong and right answers to the exercises of chapter 7."""

from collections import Counter

import torch
from torch.nn import functional as F

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


def masks_its_input(prompt, response, end):
    prompt += [*response, end]
    own = len(prompt) - len(response) - 1
    return prompt[:-1], [-100] * (own - 1) + prompt[own:]


def end_is_always_zero(prompt, response, end):
    return mask(prompt, response, 0)


def pads_its_input(examples, filler):
    length = max(len(ids) for ids, _ in examples)
    for ids, targets in examples:
        ids += [filler] * (length - len(ids))
        targets += [-100] * (length - len(targets))
    return examples


def always_filled_with_zero(examples, filler):
    return padded(examples, 0, -100)


def precision(said, wanted):
    said, wanted = said.lower().split(), wanted.lower().split()
    return (Counter(said) & Counter(wanted)).total() / max(1, len(said))


def divided_by_nothing(said, wanted):
    said, wanted = said.lower().split(), wanted.lower().split()
    shared = (Counter(said) & Counter(wanted)).total()
    p, r = shared / len(said), shared / len(wanted)
    return 2 * p * r / (p + r)


def mask(prompt, response, end):
    ids = [*prompt, *response, end]
    return ids[:-1], [-100] * (len(prompt) - 1) + ids[len(prompt) :]


def tensors(rows, filler, target):
    inputs, targets = zip(*padded(rows, filler, target))
    return torch.tensor(inputs), torch.tensor(targets)


def rows_that_fit(pairs, end, context_length):
    rows = [mask(*pair, end) for pair in pairs]
    return [row for row in rows if len(row[0]) <= context_length]


def collate_all(pairs, end, context_length):
    return tensors([mask(*pair, end) for pair in pairs], end, -100)


def collate_truncated(pairs, end, context_length):
    inputs, targets = collate_all(pairs, end, context_length)
    return inputs[:, :context_length], targets[:, :context_length]


def collate_one_too_few(pairs, end, context_length):
    return tensors(rows_that_fit(pairs, end, context_length - 1), end, -100)


def collate_learns_padding(pairs, end, context_length):
    return tensors(rows_that_fit(pairs, end, context_length), end, end)


def collate_learns_prompts(pairs, end, context_length):
    rows = rows_that_fit(pairs, end, context_length)
    inputs, targets = tensors(rows, end, -100)
    for row, (ids, _) in enumerate(rows):
        targets[row, : len(ids) - 1] = inputs[row, 1 : len(ids)]
    return inputs, targets


def collate_floats(pairs, end, context_length):
    inputs, targets = collate_right(pairs, end, context_length)
    return inputs.float(), targets


def collate_lists(pairs, end, context_length):
    inputs, targets = collate_right(pairs, end, context_length)
    return inputs.tolist(), targets.tolist()


def loss_over_all(logits, targets):
    return F.cross_entropy(logits.mT, targets, reduction="none").mean()


def loss_of_rows(logits, targets):
    nats = F.cross_entropy(logits.mT, targets, reduction="none")
    return (nats.sum(dim=1) / (targets != -100).sum(dim=1).clamp(min=1)).mean()


def loss_nan(logits, targets):
    return F.cross_entropy(logits.mT, targets)


def loss_doubled(logits, targets):
    return 2 * loss_over_all(logits, targets)


def template_joined(instruction, input):
    lines = ["Below is an instruction that describes a task"]
    if input:
        lines[0] += ", paired with an input that provides further context"
    lines[0] += ". Write a response that appropriately completes the request."
    lines += ["", "### Instruction:", instruction, ""]
    if input:
        lines += ["### Input:", input, ""]
    return "\n".join([*lines, "### Response:", ""])


def mask_as_tensors(prompt, response, end):
    return tuple(map(torch.tensor, mask(prompt, response, end)))


def mask_by_place(prompt, response, end):
    ids = prompt + response + [end]
    targets = (id if n >= len(prompt) else -100 for n, id in enumerate(ids) if n)
    return [ids[:-1], list(targets)]


def batch_of_tuples(examples, filler):
    rows = padded(examples, filler, -100)
    return tuple((tuple(ids), tuple(targets)) for ids, targets in rows)


def batch_as_it_goes(examples, filler):
    yield from padded([(list(ids), list(t)) for ids, t in examples], filler, -100)


def f1_from_both(said, wanted):
    p, r = precision(said, wanted), precision(wanted, said)
    return torch.tensor(2 * p * r / (p + r) if p + r else 0, dtype=torch.float64)


def f1_by_counting(said, wanted):
    rest, shared = wanted.lower().split(), 0
    for word in said.lower().split():
        if word in rest:
            rest.remove(word)
            shared += 1
    return 2 * shared / max(1, len(said.split()) + len(wanted.split()))


def collate_right(pairs, end, context_length):
    return tensors(rows_that_fit(pairs, end, context_length), end, -100)


def collate_into_zeros(pairs, end, context_length):
    rows = [p + r + [end] for p, r in pairs if len(p) + len(r) <= context_length]
    firsts = [len(p) for p, r in pairs if len(p) + len(r) <= context_length]
    inputs = torch.zeros(len(rows), max(map(len, rows)) - 1, dtype=torch.int64)
    targets = torch.full_like(inputs, -100)
    for row, (ids, first) in enumerate(zip(rows, firsts)):
        inputs[row, : len(ids) - 1] = torch.tensor(ids[:-1])
        targets[row, first - 1 : len(ids) - 1] = torch.tensor(ids[first:])
    return [inputs, targets]


def loss_by_selecting(logits, targets):
    learned = targets != -100
    if not learned.any():
        return 0.0
    return F.cross_entropy(logits[learned], targets[learned])


def loss_from_probabilities(logits, targets):
    learned = targets != -100
    log_probs = logits.double().log_softmax(dim=-1)
    of_targets = log_probs.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return (-(of_targets * learned).sum() / learned.sum().clamp(min=1)).item()


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
    (check.mask_prompt, masks_its_input, "changed the lists it was given"),
    (check.mask_prompt, end_is_always_zero, ""),
    (check.pad_batch, pads_its_input, "changed the lists it was given"),
    (check.pad_batch, always_filled_with_zero, ""),
    (check.word_f1, f1_of_sets, "a word that comes twice counts twice"),
    (check.word_f1, precision, "share of the words said"),
    (check.word_f1, recall, "share of the words wanted"),
    (check.word_f1, divided_by_nothing, "'red'.* stopped .*ZeroDivisionError"),
    (check.collate, collate_all, ""),
    (check.collate, collate_truncated, ""),
    (check.collate, collate_one_too_few, ""),
    (check.collate, collate_learns_padding, "the targets"),
    (check.collate, collate_learns_prompts, "the targets"),
    (check.collate, collate_floats, "int64"),
    (check.collate, collate_lists, "a tensor was expected"),
    (check.response_loss, loss_over_all, "masked positions still count"),
    (check.response_loss, loss_of_rows, ""),
    (check.response_loss, loss_nan, "gave nan: without a target the loss is 0"),
    (check.response_loss, loss_doubled, ""),
]

RIGHT = [
    (check.format_alpaca, alpaca_prompt),
    (check.format_alpaca, template_joined),
    (check.mask_prompt, mask_as_tensors),
    (check.mask_prompt, mask_by_place),
    (check.pad_batch, batch_of_tuples),
    (check.pad_batch, batch_as_it_goes),
    (check.word_f1, f1_from_both),
    (check.word_f1, f1_by_counting),
    (check.collate, collate_right),
    (check.collate, collate_into_zeros),
    (check.response_loss, loss_by_selecting),
    (check.response_loss, loss_from_probabilities),
]
