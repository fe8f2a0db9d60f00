"""Times functions, and measures this machine's memory bandwidth and matmul rate.

Programs being compared take turns, so that a slow minute slows all of them alike.
"""

import statistics
import time

import torch

from gpt2lib.fast import FastLinear


def take_turns(programs, turns=5, pause=0.0):
    """Seconds of each program in each turn, after one warm-up turn.

    Args:
        programs: name -> function without arguments.
        pause: seconds before each run, so that the previous program's threads go to
            sleep; until then they spin and slow the next program down.

    Raises:
        ValueError: fewer than 3 turns.
    """
    if turns < 3:
        raise ValueError(f"a ratio from {turns} turns says nothing; take at least 3")
    seconds = {name: [] for name in programs}
    for turn in range(turns + 1):
        for name, program in programs.items():
            time.sleep(pause)
            start = time.perf_counter()
            program()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def seconds_of(program, turns=5):
    """The median time of one program over several turns, in seconds."""
    return statistics.median(take_turns({"": program}, turns)[""])


def read_bandwidth(megabytes=256):
    """Memory bandwidth in bytes per second, measured by summing a large tensor."""
    numbers = torch.ones(megabytes * 10**6 // 4)
    return numbers.nbytes / seconds_of(numbers.sum)


def matmul_rate(dtype=torch.float32, size=1536):
    """FLOP/s of this machine, measured with a large matrix product."""
    layer = FastLinear(size, size, bias=False, dtype=dtype)
    x = torch.ones(size, size, dtype=dtype)
    with torch.no_grad():
        return 2 * size**3 / seconds_of(lambda: layer(x))
