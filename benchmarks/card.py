"""The GPU being measured: waiting for it, its memory, what it is called.

`Cpu` answers the same questions without a GPU, so that every line of the benchmark can
be tried on any machine.
"""

import gc
import platform
import resource
import subprocess
import sys

import torch

from gpt2lib.course.speed import seconds_of

TURNS = 30  # an idle GPU runs slowly at first


class Cpu:
    """The CPU in the place of a GPU."""

    device = torch.device("cpu")

    def describe(self):
        """Name and versions, in one line."""
        name = platform.processor() or platform.machine()
        threads = torch.get_num_threads()
        return f"{name}, {threads} threads, torch {torch.__version__}"

    def wait(self):
        """Returns once the device has done all its work."""

    def allocated(self):
        """Bytes of tensors now; 0 on a CPU, which does not count them."""
        return 0

    def reset_peak(self):
        """Starts a new measurement of `peak`."""

    def peak(self):
        """The most bytes so far: of tensors on a GPU, of the whole process on a CPU."""
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    def free(self):
        """Gives back a GPU's memory of tensors that nobody holds any more."""

    def pin(self, tensor):
        """The tensor in memory that a GPU can copy from by itself."""
        return tensor.clone()


class Gpu(Cpu):
    """An NVIDIA GPU, through torch.cuda."""

    device = torch.device("cuda")

    def describe(self):
        properties = torch.cuda.get_device_properties(0)
        return (
            f"{properties.name}, {properties.total_memory / 1e9:.0f} GB, "
            f"driver {_driver()}, CUDA {torch.version.cuda}, torch {torch.__version__}"
        )

    def wait(self):
        torch.cuda.synchronize()

    def allocated(self):
        return torch.cuda.memory_allocated()

    def reset_peak(self):
        torch.cuda.reset_peak_memory_stats()

    def peak(self):
        return torch.cuda.max_memory_allocated()

    def free(self):
        gc.collect()
        torch.cuda.empty_cache()

    def pin(self, tensor):
        return tensor.pin_memory()


def _driver():
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20)
        return found.stdout.split()[0]
    except (OSError, IndexError, subprocess.TimeoutExpired):
        return "unknown"


def find_card():
    """The GPU if there is one that CUDA can use, otherwise the CPU."""
    return Gpu() if torch.cuda.is_available() else Cpu()


@torch.no_grad()
def matmul_rate_of(card, dtype, size=8192):
    """FLOP/s of a card, measured with a large matrix product."""
    x = torch.randn(size, size, dtype=dtype, device=card.device)  # ones cost less power
    out = torch.empty_like(x)
    seconds = seconds_of(lambda: (torch.mm(x, x, out=out), card.wait()), TURNS)
    return 2 * size**3 / seconds


def read_bandwidth_of(card, megabytes=2048):
    """Memory bandwidth of a card in bytes per second, by summing a large tensor."""
    numbers = torch.ones(megabytes * 10**6 // 4, device=card.device)
    return numbers.nbytes / seconds_of(lambda: (numbers.sum(), card.wait()), TURNS)
