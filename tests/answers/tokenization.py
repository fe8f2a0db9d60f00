"""Wrong and right answers to the exercises of chapter 1."""

from collections import Counter

import numpy as np

from gpt2lib.course import check
from gpt2lib.tokenizer import ENDOFTEXT


def first_pair(ids):
    return ids[0], ids[1]


def longest_token_first(word, merges):
    tokens, made = [], sorted({a + b for a, b in merges}, key=len, reverse=True)
    while word:
        fits = [token for token in made if word.startswith(token)] or [word[:1]]
        tokens.append(fits[0])
        word = word[len(fits[0]) :]
    return tokens


def windows_without_the_last(ids, context_length, stride):
    starts = range(0, len(ids) - context_length - 1, stride)
    return [
        (ids[s : s + context_length], ids[s + 1 : s + context_length + 1])
        for s in starts
    ]


def tie_by_place(ids):
    pairs = list(zip(ids, ids[1:]))
    return max(pairs, key=pairs.count)


def encode_everything_allowed(tokenizer, texts):
    text = "".join(text + "<|endoftext|>" for text in texts)
    return tokenizer.encode(text, allowed_special="all")


def separators_only_between(tokenizer, texts):
    ids = []
    for text in texts:
        ids += [tokenizer.eot_token, *tokenizer.encode_ordinary(text)]
    return ids[1:]


def encode_refusing(tokenizer, texts):
    return [id for text in texts for id in tokenizer.encode(text)]


def windows_without_shift(ids, context_length, stride):
    starts = range(0, len(ids) - context_length, stride)
    return [(ids[s : s + context_length], ids[s : s + context_length]) for s in starts]


def characters_per_token(tokenizer, text):
    return len(text) / len(tokenizer.encode(text))


def tie_by_first_element(ids):
    pairs = list(zip(ids, ids[1:]))
    return max(pairs, key=lambda pair: (pairs.count(pair), -pair[0]))


def tie_by_text(ids):
    counts = Counter(zip(ids, ids[1:]))
    return min(counts, key=lambda pair: (-counts[pair], str(pair)))


def sorted_in_place(ids):
    counts = Counter(zip(ids, ids[1:]))
    ids.sort()
    return min(counts, key=lambda pair: (-counts[pair], pair))


def right_to_left(word, merges):
    tokens = [word[i : i + 1] for i in range(len(word))]
    for left, right in merges:
        for i in range(len(tokens) - 2, -1, -1):
            if tokens[i : i + 2] == [left, right]:
                tokens[i : i + 2] = [left + right]
    return tokens


def one_merge_of_each(word, merges):
    tokens = [word[i : i + 1] for i in range(len(word))]
    for left, right in merges:
        for i in range(len(tokens) - 1):
            if tokens[i : i + 2] == [left, right]:
                tokens[i : i + 2] = [left + right]
                break
    return tokens


def letters(word, merges):
    tokens = [character.encode() for character in word.decode()]
    return merge_all(tokens, merges)


def merge_all(tokens, merges):
    for left, right in merges:
        i = 0
        while i < len(tokens) - 1:
            if tokens[i : i + 2] == [left, right]:
                tokens[i : i + 2] = [left + right]
            i += 1
    return tokens


def in_place_of_pairs(word, merges):
    return tuple(merge_all([bytes([byte]) for byte in word], merges))


def by_rank(word, merges):
    tokens = [word[i : i + 1] for i in range(len(word))]
    while True:
        there = [pair for pair in zip(tokens, tokens[1:]) if pair in merges]
        if not there:
            return tokens
        merge_all(tokens, [min(there, key=merges.index)])


def windows_by_the_stride_only(ids, context_length, stride):
    starts = range(0, len(ids) - stride, stride)
    return [
        (ids[s : s + context_length], ids[s + 1 : s + context_length + 1])
        for s in starts
    ]


def windows_ignoring_the_stride(ids, context_length, stride):
    starts = range(len(ids) - context_length)
    return [
        (ids[s : s + context_length], ids[s + 1 : s + context_length + 1])
        for s in starts
    ]


