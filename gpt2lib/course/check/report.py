"""Shared by all checkers: calls the learner's function, compares what it returns."""

import copy
import functools
import math
import traceback
from collections.abc import Iterator

import numpy as np
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
            examine(_explained(answer))
        except NotImplementedError as error:
            if not _is_stubs(error):
                raise WrongAnswer(f"{type(error).__name__}: {error}") from error
            print("not attempted yet")
        else:
            print("✓ right")

    return check


def _explained(answer):
    """The learner's function, whose errors name the input that caused them."""

    @functools.wraps(answer)
    def call(*given, **named):
        try:
            return answer(*given, **named)
        except WrongAnswer:
            raise
        except Exception as error:
            if _is_stubs(error):
                raise
            arguments = [brief(value) for value in given]
            arguments += [f"{name}={brief(value)}" for name, value in named.items()]
            name = getattr(answer, "__name__", "your function")
            raise WrongAnswer(
                f"{name}({', '.join(arguments)}) stopped{_place(error, answer)} with "
                f"{type(error).__name__}: {error}"
            ) from error

    return call


def _is_stubs(error):
    """Whether an answer was not begun: torch's error of this kind has a message."""
    return type(error) is NotImplementedError and not error.args


def _place(error, answer):
    """Where in the learner's own function the error arose."""
    code = getattr(answer, "__code__", None)
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code is code:
            return f" in its line {line - code.co_firstlineno + 1}"
    return ""


def expect(call, given, wanted, slips=()):
    """Raises WrongAnswer unless `given` equals `wanted`; numbers up to rounding.

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
    given = _as_tensor(given)
    if not isinstance(wanted, torch.Tensor):
        raise WrongAnswer(f"{call} gave\n{brief(given)}\nexpected\n{brief(wanted)}")
    if not isinstance(given, torch.Tensor):
        raise WrongAnswer(f"{call} gave {brief(given)}, a tensor was expected")
    if given.shape != wanted.shape:
        raise WrongAnswer(
            f"{call} has shape {tuple(given.shape)}, expected {tuple(wanted.shape)}"
        )
    if wanted.numel() > 16:
        raise WrongAnswer(f"{call} has the expected shape, but {_first(given, wanted)}")
    raise WrongAnswer(f"{call} gave\n{given}\nexpected\n{wanted}")


def _first(given, wanted):
    """The first place where two tensors of one shape differ."""
    wrong = ~torch.isclose(given.double(), wanted.double(), atol=1e-5, rtol=1e-4)
    place = tuple(wrong.nonzero()[0].tolist())
    return (
        f"{wrong.sum()} of its {wrong.numel()} numbers are wrong: at index "
        f"{list(place)} it has {given[place]:.6g}, expected {wanted[place]:.6g}"
    )


def same(given, wanted):
    """Whether two values are equal: numbers of any type up to rounding, lists item by
    item, whatever holds them."""
    if isinstance(wanted, torch.Tensor):
        given = _as_tensor(given)
        if not wanted.ndim and isinstance(given, int | float):
            given = torch.tensor(given)
        alike = isinstance(given, torch.Tensor) and given.shape == wanted.shape
        return alike and torch.allclose(
            given.detach().double(), wanted.double(), atol=1e-5, rtol=1e-4
        )
    if isinstance(given, torch.Tensor | np.ndarray | np.generic):
        given = given.tolist()
    if isinstance(wanted, float):
        return isinstance(given, int | float) and math.isclose(
            given, wanted, rel_tol=1e-6, abs_tol=1e-9
        )
    if isinstance(wanted, list | tuple):
        alike = isinstance(given, list | tuple) and len(given) == len(wanted)
        return alike and all(map(same, given, wanted))
    return given == wanted


def _as_tensor(given):
    return torch.from_numpy(given) if isinstance(given, np.ndarray) else given


def draw(seed, *shape):
    """A tensor of normal random numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unchanged(name, tensor, before):
    """Raises WrongAnswer if the learner's function has changed what it was given."""
    if not torch.equal(tensor, before):
        raise WrongAnswer(f"your function gave the right answer but changed {name}")


def brief(value):
    """A value in one line; large tensors and modules by their shapes."""
    if isinstance(value, torch.Tensor):
        if value.numel() > 16 or value.is_meta:  # which has no values
            return f"a tensor of shape {tuple(value.shape)}"
        return repr(value.tolist())
    if isinstance(value, torch.nn.Module):
        shapes = [f"{n} {tuple(p.shape)}" for n, p in value.named_parameters()]
        return f"{type(value).__name__}({', '.join(shapes)})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k!r}: {brief(v)}' for k, v in value.items())}}}"
    if isinstance(value, list | tuple):
        inside = ", ".join(map(brief, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside})"
    text = repr(value)
    return text if len(text) <= 400 else f"{text[:400]} …"


def plain(given):
    """Lists instead of tuples, maps, zips and the like, inside and out."""
    if isinstance(given, Iterator | list | tuple):
        return [plain(part) for part in given]
    return given


def called(name, answer, *given):
    """The call as text, and what it returned.

    Raises:
        WrongAnswer: the answer changed a list that it was given.
    """
    call = f"{name}({', '.join(map(brief, given))})"
    own = copy.deepcopy(given)
    result = answer(*own)
    if result is not None and own != given:
        raise WrongAnswer(f"{call} gave a result, but changed the lists it was given")
    return call, result


def is_pair(given):
    """Whether an answer is two things, neither of them None."""
    pair = isinstance(given, tuple | list) and len(given) == 2
    return pair and all(part is not None for part in given)


def number(value):
    """A number, also from a tensor of one; anything else as it is."""
    one = isinstance(value, torch.Tensor) and value.numel() == 1
    return value.detach().double().item() if one else value
