"""python -m benchmarks NAME: see README.md beside this file."""

import argparse

from benchmarks import bpe, load, train

BENCHMARKS = {"bpe": bpe.main, "load": load.main, "train": train.main}

parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
parser.add_argument("name", choices=BENCHMARKS)
BENCHMARKS[parser.parse_args().name]()
