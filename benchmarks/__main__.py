"""python -m benchmarks [NAME ...]: see README.md beside this file."""

import argparse
import sys
from multiprocessing import get_context

from benchmarks import GPU, NAMES, run, run_alone


def parse():
    """The command line's arguments, checked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = ", ".join((*NAMES, GPU))
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"{names}; if none is given, all but gpu",
    )
    parser.add_argument("--nanogpt", help="path of a checkout, to compare with it")
    parser.add_argument(
        "--tiny",
        action="store_true",
        help="gpu with the smallest sizes, on any machine: does every line of it run?",
    )
    args = parser.parse_args()
    if unknown := set(args.names) - {*NAMES, GPU}:
        parser.error(f"no benchmark {unknown}, only {names}")
    if args.tiny and args.names != [GPU]:
        parser.error("--tiny is for gpu alone: python -m benchmarks gpu --tiny")
    return args


def main(args):
    """Runs one benchmark here, or several in a process each; returns the exit code."""
    names = args.names or NAMES
    if len(names) == 1:
        return run(names[0], args)
    for name in names:
        process = get_context("spawn").Process(target=run_alone, args=(name, args))
        process.start()
        process.join()
        if process.exitcode:
            return process.exitcode
    return 0


if __name__ == "__main__":  # not in a process that train spawns
    sys.exit(main(parse()))
