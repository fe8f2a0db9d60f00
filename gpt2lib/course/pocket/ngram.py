"""The baseline: an n-gram model with Kneser-Ney smoothing.

Source: Kneser & Ney 1995; Chen & Goodman 1999, section 2.7 (interpolated).
"""

import torch


class NGramModel:
    """Predicts the next token from n-gram counts of a text.

    Each order subtracts a fixed discount from its counts and gives the mass to the
    order below, where an n-gram counts once for each different token that precedes it.

    Args:
        ids: the text, a flat int64 tensor.
        vocab_size: number of token ids, V; V**order must fit into 63 bits.
        order: length of the longest n-grams, predicted token included.
    """

    def __init__(self, ids, vocab_size, order=5):
        self.vocab_size, self.order = vocab_size, order
        self.tables = []
        grams, counts = _count(self._grams(ids, order))
        for n in range(order, 0, -1):
            self.tables.insert(0, _Table(grams, counts, vocab_size))
            grams, counts = _count(grams % vocab_size ** (n - 1))

    def _grams(self, ids, n):
        """Every n-gram as one number in base V."""
        count = len(ids) - n + 1
        grams = ids[:count]
        for i in range(1, n):
            grams = grams * self.vocab_size + ids[i : count + i]
        return grams

    def probabilities(self, ids):
        """The probability of every token that has order - 1 tokens before it.

        Shapes: ids (N,) -> (N - order + 1,)
        """
        grams = self._grams(ids, self.order)
        result = torch.full(grams.shape, 1 / self.vocab_size, dtype=torch.float64)
        for n, table in enumerate(self.tables, 1):
            result = table.interpolate(grams % self.vocab_size**n, result)
        return result


class _Table:
    """Counts of one order: of its n-grams, and totals for each of their contexts."""

    def __init__(self, grams, counts, vocab_size):
        self.vocab_size = vocab_size
        self.grams, self.counts = grams, counts
        once, twice = ((counts == n).sum().item() for n in (1, 2))
        self.discount = once / (once + 2 * twice) if once else 0.5
        self.contexts, place = torch.unique(grams // vocab_size, return_inverse=True)
        self.totals = torch.zeros(len(self.contexts), dtype=torch.float64)
        self.totals.index_add_(0, place, counts.double())
        self.kinds = torch.bincount(place).double()  # different tokens that follow

    def interpolate(self, grams, below):
        """This order's probabilities, given those of the order below."""
        count, _ = _look_up(self.grams, self.counts, grams)
        contexts = grams // self.vocab_size
        total, known = _look_up(self.contexts, self.totals, contexts)
        kinds, _ = _look_up(self.contexts, self.kinds, contexts)
        found = (count - self.discount).clamp(min=0) + self.discount * kinds * below
        return torch.where(known, found / total.clamp(min=1), below)


def _count(grams):
    return torch.unique(grams, return_counts=True)


def _look_up(keys, values, wanted):
    """The value of each wanted key, or 0, and whether the key is there."""
    places = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    known = keys[places] == wanted
    return torch.where(known, values[places], 0), known
