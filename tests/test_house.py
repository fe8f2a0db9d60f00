"""Rules of the house, read from the files: who imports whom, notebooks, lengths."""

import ast
import functools
import importlib
import re
import sys
from collections import Counter
from pathlib import Path

import nbformat
import pytest
import torch

import gpt2lib

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "gpt2lib"
CHAPTERS = sorted(ROOT.glob("notebooks/[0-9]*.ipynb"))
SOLUTIONS = sorted(ROOT.glob("notebooks/solutions/[0-9]*.ipynb"))

# What each room, a module or a folder of them, may import of the others.
ROOMS = {
    "config": set(),
    "tokenizer": {"files", "weights"},
    "data": {"checks"},
    "attention": {"checks"},
    "model": {"config", "attention", "checks"},
    "generate": {"attention", "model", "checks"},
    "fast": {"attention", "model"},
    "checks": {"config"},
    "devices": set(),
    "files": set(),
    "weights": {"config", "model", "fast", "devices", "files"},
    "training": {
        "config",
        "checks",
        "tokenizer",
        "data",
        "model",
        "generate",
        "fast",
        "devices",
        "files",
        "weights",
    },
    "evaluation": {
        "config",
        "checks",
        "data",
        "devices",
        "files",
        "generate",
        "model",
        "tokenizer",
        "training",
        "weights",
    },
    "finetuning": {
        "config",
        "checks",
        "tokenizer",
        "data",
        "attention",
        "model",
        "generate",
        "fast",
        "devices",
        "files",
        "weights",
        "training",
        "evaluation",
    },
}
OWN_CODE = ("gpt2lib", "tests", "benchmarks")
ANYTHING = {"__init__", "__main__"}
FOLDERS = ("weights", "training", "evaluation", "finetuning", "course")
FOLDERS += ("course/show", "course/datasets", "course/pocket")


@functools.cache
def modules():
    """(name, syntax tree) of every module of the package."""
    return [
        (
            ".".join(path.relative_to(PACKAGE).with_suffix("").parts),
            ast.parse(path.read_text(encoding="utf-8")),
        )
        for path in sorted(PACKAGE.rglob("*.py"))
    ]


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_rooms(tree):
    names = {
        name.removeprefix("gpt2lib.").split(".")[0]
        for name in imports(tree)
        if name.startswith("gpt2lib.")
    }
    return names & {*ROOMS, "course"}


@pytest.mark.parametrize(("name", "tree"), modules(), ids=lambda value: str(value)[:20])
def test_a_module_imports_only_what_stands_below_it(name, tree):
    room = name.split(".")[0]
    if room not in {*ANYTHING, "course"}:
        assert own_rooms(tree) <= ROOMS[room] | {room}
    if room != "course":
        used = {import_.split(".")[0] for import_ in imports(tree)}
        assert "course" not in own_rooms(tree)
        assert not used & {"matplotlib", "IPython"}


def reading_order(folder):
    """The modules of a folder, as its docstring lists them."""
    tree = ast.parse((PACKAGE / folder / "__init__.py").read_text(encoding="utf-8"))
    return re.findall(r"^    (\w+)  ", ast.get_docstring(tree), re.MULTILINE)


@pytest.mark.parametrize("folder", FOLDERS)
def test_within_a_folder_a_module_imports_only_those_listed_before_it(folder):
    order, trees = reading_order(folder), dict(modules())
    there = {path.stem for path in (PACKAGE / folder).glob("[!_]*")}
    assert sorted(order) == sorted(there)
    for i, name in enumerate(order):
        own = f"{folder}/{name}".replace("/", ".")
        inside = "gpt2lib." + own.removesuffix(name)
        used = {
            import_.removeprefix(inside).split(".")[0]
            for module, tree in trees.items()
            if module == own or module.startswith(own + ".")
            for import_ in imports(tree)
            if import_.startswith(inside)
        }
        assert used - {name} <= {*order[:i]}, f"{folder}.{name}"


