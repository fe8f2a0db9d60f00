"""The command line, run within the test's own process, which is seconds faster."""

import contextlib
import io
from types import SimpleNamespace

import torch

from gpt2lib.__main__ import main


def run(*arguments):
    """Runs a verb on one thread of the CPU, as the processes of other tests do.

    Returns: returncode, stdout and stderr, as of `subprocess.run`.
    """
    out, err, threads = io.StringIO(), io.StringIO(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([*map(str, arguments), "--device", "cpu"])
    except SystemExit as error:  # argparse's
        code = error.code
    finally:
        torch.set_num_threads(threads)
    return SimpleNamespace(
        returncode=code, stdout=out.getvalue(), stderr=err.getvalue()
    )
