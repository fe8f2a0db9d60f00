"""How bin/thinker is made: python -m gpt2lib.course.pocket.thinker

Pocket learns to think, as in chapter 8. Chapter 12 begins with what comes out.
"""

import tempfile
from itertools import islice
from pathlib import Path

from gpt2lib.course.datasets import reasoning
from gpt2lib.evaluation import wilson
from gpt2lib.files import BIN, DATA, write_text
from gpt2lib.finetuning import ReinforcementTask, Verifiable, finetune
from gpt2lib.tokenizer import load_tokenizer
from gpt2lib.weights import load_model, save_model

FOLDER = BIN / "thinker"
LENGTHS = range(1, 9)


def unseen(steps, count, seed="unseen"):
    """New problems of so many steps."""
    drawn = islice(reasoning.problems(f"{seed} {steps}", steps), count)
    return [Verifiable(question, answer) for question, _, answer in drawn]


def share_right(model, tokenizer, steps, count=200):
    """How many of the greedy answers to unseen problems are right."""
    job = ReinforcementTask(tokenizer, model.cfg.context_length)
    return sum(job.rewards(model, unseen(steps, count))) / count


def make_thinker():
    """Finetunes pocket, and saves the model and its card; minutes on two cores."""
    tokenizer = load_tokenizer()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "thinker"
        figures = finetune("reasoning", reasoning.FILE, out)
        settings = {"finetuning_task": "reasoning"}
        save_model(load_model(out).half(), FOLDER, tokenizer, settings)
    card = thinker_card(load_model(FOLDER), tokenizer, figures)
    write_text(FOLDER / "README.md", card)


def thinker_card(model, tokenizer, figures, count=200):
    """The model card, with its accuracy by length."""
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