def test_every_library_imported_is_in_the_requirements():
    lines = [
        line
        for name in ("requirements.txt", "requirements-test.txt")
        for line in (ROOT / name).read_text().splitlines()
    ]
    pinned = {line.split("==")[0].lower() for line in lines if "==" in line}
    files = [p for folder in OWN_CODE for p in sorted((ROOT / folder).glob("**/*.py"))]
    ours = {"gpt2lib", "benchmarks", "answers", *(path.stem for path in files)}
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in files]
    used = {name.split(".")[0] for tree in trees for name in imports(tree)}
    peers = {"ctranslate2", "gguf", "llama_cpp", "lm_eval"}  # used if installed
    used = {name.lower() for name in used - ours - peers - sys.stdlib_module_names}
    assert used - {"pil"} | {"pillow"} <= pinned  # the one that has two names


@pytest.mark.parametrize("path", CHAPTERS + SOLUTIONS, ids=lambda path: path.name)
def test_what_a_notebook_imports_is_what_learners_install(path):
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = {line.split("==")[0] for line in lines}
    code = [cell.source for cell in read_notebook(path).cells if is_code(cell)]
    code = [re.sub(r"(?m)^[%!].*", "", source) for source in code]
    used = {name for source in code for name in imports(ast.parse(source))}
    used = {name.split(".")[0] for name in used}
    assert used - {"gpt2lib"} - sys.stdlib_module_names <= pinned


