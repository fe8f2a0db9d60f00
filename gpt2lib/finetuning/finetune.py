"""The finetuning run: a trained GPT-2 and a file of examples to a model for a task.

It is the same for every task: read, split, train, keep the weights that were best on
the validation split, and only then measure on the test split.
"""

import hashlib
import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from gpt2lib import files
from gpt2lib.checks import check_whole
from gpt2lib.config import POCKET
from gpt2lib.devices import find_device
from gpt2lib.finetuning.adaptation import (
    ADAPTATION_RATE,
    adapt_to_texts,
    text_windows,
    texts_as_ids,
)
from gpt2lib.finetuning.classification import PARTS, SpamTask, train_only
from gpt2lib.finetuning.instruction import InstructionTask
from gpt2lib.finetuning.lora import add_lora, has_lora, mark_of, merge_lora, save_lora
from gpt2lib.finetuning.preference import PreferenceTask
from gpt2lib.finetuning.reasoning import ReasoningTask
from gpt2lib.finetuning.reinforcement import ReinforcementTask
from gpt2lib.finetuning.tasks import Task
from gpt2lib.model import GPTModel
from gpt2lib.tokenizer import Tokenizer, tokenizer_of
from gpt2lib.training.processes import process_count
from gpt2lib.training.records import (
    balanced,
    find_records,
    read_records,
    same_text,
    split_by_first,
)
from gpt2lib.training.runs import (
    ADAPTATION,
    BEST,
    CHECKPOINT,
    METRICS,
    Metrics,
    go_on,
    run_to_end,
    total_seconds,
    try_to_save,
    working_folder,
)
from gpt2lib.training.trainer import Trainer, TrainingSettings
from gpt2lib.weights.loading import load_model
from gpt2lib.weights.saving import save_model
from gpt2lib.weights.tensors import write_tensors
from gpt2lib.weights.vocabulary import check_tokenizer_fits, end_of_text

TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (
        SpamTask,
        InstructionTask,
        ReasoningTask,
        PreferenceTask,
        ReinforcementTask,
    )
}
TRAINED = (*PARTS, "lora")
ONLY_FOR: dict[str, type[Task]] = {"balance": SpamTask, "adapt": SpamTask}
ONLY_FOR |= {name: task for task in TASKS.values() for name in task.options}
VALIDATIONS = 8  # per run, evenly spaced


