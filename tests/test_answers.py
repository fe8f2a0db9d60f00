"""Checkers reject plausible wrong answers and take right ones of any style."""

import math
from collections import Counter

import pytest
import torch
from answers import RIGHT, WRONG
from torch.nn import functional as F

from gpt2lib.course import check
from gpt2lib.course.check.report import brief


def unattempted(*_):
    raise NotImplementedError


def printing(*_):
    print("the right answer")


CHECKERS = {checker for checker, *_ in WRONG}
IN_ORDER = sorted(CHECKERS, key=lambda f: f.__name__)  # for all of xdist's workers


def name_of(value):
    return getattr(value, "__name__", "")


@pytest.mark.parametrize(("checker", "answer", "words"), WRONG, ids=name_of)
def test_a_plausible_wrong_answer_is_rejected(checker, answer, words, capsys):
    with pytest.raises(check.WrongAnswer, match=words or None):
        checker(answer)
    assert capsys.readouterr().out == ""


def test_every_checker_is_fed_a_wrong_answer():
    every = {f for f in vars(check).values() if hasattr(f, "__wrapped__")}
    assert every == CHECKERS


def test_every_checker_is_fed_right_answers_of_two_styles():
    styles = Counter(checker for checker, _ in RIGHT)
    assert {f.__name__ for f in CHECKERS if styles[f] < 2} == set()


@pytest.mark.parametrize("checker", IN_ORDER, ids=lambda f: f.__name__)
def test_a_stub_is_not_attempted_yet(checker, capsys):
    checker(unattempted)
    assert capsys.readouterr().out == "not attempted yet\n"


@pytest.mark.parametrize("checker", IN_ORDER, ids=lambda f: f.__name__)
def test_torchs_error_of_the_stubs_kind_is_a_wrong_answer(checker):
    def stopped(*_, **__):
        raise NotImplementedError('"softmax_lastdim" not implemented for Long')

    with pytest.raises(check.WrongAnswer, match="not implemented for Long"):
        checker(stopped)


@pytest.mark.parametrize("checker", IN_ORDER, ids=lambda f: f.__name__)
def test_printing_instead_of_returning_is_explained(checker):
    with pytest.raises(check.WrongAnswer, match="did you print instead of return"):
        checker(printing)


@pytest.mark.parametrize(("checker", "answer"), RIGHT, ids=lambda f: f.__name__)
def test_a_right_answer_of_another_type_is_right(checker, answer, capsys):
    checker(answer)
    assert capsys.readouterr().out == "✓ right\n"


STRANGE = ["2", 7j, float("nan"), {}, {1}, [], [None, None], object(), torch.eye(2)]
STRANGE += [torch.zeros(0), [[torch.eye(2)], 3], b"2", [("a", 1), 5], int, math.inf]
OF_EVALUATION = [checker for checker in IN_ORDER if checker in dict(RIGHT)]


@pytest.mark.parametrize("checker", OF_EVALUATION, ids=lambda f: f.__name__)
def test_a_strange_answer_is_only_wrong(checker):
    for strange in STRANGE:
        with pytest.raises(check.WrongAnswer, match="gave|has shape"):
            checker(lambda *_, strange=strange: strange)


def test_a_right_answer_is_praised_and_nothing_else(capsys):
    check.softmax(lambda scores: F.softmax(scores, dim=-1))
    assert capsys.readouterr().out == "✓ right\n"


def test_an_error_in_the_answer_names_its_input():
    def softmax(scores):
        total = scores.sum()
        return scores / total.missing

    words = r"softmax\(\[1.0, 2.0, 3.0\]\) stopped in its line 3 with AttributeError"
    with pytest.raises(check.WrongAnswer, match=words) as caught:
        check.softmax(softmax)
    assert isinstance(caught.value.__cause__, AttributeError)


def test_large_values_are_shown_by_their_shapes():
    layer = torch.nn.Linear(3, 20, bias=False)
    shown = brief([layer, layer.weight, torch.ones(2), {"a": (1, "b")}])
    assert shown == (
        "[Linear(weight (20, 3)), a tensor of shape (20, 3), [1.0, 1.0], "
        "{'a': (1, 'b')}]"
    )


def test_a_wrong_type_is_explained():
    with pytest.raises(check.WrongAnswer, match="a tensor was expected"):
        check.softmax(lambda scores: scores.tolist())
    with pytest.raises(check.WrongAnswer, match="has shape"):
        check.softmax(lambda scores: scores[None])
