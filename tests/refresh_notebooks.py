"""Runs the chapters and stores their outputs: refresh_notebooks.py [NOTEBOOK ...]

What is stored is only what a reader needs: no execution counts, times or paths. The
README's drawing of GPT-2 is drawn again too.
"""

import base64
import io
import sys
from pathlib import Path

import matplotlib
import nbformat
from matplotlib import pyplot as plt
from nbclient import NotebookClient
from PIL import Image

from gpt2lib import GPT2_124M
from gpt2lib.course import show

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = ROOT / "notebooks"
KEPT = ("tags", "alt")
VIEW = "application/vnd.jupyter.widget-view+json"  # nothing without a kernel
METADATA = {
    "kernelspec": {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    },
    "language_info": {"name": "python"},
}


def refresh(path):
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(
        notebook, timeout=1200, coalesce_streams=True, resources=resources
    ).execute()
    clean(notebook)
    nbformat.write(notebook, path)


def clean(notebook):
    notebook.metadata = METADATA
    for cell in notebook.cells:
        kept = {key: cell.metadata[key] for key in KEPT if cell.metadata.get(key)}
        cell.metadata = kept
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = [o for o in cell.outputs if VIEW not in o.get("data", {})]
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = None
                output.get("metadata", {}).clear()
                if "image/png" in output.get("data", {}):
                    output.data["image/png"] = smaller(output.data["image/png"])


def smaller(png):
    """The same picture in 256 colours, which is enough for a figure."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    file = io.BytesIO()
    picture.quantize(256).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def draw_architecture():
    matplotlib.use("Agg")
    show.architecture(GPT2_124M)
    plt.savefig(ROOT / ".github" / "images" / "architecture.png", dpi=110)


if __name__ == "__main__":
    given = [Path(argument) for argument in sys.argv[1:]]
    for path in given or sorted(CHAPTERS.rglob("[0-9]*.ipynb")):
        if ".ipynb_checkpoints" not in path.parts:
            print(path.name)
            refresh(path)
    draw_architecture()
