"""Wrong and right answers to the exercises of chapter 6."""

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
    (check.fool, fool_without_counting, ""),
    (check.fool, fool_by_appending, ""),
    (check.fool, fool_by_leaving_out, "words of the message are gone"),
    (check.fool, fool_in_own_words, ""),
]

RIGHT = []
