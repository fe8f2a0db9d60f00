"""Figures with their 95 % intervals, alone and compared on the same items."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

Z = 1.959964  # 95 % of a normal distribution lies within ± Z
POWER = 0.841621  # and 80 % below this: found four times out of five
RESAMPLES = 1000


@dataclass(frozen=True)
class Figure:
    """A mean over items, as Σ top / Σ bottom, or its exponential.

    An accuracy has 1 for each right item on top and 1 for every item below; a
    perplexity per word has nats on top, words below, and is the exponential.

    Shapes: top and bottom (items,)
    """

    top: torch.Tensor
    bottom: torch.Tensor
    exponential: bool = False

    @classmethod
    def share(cls, flags: list[bool]) -> "Figure":
        """The fraction of flags that are true."""
        top = torch.tensor(flags, dtype=torch.float64)
        return cls(top, torch.ones_like(top))

    @classmethod
    def ratio(
        cls, top: Sequence[float], bottom: Sequence[float], exponential: bool = False
    ) -> "Figure":
        """Σ top / Σ bottom of two lists of numbers."""
        above = torch.tensor(top, dtype=torch.float64)
        below = torch.tensor(bottom, dtype=torch.float64)
        return cls(above, below, exponential)

    @property
    def is_share(self) -> bool:
        counts = (self.top == 0) | (self.top == 1)
        return bool(counts.all() and (self.bottom == 1).all()) and not self.exponential

    @property
    def value(self) -> float:
        return self._of(self.top.sum(), self.bottom.sum()).item()

    def interval(self) -> tuple[float, float]:
        """The ends of the 95 % interval: Wilson's for shares, else by bootstrap."""
        if self.is_share:
            return wilson(int(self.top.sum()), len(self.top))
        return _middle(self.resampled())

    def resampled(self) -> torch.Tensor:
        """The value on items drawn with replacement, as many as there are, many times.

        The draws depend only on the number of items, so that figures of two models on
        the same items are resampled in pairs. Source: Efron 1979.
        """
        values, count = [], len(self.top)
        generator = torch.Generator().manual_seed(count)
        for _ in range(RESAMPLES // 50):
            items = torch.randint(count, (50, count), generator=generator)
            values.append(self._of(self.top[items].sum(1), self.bottom[items].sum(1)))
        return torch.cat(values)

    def _of(self, top, bottom):
        return (top / bottom).exp() if self.exponential else top / bottom


def wilson(right: int, items: int) -> tuple[float, float]:
    """The 95 % interval of a share. Source: Wilson 1927.

    Unlike mean ± 1.96 standard errors, it stays within 0 and 1 and is not empty if all
    items are right.

    >>> [round(end, 3) for end in wilson(10, 10)]
    [0.722, 1.0]
    """
    share, z2 = right / items, Z * Z
    middle = (share + z2 / (2 * items)) / (1 + z2 / items)
    spread = share * (1 - share) / items + z2 / (4 * items * items)
    half = Z * math.sqrt(spread) / (1 + z2 / items)
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return (0.0 if right == 0 else low), (1.0 if right == items else high)


@dataclass(frozen=True)
class Difference:
    """How much a figure is larger than another on the same items.

    Attributes:
        value, low, high: the difference and the ends of its 95 % interval.
        items_needed: items at which a difference of this size would be told from 0 in
            four comparisons out of five; None if there is no difference.
    """

    value: float
    low: float | None
    high: float | None
    items_needed: int | None


def compare(one: Figure, other: Figure) -> Difference:
    """`one` minus `other`, resampled in pairs: what both find hard cancels out."""
    if len(one.top) != len(other.top):
        raise ValueError(
            f"figures of {len(one.top)} and {len(other.top)} items cannot be compared "
            "in pairs: measure both on the same items"
        )
    difference = one.value - other.value
    draws = one.resampled() - other.resampled()
    error = draws.std().item() * math.sqrt(len(one.top))  # of a single item
    needed = None
    if abs(difference) > 1e-9 and math.isfinite(error):
        needed = math.ceil((error * (Z + POWER) / difference) ** 2) or 1
    low, high = _middle(draws)
    return Difference(difference, low, high, needed)


def described(name: str, figure: Figure, other: Figure | None = None) -> dict[str, Any]:
    """A figure, its interval, and the difference to another one, as flat entries."""
    single = len(figure.top) == 1  # says nothing of how items differ
    low, high = (None, None) if single and not figure.is_share else figure.interval()
    entries: dict[str, Any] = {name: figure.value}
    entries |= {f"{name}_low": low, f"{name}_high": high}
    if other is not None:
        difference = compare(figure, other)
        if single:
            difference = Difference(difference.value, None, None, None)
        entries[f"{name}_beside"] = other.value
        entries[f"{name}_difference"] = difference.value
        entries[f"{name}_difference_low"] = difference.low
        entries[f"{name}_difference_high"] = difference.high
        entries[f"{name}_items_needed"] = difference.items_needed
    return entries


def _middle(draws):
    low, high = draws.quantile(torch.tensor([0.025, 0.975], dtype=draws.dtype))
    return low.item(), high.item()
