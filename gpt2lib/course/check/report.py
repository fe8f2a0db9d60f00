"""Shared by all checkers: comparing the given answer with the right one."""

import functools
import math

import torch


class WrongAnswer(AssertionError):
    """A wrong answer; a notebook shows only its message, without a traceback."""

    def _render_traceback_(self):
        return [f"✗ {self}"]


def exercise(examine):
    """Makes a reporting checker from a function that raises WrongAnswer."""

    @functools.wraps(examine)
    def check(answer):
        try:
            examine(answer)
        except NotImplementedError:
            print("not attempted yet")
        else:
            print("✓ right")

    return check


def expect(call, given, wanted, slips=()):
    """Raises WrongAnswer unless `given` equals `wanted`; tensors up to rounding.

    Args:
        slips: (explanation, value) for each known wrong answer.
    """
    if given is None:
        raise WrongAnswer(f"{call} returned None: did you print instead of return?")
    if same(given, wanted):
        return
    for explanation, value in slips:
        if same(given, value):
            raise WrongAnswer(f"{call}: {explanation}")
    if not isinstance(wanted, torch.Tensor):
        raise WrongAnswer(f"{call} gave\n{given}\nexpected\n{wanted}")
    if not isinstance(given, torch.Tensor):
        raise WrongAnswer(f"{call} gave {given!r}, a tensor was expected")
    if given.shape != wanted.shape:
        raise WrongAnswer(
            f"{call} has shape {tuple(given.shape)}, expected {tuple(wanted.shape)}"
        )
    difference = (given - wanted).abs().max().item()
    if wanted.numel() > 16:
        raise WrongAnswer(
            f"{call} has the expected shape, but differs by up to {difference:.3g}"
        )
    raise WrongAnswer(f"{call} gave\n{given}\nexpected\n{wanted}")


def same(given, wanted):
    if isinstance(wanted, torch.Tensor):
        alike = isinstance(given, torch.Tensor) and given.shape == wanted.shape
        return alike and torch.allclose(given, wanted, atol=1e-5, rtol=1e-4)
    if isinstance(wanted, float):
        return isinstance(given, int | float) and math.isclose(given, wanted)
    return given == wanted


def as_list(given):
    """A list from any sequence; None stays None."""
    return given if given is None else list(given)