def test_no_class_or_function_is_defined_twice():
    names = Counter(
        node.name
        for name, tree in modules()
        if name != "__main__" and not name.startswith("course.check")
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize(("name", "tree"), modules(), ids=lambda value: str(value)[:20])
def test_functions_fit_on_a_screen(name, tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            first = node.body[
                min(ast.get_docstring(node) is not None, len(node.body) - 1)
            ]
            assert node.end_lineno - first.lineno < 32, f"{name}.{node.name}"


def test_the_readme_has_the_packages_own_map():
    own = re.findall(r"^\| (\w+) +\| (.+?) +\|$", gpt2lib.__doc__, re.MULTILINE)[1:]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    linked = r"^\| \[`(\w+)`\]\(gpt2lib/(\w+)(?:\.py)?\) \| (.+) \|$"
    found = re.findall(linked, readme, re.MULTILINE)
    assert [name for name, _, _ in found] == [path for _, path, _ in found]
    arrows = [text.replace("->", "→").replace("<→", "↔") for _, text in own]
    assert [text for *_, text in found] == arrows
    there = {path.stem for path in PACKAGE.glob("*.py")} - ANYTHING
    there |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert [name for name, _ in own] == [name for name, *_ in found]
    assert {name for name, _ in own} == there == {*ROOMS, "course"}


@pytest.mark.parametrize(
    ("path", "most"),
    [  # what a learner reads, and all that runs from ids to the next id
        (("config", "tokenizer", "data", "attention", "model", "generate"), 1400),
        (("config", "checks", "attention", "model", "fast", "generate"), 1165),
    ],
)
def test_the_path_of_the_data_stays_thin(path, most):
    files = [PACKAGE / f"{name}.py" for name in path]
    assert sum(len(file.read_text().splitlines()) for file in files) <= most


WRITTEN_BEFORE = {
    "checkpoint": "Checkpoint",
    "classification": "classify",
    "corpus": "open_corpus",
    "course.evaluation_data": "ENDINGS",
    "course.extras": "messages",
    "course.instruction_data": "instructions",
    "course.judge": "unseen_stories",
    "course.ngram": "NGramModel",
    "course.preference_data": "openings",
    "course.reasoning_data": "problems",
    "course.spam_data": "labelled_messages",
    "course.thinker": "share_right",
    "course.words": "fill",
    "instruction": "alpaca_prompt",
    "lora": "add_lora",
    "pretraining": "pretrain",
    "reasoning": "parse_reasoning",
    "records": "read_records",
    "runs": "working_folder",
    "sampling": "sample",
    "untrusted": "recognise",
    "vocabulary": "read_vocabulary",
}


def test_imports_by_the_old_names_of_modules_go_on_working():
    assert WRITTEN_BEFORE.keys() == gpt2lib.MOVED.keys()
    for old, name in WRITTEN_BEFORE.items():
        assert hasattr(importlib.import_module(f"gpt2lib.{old}"), name)
    from gpt2lib.course import judge  # as chapters had it

    assert judge.__name__ == "gpt2lib.course.pocket.judge"


# --------------------------------------------------------------- notebooks


@functools.cache
def read_notebook(path):
    return nbformat.read(path, as_version=4)


@pytest.fixture(params=CHAPTERS + SOLUTIONS, ids=lambda path: path.name)
def notebook(request):
    return read_notebook(request.param)


def test_stored_notebooks_are_clean(notebook):
    nbformat.validate(notebook)
    text = nbformat.writes(notebook)
    assert len(text.encode()) <= 400_000
    assert not re.search(r"/(home|Users|root|work|tmp|opt)/|[A-Z]:\\\\", text)
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags", "alt"}
        if cell.cell_type == "code":
            assert cell.execution_count is None
            assert all(output.output_type != "error" for output in cell.outputs)


def is_code(cell):
    return cell.cell_type == "code"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.name)
def test_chapters_read_well(path):
    cells = read_notebook(path).cells
    lengths = sorted(len(cell.source.splitlines()) for cell in cells if is_code(cell))
    assert lengths[len(lengths) // 2] <= 6
    assert lengths[int(0.95 * len(lengths))] <= 18 and lengths[-1] <= 30
    kinds = "".join("c" if is_code(cell) else "m" for cell in cells)
    assert "cccc" not in kinds
    assert kinds.count("mc") >= 0.8 * kinds.count("c")


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.name)
def test_chapters_show_and_claim(path):
    cells = read_notebook(path).cells
    code = [cell for cell in cells if is_code(cell)]
    figures = sum(
        "image/png" in output.get("data", {})
        for cell in code
        for output in cell.outputs
    )
    assert figures >= 4
    ignored = [
        cell for cell in code if "nbval-ignore-output" in cell.metadata.get("tags", [])
    ]
    assert len(ignored) <= 0.1 * len(code)
    assert any("show.source(" in cell.source for cell in code)
    assert sum("assert " in cell.source for cell in code) >= 8


def test_every_figure_says_in_words_what_it_shows(notebook):
    drawn = [cell for cell in notebook.cells if has_figure(cell)]
    texts = [cell.metadata.get("alt", "") for cell in drawn]
    assert all(len(text) >= 40 and text.endswith(".") for text in texts), texts
    assert len({*texts}) == len(texts)


def has_figure(cell):
    return any(
        "image/png" in output.get("data", {}) for output in cell.get("outputs", [])
    )


LISTING = re.compile(r"`(gpt2lib/[^`]*)`\n```python\n(.*)\n```", re.DOTALL)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.name)
def test_listings_show_the_code_as_it_is(path):
    """nbval says so too, much later."""
    for cell in read_notebook(path).cells:
        for output in cell.get("outputs", []):
            found = LISTING.match(output.get("data", {}).get("text/markdown", ""))
            if found:
                code = (ROOT / found[1]).read_text(encoding="utf-8")
                listed = [line.strip() for line in found[2].split("\n")]
                assert "\n".join(listed) in re.sub(r"(?m)^ +", "", code)


def test_each_chapter_names_the_next():
    ends = [read_notebook(path).cells[-1].source for path in CHAPTERS]
    for number, end in enumerate(ends[:-1], start=2):
        assert re.search(rf"\*\*Next:\*\* (in )?chapter {number} ", end)
    assert "**Where from here:** this was the last chapter." in ends[-1]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.name)
def test_names_in_prose_are_names_in_code(path):
    cells = read_notebook(path).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    code += [file.read_text(encoding="utf-8") for file in PACKAGE.glob("**/*.py")]
    known = {*re.findall(r"\w+", "\n".join(code)), *dir(torch.Tensor)}
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    named = re.findall(r"`(?:\w+\.)*(\w+_\w*)(?:\(\))?`", prose)
    assert [name for name in named if name not in known] == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.name)
def test_every_exercise_has_a_solution(path):
    def checked(path):
        text = path.read_text(encoding="utf-8")
        return re.findall(r"check\.(\w+)\(", text)

    solution = path.parent / "solutions" / path.name
    assert checked(path) == checked(solution) and len(checked(path)) >= 3
