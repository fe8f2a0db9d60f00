"""Programs take turns, so that a slow minute of the machine slows all of them alike."""

import statistics
import time


def take_turns(programs, turns=5):
    """Seconds of each program in each turn, after one turn that is not counted.

    Args:
        programs: name -> function without arguments.
    """
    if turns < 3:
        raise ValueError(f"a ratio from {turns} turns says nothing; take at least 3")
    seconds = {name: [] for name in programs}
    for turn in range(turns + 1):
        for name, program in programs.items():
            start = time.perf_counter()
            program()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def report(title, seconds, peer, amount, unit="MB"):
    """Prints medians, spread, speed, and the ratio to a peer turn by turn."""
    print(f"\n{title}\n| | median s | min to max | {unit}/s | time / {peer} |")
    print("|---|---|---|---|---|")
    for name, values in seconds.items():
        ratios = [ours / theirs for ours, theirs in zip(values, seconds[peer])]
        median = statistics.median(values)
        print(
            f"| {name} | {median:.3f} | {min(values):.3f} to {max(values):.3f} "
            f"| {amount / median:,.1f} | {statistics.median(ratios):.2f} |"
        )
