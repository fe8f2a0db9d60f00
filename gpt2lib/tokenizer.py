"""Text to token ids and back: by words, by byte-pair encoding, and as GPT-2 does.

    SimpleTokenizer      words from a fixed list; any other word is lost
    BPETokenizer         trainable byte-level byte-pair encoding; lossless
    get_gpt2_tokenizer   GPT-2's own, from tiktoken
    load_tokenizer       the tokenizer that belongs to a model folder

The last three share one interface: encode, encode_ordinary, decode, n_vocab,
eot_token. Source: Sennrich et al. 2016; openai/gpt-2 src/encoder.py.
"""

import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import regex
import tiktoken
import torch

from gpt2lib import files
from gpt2lib.weights.vocabulary import (
    check_gpt2s_fits,
    get_gpt2_tokenizer,
    has_tokenizer,
    read_vocabulary,
    write_vocabulary,
)

ENDOFTEXT = "<|endoftext|>"
UNKNOWN = "<|unk|>"

# GPT-2 cuts a text into pieces before merging: contractions, words with the space in
# front, numbers, punctuation, white space. No token spans two pieces.
GPT2_PATTERN = (
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)


class SimpleTokenizer:
    """The course's word tokenizer: words and punctuation marks from a fixed list.

    >>> tokenizer = SimpleTokenizer.train("the cat sat.")
    >>> tokenizer.decode(tokenizer.encode("the dog sat."))
    'the <|unk|> sat.'
    """

    def __init__(self, vocab: dict[str, int]):
        self.str_to_int = vocab
        self.int_to_str = {id: word for word, id in vocab.items()}

    @classmethod
    def train(cls, text: str) -> "SimpleTokenizer":
        """A tokenizer for the words of `text`, sorted, and the two special tokens."""
        words = sorted(set(cls.split(text)) - {ENDOFTEXT, UNKNOWN})
        words += [ENDOFTEXT, UNKNOWN]
        return cls({word: id for id, word in enumerate(words)})

    @staticmethod
    def split(text: str) -> list[str]:
        """Splits into words and punctuation marks; white space is dropped."""
        parts = re.split(r'(<\|endoftext\|>|[,.:;?_!"()\']|--|\s)', text)
        return [part for part in parts if part.strip()]

    @property
    def n_vocab(self) -> int:
        return len(self.str_to_int)

    def encode(self, text: str) -> list[int]:
        unknown = self.str_to_int[UNKNOWN]
        return [self.str_to_int.get(word, unknown) for word in self.split(text)]

    def decode(self, ids: Iterable[int]) -> str:
        text = " ".join(self.int_to_str[id] for id in ids)
        return re.sub(r'\s+([,.:;?!"()\'])', r"\1", text)


