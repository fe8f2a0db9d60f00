"""Which device computes: the one asked for, or the best there is."""

from contextlib import nullcontext

import torch


def perform_non_cpu_backend_check(raise_on_non_availability=False):
    """The best device there is: "cuda", "mps" or "cpu".

    Raises:
        RuntimeError: only the CPU is there and raise_on_non_availability is set.
    """
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    if raise_on_non_availability:
        raise RuntimeError("no CUDA or MPS device on this machine, only the CPU")
    return "cpu"


def find_device(name=None):
    """The device of that name, or the best there is if None.

    Raises:
        ValueError: this machine has no such device, or PyTorch cannot use it.
    """
    if name is None:
        return torch.device(perform_non_cpu_backend_check())
    try:
        torch.zeros(1, device=name).item()
        return torch.device(name)
    except (RuntimeError, AssertionError, TypeError) as error:
        there = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        there += ["mps"] if torch.backends.mps.is_available() else []
        raise ValueError(
            f"there is no device {str(name)!r} here to compute on: there is "
            f"{', '.join(there)}"
        ) from error


def move(tensor, device):
    """A tensor on the model's device; a GPU fetches it while it works."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def autocast(device, precision):
    """Matrix products in bfloat16 where precision asks for it; weights stay float32."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
