"""Wrong and right answers to the exercises of chapter 10."""

import math
from fractions import Fraction

import numpy as np
import torch

from gpt2lib.course import check
from gpt2lib.evaluation import wilson


def right_interval(right, items, z=1.96):
    share, z2 = right / items, z * z
    middle = (share + z2 / (2 * items)) / (1 + z2 / items)
    spread = share * (1 - share) / items + z2 / (4 * items**2)
    half = z * math.sqrt(spread) / (1 + z2 / items)
    return middle - half, middle + half


def share_and_errors(right, items):
    share = right / items
    error = math.sqrt(share * (1 - share) / items)
    return share - 1.96 * error, share + 1.96 * error


def interval_of_one_error(right, items):
    return right_interval(right, items, z=1)


def no_width_if_all_are_right(right, items):
    return right_interval(right, items) if right < items else (1.0, 1.0)


def no_width_if_none_is_right(right, items):
    return right_interval(right, items) if right else (0.0, 0.0)


def half_undivided(right, items):
    return tuple(end * (1 + 1.96**2 / items) for end in right_interval(right, items))


def high_and_low(right, items):
    return right_interval(right, items)[::-1]


def interval_as_texts(right, items):
    return [str(end) for end in right_interval(right, items)]


def only_the_middle(right, items):
    return sum(right_interval(right, items)) / 2


def best_by(size):
    def choose(nats, endings):
        scores = [n / size(ending) for n, ending in zip(nats, endings)]
        return scores.index(max(scores))

    return choose


def best_of_sums(nats, endings):
    return nats.index(max(nats))


def best_by_words(nats, endings):
    return best_by(lambda ending: len(ending.split()))(nats, endings)


def best_by_bytes(nats, endings):
    return best_by(lambda ending: len(ending.encode()))(nats, endings)


def least_likely(nats, endings):
    scores = [n / len(ending) for n, ending in zip(nats, endings)]
    return scores.index(min(scores))


def last_of_equals(nats, endings):
    scores = [n / len(ending) for n, ending in zip(nats, endings)]
    return max(range(len(scores)), key=lambda i: (scores[i], i))


def the_ending_itself(nats, endings):
    return endings[best_by(len)(nats, endings)]


def index_as_text(nats, endings):
    return str(best_by(len)(nats, endings))


def nats_overwritten(nats, endings):
    for i, ending in enumerate(endings):
        nats[i] /= len(ending)
    return nats.index(max(nats))


def slide(ids, start, length, stride, room=0):
    text, windows, done, end = [start, *ids], [], 1, length + 1
    while done < len(text):
        end = min(end, len(text))
        context = text[max(0, end - 1 - length - room) : done]
        windows.append((context, text[done:end]))
        done, end = end, end + stride
    return windows


def start_forgotten(ids, start, length, stride):
    return slide(ids[1:], ids[0], length, stride)


def incomplete_window_dropped(ids, start, length, stride):
    windows = slide(ids, start, length, stride)
    sizes = [length] + [stride] * len(windows)
    return [w for w, size in zip(windows, sizes) if len(w[1]) == size]


def context_too_long(ids, start, length, stride):
    return slide(ids, start, length, stride, room=1)


def last_target_as_input(ids, start, length, stride):
    return slide(ids, start, length - 1, stride) if stride < length else []


def no_more_than_one_before(ids, start, length, stride):
    return [(context[-1:], to) for context, to in slide(ids, start, length, stride)]


def predicted_again_and_again(ids, start, length, stride):
    text = [start, *ids]
    starts = range(0, len(ids), stride)
    return [([text[i]], text[i + 1 : i + 1 + length]) for i in starts]


def stride_from_the_start(ids, start, length, stride):
    text, windows = [start, *ids], []
    for done in range(1, len(text), stride):
        end = min(done + stride, len(text))
        windows.append((text[max(0, end - 1 - length) : done], text[done:end]))
    return windows


def start_put_into_ids(ids, start, length, stride):
    windows = slide(ids, start, length, stride)
    ids.insert(0, start)
    return windows


def targets_alone(ids, start, length, stride):
    return [targets for _, targets in slide(ids, start, length, stride)]


def number_of_windows(ids, start, length, stride):
    return len(slide(ids, start, length, stride))


def ids_as_texts(ids, start, length, stride):
    windows = slide(ids, start, length, stride)
    return [([str(i) for i in a], [str(i) for i in b]) for a, b in windows]


def too_good_to_be_true(batches):
    means = [nats.mean() for nats, is_text in batches]
    return sum(means) / len(means)


def padding_counted(batches):
    total = sum(nats.sum() for nats, _ in batches)
    return total / sum(nats.numel() for nats, _ in batches)


def certain_ids_left_out(batches):
    total = sum(nats.sum() for nats, _ in batches)
    return total / sum(nats.count_nonzero() for nats, _ in batches)


def every_batch_alike(batches):
    means = [nats[is_text].mean() for nats, is_text in batches]
    return sum(means) / len(means)


def every_text_alike(batches):
    means = [(nats.sum(1) / is_text.sum(1)) for nats, is_text in batches]
    return torch.cat(means).mean()


def never_divided(batches):
    return sum(nats.sum() for nats, _ in batches)


def nats_of_each_batch(batches):
    return [nats[is_text].mean() for nats, is_text in batches]


