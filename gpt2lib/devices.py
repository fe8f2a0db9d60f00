"""The device to compute on: the one asked for, or the best available."""

from contextlib import AbstractContextManager, nullcontext

import torch


def perform_non_cpu_backend_check(raise_on_non_availability: bool = False) -> str:
    """The best available device: "cuda", "mps" or "cpu".

    Raises:
        RuntimeError: only a CPU is available and raise_on_non_availability is set.
    """
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    if raise_on_non_availability:
        raise RuntimeError("no CUDA or MPS device on this machine, only the CPU")
    return "cpu"


def find_device(name: str | torch.device | None = None) -> torch.device:
    """The device of that name, or the best available one if None.

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
            f"device {str(name)!r} is not available on this machine, choose from: "
            f"{', '.join(there)}"
        ) from error


def move(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor on the model's device; the copy to a GPU is asynchronous."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Matrix products in bfloat16 unless precision is float32; weights stay float32."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
