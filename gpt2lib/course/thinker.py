"""How bin/thinker is made: python -m gpt2lib.course.thinker

Pocket learns to think, as in chapter 8, but with LoRA, so that what it has learned is a
small file.
"""

import shutil
import tempfile
from itertools import islice
from pathlib import Path

from gpt2lib.course import reasoning_data
from gpt2lib.evaluation import wilson
from gpt2lib.files import BIN, DATA, write_text
from gpt2lib.finetuning import (
    ReinforcementTask,
    Verifiable,
    finetune,
    load_lora,
    merge_lora,
)
from gpt2lib.tokenizer import load_tokenizer
from gpt2lib.weights import load_model

FOLDER = BIN / "thinker"
ADAPTER = FOLDER / "adapter.safetensors"
LENGTHS = range(1, 9)


def load_thinker():
    """Pocket, with the adapter merged."""
    return merge_lora(load_lora(load_model(), ADAPTER))


def unseen(steps, count, seed="unseen"):
    """New problems of so many steps."""
    drawn = islice(reasoning_data.problems(f"{seed} {steps}", steps), count)
    return [Verifiable(question, answer) for question, _, answer in drawn]


def share_right(model, tokenizer, steps, count=200):
    """How many of the greedy answers to unseen problems are right."""
    job = ReinforcementTask(tokenizer, model.cfg.context_length)
    return sum(job.rewards(model, unseen(steps, count))) / count


def make_thinker():
    """Trains the adapter, and writes it with its card; five minutes on two cores."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "thinker"
        figures = finetune(
            "reasoning", reasoning_data.FILE, out, train="lora", epochs=8
        )
        FOLDER.mkdir(exist_ok=True)
        shutil.copy(out / ADAPTER.name, ADAPTER)
    card = thinker_card(load_thinker(), load_tokenizer(), figures)
    write_text(FOLDER / "README.md", card)


def thinker_card(model, tokenizer, figures, count=200):
    """The card of the adapter, with its accuracy by length."""
    rows = []
    for steps in LENGTHS:
        share = share_right(model, tokenizer, steps, count)
        low, high = wilson(round(share * count), count)
        rows.append(f"| {steps} | {share:.1%} | {low:.1%} to {high:.1%} |")
    template = (DATA / "cards" / "thinker.md").read_text(encoding="utf-8")
    table, exact = "\n".join(rows), f"{figures['exact_match']:.1%}"
    return template.format(count=count, table=table, exact=exact)


if __name__ == "__main__":
    make_thinker()