def padding_overwritten(batches):
    total = sum(nats.sum() for nats, _ in batches)
    for nats, is_text in batches:
        nats[~is_text] = 1.0
    return total / sum(is_text.sum() for _, is_text in batches)


def drawn_with_replacement(n, right, k):
    return 1 - (1 - right / n) ** k


def share_of_right(n, right, k):
    return right / n


def none_is_right(n, right, k):
    return math.comb(n - right, k) / math.comb(n, k)


def all_are_right(n, right, k):
    return math.comb(right, k) / math.comb(n, k)


def zero_if_few_are_wrong(n, right, k):
    return 1 - none_is_right(n, right, k) if n - right >= k else 0.0


def sums_over_counts(batches):
    total = sum(nats[is_text].sum() for nats, is_text in batches)
    return total / sum(is_text.sum() for _, is_text in batches)


def one_long_tensor(batches):
    return torch.cat([nats[is_text] for nats, is_text in batches]).mean()


def one_factor_at_a_time(n, right, k):
    """As Chen and others compute it."""
    return 1 - np.prod(1 - k / np.arange(n - right + 1, n + 1)) if right else 0


WRONG = [
    (check.interval, share_and_errors, "1.96 standard errors"),
    (check.interval, interval_of_one_error, "z is 1.96"),
    (check.interval, no_width_if_all_are_right, "without width"),
    (check.interval, no_width_if_none_is_right, ""),
    (check.interval, half_undivided, "both divided"),
    (check.interval, high_and_low, r"these are \(high, low\)"),
    (check.interval, interval_as_texts, r"gave\n\['0.49"),
    (check.interval, only_the_middle, ""),
    (check.choose, best_of_sums, "sums prefer short endings"),
    (check.choose, best_by_words, "not of words"),
    (check.choose, best_by_bytes, "é is one character"),
    (check.choose, least_likely, "the least likely"),
    (check.choose, last_of_equals, "of equals, the first"),
    (check.choose, the_ending_itself, "its index was expected"),
    (check.choose, index_as_text, "gave\n'2'\nexpected\n2"),
    (check.choose, nats_overwritten, "the lists after choose"),
    (check.sliding, start_forgotten, "first id is never predicted"),
    (check.sliding, incomplete_window_dropped, "last window is missing"),
    (check.sliding, context_too_long, "one id too long for 4 inputs"),
    (check.sliding, last_target_as_input, "one more id fits"),
    (check.sliding, no_more_than_one_before, "room for more context"),
    (check.sliding, predicted_again_and_again, ""),
    (check.sliding, stride_from_the_start, ""),
    (check.sliding, start_put_into_ids, "ids after sliding"),
    (check.sliding, targets_alone, ""),
    (check.sliding, number_of_windows, ""),
    (check.sliding, ids_as_texts, ""),
    (check.mean_nats, too_good_to_be_true, "padding is"),
    (check.mean_nats, padding_counted, "padding is"),
    (check.mean_nats, certain_ids_left_out, "0 nats counts, too"),
    (check.mean_nats, every_batch_alike, "a small batch counts as much"),
    (check.mean_nats, every_text_alike, "a short text counts as much"),
    (check.mean_nats, never_divided, "that is the sum"),
    (check.mean_nats, nats_of_each_batch, ""),
    (check.mean_nats, padding_overwritten, "the batches after mean_nats"),
    (check.pass_at_k, drawn_with_replacement, "not drawn twice"),
    (check.pass_at_k, share_of_right, "the share of right answers"),
    (check.pass_at_k, none_is_right, "that none is right"),
    (check.pass_at_k, all_are_right, ""),
    (check.pass_at_k, zero_if_few_are_wrong, ""),
]

RIGHT = [
    (check.interval, right_interval),
    (check.interval, lambda *given: [*right_interval(*given)]),
    (check.interval, wilson),
    (check.interval, lambda *given: torch.tensor(right_interval(*given))),
    (check.interval, lambda *given: np.float32(right_interval(*given))),
    (check.interval, lambda *given: map(torch.tensor, right_interval(*given))),
    (check.choose, best_by(len)),
    (check.choose, lambda nats, endings: np.int64(best_by(len)(nats, endings))),
    (check.choose, lambda nats, endings: torch.tensor(best_by(len)(nats, endings))),
    (check.sliding, slide),
    (check.sliding, lambda *given: iter(slide(*given))),
    (check.sliding, lambda *given: [[*window] for window in slide(*given)]),
    (check.sliding, lambda *given: [(np.array(a), b) for a, b in slide(*given)]),
    (
        check.sliding,
        lambda *given: [tuple(map(torch.tensor, pair)) for pair in slide(*given)],
    ),
    (check.mean_nats, sums_over_counts),
    (check.mean_nats, one_long_tensor),
    (check.mean_nats, lambda batches: one_long_tensor(batches).item()),
    (check.mean_nats, lambda batches: one_long_tensor(batches).double()),
    (check.mean_nats, lambda batches: one_long_tensor(batches).numpy()),
    (check.pass_at_k, lambda *given: 1 - none_is_right(*given)),
    (check.pass_at_k, lambda *given: Fraction(1 - none_is_right(*given))),
    (check.pass_at_k, lambda *given: torch.tensor(1 - none_is_right(*given))),
    (check.pass_at_k, one_factor_at_a_time),
]
