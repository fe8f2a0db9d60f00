"""Loading the 355M model up to the first forward pass: time and peak memory.

Each program runs in its own process, and they take turns. Random weights are
written to a temporary folder in two layouts, 3 GB in all.
"""

import statistics
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

# Write in a separate process too: a child inherits its parent's peak memory.
WRITE = """
import sys, torch
from pathlib import Path
from gpt2lib import GPT2_355M, GPTModel, save_model
model = GPTModel(GPT2_355M)
save_model(model, Path(sys.argv[1], "hugging-face"))
torch.save(model.state_dict(), Path(sys.argv[1], "state-dict.pth"))
"""
LOAD = """
import resource, sys, time, torch
{imports}
def peak():
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
before, start = peak(), time.perf_counter()
model = {load}
with torch.no_grad():
    model(torch.tensor([[1, 2, 3, 4]]))
seconds = time.perf_counter() - start
size = sum(parameter.nbytes for parameter in model.parameters())
print(seconds, (peak() - before) / size)
"""
OURS = ("from gpt2lib import load_model", "load_model(sys.argv[1], fused_qkv={fused})")
THEIRS = (
    "from transformers import GPT2LMHeadModel",
    "GPT2LMHeadModel.from_pretrained(sys.argv[1]).eval()",
)


def main(nanogpt=None, turns=5):
    del nanogpt  # it loads through transformers
    programs = {
        f"gpt2lib, {path}, q, k, v {'fused' if fused else 'separate'}": (
            path,
            OURS[0],
            OURS[1].format(fused=fused),
        )
        for path in ("hugging-face", "state-dict.pth")
        for fused in (True, False)
    }
    if find_spec("transformers"):
        programs["transformers, hugging-face"] = ("hugging-face", *THEIRS)
    measured = {name: [] for name in programs}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", WRITE, folder], check=True)
        for turn in range(turns + 1):
            for name, (path, imports, load) in programs.items():
                code = LOAD.format(imports=imports, load=load)
                command = [sys.executable, "-c", code, Path(folder, path)]
                run = subprocess.run(command, capture_output=True, check=True)
                if turn:
                    measured[name].append([float(x) for x in run.stdout.split()])
    print("GPT-2 355M, float32: 1,419 MB of parameters\n")
    print("| | median s | min to max | peak / parameters |\n|---|---|---|---|")
    for name, runs in measured.items():
        seconds, peaks = zip(*runs)
        print(
            f"| {name} | {statistics.median(seconds):.2f} "
            f"| {min(seconds):.2f} to {max(seconds):.2f} | {max(peaks):.3f} |"
        )
