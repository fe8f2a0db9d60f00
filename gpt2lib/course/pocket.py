"""How bin/pocket is made, and what it can do: python -m gpt2lib.course.pocket

It writes the texts, trains on each of them once, measures, and writes the card. An
interrupted run goes on where it was.
"""

import json
import math
import platform
import random
from itertools import islice

import torch
from matplotlib import pyplot as plt

from gpt2lib.config import POCKET
from gpt2lib.corpus import prepare
from gpt2lib.course import extras, show
from gpt2lib.course.ngram import NGramModel
from gpt2lib.course.stories import check_story, questions, stories
from gpt2lib.files import BIN, DATA, atomic_write, write_text
from gpt2lib.generate import generate
from gpt2lib.model import GPTModel
from gpt2lib.pretraining import pretrain
from gpt2lib.tokenizer import ENDOFTEXT, text_to_token_ids
from gpt2lib.training import IGNORED, evaluate
from gpt2lib.weights import load_model, save_model

CHARACTERS = 80_000_000
SEED, UNSEEN_SEED = (
    0,
    1_000_000,
)  # of the texts to learn from, and of stories to judge by
TEXTS, WORK = DATA / "pocket" / "texts.txt", BIN / "pocket-training"

# Of a hundred characters, how many come from which kind of text.
SHARES = {
    "stories": 74,
    "stories with questions": 10,
    "messages": 6,
    "sums": 6,
    "word games": 4,
}
QUESTION = "\nQuestion: "
ANSWER = " Answer:"

# ---------------------------------------------------------------------- what it reads


def documents(seed=0):
    """Endless texts of all kinds in their shares, the same ones for the same seed."""
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


def with_question(story, rng):
    """A story, a question about it and the answer."""
    question, answer = rng.choice(questions(story))
    return f"{story}{QUESTION}{question}{ANSWER} {answer}"


def write_documents(path, characters, seed=0):
    """Fills a file with `documents`, <|endoftext|> after each."""
    with atomic_write(path) as temporary, open(temporary, "w") as file:
        for text in documents(seed):
            characters -= file.write(text + ENDOFTEXT + "\n")
            if characters <= 0:
                return


# ------------------------------------------------------------------------ what it can do


def unseen_stories(count):
    """Stories from a seed that training never used."""
    return list(islice(stories(UNSEEN_SEED), count))


def sample_stories(model, tokenizer, count, temperature=0.8, seed=0):
    """Stories by the model, each begun with the first four tokens of an unseen one."""
    generator = torch.Generator().manual_seed(seed)
    prompts = [text_to_token_ids(s, tokenizer)[:, :4] for s in unseen_stories(count)]
    texts = []
    for batch in torch.cat(prompts).split(100):
        room = model.cfg.context_length - 4
        eot = tokenizer.eot_token
        ids = generate(
            model, batch, room, None, temperature, eos_id=eot, generator=generator
        )
        texts += [tokenizer.decode(row.tolist()).split(ENDOFTEXT)[0] for row in ids]
    return [text.split(QUESTION)[0].strip() for text in texts]


def share(flags):
    """Which fraction of some yes-or-no values is yes."""
    flags = list(flags)
    return sum(flags) / len(flags)


def share_that_holds(texts):
    """The fraction of texts that are stories whose words agree."""
    return share(check_story(text).holds for text in texts)


def bits_per_byte(model, tokenizer, tales):
    """Bits the model needs for each byte of stories, and of the marks that end them."""
    end = tokenizer.eot_token
    rows = [[end, *tokenizer.encode(tale), end] for tale in tales]
    length = max(map(len, rows))
    ids = torch.tensor([row + [IGNORED] * (length - len(row)) for row in rows])
    targets = ids[:, 1:]
    inputs = ids[:, :-1].clamp(min=0)  # what stands for padding is read by nobody
    loss = evaluate(model, zip(inputs.split(16), targets.split(16)))
    tokens = (targets != IGNORED).sum().item()
    return loss * tokens / math.log(2) / sum(map(len, tales))


def five_gram_bits_per_byte(training_ids, tokenizer, tales):
    """The same from a smoothed 5-gram model that has counted the training tokens."""
    five_grams = NGramModel(training_ids, tokenizer.n_vocab, order=5)
    end = tokenizer.eot_token
    ids = [id for tale in tales for id in (*tokenizer.encode(tale), end)]
    ids = torch.cat([training_ids[-4:], torch.tensor(ids)])
    bits = -five_grams.probabilities(ids).log2().sum().item()
    return bits / sum(map(len, tales))


def share_answered(model, tokenizer, tales, seed=0):
    """The fraction of questions about stories that the model answers, word for word."""
    rng = random.Random(seed)
    right = []
    for tale in tales:
        prompt, _, answer = with_question(tale, rng).rpartition(ANSWER)
        ids = text_to_token_ids(prompt + ANSWER, tokenizer)
        room = model.cfg.context_length - ids.shape[1]
        new = generate(model, ids, max(0, room), eos_id=tokenizer.eot_token)
        said = tokenizer.decode(new[0, ids.shape[1] :].tolist())
        right.append(said.split(ENDOFTEXT)[0] == answer)
    return share(right)


def measure(model, corpus):
    """All figures of the card but those of the training itself."""
    tokenizer, tales = corpus.tokenizer, unseen_stories(500)
    torch.manual_seed(0)
    samples = sample_stories(model, tokenizer, 500)
    untrained = sample_stories(GPTModel(model.cfg), tokenizer, 500)
    training_text = TEXTS.read_text()
    ids = corpus.training[: len(corpus.training)]
    return {
        "story_bits_per_byte": bits_per_byte(model, tokenizer, tales),
        "five_gram_bits_per_byte": five_gram_bits_per_byte(ids, tokenizer, tales),
        "agreement": share_that_holds(samples),
        "agreement_untrained": share_that_holds(untrained),
        "agreement_training_data": share_that_holds(islice(stories(SEED), 500)),
        "memorised": share(text in training_text for text in samples),
        "answered": share_answered(model, tokenizer, tales[:200]),
        "samples": samples[:3],
    }
