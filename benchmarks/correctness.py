"""Whether gpt2lib computes on a GPU what it computes on the CPU.

Each check is a function of a `Setting` that returns what it found and whether that will
do; what it raises is a failure, too.
"""

import json
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.card import Cpu, find_card
from gpt2lib import (
    GPT2_124M,
    POCKET,
    GPTConfig,
    GPTModel,
    files,
    load_model,
    load_tokenizer,
    save_model,
)
from gpt2lib.course.pocket import judge
from gpt2lib.evaluation.verify import AGREEMENT
from gpt2lib.finetuning import finetune
from gpt2lib.generate import generate
from gpt2lib.training import LossOf, Trainer, TrainingSettings

CLOSE = 1e-3  # logits in float32, on two devices or in two ways
SPAM = files.DATA / "spam" / "messages.tsv"


@dataclass
class Setting:
    """The card, the sizes to try it with, and what several checks share.

    Args:
        folder: a temporary one, where `weights` are written.
        nanogpt: path of a checkout of nanoGPT, if there is one.
        compilers: backends of torch.compile, in the order to try them.
        small: the model that is trained here; `cfg` is the one that is measured.
    """

    card: Any = field(default_factory=find_card)
    folder: str | None = None
    nanogpt: str | None = None
    compilers: tuple[str, ...] = ("inductor",)
    cfg: GPTConfig = replace(GPT2_124M, drop_rate=0.0)
    small: GPTConfig = POCKET
    rows: int = 16
    length: int = 1024
    stories: int = 16
    new: int = 100  # ids to generate
    decoded: int = 48  # ids to time
    steps: int = 10
    messages: int | None = None  # for spam: the first so many; all if None
    least_accuracy: float = 0.9
    batches: tuple[int, ...] = (1, 64)
    turns: int = 5
    at_once: int = 5  # steps or prompts that are timed together
    matrix: int = 8192
    megabytes: int = 2048

    @property
    def device(self):
        return self.card.device

    @property
    def form(self):
        """What to call nanoGPT, or what stands in for it."""
        return "nanoGPT" if self.nanogpt else "nanoGPT's form"

    @cached_property
    def weights(self):
        """The path of GPT-2 with random weights, in Hugging Face layout."""
        torch.manual_seed(0)
        path = Path(self.folder, "random")
        save_model(GPTModel(self.cfg), path)
        return path

    @cached_property
    def story_ids(self):
        """Texts that pocket knows how to go on with: (stories, length of pocket)."""
        tokenizer, length = load_tokenizer(), POCKET.context_length // 2
        tales = judge.unseen_stories(4 * self.stories)
        ids = [id for tale in tales for id in tokenizer.encode(tale)]
        return torch.tensor(ids[: self.stories * length]).view(self.stories, length)


def tiny():
    """The same with the smallest sizes, on whatever device there is."""
    cfg = GPTConfig(256, 64, emb_dim=64, n_heads=2, n_layers=2, drop_rate=0.0)
    sizes = {"cfg": cfg, "small": cfg, "rows": 4, "length": 32, "stories": 2}
    sizes |= {"new": 8, "decoded": 8, "steps": 2, "messages": 120, "batches": (1, 2)}
    sizes |= {"turns": 3, "at_once": 1, "matrix": 128, "megabytes": 1}
    setting = Setting(least_accuracy=0.0, **sizes)
    if type(setting.card) is Cpu:  # where inductor needs a C++ compiler
        setting = replace(setting, compilers=("inductor", "eager"))
    return setting


def apart(one, other):
    """The largest difference between two tensors on any devices."""
    return (one.cpu().double() - other.cpu().double()).abs().max().item()


# ------------------------------------------------------------------------ one model


@torch.no_grad()
def logits_as_on_the_cpu(setting):
    """Float32 logits of random GPT-2 and of pocket, beside the CPU's."""
    ids = torch.randint(setting.cfg.vocab_size, (1, setting.length))
    given = {setting.weights: ids, "pocket": setting.story_ids}
    found = [
        apart(
            load_model(path, device=setting.device)(ids.to(setting.device)),
            load_model(path)(ids),
        )
        for path, ids in given.items()
    ]
    text = f"{found[0]:.1e} apart, pocket {found[1]:.1e}; at most {CLOSE:.0e}"
    return f"{text}, without TF32", max(found) <= CLOSE


