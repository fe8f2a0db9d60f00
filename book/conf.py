"""How Sphinx makes the book: the chapters as they are stored, nothing executed."""

import re
from importlib import import_module
from pathlib import Path

import nbformat

import gpt2lib

HERE = Path(__file__).parent
ROOT = HERE.parent

project = "gpt2lib"
author = "the authors of gpt2lib"
version = release = gpt2lib.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
extensions += ["sphinx_copybutton"]
exclude_patterns = ["build"]
nb_execution_mode = "off"
nb_merge_streams = True
myst_heading_anchors = 3
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_inherit_docstrings = False
html_theme = "furo"
html_copy_source = False
html_title = "GPT-2 from scratch"


def chapter(path):
    """A notebook, its alternative texts where myst-nb looks for them."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if alt := cell.metadata.get("alt"):
            cell.metadata["mystnb"] = {"image": {"alt": alt}}
    return nbformat.writes(notebook)


def api(room):
    """A page about a module of the package, or about a folder's, in reading order."""
    module = import_module(f"gpt2lib.{room}")
    inside = re.findall(r"^    (\w+)  +\S", module.__doc__, re.MULTILINE)
    names = [f"gpt2lib.{room}.{name}" for name in inside] or [f"gpt2lib.{room}"]
    parts = [f"{room}\n{'=' * len(room)}"]
    for name in names:
        if inside:
            parts.append(f"{name}\n{'-' * len(name)}")
        parts.append(f".. automodule:: {name}\n   :members:")
    return "\n\n".join(parts) + "\n"


def write_if_changed(path, text):
    """A page that has not changed is not read again."""
    path.parent.mkdir(exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"):
    write_if_changed(HERE / "chapters" / path.name, chapter(path))
rooms = re.findall(r"^\| (\w+) .* \|$", gpt2lib.__doc__, re.MULTILINE)
for number, room in enumerate(rooms[1:], start=1):
    write_if_changed(HERE / "api" / f"{number:02}_{room}.rst", api(room))


def as_restructured_text(app, what, name, thing, options, lines):
    """Our docstrings are plain text, in which |, * and _ are no markup."""
    lines[:] = [re.sub(r"(\||\*|_\b)", r"\\\1", line) for line in lines]


def setup(app):
    app.connect("autodoc-process-docstring", as_restructured_text, priority=900)
