"""BPE: training compared with tokenizers (Rust), encoding also with tiktoken.

The texts come with Python: for 1 MB of English, the docstrings of the standard library;
for 10 MB of code, its source.
"""

import ast
import sysconfig
import warnings
from pathlib import Path

import tiktoken
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from benchmarks.timing import report, take_turns
from gpt2lib.tokenizer import ENDOFTEXT, GPT2_PATTERN, BPETokenizer

VOCAB_SIZE = 4096


def library_files():
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.rglob("*.py")):
        if "site-packages" not in path.parts:
            yield path.read_text(encoding="utf-8", errors="ignore")


def docstrings(source):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nodes = ast.walk(ast.parse(source))
    except (SyntaxError, ValueError):
        return
    for node in nodes:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""


def train_in_rust(text):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[ENDOFTEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


def main(nanogpt=None):
    del nanogpt  # it has no tokenizer
    code = "\n".join(library_files())
    english = "\n".join("\n".join(docstrings(source)) for source in library_files())
    one, ten = english[:1_000_000], code[:10_000_000]
    for name, text, turns in (("1 MB of English", one, 5), ("10 MB of code", ten, 3)):
        programs = {
            "gpt2lib": lambda text=text: BPETokenizer.train(text, VOCAB_SIZE),
            "tokenizers (Rust)": lambda text=text: train_in_rust(text),
        }
        size = len(text.encode()) / 1e6
        title = f"Training {VOCAB_SIZE} tokens on {name}"
        report(title, take_turns(programs, turns), "tokenizers (Rust)", size)

    ours = BPETokenizer.train(one, VOCAB_SIZE)
    rust = train_in_rust(one)
    witness = tiktoken.Encoding(
        "ours",
        pat_str=GPT2_PATTERN,
        mergeable_ranks=ours.vocab,
        special_tokens=ours.special_tokens,
    )
    assert ours.encode_ordinary(one) == witness.encode_ordinary(one)

    def encode_afresh():
        """Encodes with an empty cache."""
        fresh = BPETokenizer(ours.vocab, ours.merges, ours.special_tokens)
        fresh.encode_ordinary(one)

    programs = {
        "gpt2lib": encode_afresh,
        "gpt2lib, words seen before": lambda: ours.encode_ordinary(one),
        "tiktoken (Rust)": lambda: witness.encode_ordinary(one),
        "tokenizers (Rust)": lambda: rust.encode(one),
    }
    size = len(one.encode()) / 1e6
    report("Encoding 1 MB of English", take_turns(programs), "tiktoken (Rust)", size)
