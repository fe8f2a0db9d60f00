"""Wrong and right answers to the exercises of chapter 6."""

import torch

from gpt2lib.course import check


def at_the_last_position(logits, lengths):
    return logits[:, -1]


def one_too_far(logits, lengths):
    return logits[range(len(lengths)), lengths]


def mean_over_the_row(logits, lengths):
    return logits.mean(dim=1)


def recall_precision(labels, predicted):
    both = sum(a and b for a, b in zip(labels, predicted))
    return both / max(1, sum(labels)), both / max(1, sum(predicted))


def scores_of_ham(labels, predicted):
    both = sum(not (a or b) for a, b in zip(labels, predicted))
    return both / max(1, predicted.count(0)), both / max(1, labels.count(0))


def accuracy_twice(labels, predicted):
    right = sum(a == b for a, b in zip(labels, predicted)) / len(labels)
    return right, right


def merged_unscaled(W, A, B, alpha):
    return W + B @ A


def merged_with_alpha(W, A, B, alpha):
    return W + alpha * B @ A


def merged_in_place(W, A, B, alpha):
    W += alpha / len(A) * B @ A
    return W


def fool_without_counting(text, p_spam, additions, n):
    while p_spam(text) >= 0.5:
        text += f" {additions[0] if text.endswith('now') else additions[-1]}"
    return text


def fool_by_appending(text, p_spam, additions, n):
    for _ in range(n):
        text = min((f"{text} {new}" for new in additions), key=p_spam)
    return text


def fool_by_leaving_out(text, p_spam, additions, n):
    return " ".join(word for word in text.split() if word not in ("PIN", "send"))


def fool_in_own_words(text, p_spam, additions, n):
    return f"{text} thanks, honestly"


def detour_unscaled(x, W, b, A, B, alpha):
    frozen = torch.nn.functional.linear(x, W.detach(), b)
    return frozen + (x @ A.mT) @ B.mT


def detour_times_alpha(x, W, b, A, B, alpha):
    frozen = torch.nn.functional.linear(x, W.detach(), b)
    return frozen + alpha * (x @ A.mT) @ B.mT


def bias_forgotten(x, W, b, A, B, alpha):
    return x @ W.detach().mT + alpha / len(A) * (x @ A.mT) @ B.mT


def nothing_frozen(x, W, b, A, B, alpha):
    return torch.nn.functional.linear(x, W + alpha / len(A) * B @ A, b)


@torch.no_grad()
def without_gradients(x, W, b, A, B, alpha):
    return torch.nn.functional.linear(x, W + alpha / len(A) * B @ A, b)


def padding_counted_by_its_id(model, rows):
    longest = max(len(row) for row in rows)
    inputs = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    last = (inputs != 0).sum(dim=1) - 1
    return model(inputs)[range(len(rows)), last]


def padded_with_another_id(model, rows):
    longest = max(len(row) for row in rows)
    inputs = torch.tensor([row + [10] * (longest - len(row)) for row in rows])
    last = (inputs != 10).sum(dim=1) - 1
    return model(inputs)[range(len(rows)), last]


def rows_padded_in_place(model, rows):
    lengths = [len(row) for row in rows]
    for row in rows:
        row += [0] * (max(lengths) - len(row))
    return model(torch.tensor(rows))[range(len(rows)), [n - 1 for n in lengths]]


def last_position_read(model, rows):
    longest = max(len(row) for row in rows)
    return model(torch.tensor([row + [0] * (longest - len(row)) for row in rows]))[
        :, -1
    ]


