"""How bin/thinker is made: python -m gpt2lib.course.thinker

Pocket learns to think, as in chapter 8, but with LoRA, so that what it has learned is a
small file. It is shown problems of two to five steps, each once.
"""

from itertools import islice

from tqdm import tqdm

from gpt2lib.course import reasoning_data
from gpt2lib.data import PaddedBatches
from gpt2lib.evaluation import wilson
from gpt2lib.files import BIN, DATA, write_text
from gpt2lib.finetuning import (
    Reasoning,
    ReasoningTask,
    ReinforcementTask,
    Verifiable,
    add_lora,
    finetuning_rate,
    load_lora,
    merge_lora,
    save_lora,
)
from gpt2lib.tokenizer import load_tokenizer
from gpt2lib.training import Trainer, TrainingSettings
from gpt2lib.weights import load_model

ADAPTER = BIN / "thinker" / "adapter.safetensors"
PROBLEMS = 32_000
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
    """Trains the adapter and writes it with its card; about 15 minutes."""
    model, tokenizer = add_lora(load_model()), load_tokenizer()
    job = ReasoningTask(tokenizer, model.cfg.context_length)
    rows = islice(reasoning_data.problems("thinker"), PROBLEMS)
    examples = [job.encode(Reasoning(*row)) for row in rows]
    batches = PaddedBatches(examples, batch_size=16)
    rate = finetuning_rate(model.cfg.n_params, "lora")
    trainer = Trainer(model, TrainingSettings(len(batches), rate, final_rate=0.01))
    for _ in tqdm(trainer.run(batches.batch), total=len(batches)):
        pass
    save_lora(model, ADAPTER, {"finetuning_task": job.name})
    write_text(ADAPTER.parent / "README.md", thinker_card(load_thinker(), tokenizer))


def thinker_card(model, tokenizer, count=200):
    """The card of the adapter, with its accuracy by length."""
    rows = []
    for steps in LENGTHS:
        share = share_right(model, tokenizer, steps, count)
        low, high = wilson(round(share * count), count)
        rows.append(f"| {steps} | {share:.1%} | {low:.1%} to {high:.1%} |")
    template = (DATA / "cards" / "thinker.md").read_text(encoding="utf-8")
    return template.format(problems=PROBLEMS, count=count, table="\n".join(rows))


if __name__ == "__main__":
    make_thinker()