@torch.no_grad()
def cached_as_uncached(setting):
    """Pocket's float32 logits: half a text, then id by id, beside all at once."""
    model = load_model(device=setting.device)
    ids = setting.story_ids.to(setting.device)
    half, length = ids.shape[1] // 2, ids.shape[1]
    caches, expected = model.new_caches(length), model(ids)
    parts = [model(ids[:, :half], caches)]
    parts += [model(ids[:, i : i + 1], caches) for i in range(half, length)]
    found = apart(torch.cat(parts, dim=1), expected)
    return f"{found:.1e} apart; at most {CLOSE:.0e}", found <= CLOSE


def generation(setting, **sampling):
    """The ids that pocket writes, beside those it writes on the CPU."""
    prompts = setting.story_ids[:, :20]
    written = []
    for device in (setting.device, "cpu"):
        if sampling:
            sampling["generator"] = torch.Generator().manual_seed(1)
        model = load_model(device=device)
        written.append(generate(model, prompts, setting.new, **sampling).cpu())
    same = (written[0] == written[1]).all(dim=1).float().mean().item()
    return f"{same:.0%} of {len(prompts)} texts the same; at least 90%", same >= 0.9


def sampled_generation(setting):
    """The same with sampling from a generator on the CPU."""
    return generation(setting, temperature=0.8, top_k=40, top_p=0.95)


@torch.no_grad()
def agreement(setting, precision):
    """How often pocket's likeliest next id is that of float32."""
    ids = setting.story_ids.to(setting.device)
    exact = load_model(device=setting.device)(ids).argmax(dim=-1)
    model = load_model(device=setting.device, precision=precision)
    same = (model(ids).argmax(dim=-1) == exact).float().mean().item()
    least = AGREEMENT[precision]
    text = f"{same:.1%} of {exact.numel()} likeliest ids as in float32"
    return f"{text}; at least {least:.0%}", same >= least


def bfloat16(setting):
    """Weights and computation in bfloat16."""
    return agreement(setting, "bfloat16")


def float16(setting):
    """Weights in float16, on a GPU computation too."""
    return agreement(setting, "float16")


# ------------------------------------------------------------------------- training


def batch_of(setting, cfg):
    """Random inputs and targets that fit a model's context."""
    shape = (4, min(setting.length, cfg.context_length) + 1)
    ids = torch.randint(
        cfg.vocab_size, shape, generator=torch.Generator().manual_seed(2)
    )
    return ids[:, :-1], ids[:, 1:]


def model_of(setting, seed=0, **changes):
    """The model that is trained here, with random weights, on the card."""
    torch.manual_seed(seed)
    return GPTModel(replace(setting.small, **changes)).to(setting.device)


def loss_falls(setting):
    """Steps on one batch in bfloat16, so that the loss has to fall."""
    settings = TrainingSettings(setting.steps, precision="bfloat16", warmup=0)
    trainer = Trainer(model_of(setting), settings)
    batch = batch_of(setting, setting.small)
    losses = [done.loss for done in trainer.run(lambda step: batch)]
    text = f"loss {losses[0]:.3f} to {losses[-1]:.3f} in {setting.steps} steps"
    return text, losses[-1] < losses[0]


def compiled(setting):
    """Loss and gradients by torch.compile, beside those without it, in float32."""
    model = model_of(setting)
    batch = [part.to(setting.device) for part in batch_of(setting, setting.small)]
    expected = gradients(model, LossOf(model), batch)
    backend, found = compile_with_any(
        setting.compilers, lambda loss_of: gradients(model, loss_of, batch), model
    )
    loss = abs(found[0] / expected[0] - 1).item()
    gradient = apart(found[1], expected[1]) / expected[1].abs().max().item()
    text = f"{backend}: loss {loss:.1e} apart, gradients {gradient:.1e}"
    return f"{text} (relative); at most 1e-03", max(loss, gradient) <= 1e-3


