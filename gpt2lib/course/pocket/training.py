"""How bin/pocket is made: python -m gpt2lib.course.pocket, or make pocket

Writes the texts, trains in five rounds, measures the model, and writes its card. An
interrupted run resumes where it stopped.
"""

import json
import platform
import random

import torch
from matplotlib import pyplot as plt
from torch.nn import functional as F

from gpt2lib.config import POCKET
from gpt2lib.course import show
from gpt2lib.course.datasets import extras
from gpt2lib.course.pocket import judge
from gpt2lib.course.stories import stories, with_question
from gpt2lib.data import ShuffledWindows
from gpt2lib.files import BIN, DATA, atomic_write, write_text
from gpt2lib.tokenizer import ENDOFTEXT
from gpt2lib.training import Metrics, evaluate, perplexity, pretrain
from gpt2lib.training.corpus import open_corpus
from gpt2lib.weights import load_model, save_model

SEED = 0
CHARACTERS = 80_000_000
TEXTS = DATA / "pocket" / "texts.txt"
FOLDER = BIN / "pocket"
# One pass over the texts, then further training with smaller batches. Rounds 3 to 5
# decay the learning rate to zero; rounds 4 and 5 use no weight decay.
ROUNDS = {
    BIN / "pocket-training": {"seed": SEED, "batch_size": 32},
    BIN / "pocket-training-2": {"seed": SEED + 1, "batch_size": 8, "steps": 4600},
    BIN / "pocket-training-3": {
        "seed": SEED + 2,
        "batch_size": 8,
        "steps": 12000,
        "final_rate": 0.0,
    },
    BIN / "pocket-training-4": {
        "seed": SEED + 3,
        "batch_size": 16,
        "steps": 10000,
        "final_rate": 0.0,
        "weight_decay": 0.0,
    },
    BIN / "pocket-training-5": {
        "seed": SEED + 4,
        "batch_size": 16,
        "steps": 10500,
        "final_rate": 0.0,
        "weight_decay": 0.0,
    },
}

# Percentage of the characters from each kind of text.
SHARES = {
    "stories": 74,
    "stories with questions": 10,
    "messages": 6,
    "sums": 6,
    "word games": 4,
}

# --------------------------------------------------------------------- training texts


def documents(seed=0):
    """Endless texts of all kinds in proportion to SHARES, reproducible by seed."""
    rng = random.Random(seed)
    tales = stories(seed)
    kinds = {
        "stories": tales,
        "stories with questions": (with_question(tale, rng) for tale in tales),
        "messages": extras.messages(rng),
        "sums": extras.sums(rng),
        "word games": extras.word_games(rng),
    }
    written = dict.fromkeys(SHARES, 0)
    while True:
        kind = min(SHARES, key=lambda kind: written[kind] / SHARES[kind])
        text = next(kinds[kind])
        written[kind] += len(text)
        yield text


def write_documents(path, characters, seed=0):
    """Fills a file with `documents`, each followed by <|endoftext|>."""
    with atomic_write(path) as temporary, open(temporary, "w") as file:
        for text in documents(seed):
            characters -= file.write(text + ENDOFTEXT + "\n")
            if characters <= 0:
                return


# --------------------------------------------------------------------------- training


def make():
    """Makes bin/pocket: texts, training, measurements, card. Takes over five hours."""
    if not TEXTS.exists():
        write_documents(TEXTS, CHARACTERS, SEED)
    trained = train()
    *_, last = ROUNDS
    model, corpus = load_model(last), open_corpus(token_folder(), last)
    some = cut_windows(corpus.training, corpus.tokenizer, 64).batch(0)
    trained["sharpened"] = sharpen(model, *some)
    save_model(model.half(), FOLDER, corpus.tokenizer)
    save_metrics()
    plt.switch_backend("agg")
    show.training(FOLDER / "metrics.jsonl")
    plt.savefig(FOLDER / "loss.png", dpi=100)
    model = load_model(FOLDER)  # measure the model as saved
    measured = judge.measure(model, corpus, TEXTS.read_text(), SEED)
    held_out = cut_windows(corpus.validation, corpus.tokenizer, 16)
    loss = evaluate(model, (held_out.batch(n) for n in range(len(held_out) // 16)))
    measured["bits_per_byte"] = trained["bits_per_byte"] * loss / trained["val_loss"]
    measured |= {"val_loss": loss, "perplexity": perplexity(loss)}
    write_text(FOLDER / "README.md", card(model, trained | measured))


def cut_windows(ids, tokenizer, rows):
    """Shuffled windows, `rows` per batch, cut as in training."""
    end = tokenizer.eot_token
    return ShuffledWindows(ids, POCKET.context_length, rows, document_end=end)


def token_folder():
    """The folder in which the first round stores the tokenized texts."""
    return next(iter(ROUNDS)) / "training" / "tokens"


def train():
    """Trains all rounds, each from the previous one's weights. Returns figures."""
    data, start, figures = TEXTS, None, []
    for out, settings in ROUNDS.items():
        settings = {"precision": "bfloat16", "resume": True, "start": start} | settings
        figures.append(pretrain(data, out, POCKET, **settings))
        data, start = token_folder(), out
    sums = {key: sum(f[key] for f in figures) for key in ("steps", "tokens", "seconds")}
    return figures[-1] | sums


@torch.no_grad()
def sharpen(model, inputs, targets):
    """Multiplies all logits by the factor with the lowest loss, and returns it.

    Training left pocket under-confident: its logits were about 10 % too small.
    Temperature scaling: Guo et al. 2017.

    Shapes: inputs and targets (B, T)
    """
    logits, targets = model(inputs).flatten(0, 1), targets.flatten()
    factors = [1 + percent / 100 for percent in range(-20, 31)]
    best = min(factors, key=lambda f: F.cross_entropy(f * logits, targets).item())
    model.final_norm.scale *= best
    model.final_norm.shift *= best
    return best


def save_metrics():
    """Saves every evaluation and every tenth training step of all rounds."""
    lines, done = [], 0
    for out in ROUNDS:
        measured = Metrics(out / "training" / "metrics.jsonl").read()
        for m in measured:
            if "val_loss" in m or m["step"] % 10 == 1:
                lines.append(json.dumps(m | {"step": done + m["step"]}) + "\n")
        done += measured[-1]["step"]
    write_text(FOLDER / "metrics.jsonl", "".join(lines))


def card(model, figures):
    """The model card of pocket, in Markdown."""
    lower = 1 - figures["story_bits_per_byte"] / figures["five_gram_bits_per_byte"]
    size = (FOLDER / "model.safetensors").stat().st_size
    shares = ", ".join(f"{kind} {percent} %" for kind, percent in SHARES.items())
    template = (DATA / "cards" / "pocket.md").read_text(encoding="utf-8")
    return template.format(
        **figures,
        **vars(model.cfg),
        lower=lower,
        size=size / 1e6,
        shares=shares,
        parameters=model.cfg.n_params,
        sharp=0.8 / figures["sharpened"],
        minutes=figures["seconds"] / 60,
        quoted="> " + figures["sample"].replace("\n", "\n>\n> "),
        characters=CHARACTERS,
        speed=figures["tokens"] / figures["seconds"],
        versions=f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads, {platform.system()} {platform.machine()}",
    )
