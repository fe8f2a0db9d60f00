"""Learners' notebooks are graded: every exercise gets its verdict, whatever happens."""

import ast
import contextlib
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest

from gpt2lib.course import check
from gpt2lib.course.__main__ import main
from gpt2lib.course.grade import grade

DEFINITION = ast.FunctionDef | ast.ClassDef
CHAPTERS = sorted((Path(__file__).parent.parent / "notebooks").glob("[0-9]*.ipynb"))

CELLS = [
    "from gpt2lib.course import check",
    "1 / 0  # the chapter's own cells are not run",
    "def softmax(scores):\n    return scores.softmax(-1)\n\n\ncheck.softmax(softmax)",
    "def causal_weights(scores):\n    return scores.softmax(-1)\n\n\n"
    "check.causal_weights(causal_weights)",
    "def split_heads(x, n_heads):\n    while True:\n        pass\n\n\n"
    "check.split_heads(split_heads)",
    "def fuse(W_query, W_key, W_value)\n    return W_query\n\n\ncheck.fuse(fuse)",
]


@pytest.fixture
def notebook(tmp_path):
    def write(cells):
        page = nbformat.v4.new_notebook(cells=[*map(nbformat.v4.new_code_cell, cells)])
        for cell in page.cells:  # what is stored in a notebook proves nothing
            cell.outputs = [nbformat.v4.new_output("stream", text="✓ right\n")]
        nbformat.write(page, tmp_path / "mine.ipynb")
        return str(tmp_path / "mine.ipynb")

    return write


def test_every_exercise_gets_its_verdict(notebook):
    grades = {given.exercise: given for given in grade(notebook(CELLS), timeout=5)}
    statuses = {name: given.status for name, given in grades.items()}
    assert statuses.pop("attend_last") == "missing"
    assert {*statuses.items()} >= {
        ("softmax", "right"),
        ("causal_weights", "wrong"),
        ("split_heads", "timed out"),
        ("fuse", "wrong"),
    }
    assert "expected" in grades["causal_weights"].message
    assert "SyntaxError" in grades["fuse"].message


def test_cells_in_front_tags_and_old_forms_change_no_grade(notebook, tmp_path):
    view = "import ipywidgets\nipywidgets.IntSlider()\n"
    path = Path(notebook(["print('Ada')", *CELLS[:2], view + CELLS[2]]))
    page = nbformat.read(path, as_version=4)
    page.cells[-1].metadata["tags"] = ["skip-execution"]
    nbformat.write(page, path)
    old = tmp_path / "old.ipynb"
    nbformat.write(nbformat.convert(page, 3), str(old), version=3)
    for given in (path, old):
        assert grade(given)[0].status == "right"


@pytest.mark.parametrize("name", ["ηχώ.ipynb", "ü.ipynb"])
@pytest.mark.parametrize("form", ["table", "json", "junit"])
def test_grades_are_printed_in_any_encoding(tmp_path, form, name):
    with io.TextIOWrapper(io.BytesIO(), encoding="latin-1") as out:
        with contextlib.redirect_stdout(out):
            assert main(["grade", str(tmp_path / name), "--format", form]) == 1
        out.flush()
        printed = out.buffer.getvalue()
    assert b"unreadable" in printed
    if form == "junit":
        assert ElementTree.fromstring(printed)[0].get("name").endswith(name)


def test_a_notebook_that_kills_its_kernel_loses_no_other(notebook, tmp_path, capsys):
    broken = tmp_path / "broken.ipynb"
    broken.write_text("{", encoding="utf-8")
    absent = str(tmp_path / "absent.ipynb")
    killer = "import os\n\n\ncheck.fuse(lambda *weights: os._exit(1))"
    mine = notebook([CELLS[0], killer, CELLS[2], "import os\nos._exit(1)", CELLS[3]])
    assert main(["grade", absent, str(broken), mine, "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    statuses = [given["status"] for given in found[:5]]
    assert statuses == ["unreadable", "unreadable", "wrong", "right", "wrong"]
    assert "kernel die" in found[2]["message"] and "expected" in found[4]["message"]


def test_an_exercise_is_not_blamed_for_a_set_up_that_fails(notebook):
    softmax = grade(notebook([f"1 / 0\n{CELLS[0]}", CELLS[2]]))[0]
    assert softmax.status == "wrong"
    assert softmax.message.startswith("the set-up cell failed: ZeroDivisionError")


NOTEBOOK = '{"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": %s}'


@pytest.mark.parametrize(
    "content",
    [
        "null",
        "[" * 100_000,
        NOTEBOOK % "null",
        NOTEBOOK % "[5]",
        NOTEBOOK
        % '[{"cell_type": "code", "metadata": {}, "outputs": [], "source": 5}]',
        '{"nbformat": 2, "worksheets": 5}',
        "\x00\x01",
    ],
    ids=lambda content: content[:1] + content[-30:-25],
)
def test_what_is_no_notebook_is_called_unreadable(tmp_path, capsys, content):
    (tmp_path / "odd.ipynb").write_text(content, encoding="utf-8")
    assert main(["grade", str(tmp_path / "odd.ipynb"), "--format", "json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert found["status"] == "unreadable" and "is not a notebook" in found["message"]


@pytest.mark.parametrize("given", ["0", "-1", "2.5", "nan"])
def test_a_time_out_is_a_number_of_seconds(capsys, given):
    with pytest.raises(SystemExit):
        main(["grade", "absent.ipynb", "--timeout", given])
    assert given in capsys.readouterr().err
    with pytest.raises(ValueError, match="timeout must be a whole number from 1"):
        grade("absent.ipynb", float(given))


def test_an_interrupt_ends_grading_without_a_traceback(notebook, monkeypatch):
    def interrupted(client):
        client.km = None
        raise AssertionError  # as nbclient, after it has taken the signal

    monkeypatch.setattr("nbclient.NotebookClient.execute", interrupted)
    assert main(["grade", notebook(CELLS)]) == 130


def test_grades_that_cannot_be_printed_are_one_line(capsys, monkeypatch):
    def full(*text, **to):
        if "file" not in to:
            raise OSError(28, "No space left on device")
        print(*text, **to)

    monkeypatch.setattr("gpt2lib.course.__main__.print", full, raising=False)
    assert main(["grade", "absent.ipynb"]) == 1
    assert capsys.readouterr().err.endswith("No space left on device\n")


def test_junit_counts_what_is_not_right(tmp_path, capsys):
    assert main(["grade", str(tmp_path / "absent.ipynb"), "--format", "junit"]) == 1
    (suite,) = ElementTree.fromstring(capsys.readouterr().out)
    assert suite.get("tests") == suite.get("failures") == "1"


def test_the_table_counts_right_answers(notebook, capsys):
    assert main(["grade", notebook(CELLS[:1])]) == 1
    assert "no exercise: expected cells that call check.NAME" in capsys.readouterr().out


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.name)
def test_exercises_need_only_the_set_up_cell(path):
    """A grader runs nothing else."""
    cells = nbformat.read(path, as_version=4).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    first = next(i for i, source in enumerate(code) if "\ncheck." in f"\n{source}")
    tree = ast.parse("\n".join(code[:1] + code[first:]))
    named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    own = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and is_stored(n)}
    own |= {node.name for node in ast.walk(tree) if isinstance(node, DEFINITION)}
    own |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            own |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    assert named - own - {*dir(__builtins__), *dir(check)} - {*__builtins__} == set()


def is_stored(name):
    return isinstance(name.ctx, ast.Store)
