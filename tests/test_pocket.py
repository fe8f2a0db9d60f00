"""The model that comes with the code, and the yardsticks it is measured with."""

import math
import random
import re
from collections import Counter
from itertools import islice

import pytest
import torch
import transformers
from safetensors.torch import load_file

from gpt2lib import GPTModel, load_model, load_tokenizer
from gpt2lib.course.pocket import judge, training
from gpt2lib.course.pocket.ngram import NGramModel
from gpt2lib.course.stories import QUESTION, stories, with_question
from gpt2lib.files import BIN

FOLDER = BIN / "pocket"
TALES = judge.unseen_stories(40)


@pytest.fixture(scope="module")
def model():
    return load_model()


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer()


def test_pocket_fits_in_a_pocket(model, tokenizer):
    assert sum(p.stat().st_size for p in FOLDER.iterdir()) <= 12e6
    assert 2048 <= tokenizer.n_vocab == model.cfg.vocab_size <= 4096
    assert model.cfg.context_length >= 256
    tensors = load_file(FOLDER / "model.safetensors").values()
    assert {tensor.dtype for tensor in tensors} == {torch.float16}


def test_transformers_opens_pocket(model, tokenizer):
    theirs = transformers.GPT2LMHeadModel.from_pretrained(FOLDER, dtype=torch.float32)
    their_tokenizer = transformers.GPT2TokenizerFast.from_pretrained(FOLDER)
    for tale in TALES[:3]:
        ids = tokenizer.encode(tale)
        assert their_tokenizer.encode(tale) == ids
        assert their_tokenizer.decode(ids) == tale
        ids = torch.tensor([ids])
        with torch.no_grad():
            logits = theirs.eval()(ids).logits
            assert torch.allclose(model(ids), logits, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_sharpening_finds_the_factor_with_the_least_loss(tokenizer):
    model = load_model()
    ids = torch.tensor([tokenizer.encode(tale)[:100] for tale in TALES[:10]])
    inputs, targets = ids[:, :-1], ids[:, 1:]
    before, factor = model(inputs), training.sharpen(model, inputs, targets)
    assert torch.allclose(model(inputs), factor * before, atol=1e-4)
    assert training.sharpen(model, inputs, targets) == 1
    for scale in (model.final_norm.scale, model.final_norm.shift):
        scale /= 1.1
    assert training.sharpen(model, inputs, targets) == 1.1


def test_the_card_says_what_the_model_does(model, tokenizer):
    card = (FOLDER / "README.md").read_text()
    said = re.search(r"unseen stories \| ([\d.]+) \| ([\d.]+) for a 5-gram", card)
    measured = judge.story_bits_per_byte(model, tokenizer, TALES)
    assert measured == pytest.approx(float(said[1]), rel=0.08)
    agreement = float(re.search(r"all hold \| ([\d.]+)%", card)[1]) / 100
    told = judge.sample_stories(model, tokenizer, TALES)
    assert judge.share_that_holds(told) >= agreement - 0.12


def test_every_story_fits_into_the_window(tokenizer, model):
    longest = max(len(tokenizer.encode(s)) for s in islice(stories(5), 500))
    assert longest + 2 <= model.cfg.context_length


# ---------------------------------------------------------------------- what it reads


def test_texts_come_in_their_shares():
    lengths, texts = Counter(), []
    for text in islice(training.documents(seed=3), 3000):
        kind = "questions" if QUESTION in text else "rest"
        lengths[kind] += len(text)
        texts.append(text)
    share = lengths["questions"] / lengths.total()
    assert share == pytest.approx(0.10, abs=0.01)
    assert texts == list(islice(training.documents(seed=3), 3000))
    assert texts != list(islice(training.documents(seed=4), 3000))


def test_a_file_of_documents_has_the_size_asked_for(tmp_path):
    training.write_documents(tmp_path / "texts.txt", 50_000)
    assert 50_000 <= (tmp_path / "texts.txt").stat().st_size < 52_000


def test_a_question_follows_its_story():
    text = with_question(TALES[0], random.Random(1))
    story, _, asked = text.partition(QUESTION)
    assert story == TALES[0]
    assert re.fullmatch(r".+\? Answer: .+", asked)


# ------------------------------------------------------------------------- yardsticks


def test_bits_per_byte_of_a_model_that_knows_nothing(tokenizer):
    model = load_model()
    with torch.no_grad():
        model.final_norm.scale.zero_()
        model.final_norm.shift.zero_()  # all logits are 0
    tokens = sum(len(tokenizer.encode(tale)) + 1 for tale in TALES[:5])
    expected = tokens * math.log2(tokenizer.n_vocab) / sum(map(len, TALES[:5]))
    measured = judge.story_bits_per_byte(model, tokenizer, TALES[:5])
    assert measured == pytest.approx(expected, rel=1e-5)


def test_an_untrained_model_tells_no_story(tokenizer):
    torch.manual_seed(0)
    untrained = GPTModel(load_model().cfg)
    told = judge.sample_stories(untrained, tokenizer, TALES[:5])
    assert judge.share_that_holds(told) == 0
    assert judge.share_that_holds(TALES) == 1


def kneser_ney(ids, order, vocab_size):
    """The same smoothing once more, one sequence at a time, from the paper."""
    grams = [tuple(ids[i : i + order]) for i in range(len(ids) - order + 1)]
    counts = {order: Counter(grams)}
    for n in range(order - 1, 0, -1):
        counts[n] = Counter(gram[1:] for gram in counts[n + 1])

    def probability(gram):
        if not gram:
            return 1 / vocab_size
        table = counts[len(gram)]
        values = Counter(table.values())
        once, twice = values[1], values[2]
        discount = once / (once + 2 * twice) if once else 0.5
        follow = {g: c for g, c in table.items() if g[:-1] == gram[:-1]}
        below = probability(gram[1:])
        if not follow:
            return below
        kept = max(table[gram] - discount, 0)
        return (kept + discount * len(follow) * below) / sum(follow.values())

    return probability


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_smoothed_counts_are_those_of_the_paper(order):
    rng = random.Random(1)
    ids = [rng.choice([0, 0, 1, 2, 3, rng.randrange(9)]) for _ in range(300)]
    model = NGramModel(torch.tensor(ids), vocab_size=9, order=order)
    oracle = kneser_ney(ids, order, vocab_size=9)
    new = [rng.randrange(9) for _ in range(40)]
    grams = [tuple(new[i : i + order]) for i in range(len(new) - order + 1)]
    given = model.probabilities(torch.tensor(new)).tolist()
    assert given == pytest.approx([oracle(gram) for gram in grams])


def test_smoothed_counts_add_up_to_one():
    ids = torch.arange(200) ** 2 % 7
    model = NGramModel(ids, vocab_size=8, order=3)
    for context in ([0, 1], [1, 4], [7, 7]):
        rows = [torch.tensor([*context, id]) for id in range(8)]
        total = sum(model.probabilities(row).item() for row in rows)
        assert total == pytest.approx(1)
