"""Wrong and right answers to the exercises of chapter 1."""

from gpt2lib.course import check


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


WRONG = [
    (check.most_frequent_pair, first_pair, ""),
    (check.most_frequent_pair, tie_by_place, ""),
    (check.join_documents, encode_everything_allowed, ""),
    (check.join_documents, separators_only_between, ""),
    (check.join_documents, encode_refusing, ""),
    (check.encode_word, longest_token_first, ""),
    (check.windows, windows_without_the_last, ""),
    (check.windows, windows_without_shift, ""),
    (check.bytes_per_token, characters_per_token, ""),
]

RIGHT = []