def windows_while_they_fit(ids, context_length, stride):
    found, start = [], 0
    while start + context_length + 1 <= len(ids):
        window = ids[start : start + context_length + 1]
        found.append([window[:-1], window[1:]])
        start += stride
    return found


def windows_by_zip(ids, context_length, stride):
    inputs = zip(*(ids[n:] for n in range(context_length)))
    targets = zip(*(ids[n + 1 :] for n in range(context_length)))
    return tuple(zip(inputs, targets))[::stride]


def tokens_per_byte(tokenizer, text):
    return len(tokenizer.encode(text)) / len(text.encode())


def bytes_per_token_rounded_down(tokenizer, text):
    return len(text.encode()) // len(tokenizer.encode(text))


def bytes_by_decoding(tokenizer, text):
    ids = tokenizer.encode_ordinary(text)
    sizes = [len(tokenizer.decode_single_token_bytes(id)) for id in ids]
    return sum(sizes) / len(sizes)


def mean_of_bytes(tokenizer, text):
    return np.float64(len(bytes(text, "utf-8"))) / len(tokenizer.encode(text))


def joined_ordinary(tokenizer, texts):
    for text in texts:
        yield from tokenizer.encode_ordinary(text)
        yield tokenizer.eot_token


def joined_as_sum(tokenizer, texts):
    end = [tokenizer.eot_token]
    parts = [tokenizer.encode(text, disallowed_special=()) + end for text in texts]
    return tuple(sum(parts, []))


def ends_removed_from_texts(tokenizer, texts):
    ids = []
    for text in texts:
        ids += tokenizer.encode(text.replace(ENDOFTEXT, "")) + [tokenizer.eot_token]
    return ids


def pair_by_counter(ids):
    best, most = None, 0
    for pair, count in sorted(Counter(zip(ids, ids[1:])).items()):
        if count > most:
            best, most = pair, count
    return list(best)


def pair_by_sorting(ids):
    pairs = sorted(zip(ids, ids[1:]))
    return max(dict.fromkeys(pairs), key=pairs.count)


def train(pieces, n_merges, tie=min, weigh=True, across=False, update=True):
    split = [([piece[i : i + 1] for i in range(len(piece))], n) for piece, n in
             pieces.items()]  # fmt: skip
    merges = []
    while len(merges) < n_merges:
        counts = Counter()
        for tokens, n in split:
            for pair in zip(tokens, tokens[1:]):
                counts[pair] += n if weigh else 1
        if across:
            row = [token for tokens, _ in split for token in tokens]
            counts = Counter(zip(row, row[1:]))
        if not counts:
            break
        top = max(counts.values())
        best = tie(pair for pair, count in counts.items() if count == top)
        merges.append(best)
        if update:
            split = [(merge_all(tokens, [best]), n) for tokens, n in split]
        else:
            split = [([t for t in tokens if t not in best], n) for tokens, n in split]
    return merges


def train_ties_by_the_largest(pieces, n_merges):
    return train(pieces, n_merges, tie=max)


def train_ties_by_chance_of_order(pieces, n_merges):
    return train(pieces, n_merges, tie=next)


def train_each_piece_once(pieces, n_merges):
    return train(pieces, n_merges, weigh=False)


def train_across_pieces(pieces, n_merges):
    return train(pieces, n_merges, across=True)


def train_by_dropping_tokens(pieces, n_merges):
    return train(pieces, n_merges, update=False)


def train_without_an_end(pieces, n_merges):
    merges = train(pieces, n_merges)
    if len(merges) < n_merges:
        max([])
    return merges


def train_emptying_the_pieces(pieces, n_merges):
    merges = train(dict(pieces), n_merges)
    pieces.clear()
    return merges


def trained_as_lists(pieces, n_merges):
    return [list(pair) for pair in train(dict(pieces), n_merges)]


def trained_lazily(pieces, n_merges):
    yield from train(dict(pieces), n_merges)


