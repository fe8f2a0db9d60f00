"""The Makefile, with stand-ins for Python that write down what they are asked for."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from gpt2lib.__main__ import _parser

ROOT = Path(__file__).parent.parent

# Answers for its version as it is told to, and makes a .venv whose Python is its like.
PYTHON = """#!/bin/sh
echo "$(basename "$0") $*" >> "$CALLS"
case "$1 $2" in
  "-c "*) exit {unfit} ;;
  "-m venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
esac
"""

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="there is no make")


@pytest.fixture
def project(tmp_path):
    """Nothing but what the set-up reads, in a folder whose name has a space."""
    folder = tmp_path / "my project"
    folder.mkdir()
    for name in (
        "Makefile",
        "pyproject.toml",
        "requirements.txt",
        "requirements-test.txt",
        "requirements-book.txt",
    ):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "notebooks" / ".lab", folder / "notebooks" / ".lab")
    return folder


def add_python(folder, name, fits=True):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(PYTHON.format(unfit=int(not fits)))
    path.chmod(0o755)
    return path


def make(project, *arguments):
    """Runs make with only the given Pythons on the path; returns what was called."""
    calls = project.parent / "calls"
    calls.write_text("")
    plain = project.parent / "tools"  # the usual tools without the usual Pythons
    plain.mkdir(exist_ok=True)
    for name in (
        "sh",
        "mkdir",
        "cp",
        "cat",
        "basename",
        "echo",
        "touch",
        "expr",
        "getconf",
    ):
        if not (plain / name).exists():
            (plain / name).symlink_to(shutil.which(name))
    ended = subprocess.run(
        [shutil.which("make"), *arguments],
        cwd=project,
        env={"PATH": f"{project.parent / 'bin'}:{plain}", "CALLS": str(calls)},
        capture_output=True,
        text=True,
    )
    return ended, calls.read_text().splitlines()


def test_a_fitting_python_is_found(project):
    add_python(project.parent / "bin", "python3", fits=False)
    add_python(project.parent / "bin", "python3.13")
    ended, calls = make(project, "test")
    assert ended.returncode == 0, ended.stderr
    assert "python3.13 -m venv .venv" in calls
    assert any(call.startswith("python -m pytest") for call in calls)


def test_no_fitting_python_is_said_in_one_sentence(project):
    add_python(project.parent / "bin", "python3", fits=False)
    ended, calls = make(project, "test")
    assert ended.returncode != 0
    assert "gpt2lib needs Python 3.11 to 3.14" in ended.stdout
    assert not any("venv" in call for call in calls)


def test_the_path_of_a_python_may_have_a_space(project):
    python = add_python(project.parent / "a folder", "python3")
    ended, calls = make(project, "test", f"PYTHON={python}")
    assert ended.returncode == 0, ended.stderr
    assert "python3 -m venv .venv" in calls


def test_the_set_up_is_done_once(project):
    add_python(project.parent / "bin", "python3")
    make(project, "test")
    _, calls = make(project, "test")
    assert not any("venv" in call or "pip" in call for call in calls)


@pytest.mark.parametrize("how", [shutil.move, shutil.copytree])
def test_a_moved_or_copied_project_is_set_up_again(project, how):
    add_python(project.parent / "bin", "python3")
    make(project, "test")
    other = Path(how(project, project.parent / "elsewhere"))
    _, calls = make(other, "test")
    assert any("pip install" in call and "requirements.txt" in call for call in calls)
    _, calls = make(other, "test")
    assert not any("pip install" in call for call in calls)


def test_another_installer(project):
    add_python(project.parent / "bin", "python3")
    installer = add_python(project.parent / "bin", "installer")
    ended, calls = make(project, "test", f"INSTALL={installer.name} --fast")
    assert ended.returncode == 0, ended.stderr
    assert "installer --fast --no-build-isolation -r requirements.txt" in calls
    assert not any("pip" in call for call in calls)


def test_jupyterlab_opens_chapter_1_and_keeps_the_layout_of_last_time(project):
    add_python(project.parent / "bin", "python3")
    ended, calls = make(project, "lab")
    assert ended.returncode == 0, ended.stderr
    assert calls[-1].endswith("--LabApp.default_url=/lab/tree/01_tokenization.ipynb")
    lab = project / ".venv" / "share" / "jupyter" / "lab"
    assert (lab / "settings" / "overrides.json").is_file()
    (layout,) = (lab / "workspaces").iterdir()
    layout.write_text("mine")
    make(project, "lab")
    assert layout.read_text() == "mine"


def test_the_versions_of_python_are_the_same_everywhere():
    text = (ROOT / "pyproject.toml").read_text()
    assert 'requires-python = ">=3.11,<3.15"' in text
    assert "(3, 11) <= sys.version_info < (3, 15)" in (ROOT / "Makefile").read_text()
    assert "Python 3.11 to 3.14" in (ROOT / "README.md").read_text()


def test_an_installation_without_e_has_every_module_and_file():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    settings = settings["tool"]["setuptools"]
    assert settings["packages"] == {"find": {"include": ["gpt2lib*"]}}
    modules = {path.parent for path in (ROOT / "gpt2lib").rglob("*.py")}
    assert all((folder / "__init__.py").is_file() for folder in modules)
    globs = [glob for given in settings["data-files"].values() for glob in given]
    listed = {path for glob in globs for path in ROOT.glob(glob)}
    tracked = ["git", "ls-files", "bin/pocket", "bin/thinker", "data"]
    files = subprocess.run(tracked, cwd=ROOT, capture_output=True, text=True).stdout
    assert {ROOT / file for file in files.splitlines()} <= listed


SLURM = {
    "scontrol": "#!/bin/sh\nprintf 'node7\\nnode8\\n'\n",
    "srun": '#!/bin/sh\necho "$@"\n',
}


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_the_slurm_script_starts_and_resumes_the_run(tmp_path):
    """As far as a shell can tell: Slurm's programs are stand-ins."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", readme, re.DOTALL)
    for name, text in SLURM.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    slurm = {"JOB_NODELIST": "node[7-8]", "NNODES": "2", "JOB_ID": "12"}
    environment = {f"SLURM_{name}": value for name, value in slurm.items()}
    ended = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment | {"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    words = ended.stdout.split()
    assert words[:3] == ["torchrun", "--nnodes", "2"]
    assert words[words.index("--rdzv-endpoint") + 1] == "node7:29500"
    given = _parser().parse_args(words[words.index("gpt2lib") + 1 :])
    assert given.out == "bin/mine" and given.resume
