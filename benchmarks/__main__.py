"""python -m benchmarks [NAME ...]: see README.md beside this file."""

import argparse
import os
import subprocess
import sys
import warnings

os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
warnings.filterwarnings("ignore", module="transformers")

from benchmarks import bpe, choices, decode, load, prefill, train  # noqa: E402

BENCHMARKS = {
    "decode": decode.main,
    "prefill": prefill.main,
    "train": train.main,
    "load": load.main,
    "bpe": bpe.main,
    "choices": choices.main,
}

if __name__ == "__main__":  # not in a process that train spawns
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--nanogpt", help="path of a checkout, to compare with it")
    args = parser.parse_args()
    if unknown := set(args.names) - BENCHMARKS.keys():
        parser.error(f"no benchmark {unknown}, only {', '.join(BENCHMARKS)}")
    names = args.names or list(BENCHMARKS)
    if len(names) == 1:
        print(f"\n## {names[0]}\n", flush=True)
        BENCHMARKS[names[0]](nanogpt=args.nanogpt)
    else:  # one process each, one after the other
        path = ["--nanogpt", args.nanogpt] if args.nanogpt else []
        for name in names:
            command = [sys.executable, "-m", "benchmarks", name, *path]
            subprocess.run(command, check=True)