def encode_in_any_order(piece, ranks, choose=min, lookup=False):
    tokens = [piece[i : i + 1] for i in range(len(piece))]
    if lookup and piece in {left + right for left, right in ranks}:
        return [piece]
    while True:
        pairs = [
            (i, ranks[pair]) for i, pair in enumerate(zip(tokens, tokens[1:]))
            if pair in ranks
        ]  # fmt: skip
        if not pairs:
            return tokens
        i, _ = choose(pairs)
        tokens[i : i + 2] = [tokens[i] + tokens[i + 1]]


def hidden_by_looking_the_piece_up(piece, ranks):
    return encode_in_any_order(piece, ranks, lookup=True)


def hidden_from_the_right(piece, ranks):
    return encode_in_any_order(piece, ranks, choose=max)


def hidden_by_giving_up(piece, ranks):
    return [piece[i : i + 1] for i in range(len(piece))]


def hidden_by_dropping(piece, ranks):
    return [piece] if piece else []


def mended_by_a_key(piece, ranks):
    def by_rank_then_place(pairs):
        return min(pairs, key=lambda pair: (pair[1], pair[0]))

    return encode_in_any_order(piece, ranks, choose=by_rank_then_place)


def mended_by_going_through_the_ranks(piece, ranks):
    tokens = [bytes([byte]) for byte in piece]
    return tuple(merge_all(tokens, sorted(ranks, key=ranks.get)))


WRONG = [
    (check.most_frequent_pair, first_pair, ""),
    (check.most_frequent_pair, tie_by_place, ""),
    (check.most_frequent_pair, tie_by_first_element, r"\[5, 7, 5, 6\]"),
    (check.most_frequent_pair, tie_by_text, "300"),
    (check.most_frequent_pair, sorted_in_place, "after the call"),
    (check.join_documents, encode_everything_allowed, "smuggled in"),
    (check.join_documents, separators_only_between, "last text has no end"),
    (check.join_documents, encode_refusing, "stopped in its line 2 with ValueError"),
    (check.join_documents, ends_removed_from_texts, ""),
    (check.encode_word, longest_token_first, ""),
    (check.encode_word, right_to_left, "aaa"),
    (check.encode_word, one_merge_of_each, ""),
    (check.encode_word, letters, ""),
    (check.windows, windows_without_the_last, ""),
    (check.windows, windows_without_shift, ""),
    (check.windows, windows_by_the_stride_only, ""),
    (check.windows, windows_ignoring_the_stride, ""),
    (check.bytes_per_token, characters_per_token, ""),
    (check.bytes_per_token, tokens_per_byte, ""),
    (check.bytes_per_token, bytes_per_token_rounded_down, ""),
    (check.train_bpe, train_ties_by_the_largest, ""),
    (check.train_bpe, train_ties_by_chance_of_order, ""),
    (check.train_bpe, train_each_piece_once, ""),
    (check.train_bpe, train_across_pieces, ""),
    (check.train_bpe, train_by_dropping_tokens, ""),
    (check.train_bpe, train_without_an_end, "b'to': 3.* stopped"),
    (check.train_bpe, train_emptying_the_pieces, "after the call"),
    (check.mended_encoder, encode_in_any_order, ""),
    (check.mended_encoder, hidden_by_looking_the_piece_up, ""),
    (check.mended_encoder, hidden_from_the_right, ""),
    (check.mended_encoder, hidden_by_giving_up, ""),
    (check.mended_encoder, hidden_by_dropping, ""),
]

RIGHT = [
    (check.most_frequent_pair, pair_by_counter),
    (check.most_frequent_pair, pair_by_sorting),
    (check.encode_word, in_place_of_pairs),
    (check.encode_word, by_rank),
    (check.join_documents, joined_ordinary),
    (check.join_documents, joined_as_sum),
    (check.windows, windows_while_they_fit),
    (check.windows, windows_by_zip),
    (check.bytes_per_token, bytes_by_decoding),
    (check.bytes_per_token, mean_of_bytes),
    (check.train_bpe, trained_as_lists),
    (check.train_bpe, trained_lazily),
    (check.mended_encoder, mended_by_a_key),
    (check.mended_encoder, mended_by_going_through_the_ranks),
]