WRONG = [
    (check.last_token_logits, at_the_last_position, "the message ended before"),
    (check.last_token_logits, one_too_far, ""),
    (check.last_token_logits, mean_over_the_row, ""),
    (check.precision_recall, recall_precision, r"these are \(recall, precision\)"),
    (check.precision_recall, scores_of_ham, ""),
    (check.precision_recall, accuracy_twice, ""),
    (check.lora_merge, merged_unscaled, "factor alpha / r"),
    (check.lora_merge, merged_with_alpha, ""),
    (check.lora_merge, merged_in_place, ""),
    (check.lora_forward, detour_unscaled, "multiplied by alpha / r"),
    (check.lora_forward, detour_times_alpha, "shared out"),
    (check.lora_forward, bias_forgotten, ""),
    (check.lora_forward, nothing_frozen, "W is frozen"),
    (check.lora_forward, without_gradients, "no gradient reaches"),
    (check.mended_verdicts, padding_counted_by_its_id, ""),
    (check.mended_verdicts, padded_with_another_id, ""),
    (check.mended_verdicts, rows_padded_in_place, "the rows after"),
    (check.mended_verdicts, last_position_read, ""),
    (check.fool, fool_without_counting, ""),
    (check.fool, fool_by_appending, ""),
    (check.fool, fool_by_leaving_out, "words of the message are gone"),
    (check.fool, fool_in_own_words, ""),
]


def row_by_row(logits, lengths):
    return torch.stack([row[n - 1] for row, n in zip(logits, lengths)])


def gathered(logits, lengths):
    places = torch.tensor(lengths)[:, None, None] - 1
    return logits.gather(1, places.expand(-1, 1, logits.shape[-1]))[:, 0].numpy()


def scored_as_tensors(labels, predicted):
    true = torch.tensor(labels, dtype=torch.float64)
    said = torch.tensor(predicted, dtype=torch.float64)
    both = (true * said).sum()
    return both / said.sum().clamp(min=1), both / true.sum().clamp(min=1)


def scored_by_sets(labels, predicted):
    spam = {i for i, label in enumerate(labels) if label}
    said = {i for i, label in enumerate(predicted) if label}
    both = len(spam & said)
    return [both / len(said) if said else 0, both / len(spam) if spam else 0]


def merged_by_einsum(W, A, B, alpha):
    return W.double() + alpha / A.shape[0] * torch.einsum("or,ri->oi", B, A).double()


def merged_by_outer_products(W, A, B, alpha):
    return W + sum(alpha / len(A) * torch.outer(b, a) for a, b in zip(A, B.T))


def detour_by_linear(x, W, b, A, B, alpha):
    linear = torch.nn.functional.linear
    return linear(x, W.detach(), b) + alpha / len(A) * linear(linear(x, A), B)


def detour_by_einsum(x, W, b, A, B, alpha):
    with torch.no_grad():
        frozen = x @ W.T if b is None else x @ W.T + b
    return frozen + alpha / len(A) * torch.einsum("...i,ri,or->...o", x, A, B)


def verdicts_one_by_one(model, rows):
    return torch.stack([model(torch.tensor([row]))[0, -1] for row in rows])


def verdicts_by_lengths(model, rows):
    lengths = torch.tensor([len(row) for row in rows])
    padded = torch.nn.utils.rnn.pad_sequence(list(map(torch.tensor, rows)), True)
    return model(padded)[torch.arange(len(rows)), lengths - 1]


def fool_by_all_texts(text, p_spam, additions, n):
    texts = {text}
    for _ in range(n):
        for known in list(texts):
            words = known.split()
            for place in range(len(words) + 1):
                for new in additions:
                    texts.add(" ".join(words[:place] + [new] + words[place:]))
    return min(sorted(texts), key=p_spam)


def fool_recursively(text, p_spam, additions, n):
    if n == 0 or p_spam(text) < 0.5:
        return text
    words = text.split()
    places = [(i, new) for i in range(len(words) + 1) for new in additions]
    more = [" ".join([*words[:i], new, *words[i:]]) for i, new in places]
    return fool_recursively(min(more, key=p_spam), p_spam, additions, n - 1)


RIGHT = [
    (check.last_token_logits, row_by_row),
    (check.last_token_logits, gathered),
    (check.precision_recall, scored_as_tensors),
    (check.precision_recall, scored_by_sets),
    (check.lora_merge, merged_by_einsum),
    (check.lora_merge, merged_by_outer_products),
    (check.lora_forward, detour_by_linear),
    (check.lora_forward, detour_by_einsum),
    (check.mended_verdicts, verdicts_one_by_one),
    (check.mended_verdicts, verdicts_by_lengths),
    (check.fool, fool_by_all_texts),
    (check.fool, fool_recursively),
]
