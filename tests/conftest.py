"""What several tests share: a small model, and GPT-2's vocabulary if it is at hand."""

import gc
import os
import shutil
import tempfile
from pathlib import Path

import pytest

# Collecting garbage would double the time that the imports of all tests need.
gc.disable()


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


# torch is imported where it is used: the process that hands out the tests to others
# reads this file too, and they start when it has.

# What tiktoken calls the two files in its cache.
TIKTOKEN_FILES = {
    "merges.txt": "6d1cbeee0f20b3d9449abfede4726ed8212e3aee",
    "vocab.json": "6c7ea1a7e38e3a7f062df639a5b80947f075ffe6",
}


@pytest.fixture(autouse=True)
def same_random_numbers_every_time():
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory):
    """A folder with GPT-2's vocab.json and merges.txt, from tiktoken's cache."""
    usual = Path(tempfile.gettempdir()) / "data-gym-cache"
    cache = Path(os.environ.get("TIKTOKEN_CACHE_DIR", usual))
    if not all((cache / file).is_file() for file in TIKTOKEN_FILES.values()):
        pytest.skip(
            "GPT-2's vocabulary is not in tiktoken's cache (TIKTOKEN_CACHE_DIR)"
        )
    folder = tmp_path_factory.mktemp("gpt2")
    for name, file in TIKTOKEN_FILES.items():
        shutil.copy(cache / file, folder / name)
    return folder


@pytest.fixture(scope="session")
def story():
    path = Path(__file__).parent.parent / "data" / "the-tide-clock.txt"
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def tokenizer(story):
    from gpt2lib.tokenizer import BPETokenizer

    return BPETokenizer.train(story, vocab_size=400)


@pytest.fixture
def model():
    from small import SMALL, lively

    from gpt2lib import GPTModel
    from gpt2lib.fast import speed_up

    return speed_up(lively(GPTModel(SMALL))).eval()
