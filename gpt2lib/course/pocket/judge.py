"""Measures how well a model tells stories and answers questions about them."""

import math
import random
from itertools import islice

import torch

from gpt2lib.course.pocket.ngram import NGramModel
from gpt2lib.course.stories import (
    ANSWER,
    QUESTION,
    check_story,
    stories,
    with_question,
)
from gpt2lib.data import IGNORED
from gpt2lib.generate import generate
from gpt2lib.model import GPTModel
from gpt2lib.tokenizer import ENDOFTEXT, text_to_token_ids
from gpt2lib.training import evaluate

UNSEEN_SEED = 1_000_000  # for stories never used in training


def unseen_stories(count, title=None):
    """Stories never used in training; all of the plot `title`, if given."""
    return list(islice(stories(UNSEEN_SEED, title), count))


def sample_stories(model, tokenizer, beginnings, temperature=0.8, seed=0):
    """The model's story for each given text, prompted with its first four tokens."""
    generator = torch.Generator().manual_seed(seed)
    prompts = [text_to_token_ids(text, tokenizer)[:, :4] for text in beginnings]
    room, end = model.cfg.context_length - 4, tokenizer.eot_token
    texts = []
    for batch in torch.cat(prompts).split(100):
        ids = generate(
            model, batch, room, None, temperature, eos_id=end, generator=generator
        )
        texts += [tokenizer.decode(row.tolist()).split(ENDOFTEXT)[0] for row in ids]
    return [text.split(QUESTION)[0].strip() for text in texts]


def share(flags):
    """The fraction of flags that are true."""
    flags = list(flags)
    return sum(flags) / len(flags)


def share_that_holds(texts):
    """The fraction of texts that are complete, consistent stories."""
    return share(check_story(text).holds for text in texts)


def story_bits_per_byte(model, tokenizer, tales):
    """Loss on stories, end tokens included, in bits per byte of the stories."""
    end = tokenizer.eot_token
    rows = [[end, *tokenizer.encode(tale), end] for tale in tales]
    length = max(map(len, rows))
    ids = torch.tensor([row + [IGNORED] * (length - len(row)) for row in rows])
    targets = ids[:, 1:]
    inputs = ids[:, :-1].clamp(min=0)  # padding: no real token attends to it
    loss = evaluate(model, zip(inputs.split(16), targets.split(16)))
    tokens = (targets != IGNORED).sum().item()
    return loss * tokens / math.log(2) / sum(map(len, tales))


def five_gram_bits_per_byte(training_ids, tokenizer, tales):
    """The same for a smoothed 5-gram model trained on the training tokens."""
    five_grams = NGramModel(training_ids, tokenizer.n_vocab, order=5)
    end = tokenizer.eot_token
    ids = [id for tale in tales for id in (*tokenizer.encode(tale), end)]
    ids = torch.cat([training_ids[-4:], torch.tensor(ids)])
    bits = -five_grams.probabilities(ids).log2().sum().item()
    return bits / sum(map(len, tales))


def share_answered(model, tokenizer, tales, seed=0):
    """The fraction of questions about stories that the model answers exactly."""
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


def measure(model, corpus, training_text, training_seed):
    """The figures on pocket's card, except those of the training run."""
    tokenizer, tales = corpus.tokenizer, unseen_stories(500)
    torch.manual_seed(0)
    untrained = sample_stories(GPTModel(model.cfg), tokenizer, tales)
    samples = sample_stories(model, tokenizer, tales)
    read, ids = islice(stories(training_seed), 500), corpus.training[:]
    return {
        "story_bits_per_byte": story_bits_per_byte(model, tokenizer, tales),
        "five_gram_bits_per_byte": five_gram_bits_per_byte(ids, tokenizer, tales),
        "agreement": share_that_holds(samples),
        "agreement_untrained": share_that_holds(untrained),
        "agreement_training_data": share_that_holds(read),
        "memorised": share(text in training_text for text in samples),
        "answered": share_answered(model, tokenizer, tales[:200]),
        "sample": next((t for t in samples if check_story(t).holds), samples[0]),
    }