def gradients(model, loss_of, batch):
    """The loss, and the gradients of all parameters as one vector."""
    model.zero_grad()
    loss = loss_of(*batch)
    loss.backward()
    return loss.detach(), torch.cat([p.grad.flatten() for p in model.parameters()])


def compile_with_any(backends, program, model):
    """The first backend that works, and what the program returned with it."""
    for backend in backends[:-1]:
        try:
            return backend, program(torch.compile(LossOf(model), backend=backend))
        except Exception as error:  # no C++ compiler, or none that suits torch
            reason = f"{error}".strip().splitlines()[:1]
            print(f"{backend} does not work here: {reason}", file=sys.stderr)
    return backends[-1], program(torch.compile(LossOf(model), backend=backends[-1]))


def exact_resume(setting):
    """Weights after training in one go, and after saving and resuming halfway.

    With dropout, whose random numbers must go on, too. If a card's sums come out
    differently from run to run, two runs in one go show by how much.
    """
    with deterministic():
        whole, again = (trained(setting) for _ in range(2))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "checkpoint.pt")
            trained(setting, setting.steps).save(path)
            resumed = trained(setting, seed=1, start=path)
    found, usual = (weights_apart(whole, other) for other in (resumed, again))
    text = "bit-equal" if found == 0 else f"{found:.1e} apart (relative)"
    return f"{text}; two whole runs: {usual:.1e}", found <= max(1e-5, 2 * usual)


@contextmanager
def deterministic():
    """Sums in the same order every time, where torch has such an operation."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.use_deterministic_algorithms(before)


def trained(setting, steps=None, seed=0, start=None):
    """A trainer after so many steps of twice `setting.steps`; to the end if None."""
    settings = TrainingSettings(2 * setting.steps, precision="bfloat16")
    trainer = Trainer(model_of(setting, seed, drop_rate=0.1), settings)
    if start is not None:
        trainer.load(start)
    inputs, targets = batch_of(setting, setting.small)
    while trainer.step < (steps or settings.steps):
        turned = trainer.step % len(inputs)
        trainer.train_step(inputs.roll(turned, 1), targets.roll(turned, 1))
    return trainer


def weights_apart(one, other):
    """The largest difference of any weight, relative to the largest in its tensor."""
    pairs = zip(one.model.parameters(), other.model.parameters())
    return max(apart(a, b) / a.abs().max().item() for a, b in pairs)


def one_process_group(setting):
    """Two steps within a process group of one, beside two without: see that module."""
    command = [sys.executable, "-m", "benchmarks.one_process", setting.device.type]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if run.returncode:
        print(run.stderr, file=sys.stderr)
        raise RuntimeError((run.stderr.strip().splitlines() or ["no reason given"])[-1])
    found = json.loads(run.stdout.splitlines()[-1])
    off = max(abs(a / b - 1) for a, b in zip(found["wrapped"], found["plain"]))
    same = off <= 1e-4 and found["sum"] == found["wrapped"][-1]
    return f"{found['backend']}: losses {off:.1e} apart (relative); at most 1e-04", same


def spam(setting):
    """Finetuning pocket to tell spam from ham, to the accuracy on the test split."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "messages.tsv")
        lines = SPAM.read_text(encoding="utf-8").splitlines(keepends=True)
        data.write_text("".join(lines[: setting.messages]), encoding="utf-8")
        epochs = None if setting.messages is None else 1
        out = Path(folder, "spam")
        figures = finetune("spam", data, out, device=setting.device, epochs=epochs)
    value, low, high = (figures[f"test_accuracy{end}"] for end in ("", "_low", "_high"))
    text = f"test accuracy {value:.1%} [{low:.1%}, {high:.1%}], at least"
    return f"{text} {setting.least_accuracy:.0%}", value >= setting.least_accuracy


CHECKS = {
    "logits against the CPU, float32": logits_as_on_the_cpu,
    "cached = uncached, float32": cached_as_uncached,
    "greedy generation as on the CPU": generation,
    "sampled generation as on the CPU": sampled_generation,
    "bfloat16": bfloat16,
    "float16": float16,
    "torch.compile": compiled,
    "training in bfloat16": loss_falls,
    "exact resume": exact_resume,
    "a process group of one": one_process_group,
    "finetune spam": spam,
}
