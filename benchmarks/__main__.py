"""python -m benchmarks [NAME ...]: see README.md beside this file."""

import argparse
import importlib
import os
import subprocess
import sys
import warnings

os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
warnings.filterwarnings("ignore", module="transformers")

NAMES = ("decode", "prefill", "train", "load", "bpe", "choices")
GPU = "gpu"  # asked for by name: it needs one


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
        benchmark = importlib.import_module(f"benchmarks.{names[0]}")
        if names == [GPU]:
            return benchmark.main(args.nanogpt, args.tiny)
        print(f"\n## {names[0]}\n", flush=True)
        return benchmark.main(args.nanogpt)
    path = ["--nanogpt", args.nanogpt] if args.nanogpt else []
    for name in names:
        command = [sys.executable, "-m", "benchmarks", name, *path]
        subprocess.run(command, check=True)
    return 0


if __name__ == "__main__":  # not in a process that train spawns
    sys.exit(main(parse()))
