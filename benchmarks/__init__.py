"""Side by side with other programs: see README.md in this folder."""

import importlib
import os
import sys
import warnings

os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
warnings.filterwarnings("ignore", module="transformers")

NAMES = ("decode", "prefill", "sampling", "train", "load", "bpe", "choices")
GPU = "gpu"  # asked for by name: it needs one


def run(name, args):
    """Runs a benchmark; returns the exit code."""
    benchmark = importlib.import_module(f"benchmarks.{name}")
    if name == GPU:
        return benchmark.main(args.nanogpt, args.tiny)
    print(f"\n## {name}\n", flush=True)
    return benchmark.main(args.nanogpt)


def run_alone(name, args):
    """A benchmark in a process of its own, which ends with the one that started it."""
    from benchmarks.programs import end_with_parent

    end_with_parent()
    sys.exit(run(name, args))
