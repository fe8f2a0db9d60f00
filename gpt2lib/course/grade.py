"""Runs the exercises of learners' notebooks and says which answers are right.

Of each notebook only the set-up cell and the exercises run, in a kernel of their own.
The kernel does whatever the notebook says: grade strangers' notebooks in a container.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError

from gpt2lib.checks import check_whole
from gpt2lib.course import check

VERDICTS = {"✓ right": "right", "not attempted yet": "not attempted"}


@dataclass(frozen=True)
class Grade:
    """How an exercise went; `message` says what is wrong.

    `status` is right, wrong, not attempted, timed out, missing, or unreadable (which
    is said of a whole notebook).
    """

    notebook: str
    exercise: str
    status: str
    message: str = ""


def grade(path, timeout=60):
    """Grades the exercises of a notebook; those missing from its chapter come last.

    Args:
        timeout: seconds for each cell, a whole number; one that takes longer is
            interrupted.

    Raises:
        ValueError: not a notebook, or one without this course's exercises.
    """
    check_whole("timeout", timeout)
    notebook = _notebook(path)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    first = next((i for i, cell in enumerate(cells) if _exercises(cell)), None)
    if first is None:
        raise ValueError(
            f"{path} has no exercise: expected cells that call check.NAME(answer), "
            "as in the chapters of this course"
        )
    set_up = next(filter(_imports_check, cells[: first + 1]), cells[0])
    cells = [set_up] + [cell for cell in cells[first:] if cell is not set_up]
    for cell in cells:
        cell.outputs = []  # what the learner stored proves nothing
        cell.metadata = nbformat.from_dict({})  # nor may a tag skip it
    _run(cells, Path(path), timeout)
    failed = "" if _exercises(set_up) else _error(set_up)
    grades = {}
    for cell in cells:
        for name, status, message in _judge(cell):
            if failed and status == "wrong":
                message = f"the set-up cell failed: {failed}"
            grades[name] = Grade(str(path), name, status, message)
    for name in _chapter_of(next(iter(grades))):
        grades.setdefault(name, Grade(str(path), name, "missing"))
    return [*grades.values()]


def _notebook(path):
    stored = Path(path).read_bytes()
    try:
        notebook = nbformat.reads(stored.decode("utf-8-sig"), as_version=4)
        if not all(isinstance(cell.source, str) for cell in notebook.cells):
            raise ValueError("a cell's source is no text")
    except Exception as error:  # nbformat stumbles in many ways over strangers' JSON
        raise ValueError(f"{path} is not a notebook: {str(error)[:200]}") from error
    return nbformat.from_dict(notebook)  # an old one is of another class


def _imports_check(cell):
    return re.search(r"^from gpt2lib\.course import .*\bcheck\b", cell.source, re.M)


def _exercises(cell):
    """The names of the checkers that a cell calls."""
    called = re.findall(r"^check\.(\w+)\(", cell.source, re.MULTILINE)
    return [name for name in called if name in check.__all__]


def _run(cells, path, timeout):
    """Runs the cells; if one kills their kernel, all others run again in a new one."""
    begun = []
    client = NotebookClient(
        nbformat.v4.new_notebook(cells=cells),  # for this Python's kernel
        timeout=timeout,
        interrupt_on_timeout=True,
        allow_errors=True,
        on_cell_execute=lambda cell, cell_index: begun.append(cell),
        resources={"metadata": {"path": str(path.resolve().parent)}},
        extra_arguments=["--log-level=ERROR"],
    )
    try:
        client.execute()
    except DeadKernelError:
        if len(begun) > 1:  # without the set-up cell nothing would run
            others = [cell for cell in cells if cell is not begun[-1]]
            _run(others, path, timeout)
    except AssertionError:
        if client.km is not None:
            raise
        raise KeyboardInterrupt from None  # nbclient handled it, and lost its kernel


def _judge(cell):
    """(exercise, status, message) for each exercise of a cell that has run."""
    printed = "".join(output.get("text", "") for output in cell.outputs)
    verdicts = [VERDICTS[line] for line in printed.splitlines() if line in VERDICTS]
    error = _error(cell)
    for name in _exercises(cell):
        if verdicts:
            yield name, verdicts.pop(0), ""
        elif error.startswith("KeyboardInterrupt"):
            yield name, "timed out", "interrupted; is there an endless loop?"
        else:
            message = error or "no verdict: did the kernel die?"
            yield name, "wrong", message.removeprefix("WrongAnswer: ")


def _error(cell):
    """The error that ended a cell; empty if there was none."""
    errors = (output for output in cell.outputs if output.output_type == "error")
    return next((f"{error.ename}: {error.evalue}" for error in errors), "")


def _chapter_of(exercise):
    """All exercises of the chapter that one belongs to."""
    module = getattr(check, exercise).__module__
    return [name for name in check.__all__ if getattr(check, name).__module__ == module]


def table(grades):
    """One line an exercise, and the number of right answers of each notebook."""
    lines = []
    for notebook in dict.fromkeys(given.notebook for given in grades):
        own = [given for given in grades if given.notebook == notebook]
        right = sum(given.status == "right" for given in own)
        lines.append(f"{notebook}: {right} of {len(own)} right")
        for given in own:
            message = " ".join(given.message.split())
            line = f"  {given.exercise:<22} {given.status:<14} {message}"
            lines.append(line.rstrip())
    return "\n".join(lines)


def junit(grades):
    """The grades as JUnit XML, which most CI services draw."""
    suites = ElementTree.Element("testsuites")
    for notebook in dict.fromkeys(given.notebook for given in grades):
        own = [given for given in grades if given.notebook == notebook]
        wrong = sum(given.status != "right" for given in own)
        suite = ElementTree.SubElement(
            suites, "testsuite", name=notebook, tests=f"{len(own)}", failures=f"{wrong}"
        )
        for given in own:
            case = ElementTree.SubElement(
                suite, "testcase", classname=notebook, name=given.exercise
            )
            if given.status != "right":
                failure = ElementTree.SubElement(case, "failure", message=given.status)
                failure.text = _printable(given.message)
    return ElementTree.tostring(suites, encoding="ascii").decode()  # in any encoding


def _printable(text):
    """Without the control characters that XML does not allow."""
    return re.sub(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "�", text)