def finetune(
    task: str,
    data: str | Path,
    out: str | Path,
    model: str | Path = "pocket",
    *,
    train: str = "all",
    epochs: int | None = None,
    batch_size: int = 16,
    balance: bool = False,
    adapt: int = 0,
    skip_bad_rows: bool = False,
    resume: bool = False,
    device: str | torch.device | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Finetunes a model, saves it with a model card, and returns the figures.

    Args:
        task: "spam", "instruction", "reasoning", "preference" or "reinforcement".
        data: the file of examples, in one of the formats that `records` lists.
        out: the folder to create, which `load_model` opens.
        model: the trained model to start from, a name in bin/ or a path.
        train: "all", "head", "final-scale", "last-block" (with final norm and head) or
            "lora".
        epochs: passes over the training split; the task's default if None.
        balance: drop rows until all labels are as frequent as the rarest (spam).
        adapt: first predict the texts' next tokens, without labels, for so many
            passes; of what `balance` dropped, too (spam).
        skip_bad_rows: leave out unusable rows instead of raising.
        resume: continue from the training state, if there is one.
        device: where to train; the best available if None.
        settings: the task's own `options`, such as learn_prompt (instruction) or beta
            (preference), and other fields of `TrainingSettings`.

    Raises:
        FileNotFoundError: no such file or model.
        ValueError: unusable rows or settings.
        FloatingPointError: the loss or gradient norm is not finite.
    """
    options = {n: settings.pop(n) for n in ONLY_FOR.keys() & settings.keys()}
    choices = {"balance": balance, "adapt": adapt, "batch_size": batch_size}
    _check_choices(task, train, choices, options, epochs, batch_size, settings)
    device, file, out = find_device(device), _apart(data, out), Path(out)
    path = files.find_model(model)
    gpt, tokenizer = load_model(path), tokenizer_of(path)
    job = TASKS[task](tokenizer, gpt.cfg.context_length, **options)
    _check_model(job, model, gpt.cfg, train, adapt)
    seed = settings.get("seed", 0)
    splits, counts = read_splits(job, file, balance, skip_bad_rows, seed)
    facts: dict[str, Any] = {"task": task, "base": str(model), "train": train}
    facts |= {"weights": mark_of(gpt), "data": _hash(file)} | choices | job.chosen()
    rate = job.rate * finetuning_rate(gpt.cfg.n_params, train)
    steps = math.ceil(len(splits["training"]) / batch_size) * (epochs or job.epochs)
    usual = job.training | {"learning_rate": rate}
    run = TrainingSettings(**usual | settings | {"steps": steps})
    with working_folder(out, resume) as work:
        _check_folder(out, work, adapt, tokenizer)
        figures: dict[str, Any] = {"task": task}
        if adapt:
            figures |= _adapt(job, gpt.to(device), splits, run, work, facts)
        gpt = choose_trained(job.equip(gpt, seed), train, seed)
        counts["trained_parameters"] = sum(p.numel() for p in trained(gpt).values())
        batches = job.batches(gpt.to(device), splits["training"], batch_size, seed)
        facts |= counts
        trainer = Trainer(gpt, run, loss=job.loss_of(gpt), **facts)
        go_on(trainer, work)
        figures |= counts | train_best(trainer, batches, job, splits, out, tokenizer)
        figures |= measure_beside(job, gpt, path, splits)
        card = model_card(out, file, trainer.facts, figures)
        files.write_text(out / "README.md", card)
    return figures


def _apart(data, out):
    """The file of examples, which must not be in a folder that gets more files."""
    files.check_named(out)
    if Path(data).is_dir() and Path(out).resolve().is_relative_to(Path(data).resolve()):
        raise ValueError(
            f"{out} is in {data}, which must go on holding exactly one data file: "
            "choose a folder elsewhere, or give the file itself"
        )
    return find_records(data)


def _check_folder(out, work, adapt, tokenizer):
    """Refuses, before anything is trained, to go on with a run that began otherwise."""
    try_to_save(tokenizer, work)
    adapted = (work / ADAPTATION / CHECKPOINT).exists()
    if (adapted or (work / CHECKPOINT).exists()) and adapted != bool(adapt):
        raise ValueError(
            f"{out} belongs to a run {'with' if adapted else 'without'} adapt: give "
            "the same arguments as for its beginning, or choose another folder"
        )


def _adapt(job, gpt, splits, run, work, facts):
    """Lets a model read the texts that it may see; see `adaptation`."""

    def ids_of(*names):
        texts = [job.key(row) for name in names for row in splits.get(name, ())]
        return texts_as_ids(texts, job.tokenizer, run.seed)

    ids = ids_of("training", "surplus")
    windows = text_windows(ids, job.context_length, run.seed)
    settings = TrainingSettings(
        steps=math.ceil(facts["adapt"] * len(windows) / windows.batch_size),
        learning_rate=ADAPTATION_RATE * finetuning_rate(gpt.cfg.n_params),
        precision=run.precision,
        seed=run.seed,
    )
    trainer = Trainer(gpt, settings, **facts)
    return adapt_to_texts(trainer, windows, ids_of("validation"), work / ADAPTATION)


def _check_choices(task, train, choices, options, epochs, batch_size, settings):
    """Refuses at once what would otherwise fail only after reading the data."""
    if task not in TASKS:
        raise ValueError(f"the task must be one of {[*TASKS]}, got {task!r}")
    if train not in TRAINED:
        raise ValueError(f"train must be one of {TRAINED}, got {train!r}")
    for name, only in ONLY_FOR.items():
        given = choices.get(name) or name in options
        if given and task != only.name:
            raise ValueError(
                f"{name} is for the task {only.name}, not for {task}: leave it out"
            )
    check_whole("adapt", choices["adapt"], 0)
    if choices["adapt"] and train == "lora":
        raise ValueError(
            "adapt changes all weights, so an adapter would not fit the base model: "
            "leave out adapt, or choose another part to train"
        )
    if "steps" in settings:
        raise ValueError("steps follow from epochs and batch_size: give those instead")
    check_whole("epochs", 1 if epochs is None else epochs)
    check_whole("batch_size", batch_size)
    TrainingSettings(**{"steps": 1} | settings)
    if (count := process_count()) > 1:
        raise ValueError(
            f"torchrun started {count} processes, but finetune uses one: run it "
            "without torchrun"
        )


def _check_model(job, name, cfg, train, adapt):
    """Refuses at once a model that cannot be trained for the task."""
    if cfg.n_classes and (job.has_base or adapt):
        raise ValueError(
            f"{name} has a classification head for {cfg.n_classes} classes, but "
            f"{'adapt' if adapt else f'the task {job.name}'} needs a model that "
            "predicts tokens: use the one it was finetuned from"
        )
    if job.has_base and cfg.tied_head and train == "head":
        raise ValueError(
            f"the output head of {name} is its token embedding, so it cannot be "
            "trained alone: choose --train final-scale, last-block, lora or all"
        )
    end_of_text(job.tokenizer)
    check_tokenizer_fits(job.tokenizer, cfg.vocab_size)


def read_splits(
    job: Task,
    data: str | Path,
    balance: bool = False,
    skip_bad_rows: bool = False,
    seed: int = 0,
) -> tuple[dict[str, list], dict[str, int]]:
    """The rows of a task in three splits, and counts of rows used and left out.

    Returns: {"training": rows, "validation": rows, "test": rows}, counts by name; with
        `balance` also "surplus", rows that it drops, none with a text of the others
    """

    def parse(record):
        row = job.parse(record)
        job.encode(row)  # here, so that an error names the line
        return row

    everything, bad_rows = read_records(data, parse, skip_bad_rows)
    rows = everything
    if balance:
        rows = balanced(rows, lambda row: row.label, seed)
    fitting = [row for row in rows if job.fits(row)]
    if not fitting:
        raise ValueError(
            f"none of the {len(rows)} rows fits the context of {job.context_length} "
            "tokens: use a model with a longer one"
        )
    parts = split_by_first(fitting, job.keys(), job.shares, seed)
    splits = dict(zip(("training", "validation", "test"), parts))
    job.check(splits)
    counts = {f"{name}_rows": len(part) for name, part in splits.items()}
    if balance:
        known = {same_text(job.key(row)) for row in rows}
        splits["surplus"] = [
            r for r in everything if same_text(job.key(r)) not in known
        ]
    dropped = {"bad_rows": bad_rows, "too_long": len(rows) - len(fitting)}
    return splits, counts | dropped


def choose_trained(model: GPTModel, train: str, seed: int = 0) -> GPTModel:
    """Freezes what is not trained, in place; `train` as in `finetune`."""
    return add_lora(model, seed=seed) if train == "lora" else train_only(model, train)


def finetuning_rate(n_params: int, train: str = "all") -> float:
    """A good peak learning rate: lower for large models, higher if less is trained.

    0.001 for pocket, and near the course's 5e-5 for GPT-2.

    >>> [round(finetuning_rate(n), 6) for n in (3_308_544, 124_439_808, 354_823_168)]
    [0.001, 6.6e-05, 3e-05]
    """
    factors = {"all": 1, "last-block": 2, "head": 10, "final-scale": 10, "lora": 5}
    factor = factors[train]
    return factor * 1e-3 * (POCKET.n_params / n_params) ** 0.75


def train_best(
    trainer: Trainer,
    batches: Any,
    job: Task,
    splits: dict[str, list],
    out: Path,
    tokenizer: Tokenizer,
) -> dict[str, Any]:
    """Trains to the end, and saves to `out` what was best on the validation split.

    After an interrupt, that is the best so far; see `Task.validate` and `Task.batches`.

    Returns: the figures of the run and of its best validation.
    """
    model, work = trainer.model, out / "training"
    metrics = Metrics(work / METRICS)
    if trainer.step:
        read_kept(model, work / BEST)  # only to check it
    else:  # left by a run that was killed before its first save
        (work / BEST).unlink(missing_ok=True)

    def validate():
        precision = trainer.settings.precision
        figures = job.validate(model, splits["validation"], precision)
        earlier = max(map(_merit, _validations(metrics)), default=(0, -math.inf))
        if math.isfinite(figures["val_loss"]) and _merit(figures) > earlier:
            keep(model, work / BEST)
        return figures

    every = math.ceil(trainer.settings.steps / VALIDATIONS)
    every += -every % getattr(batches, "updates", 1)  # resume at a fresh draw
    try:
        notes = getattr(batches, "notes", dict)
        run_to_end(trainer, batches.batch, validate, work, every, notes)
    finally:
        if (work / BEST).exists() and (work / CHECKPOINT).exists():
            restore(model, work / BEST)
            save_for(job, model, out, tokenizer)
    steps = [m for m in metrics.read() if "val_loss" not in m]
    return max(_validations(metrics), key=_merit) | {
        "steps": len(steps),
        "seconds": round(total_seconds(steps), 1),
    }


def _validations(metrics):
    return [measured for measured in metrics.read() if "val_loss" in measured]


def measure_beside(
    job: Task, model: GPTModel, base: str | Path, splits: dict[str, list]
) -> dict[str, Any]:
    """The figures of a finetuned model, and those beside its base model."""
    figures = job.measure(model, splits)
    if job.has_base:
        figures |= job.beside(model, load_model(base, device=model.device), splits)
    return figures


def _merit(measured):
    return measured.get("val_accuracy", 0), -measured["val_loss"]


def trained(model: GPTModel) -> dict[str, torch.nn.Parameter]:
    """Name -> parameter, of all that require a gradient."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def keep(model: GPTModel, path: Path) -> None:
    """Writes the trained parameters; the base model has all others."""
    with files.atomic_write(path) as temporary:
        write_tensors(
            {name: p.detach() for name, p in trained(model).items()}, temporary
        )


@torch.no_grad()
def restore(model: GPTModel, path: Path) -> None:
    """Sets the trained parameters to what `keep` wrote."""
    kept = read_kept(model, path)
    for name, parameter in trained(model).items():
        parameter.copy_(kept[name])


def read_kept(model: GPTModel, path: Path) -> dict[str, torch.Tensor]:
    """Name -> tensor, as `keep` wrote them for this model.

    Raises:
        ValueError: the file is missing, damaged, or of another model.
    """
    try:
        kept = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"{path} is missing or damaged ({error}): delete {path.parent} to start "
            "over"
        ) from error
    shapes = {name: p.shape for name, p in trained(model).items()}
    if {name: tensor.shape for name, tensor in kept.items()} != shapes:
        raise ValueError(
            f"{path} holds other weights than those being trained: delete "
            f"{path.parent} to start over"
        )
    return kept


def _hash(file):
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def save_for(job: Task, model: GPTModel, out: Path, tokenizer: Tokenizer) -> None:
    """Saves a model, LoRA merged, with the name of its task in config.json."""
    settings = {"finetuning_task": job.name} | job.settings
    if has_lora(model):
        save_lora(model, out / "adapter.safetensors", settings)
        merge_lora(model)
    has_files = hasattr(tokenizer, "save")  # otherwise it is GPT-2's
    save_model(model, out, tokenizer if has_files else None, settings)


def model_card(
    out: Path, file: Path, facts: dict[str, Any], figures: dict[str, Any]
) -> str:
    """The model card of a finetuned model, in Markdown."""
    settings = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    rows = (f"| {name} | {_shown(value)} |" for name, value in figures.items())
    template = (files.DATA / "cards" / "finetuned.md").read_text(encoding="utf-8")
    card = template.format(
        name=out.resolve().name,
        task=facts["task"],
        base=facts["base"],
        settings=settings,
        table="\n".join(rows),
        file=file.name,
    )
    # If the locale is not UTF-8, file names hold undecodable bytes as surrogates.
    return card.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _shown(value):
    return f"{value:.4f}" if isinstance(value, float) else f"{value}"
