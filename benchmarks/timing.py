"""Prints the timings of programs as a table, and measures the machine's limits."""

import platform
import statistics

import torch

from gpt2lib.course.speed import matmul_rate, read_bandwidth, take_turns

__all__ = ["Limits", "report", "take_turns"]


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
        ratios = [theirs / ours for ours, theirs in zip(values, seconds[peer])]
        median = statistics.median(values)
        share = ""
        if shares:
            share = f" {shares[name] / median:.0%} |" if name in shares else " |"
        print(
            f"| {name} | {median:.3f} | {min(values):.3f} to {max(values):.3f} "
            f"| {amount / median:,.1f} | {statistics.median(ratios):.2f} |{share}"
        )


class Limits:
    """This machine's memory bandwidth and matmul rates, measured on creation."""

    def __init__(self):
        self.bandwidth = read_bandwidth()
        self.rates = {
            "float32": matmul_rate(),
            "bfloat16": matmul_rate(torch.bfloat16),
        }

    def __str__(self):
        rates = ", ".join(
            f"{rate / 1e9:,.0f} GFLOP/s in {name}" for name, rate in self.rates.items()
        )
        return (
            f"{platform.processor() or platform.machine()}, "
            f"{torch.get_num_threads()} threads, torch {torch.__version__}: reads "
            f"{self.bandwidth / 1e9:.0f} GB/s, multiplies {rates}"
        )
