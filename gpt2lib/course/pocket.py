"""How bin/pocket is made: python -m gpt2lib.course.pocket

It writes the texts, trains in five rounds, measures, and writes the card. A run that
was interrupted goes on where it was.
"""

import json
import platform
import random

import torch
from matplotlib import pyplot as plt
from torch.nn import functional as F

from gpt2lib.config import POCKET
from gpt2lib.course import extras, judge, show
from gpt2lib.course.stories import stories
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
# One pass over the texts, then more, in smaller batches and therefore more steps. The
# later rounds end at a rate of zero, the two last without a pull of weights to zero.
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

# Of a hundred characters, how many come from which kind of text.
SHARES = {
    "stories": 74,
    "stories with questions": 10,
    "messages": 6,
    "sums": 6,
    "word games": 4,
}

# ---------------------------------------------------------------------- what it reads


def documents(seed=0):
    """Endless texts of all kinds in their shares, the same ones for the same seed."""
    rng = random.Random(seed)
    tales = stories(seed)
    kinds = {
        "stories": tales,
        "stories with questions": (judge.with_question(tale, rng) for tale in tales),
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
    """Fills a file with `documents`, <|endoftext|> after each."""
    with atomic_write(path) as temporary, open(temporary, "w") as file:
        for text in documents(seed):
            characters -= file.write(text + ENDOFTEXT + "\n")
            if characters <= 0:
                return


# ----------------------------------------------------------------------- how it is made


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
    model = load_model(FOLDER)  # what is measured is what is delivered
    measured = judge.measure(model, corpus, TEXTS.read_text(), SEED)
    held_out = cut_windows(corpus.validation, corpus.tokenizer, 16)
    loss = evaluate(model, (held_out.batch(n) for n in range(len(held_out) // 16)))
    measured["bits_per_byte"] = trained["bits_per_byte"] * loss / trained["val_loss"]
    measured |= {"val_loss": loss, "perplexity": perplexity(loss)}
    write_text(FOLDER / "README.md", card(model, trained | measured))


def cut_windows(ids, tokenizer, rows):
    """Batches of as many rows, cut as in training."""
    end = tokenizer.eot_token
    return ShuffledWindows(ids, POCKET.context_length, rows, document_end=end)


def token_folder():
    """Where the first round puts the tokens of the texts."""
    return next(iter(ROUNDS)) / "training" / "tokens"


def train():
    """All rounds, each from the weights of the one before. Returns figures."""
    data, start, figures = TEXTS, None, []
    for out, settings in ROUNDS.items():
        settings = {"precision": "bfloat16", "resume": True, "start": start} | settings
        figures.append(pretrain(data, out, POCKET, **settings))
        data, start = token_folder(), out
    sums = {key: sum(f[key] for f in figures) for key in ("steps", "tokens", "seconds")}
    return figures[-1] | sums


@torch.no_grad()
def sharpen(model, inputs, targets):
    """Multiplies all logits by the number with the least loss, and returns it.

    A model can know more than it dares to say: after a rate that fell to zero, pocket's
    logits were a tenth too small. Temperature scaling: Guo et al. 2017.

    Shapes: inputs and targets (B, T)
    """
    logits, targets = model(inputs).flatten(0, 1), targets.flatten()
    factors = [1 + percent / 100 for percent in range(-20, 31)]
    best = min(factors, key=lambda f: F.cross_entropy(f * logits, targets).item())
    model.final_norm.scale *= best
    model.final_norm.shift *= best
    return best


def save_metrics():
    """Keeps every judgement and every tenth step of all rounds."""
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
    return CARD.format(
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


CARD = """# pocket

A GPT-2 of {parameters:,} parameters, small enough to travel with the code: what every
chapter uses unless told otherwise. It tells short stories, and knows a little of short
messages, sums and words. It learned from texts that this project wrote itself (see
data/README.md), so it knows nothing of the world and no other English than theirs.

- GPT-2's architecture: {n_layers} blocks, {n_heads} heads, emb_dim {emb_dim}, context
  {context_length}, vocabulary {vocab_size} (its own byte-level BPE)
- Hugging Face layout, float16, {size:.1f} MB; `load_model()` opens it, and so does
  `transformers.GPT2LMHeadModel.from_pretrained("bin/pocket")`
- licence: MIT, as the code

## What it can do

Measured on the files in this folder by the command that made them. Unseen stories come
from the same generator with another seed.

| | pocket | beside it |
|---|---|---|
| bits per byte, 500 unseen stories | {story_bits_per_byte:.3f} | \
{five_gram_bits_per_byte:.3f} for a 5-gram model (interpolated Kneser-Ney) that \
counted the same training tokens; pocket needs {lower:.0%} less |
| of 500 stories sampled at temperature 0.8, those whose agreements all hold | \
{agreement:.1%} | {agreement_untrained:.1%} untrained, {agreement_training_data:.1%} \
in the training data |
| of the same 500, those that stand in the training data word for word | \
{memorised:.1%} | |
| of 200 questions about unseen stories, those answered word for word, greedily | \
{answered:.1%} | |
| all kinds of text, held out: loss, perplexity, bits per byte | {val_loss:.3f}, \
{perplexity:.2f}, {bits_per_byte:.3f} | |

A sampled story begins with the first four tokens of an unseen one. An agreement is, for
example, that what was lost is what is found, or that numbers add up;
`gpt2lib.course.stories.check_story` reads a story and says which hold. One sample:

{quoted}

## How it was made

    make pocket

- {characters:,} characters of text, by share of characters: {shares}
- five rounds, {tokens:,} tokens in {steps:,} steps: first as many tokens as the \
texts have, 32 windows a step; then more in smaller steps, 8, 8, 16 and 16 windows \
each. Every round has a warmup and a cosine, the three last down to zero, the two last \
without weight decay; bfloat16, seeds 0 to 4
- then all logits × {sharpened:.2f}, which lowers the loss on 64 windows of the \
training data most (temperature scaling, Guo et al. 2017): a temperature of 0.8 is as \
sharp as {sharp:.2f} was
- {minutes:.0f} minutes of steps at {speed:,.0f} tokens/s, on one or two cores of an \
AMD EPYC (Zen 4) that had other work, too
- {versions}

![training and held-out loss over steps](loss.png)
"""


if __name__ == "__main__":
    make()
