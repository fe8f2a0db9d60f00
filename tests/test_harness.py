"""Item by item beside EleutherAI's lm-evaluation-harness, where that is installed.

python -m pip install "lm_eval[hf]==0.4.13"
"""

import json
import random
from itertools import islice
from pathlib import Path

import pytest

from gpt2lib import load_model, load_tokenizer
from gpt2lib.course.stories import stories
from gpt2lib.evaluation import BENCHMARKS, log_likelihoods
from gpt2lib.evaluation.tasks import undo_spaces
from gpt2lib.files import BIN

lm_eval = pytest.importorskip("lm_eval", reason="the harness is not installed")

from lm_eval.api.task import ConfigurableTask  # noqa: E402
from lm_eval.evaluator import simple_evaluate  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402
from lm_eval.tasks._yaml_loader import load_yaml  # noqa: E402
from lm_eval.tasks.wikitext.preprocess_wikitext import (  # noqa: E402
    wikitext_detokenizer,
)

ROWS = 60
THEIR_TASKS = Path(lm_eval.__file__).parent / "tasks"
YAML = {
    "hellaswag": "hellaswag/hellaswag.yaml",
    "lambada": "lambada/lambada_openai.yaml",
    "perplexity": "wikitext/wikitext.yaml",
}
CHOICES = {
    "task": "choices",
    "output_type": "multiple_choice",
    "test_split": "test",
    "doc_to_text": "context",
    "doc_to_target": "{{label}}",
    "doc_to_choice": "endings",
    "target_delimiter": " ",
    "metric_list": [{"metric": name} for name in ("acc", "acc_norm")],
}


def rows(task):
    """Texts of all lengths, around pocket's window and beyond."""
    rng = random.Random(task)
    words = " ".join(islice(stories(seed=11), 60)).split(" ")
    marks = ["[header] ", " [title] ", "  ", " [step] ", "\n", ""]

    def some(most):
        start = rng.randrange(len(words) - most)
        return " ".join(words[start : start + rng.randrange(1, most)])

    for _ in range(ROWS):
        context, endings = some(280), [some(20) for _ in range(4)]
        label = rng.randrange(4)
        if task == "perplexity":
            yield {"page": some(900)}
        elif task == "lambada":
            yield {"text": context}
        elif task == "choices":
            yield {"context": context, "endings": endings, "label": label}
        else:
            row = {"ctx_a": context + rng.choice(marks) + some(9), "ctx_b": some(9)}
            row |= {"ctx": "not read", "activity_label": "Home", "label": str(label)}
            yield row | {"endings": [rng.choice(marks) + text for text in endings]}


def their_task(name, path, cache):
    settings = (
        dict(CHOICES) if name == "choices" else load_yaml(THEIR_TASKS / YAML[name])
    )
    for key in ("tag", "group", "task_list", "process_docs"):
        if name != "hellaswag" or key != "process_docs":
            settings.pop(key, None)
    if name == "perplexity":
        settings["doc_to_target"] = "page"  # the text as it is
    splits = [
        settings.get(f"{part}_split") for part in ("training", "validation", "test")
    ]
    files = {split: str(path) for split in splits if split}
    settings |= {"dataset_path": "json", "dataset_name": None}
    settings["dataset_kwargs"] = {"data_files": files, "cache_dir": str(cache)}
    return ConfigurableTask(config=settings)


@pytest.fixture(scope="module")
def harness():
    """Without its cache of logits, which mixes up endings of different lengths."""
    folder = str(BIN / "pocket")
    return HFLM(pretrained=folder, dtype="float32", device="cpu", logits_cache=False)


@pytest.mark.parametrize("name", ["hellaswag", "lambada", "perplexity", "choices"])
def test_each_item_has_the_harness_likelihoods_and_figures(name, harness, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(name)))
    result = simple_evaluate(
        model=harness,
        tasks=[their_task(name, path, tmp_path)],
        bootstrap_iters=0,
        log_samples=True,
        task_manager=TaskManager(include_defaults=False),
    )
    ((_, samples),) = result["samples"].items()
    ((_, theirs),) = result["results"].items()
    samples.sort(key=lambda sample: sample["doc_id"])
    task = BENCHMARKS[name](load_tokenizer(), 256)
    items = [
        task.parse({"text": row["page"]} if name == "perplexity" else row)
        for row in rows(name)
    ]
    found = iter(log_likelihoods(load_model(), [q for i in items for q in i.questions]))
    answers = [[next(found) for _ in item.questions] for item in items]
    for item, answer, sample in zip(items, answers, samples, strict=True):
        if name == "perplexity":
            (right,) = sample["filtered_resps"]
            ours = sum(window.nats for (window,) in answer)
            assert ours == pytest.approx(right, rel=1e-5)
            continue
        for ending, (nats, greedy) in zip(answer[0], sample["filtered_resps"]):
            assert ending.nats == pytest.approx(nats, rel=1e-4, abs=1e-3)
            assert ending.greedy == greedy
        for figure, value in task.figures([item], [answer]).items():
            if figure.startswith("acc"):
                assert value.value == sample[figure]
    for figure, value in task.figures(items, answers).items():
        assert value.value == pytest.approx(theirs[f"{figure},none"], rel=1e-4)


def test_wikitexts_spaces_are_undone_as_the_harness_does():
    rng = random.Random(0)
    parts = [*" ()[]{}'\"aN1@", " @-@ ", " @,@ ", " @.@ ", " \u00b0 ", " \n", "\n "]
    parts += [f" {mark} " for mark in ":;.!?,"] + ["= = = =", "= = =", "= =", " 's"]
    for _ in range(20_000):
        text = "".join(rng.choices(parts, k=rng.randrange(20)))
        assert undo_spaces(text) == wikitext_detokenizer({"page": text})
