"""Prints the timings of programs as a table, and measures the machine's limits."""

import functools
import statistics

import torch

from benchmarks.card import Cpu, find_card, matmul_rate_of, read_bandwidth_of
from gpt2lib.course.speed import matmul_rate, read_bandwidth, take_turns

__all__ = ["Limits", "report", "speed_up", "take_turns"]


def report(title, seconds, peer, amount, unit="MB", shares=None):
    """Prints medians, range, speed, and the median speed-up over a peer, turn by turn.

    Args:
        shares: program -> the shortest time the machine's limits allow, in seconds.
    """
    print(f"\n**{title}**\n")
    limit = " | of the limit" if shares else ""
    print(f"| | median s | min to max | {unit}/s | × {peer}{limit} |")
    print("|---|---|---|---|---|" + ("---|" if shares else ""))
    for name, values in seconds.items():
        median = statistics.median(values)
        share = ""
        if shares:
            share = f" {shares[name] / median:.0%} |" if name in shares else " |"
        print(
            f"| {name} | {median:.3f} | {min(values):.3f} to {max(values):.3f} "
            f"| {amount / median:,.1f} | {speed_up(values, seconds[peer]):.2f} |{share}"
        )


def speed_up(seconds, peer):
    """How much faster than a peer: the median of the ratios, turn by turn."""
    return statistics.median(theirs / ours for ours, theirs in zip(seconds, peer))


class Limits:
    """The memory bandwidth and matmul rates of a machine, measured on creation.

    Args:
        card: measure this one; if None, the GPU, or without one the CPU as gpt2lib
            uses it, with its faster products.
        size: rows and columns of the matrices to multiply on a card.
        megabytes: read to measure the bandwidth of a card.
    """

    def __init__(self, card=None, size=8192, megabytes=2048):
        self.card = card or find_card()
        if card is None and type(self.card) is Cpu:
            self.bandwidth = read_bandwidth()
            rate = matmul_rate
        else:
            self.bandwidth = read_bandwidth_of(self.card, megabytes)
            rate = functools.partial(matmul_rate_of, self.card, size=size)
        self.rates = {
            name: rate(dtype=getattr(torch, name)) for name in ("float32", "bfloat16")
        }

    def __str__(self):
        rates = ", ".join(
            f"{rate / 1e9:,.0f} GFLOP/s in {name}" for name, rate in self.rates.items()
        )
        return (
            f"{self.card.describe()}: reads {self.bandwidth / 1e9:,.0f} GB/s, "
            f"multiplies {rates}"
        )