def byte_alphabet() -> dict[int, str]:
    """Maps each byte to a printable character, so that text files can hold tokens.

    Printable bytes map to themselves, all others (space, newline, parts of UTF-8
    characters) to the code points from 256 on. The order is that of GPT-2's ids.

    >>> alphabet = byte_alphabet()
    >>> alphabet[ord("a")], alphabet[ord(" ")], list(alphabet)[0]
    ('a', 'Ġ', 33)
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    shifted = {byte: chr(256 + i) for i, byte in enumerate(others)}
    return {byte: chr(byte) for byte in printable} | shifted


def learn_merges(pieces: dict[bytes, int]) -> Iterator[tuple[bytes, bytes, int]]:
    """Trains byte-pair encoding: yields each merge as (left, right, count).

    `pieces` maps each piece, as bytes, to its count; no pair spans two pieces. The
    most frequent pair of adjacent tokens is merged everywhere, until no pair is left.
    Ties go to the lowest left id, then the lowest right id (bytes in the order of
    `byte_alphabet`, then tokens in the order they were learned).

    Counts are updated, never recounted: a merge visits only the places of its pair,
    and a heap finds the next pair. Places and heap entries become stale when a later
    merge replaces their tokens; they are checked when they are used.
    """
    tokens = [bytes([byte]) for byte in byte_alphabet()]
    id_of = {token: id for id, token in enumerate(tokens)}
    ids: list[int | None] = [None]  # all pieces in a row, separated by None
    times = [0]
    for piece, count in pieces.items():
        ids += [*(id_of[bytes([byte])] for byte in piece), None]
        times += [count] * (len(piece) + 1)
    counts, places = _count_pairs(ids, times)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)
    while heap:
        count, pair = heapq.heappop(heap)
        if -count != counts[pair]:
            heapq.heappush(heap, (-counts[pair], pair))
            continue
        if not count:
            return
        left, right = tokens[pair[0]], tokens[pair[1]]
        yield left, right, -count
        new = id_of.setdefault(left + right, len(tokens))
        if new == len(tokens):
            tokens.append(left + right)
        fresh = set()
        for place, gone, come in _merge(ids, places.pop(pair), pair, new, tokens):
            counts[gone] -= times[place]
            counts[come] += times[place]
            places[come].append(place)
            fresh.add(come)
        counts[pair] = 0
        for pair in fresh:
            heapq.heappush(heap, (-counts[pair], pair))


def _count_pairs(ids, times):
    """The count of each pair of adjacent tokens, and the places where it occurs."""
    counts, places = defaultdict(int), defaultdict(list)
    for place, pair in enumerate(zip(ids, ids[1:])):
        if None not in pair:
            counts[pair] += times[place]
            places[pair].append(place)
    return counts, places


def _merge(ids, places, pair, new, tokens):
    """Merges every occurrence of a pair, from left to right.

    Yields (place, old pair, new pair) for each adjacent pair that changes. A token's
    id is stored at its first and last byte, so that both neighbours are found and
    nothing has to move.
    """
    middle, size = len(tokens[pair[0]]), len(tokens[new])
    for place in sorted(places):
        right, end = place + middle, place + size
        if (ids[place], ids[right]) != pair:
            continue  # stale: one of the two was merged meanwhile
        before, after = ids[place - 1], ids[end]
        ids[right] = -1  # no token starts here any more
        ids[place] = ids[end - 1] = new
        if before is not None:
            yield place - len(tokens[before]), (before, pair[0]), (before, new)
        if after is not None:
            yield place, (pair[1], after), (new, after)


def count_pieces(
    texts: str | Iterable[str], special_tokens: Iterable[str] = ()
) -> dict[bytes, int]:
    """Counts the pieces that GPT-2's pattern cuts one or several texts into.

    >>> count_pieces("low low lower")
    {b'low': 1, b' low': 1, b' lower': 1}
    """
    find_pieces = regex.compile(GPT2_PATTERN).findall
    counts: Counter[str] = Counter()
    for text in [texts] if isinstance(texts, str) else texts:
        for part in split_at(text, special_tokens):
            if part not in special_tokens:
                counts.update(find_pieces(part))
    return {piece.encode(): count for piece, count in counts.items()}


def split_at(text: str, special_tokens: Iterable[str]) -> list[str]:
    """Splits a text at its special tokens, which are kept."""
    if not special_tokens:
        return [text]
    longest_first = sorted(special_tokens, reverse=True)
    return re.split("(" + "|".join(map(re.escape, longest_first)) + ")", text)


class BPETokenizer:
    """Byte-level byte-pair encoding, as in GPT-2: any text is decoded unchanged.

    Args:
        vocab: token bytes -> id.
        merges: pairs of token bytes, the first to merge first.
        special_tokens: text -> id; never the result of merges.

    >>> tokenizer = BPETokenizer.train("low lower lowest low low", vocab_size=260)
    >>> [tokenizer.decode([id]) for id in tokenizer.encode("lower low")]
    ['low', 'e', 'r', ' low']
    """

    def __init__(
        self, vocab: dict[bytes, int], merges: list, special_tokens: dict[str, int]
    ):
        self.vocab = vocab
        self.merges = merges
        self.special_tokens = special_tokens
        self._bytes_of = {id: token for token, id in vocab.items()}
        self._bytes_of |= {id: text.encode() for text, id in special_tokens.items()}
        self._rank, self._merged = {}, []
        for rank, (left, right) in enumerate(merges):
            pair, new = (vocab[left], vocab[right]), vocab[left + right]
            self._rank[pair] = rank
            self._merged.append((*pair, new))
        self._size_of = {id: len(token) for token, id in vocab.items()}
        self._byte_ids = [vocab[bytes([byte])] for byte in range(256)]
        self._find_pieces = regex.compile(GPT2_PATTERN).findall
        self._cache = _PieceCache(self._encode_piece)

    @classmethod
    def train(
        cls,
        texts: str | Iterable[str],
        vocab_size: int,
        special_tokens: Sequence[str] = (ENDOFTEXT,),
    ) -> "BPETokenizer":
        """Learns a vocabulary of `vocab_size` ids from one or several texts.

        Ids: 256 bytes in GPT-2's order, tokens in the order they were learned, special
        tokens last. Deterministic. Smaller if the texts run out of pairs.

        Raises:
            ValueError: vocab_size leaves no room for the bytes and special tokens.
        """
        if isinstance(special_tokens, str):
            special_tokens = (special_tokens,)
        smallest = 256 + len(special_tokens)
        if vocab_size < smallest:
            raise ValueError(
                f"vocab_size must be at least {smallest} (256 bytes and "
                f"{len(special_tokens)} special tokens), got {vocab_size}"
            )
        vocab = {bytes([byte]): id for id, byte in enumerate(byte_alphabet())}
        merges = []
        for left, right, _ in learn_merges(count_pieces(texts, special_tokens)):
            if len(vocab) == vocab_size - len(special_tokens):
                break
            merges.append((left, right))
            vocab.setdefault(left + right, len(vocab))
        specials = {text: len(vocab) + i for i, text in enumerate(special_tokens)}
        return cls(vocab, merges, specials)

    @property
    def n_vocab(self) -> int:
        """Number of ids: the largest id + 1."""
        return max(self._bytes_of) + 1

    @property
    def eot_token(self) -> int | None:
        """The id of <|endoftext|>; None if the vocabulary has none."""
        return self.special_tokens.get(ENDOFTEXT)

    def encode(
        self, text: str, *, allowed_special=frozenset(), disallowed_special="all"
    ) -> list[int]:
        """Text -> ids. Special tokens are recognised only if they are allowed.

        Args:
            allowed_special: special tokens to encode as a single id, or "all".
            disallowed_special: special tokens that raise an error ("all": every one
                not allowed); with () they are encoded as plain text.

        Raises:
            ValueError: a disallowed special token, or an unpaired surrogate.
            TypeError: not a text.
        """
        if not isinstance(text, str):
            raise TypeError(f"the text must be a str, got {type(text).__name__}")
        known = set(self.special_tokens)
        allowed = known if allowed_special == "all" else known & {*allowed_special}
        every = disallowed_special == "all"
        forbidden = known - allowed if every else disallowed_special
        for token in sorted(forbidden):
            if token in text:
                raise ValueError(
                    f"the text contains the special token {token!r}: pass "
                    "allowed_special to encode it as one id, or disallowed_special=() "
                    "to encode it as plain text"
                )
        ids = []
        for part in split_at(text, allowed):
            if part in allowed:
                ids.append(self.special_tokens[part])
            else:
                ids += self.encode_ordinary(part)
        return ids

    def encode_ordinary(self, text: str) -> list[int]:
        """Text -> ids; special tokens are encoded as plain text."""
        try:
            pieces = self._find_pieces(text)
            return list(chain.from_iterable(map(self._cache.__getitem__, pieces)))
        except UnicodeEncodeError as error:
            place = next(i for i, c in enumerate(text) if 0xD800 <= ord(c) < 0xE000)
            raise ValueError(
                f"the text has an unpaired surrogate, {text[place]!r}, at position "
                f"{place}, which is no character: decode the text again from its bytes"
            ) from error

    def _encode_piece(self, piece):
        """Merges adjacent tokens, lowest rank first, until no merge applies.

        Ids are stored as in `_merge`; with a heap, it takes n log n steps.
        """
        ids = [None, *map(self._byte_ids.__getitem__, piece.encode()), None]
        size_of, rank_of, size = self._size_of, self._rank.get, len(ids)
        # Rank and place in one integer: a fifth of the memory of a tuple.
        ranks = map(rank_of, zip(ids, ids[1:]))
        heap = [rank * size + i for i, rank in enumerate(ranks) if rank is not None]
        heapq.heapify(heap)
        while heap:
            rank, i = divmod(heapq.heappop(heap), size)
            left, right, new = self._merged[rank]
            j, end = i + size_of[left], i + size_of[new]
            if ids[i] != left or ids[j] != right:
                continue  # stale: one of the two was merged meanwhile
            ids[j] = -1
            ids[i] = ids[end - 1] = new
            before, after = ids[i - 1], ids[end]
            if (rank := rank_of((before, new))) is not None:
                heapq.heappush(heap, rank * size + i - size_of[before])
            if (rank := rank_of((new, after))) is not None:
                heapq.heappush(heap, rank * size + i)
        return tuple(self._walk(ids))

    def _walk(self, ids):
        """The tokens in `ids`, each once."""
        i = 1
        while ids[i] is not None:
            yield ids[i]
            i += self._size_of[ids[i]]

    def decode_single_token_bytes(self, id: int) -> bytes:
        """The bytes of one token, which may be only part of a character."""
        try:
            return self._bytes_of[id]
        except KeyError:
            raise ValueError(
                f"no token has the id {id}; ids go from 0 to {self.n_vocab - 1}"
            ) from None

    def decode(self, ids: Iterable[int]) -> str:
        """Ids -> text; invalid UTF-8 becomes U+FFFD, an unknown id a ValueError."""
        ids = ids.tolist() if hasattr(ids, "tolist") else ids
        data = b"".join(map(self.decode_single_token_bytes, ids))
        return data.decode("utf-8", errors="replace")

    def save(self, folder: str | Path) -> None:
        """Writes vocab.json and merges.txt as Hugging Face's GPT-2 tokenizer does."""
        own = self.vocab, self.merges, self.special_tokens
        write_vocabulary(folder, *own, byte_alphabet())

    @classmethod
    def load(cls, folder: str | Path) -> "BPETokenizer":
        """Reads the tokenizer.json, or vocab.json and merges.txt, of a folder.

        Raises:
            FileNotFoundError, ValueError: as `read_vocabulary`.
        """
        return cls(*read_vocabulary(folder, byte_alphabet()))


