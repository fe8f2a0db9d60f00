"""Loading the 355M model: time and peak memory, each in a process of its own.

Random weights are written to a temporary folder in two layouts, 3 GB in all.
"""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

# The writer is a process of its own too: a child inherits its parent's peak.
WRITE = """
import sys, torch
from pathlib import Path
from gpt2lib import GPT2_355M, GPTModel, save_model
model = GPTModel(GPT2_355M)
save_model(model, Path(sys.argv[1], "hugging-face"))
torch.save(model.state_dict(), Path(sys.argv[1], "state-dict.pth"))
"""
LOAD = """
import resource, sys, time
from gpt2lib import load_model
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
unit = 1 if sys.platform == "darwin" else 1024
before, start = peak(), time.perf_counter()
model = load_model(sys.argv[1], fused_qkv=sys.argv[2] == "fused")
seconds = time.perf_counter() - start
size = sum(parameter.nbytes for parameter in model.parameters())
print(seconds, (peak() - before) * unit / size)
"""


def main(turns=3):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", WRITE, folder], check=True)
        print("GPT-2 355M, float32: 1,419 MB of parameters")
        print(
            "| checkpoint | q, k, v | median s | peak / parameters |\n|---|---|---|---|"
        )
        for path in ("hugging-face", "state-dict.pth"):
            for qkv in ("fused", "separate"):
                command = [sys.executable, "-c", LOAD, Path(folder, path), qkv]
                runs = [
                    subprocess.run(command, capture_output=True, check=True).stdout
                    for _ in range(turns)
                ]
                seconds, peaks = zip(*(map(float, run.split()) for run in runs))
                print(
                    f"| {path} | {qkv} | {statistics.median(seconds):.2f} "
                    f"| {max(peaks):.3f} |"
                )
