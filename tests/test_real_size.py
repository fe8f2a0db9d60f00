"""Chapters that take the real GPT-2 where it is: here one with random weights.

What they say of GPT-2 cannot be checked without OpenAI's weights; that every cell runs
at its size can.
"""

import shutil

import nbformat
import pytest
import torch
from nbclient import NotebookClient
from small import lively

from gpt2lib import GPT2_124M, GPTModel, save_model
from gpt2lib.files import ROOT

CHAPTERS = ("01", "02", "04", "05", "09", "10")
PARTS = ("gpt2lib", "notebooks", "data", "bin/pocket", "bin/thinker")


@pytest.fixture(scope="module")
def course(tmp_path_factory, gpt2_folder):
    """The course with a GPT-2 in its bin/, as after python -m gpt2lib download gpt2."""
    root = tmp_path_factory.mktemp("course")
    for part in PARTS:
        shutil.copytree(ROOT / part, root / part)
    torch.manual_seed(0)
    save_model(lively(GPTModel(GPT2_124M)), root / "bin" / "gpt2")
    for file in gpt2_folder.iterdir():
        shutil.copy(file, root / "bin" / "gpt2")
    return root


@pytest.mark.parametrize("number", CHAPTERS)
def test_a_chapter_runs_with_a_model_of_gpt2s_size(number, course, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(course))
    (path,) = (course / "notebooks").glob(f"{number}_*.ipynb")
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace('MODEL = "pocket"', 'MODEL = "gpt2"')
    assert any("gpt2" in cell.source for cell in notebook.cells)
    client = NotebookClient(
        notebook, timeout=1200, resources={"metadata": {"path": str(path.parent)}}
    )
    client.execute()