class _PieceCache(dict):
    """Caches the ids of pieces, since words repeat."""

    limit = 2**18

    def __init__(self, encode_piece):
        super().__init__()
        self.encode_piece = encode_piece

    def __missing__(self, piece):
        ids = self.encode_piece(piece)
        if len(piece) < 64:  # long pieces rarely repeat
            if len(self) >= self.limit:
                self.clear()
            self[piece] = ids
        return ids


Tokenizer = BPETokenizer | tiktoken.Encoding  # one interface


def load_tokenizer(name_or_path: str | Path = "pocket") -> Tokenizer:
    """The tokenizer of a model: a name in bin/, or the path of a folder or file.

    It is read from tokenizer.json, or vocab.json and merges.txt, in the folder or
    beside the file. A checkpoint without one gets GPT-2's, if its size fits.

    Raises:
        FileNotFoundError: no such model, or its tokenizer is missing.
        ValueError: the files are damaged, or the tokenizer is of another kind.
    """
    return tokenizer_of(files.find_model(name_or_path))


def tokenizer_of(path: Path) -> Tokenizer:
    """`load_tokenizer` for a folder or file that exists."""
    folder = path if path.is_dir() else path.parent
    if has_tokenizer(path):
        return BPETokenizer.load(folder)
    check_gpt2s_fits(folder)
    return get_gpt2_tokenizer()


def text_to_token_ids(text: str, tokenizer: Tokenizer) -> torch.Tensor:
    """A text as ids (1, T) int64; special tokens in it become their single ids."""
    ids = tokenizer.encode(text, allowed_special="all", disallowed_special=())
    return torch.tensor([ids], dtype=torch.int64)


def token_ids_to_text(token_ids: torch.Tensor, tokenizer: Tokenizer) -> str:
    """The text of one row of ids, of shape (1, T) or (T,).

    Raises:
        ValueError: several rows, or an id without a token.
    """
    if token_ids.ndim > 1 and len(token_ids) != 1:
        raise ValueError(
            f"one row of ids expected, got shape {tuple(token_ids.shape)}: "
            "pass ids[0], ids[1], ... one at a time"
        )
    try:
        return tokenizer.decode(token_ids.flatten().tolist())
    except (KeyError, OverflowError) as error:  # tiktoken's errors for unknown ids
        raise ValueError(
            f"the tokenizer has no such token ({error}); ids go from 0 to "
            f"{tokenizer.n_vocab - 1}"
        ) from error
