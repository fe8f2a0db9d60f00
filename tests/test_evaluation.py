"""Evaluation: likelihoods beside transformers', figures by their definitions."""

import json
import math
import random
from dataclasses import replace
from itertools import islice

import command
import pyarrow
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from transformers import GPT2LMHeadModel

from gpt2lib import POCKET, GPTModel, load_model, load_tokenizer, save_model
from gpt2lib.course.stories import stories
from gpt2lib.evaluation import (
    BENCHMARKS,
    Figure,
    Likelihood,
    Question,
    compare,
    encode_question,
    evaluate_task,
    figures_of,
    log_likelihoods,
    rolling_questions,
    wilson,
)
from gpt2lib.evaluation.figures import described
from gpt2lib.files import BIN, DATA
from gpt2lib.finetuning import replace_head
from gpt2lib.tokenizer import BPETokenizer

LENGTH = 256
END = 3071  # <|endoftext|>


@pytest.fixture(scope="module")
def model():
    return load_model()


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer()


@pytest.fixture(scope="module")
def theirs():
    return GPT2LMHeadModel.from_pretrained(BIN / "pocket", dtype=torch.float32).eval()


def read(theirs, context, ending):
    """One ending, in one piece and alone, by transformers."""
    ids = (context + ending)[-LENGTH - 1 :]
    with torch.inference_mode():
        scores = theirs(torch.tensor([ids[:-1]])).logits[0].log_softmax(-1)
    scores, targets = scores[-len(ending) :], torch.tensor(ending)
    nats = scores.gather(-1, targets[:, None]).sum().item()
    return nats, bool((scores.argmax(-1) == targets).all())


def random_questions():
    rng = random.Random(0)
    story = load_tokenizer().encode(" ".join(islice(stories(seed=7), 4)))
    for context in (1, 1, 2, 9, 9, 9, 40, 41, 200, 250, 255, 256, 257, 400):
        for sizes in ([1], [1, 1], [3, 1, 6], [12], [5] * 4):
            at = rng.randrange(len(story) - context - 20)
            ids = story[at : at + context + 20]
            endings = [ids[context : context + size] for size in sizes]
            for ending in endings[1:]:
                ending[-1] = rng.randrange(3000)
            yield Question(ids[:context], endings)
    yield Question(story[:3], [story[3 : 3 + LENGTH]])


def test_likelihoods_are_those_of_transformers_one_at_a_time(model, theirs):
    questions = [*random_questions()]
    random.Random(1).shuffle(questions)
    for question, answers in zip(questions, log_likelihoods(model, questions)):
        assert len(answers) == len(question.endings)
        for ending, answer in zip(question.endings, answers):
            nats, greedy = read(theirs, question.context, ending)
            assert answer.nats == pytest.approx(nats, abs=2e-3, rel=1e-5)
            assert answer.greedy == greedy


@pytest.mark.parametrize("precision", ["bfloat16", "float16", "int8"])
def test_fewer_bytes_change_likelihoods_a_little(model, precision):
    questions = [*random_questions()][::5]
    exact = log_likelihoods(model, questions)
    for ours, right in zip(
        log_likelihoods(load_model(precision=precision), questions), exact
    ):
        for a, b in zip(ours, right):
            assert a.nats == pytest.approx(b.nats, abs=0.5, rel=0.05)


@pytest.mark.parametrize("size", [0, LENGTH + 1])
def test_an_ending_without_tokens_or_too_long_is_refused(model, size):
    with pytest.raises(ValueError, match=f"has {size} tokens, but must have from 1"):
        log_likelihoods(model, [Question([1], [[5] * size])])


def test_what_was_in_training_goes_on_training(model):
    model.train()
    log_likelihoods(model, [Question([1], [[5]])])
    assert all(module.training for module in model.modules())
    model.eval()


def test_spaces_between_context_and_ending_belong_to_the_ending(tokenizer):
    context, endings = encode_question("Mia lost ", ["her ball.", "a"], tokenizer)
    assert tokenizer.decode(context) == "Mia lost"
    assert [tokenizer.decode(ids) for ids in endings] == [" her ball.", " a"]
    assert endings[0] == tokenizer.encode(" her ball.")
    assert encode_question("", ["Mia"], tokenizer).context == [END]
    assert encode_question(" ", ["Mia"], tokenizer) == encode_question(
        "", [" Mia"], tokenizer
    )


# ------------------------------------------------------------------ windows


@given(st.integers(0, 60), st.integers(1, 20), st.integers(1, 20))
def test_windows_predict_each_id_once_with_all_the_context_that_fits(
    count, length, stride
):
    stride = min(stride, length)
    ids = [*range(1, count + 1)]
    questions = [*rolling_questions(ids, 0, length, stride)]
    assert [id for _, (ending,) in questions for id in ending] == ids
    for context, (ending,) in questions:
        assert [*context, *ending] == [*range(context[0], ending[-1] + 1)]
        if context[0]:  # it does not reach back to the start
            assert len(context) + len(ending) - 1 == length
    assert all(len(ending) <= length for _, (ending,) in questions)
    assert all(len(ending) == stride for _, (ending,) in questions[1:-1])


@pytest.mark.parametrize("stride", [0, 11, -1])
def test_a_stride_beyond_the_window_is_refused(stride):
    with pytest.raises(ValueError, match=f"length, 10, got {stride}"):
        [*rolling_questions([1, 2], 0, 10, stride)]


@pytest.mark.parametrize("stride", [16, 50, 64])
def test_sliding_windows_are_those_of_hugging_faces_recipe(
    model, theirs, tokenizer, stride
):
    """Its windows have a token more, of which the last one is only predicted."""
    length = 64
    count = length + 6 * stride  # so that the last window is a whole one
    ids = tokenizer.encode(" ".join(islice(stories(seed=9), 5)))[:count]
    assert len(ids) == count
    row = torch.tensor([[END, *ids]])
    theirs_nats, done = 0.0, 1
    for start in range(0, count, stride):
        end = min(start + length + 1, count + 1)
        targets = row[:, start:end].clone()
        targets[:, : done - start] = -100
        with torch.inference_mode():
            loss = theirs(row[:, start:end], labels=targets).loss.item()
        theirs_nats += loss * (end - done)
        done = end
        if end == count + 1:
            break
    questions = [*rolling_questions(ids, END, length, stride)]
    ours = sum(-a.nats for (a,) in log_likelihoods(model, questions))
    assert ours == pytest.approx(theirs_nats, rel=1e-5)


# ------------------------------------------------------------------ figures


@given(st.integers(1, 3000), st.floats(0, 1))
def test_wilsons_ends_are_shares_from_which_the_found_one_is_just_likely(items, part):
    right = round(part * items)
    for end in wilson(right, items):
        error = math.sqrt(end * (1 - end) / items)
        assert abs(right / items - end) == pytest.approx(1.959964 * error, abs=1e-6)


@pytest.mark.parametrize("items", [1, 20, 33])
def test_a_share_of_all_or_none_is_an_end_of_its_interval(items):
    assert wilson(0, items)[0] == 0.0 and wilson(items, items)[1] == 1.0


def test_one_item_says_nothing_of_how_items_differ():
    one, other = (Figure.ratio([nats], [2.0], True) for nats in (1.0, 3.0))
    found = described("ppl", one, other)
    assert found["ppl_difference"] == pytest.approx(math.exp(0.5) - math.exp(1.5))
    ends = ("low", "high", "difference_low", "difference_high", "items_needed")
    assert {found[f"ppl_{end}"] for end in ends} == {None}
    share = described("acc", Figure.share([True]))
    assert share["acc_low"] == wilson(1, 1)[0] and share["acc_high"] == 1.0


def test_a_share_has_wilsons_interval():
    figure = Figure.share([True] * 30 + [False] * 10)
    assert figure.value == 0.75
    assert figure.interval() == wilson(30, 40)


def test_a_perplexity_is_weighted_and_its_interval_holds_it():
    nats, words = [1.0, 20.0, 300.0] * 20, [1, 10, 100] * 20
    figure = Figure.ratio(nats, words, exponential=True)
    assert figure.value == pytest.approx(math.exp(321 / 111))
    low, high = figure.interval()
    assert low < figure.value < high


def test_bootstrap_agrees_with_the_normal_approximation():
    values = torch.randn(2000, generator=torch.Generator().manual_seed(0)).exp()
    figure = Figure.ratio(values.tolist(), [1] * 2000)
    half = 1.96 * values.std().item() / math.sqrt(2000)
    low, high = figure.interval()
    assert low == pytest.approx(figure.value - half, abs=0.15 * half)
    assert high == pytest.approx(figure.value + half, abs=0.15 * half)


def test_pairs_tell_apart_what_separate_intervals_do_not():
    rng = random.Random(0)
    one = [rng.random() < 0.6 for _ in range(1000)]
    other = [flag and i % 20 > 0 for i, flag in enumerate(one)]
    a, b = Figure.share(one), Figure.share(other)
    difference = compare(a, b)
    assert difference.value == pytest.approx(a.value - b.value)
    assert 0 < difference.low < difference.value < difference.high
    assert a.interval()[0] < b.interval()[1]  # alone, they overlap
    lost = sum(x != y for x, y in zip(one, other)) / 1000
    needed = (1.96 + 0.8416) ** 2 * (lost - lost**2) / lost**2
    assert difference.items_needed == pytest.approx(needed, rel=0.2)


def test_equal_figures_differ_by_nothing():
    figure = Figure.share([True, False, True])
    assert vars(compare(figure, figure)) == {
        "value": 0,
        "low": 0,
        "high": 0,
        "items_needed": None,
    }
    with pytest.raises(ValueError, match="figures of 3 and 2 items cannot be compared"):
        compare(figure, Figure.share([True, False]))


# -------------------------------------------------------------------- tasks


def task(name, tokenizer, stride=None):
    return BENCHMARKS[name](tokenizer, LENGTH, stride)


def answers(*nats):
    return [[Likelihood(n, False) for n in nats]]


def test_long_endings_are_judged_by_the_character(tokenizer):
    choices = task("choices", tokenizer)
    row = {"context": "Mia ran", "endings": ["home.", "all the way home."], "label": 1}
    item = choices.parse(row)
    context, endings = item.questions[0]
    assert tokenizer.decode(context + endings[1]) == "Mia ran all the way home."
    figures = choices.figures([item], [answers(-5, -16)])
    assert (figures["acc"].value, figures["acc_norm"].value) == (0, 1)
    tie = choices.figures([item], [answers(-5, -5)])
    assert tie["acc"].value == 0  # of equals the first, as in the harness


def test_a_row_of_hellaswag_is_prepared_as_the_harness_does(tokenizer):
    row = {
        "ctx_a": "[header] How to wind a clock [title] Find the key. ",
        "ctx_b": "then TURN",
        "ctx": "not read",
        "activity_label": "Home",
        "endings": ["it  twice.", "[step] it. [substeps] Slowly."],
        "label": "1",
    }
    item = task("hellaswag", tokenizer).parse(row)
    context, endings = item.questions[0]
    whole = [tokenizer.decode(context + ids) for ids in endings]
    start = "Home: How to wind a clock. Find the key. Then turn"
    assert whole[0] == start + " it twice."
    assert whole[1].startswith(start + "  it. ") and item.label == 1


def test_the_last_word_is_asked_of_all_the_others(tokenizer):
    words = task("lambada", tokenizer)
    item = words.parse({"text": "Mia lost her ball"})
    context, (ending,) = item.questions[0]
    assert tokenizer.decode(context) == "Mia lost her"
    assert tokenizer.decode(ending) == " ball"
    figures = words.figures([item, item], [answers(-1), answers(-3)])
    assert figures["perplexity"].value == pytest.approx(math.exp(2))


BAD = {
    "choices": [
        ({"context": "a", "endings": ["b"], "label": 0}, "at least two texts"),
        ({"context": "a", "endings": "bc", "label": 0}, "at least two texts"),
        ({"context": "a", "endings": ["b", ""], "label": 0}, "an ending is empty"),
        ({"context": "a", "endings": ["b", 1], "label": 0}, "must be a text"),
        ({"context": "a", "endings": ["b", "c"], "label": 2}, "from 0 to 1, got 2"),
        ({"context": "a", "endings": ["b", "c"], "label": True}, "got True"),
        ({"context": "a", "endings": ["b", "c"]}, "no field 'label'"),
        ({"context": None, "endings": ["b", "c"], "label": 0}, "got None"),
        ({"context": "a", "endings": ["b " * 400, "c"], "label": 0}, "401 tokens"),
    ],
    "hellaswag": [
        (
            {
                "ctx_a": "a",
                "ctx_b": "",
                "activity_label": "b",
                "endings": ["c", "d"],
                "label": "",
            },
            "from 0 to 1, got ''",
        ),
        (
            {
                "ctx_a": "a",
                "ctx_b": "",
                "activity_label": "b",
                "endings": ["c"],
                "label": "0",
            },
            "at least two texts",
        ),
    ],
    "lambada": [
        ({"text": "a b "}, "must end in a word"),
        ({"text": ["a"]}, "text must be a text"),
    ],
    "perplexity": [({"text": ""}, "the text is empty"), ({"page": "a"}, "no field")],
}


@pytest.mark.parametrize("name", BAD)
def test_a_row_that_cannot_be_used_is_named(name, tokenizer, tmp_path):
    path = tmp_path / "rows.jsonl"
    for row, reason in BAD[name]:
        path.write_text("\n\n" + json.dumps(row))
        with pytest.raises(ValueError, match="line 3") as error:
            task(name, tokenizer).read(path, False)
        assert reason in str(error.value)


def test_documents_of_a_text_are_weighed_by_words_and_bytes(model, theirs, tokenizer):
    texts = [*islice(stories(seed=3), 3)]
    perplexity = task("perplexity", tokenizer)
    items = [perplexity.parse(text + "\u00e9 !\n") for text in texts]
    nats = []
    for text in texts:
        ids = tokenizer.encode(text + "\u00e9 !\n")
        assert len(ids) < LENGTH
        nats.append(-read(theirs, [END], ids)[0])
    figures = figures_of(model, perplexity, items)
    words = sum(len(text.split()) + 2 for text in texts)  # the end counts as a word
    bytes_ = sum(len(text) + 5 for text in texts)
    assert figures["word_perplexity"].value == pytest.approx(
        math.exp(sum(nats) / words), rel=1e-4
    )
    assert figures["byte_perplexity"].value == pytest.approx(
        math.exp(sum(nats) / bytes_), rel=1e-4
    )
    assert figures["bits_per_byte"].value == pytest.approx(
        sum(nats) / bytes_ / math.log(2), rel=1e-4
    )


def test_a_single_document_is_resampled_by_its_windows(model, tokenizer):
    text = " ".join(islice(stories(seed=4), 10))
    perplexity = task("perplexity", tokenizer)
    figures = figures_of(model, perplexity, [perplexity.parse(text)])
    figure = figures["word_perplexity"]
    assert len(figure.top) == math.ceil(len(tokenizer.encode(text)) / LENGTH)
    assert figure.bottom.sum().item() == pytest.approx(len(text.split()))
    assert figure.interval()[0] < figure.value < figure.interval()[1]


WIKITEXT = [
    "",
    " = A clock = \n",
    "",
    ' It was in 1850 @-@ 1860 , he said , " the tide \'s clock " . \n',
    "",
    " = = How it went = = \n",
    "",
    " It weighed 1 @,@ 000 pounds . \n",
    "",
    " = Another = \n",
    " More . \n",
]


def test_wikitexts_lines_are_joined_into_articles(tokenizer, tmp_path):
    path = tmp_path / "test.parquet"
    parquet.write_table(pyarrow.table({"text": WIKITEXT}), path)
    first, second = task("perplexity", tokenizer).read(tmp_path, False)[0]
    text = tokenizer.decode([id for _, (ids,) in first.questions for id in ids])
    assert text == (
        ' = A clock =\nIt was in 1850-1860, he said, "the tide\'s clock".\n'
        "== How it went ==\nIt weighed 1,000 pounds.\n"
    )
    assert first.words == len(" ".join(WIKITEXT[:9]).split()) + 2
    assert second.words == 7


def test_a_parquet_of_documents_has_one_in_a_row(tokenizer, tmp_path):
    path = tmp_path / "test.parquet"
    parquet.write_table(pyarrow.table({"text": ["One day.", "Mia ran.\n"]}), path)
    (tmp_path / "more.txt").write_text("A\n<|endoftext|>\nB")
    items, _ = task("perplexity", tokenizer).read(tmp_path, False)
    assert [item.words for item in items] == [2, 1, 2, 3]


# ----------------------------------------------------------------- the verb


@pytest.fixture
def choices(tmp_path):
    path = tmp_path / "choices.jsonl"
    rng = random.Random(0)
    rows = []
    for story in islice(stories(seed=5), 20):
        words = story.split(" ")
        endings = [" ".join(words[20:25]), " ".join(rng.sample(words[20:25], 5))]
        label = rng.randrange(2)
        row = {"context": " ".join(words[:20]), "label": label}
        rows.append(row | {"endings": endings if not label else endings[::-1]})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_evaluate_ends_with_one_line_of_figures(choices):
    done = command.run("evaluate", "pocket", "choices", "--data", choices)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    figures = json.loads(done.stdout)
    assert figures["items"] == 20
    assert figures["acc_low"] < figures["acc"] <= figures["acc_high"]
    assert figures["acc"] > 0.8


def test_two_models_are_compared_on_the_same_items(choices):
    done = command.run(
        *("evaluate", "pocket", "choices", "--data", choices, "--limit", 15),
        *("--beside", "pocket", "--precision", "float32"),
    )
    figures = json.loads(done.stdout)
    assert figures["items"] == 15 and figures["beside"] == "pocket"
    assert figures["acc_beside"] == figures["acc"]
    assert figures["acc_difference"] == figures["acc_difference_high"] == 0
    assert figures["acc_items_needed"] is None


def test_pocket_an_untrained_model_and_chance_are_told_apart_by_stories(tokenizer):
    stories_task = task("stories", tokenizer)
    items = [
        item
        for path in stories_task.sources
        for item in stories_task.read(DATA / path, False)[0][:80]
    ]
    torch.manual_seed(0)
    trained, untrained = (
        figures_of(model, stories_task, items)
        for model in (load_model(), GPTModel(POCKET))
    )
    assert trained["acc_alone"].interval()[0] > trained["acc_after_another"].value
    for name in ("acc", "last_word"):
        low, _ = trained[name].interval()
        assert low > 0.6 > 0.45 > untrained[name].interval()[1]


def test_models_that_leave_out_different_rows_are_not_compared(
    choices, tokenizer, tmp_path
):
    short = tmp_path / "short"
    save_model(
        GPTModel(replace(POCKET, context_length=8, n_layers=1)), short, tokenizer
    )
    row = {"context": "Mia", "endings": ["ran and ran " * 5, "ran."], "label": 1}
    choices.write_text(choices.read_text() + json.dumps(row) + "\n")
    task = ("evaluate", "pocket", "choices", "--data", choices)
    done = command.run(*task, "--beside", short, "--skip-bad-rows", "--limit", 5)
    assert done.returncode == 1
    assert "so their items differ" in done.stderr
    done = command.run(*task, "--beside", short)
    assert f"for {short}: " in done.stderr  # whose context is too short for all rows


def test_as_many_rows_left_out_are_not_the_same_ones(tmp_path):
    """What is one token for the one model is too long for the other."""
    for letter in "ab":
        tokenizer = BPETokenizer.train(f"{letter * 16} " * 50, 270)
        cfg = replace(POCKET, vocab_size=270, context_length=32, n_layers=1)
        save_model(GPTModel(cfg), tmp_path / letter, tokenizer)
    rows = [
        {"context": "x", "endings": [letter * 40, "c"], "label": 0}
        for letter in "axb"  # x is too long for both
    ]
    rows.insert(1, {"context": "x", "endings": ["c", "d"], "label": 1})
    data = tmp_path / "choices.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    given = {"data": data, "skip_bad_rows": True}
    one, other = (tmp_path / letter for letter in "ab")
    assert evaluate_task(one, "choices", **given)["bad_rows"] == 2
    assert evaluate_task(one, "choices", beside=one, **given)["items"] == 2
    with pytest.raises(ValueError, match="2 rows and .*b 2, and not the same ones"):
        evaluate_task(one, "choices", beside=other, **given)


@pytest.mark.parametrize("wrong", ["a classifier", "without a tokenizer"])
def test_the_other_model_is_checked_before_the_first_is_measured(
    choices, tokenizer, tmp_path, monkeypatch, wrong
):
    model = GPTModel(replace(POCKET, n_layers=1))
    if wrong == "a classifier":
        save_model(replace_head(model, 2), tmp_path / "other", tokenizer)
    else:
        save_model(model, tmp_path / "other")
    monkeypatch.setattr("gpt2lib.evaluation.evaluate.figures_of", pytest.fail)
    with pytest.raises((ValueError, FileNotFoundError), match="other"):
        evaluate_task("pocket", "choices", choices, beside=tmp_path / "other")


def test_vocabularies_and_metrics_beside_texts_are_not_measured(tmp_path):
    (tmp_path / "a.txt").write_text("Mia ran home.")
    before = evaluate_task("pocket", "perplexity", tmp_path)
    for name in ("merges.txt", "metrics.jsonl"):
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / name).write_text("t h\n")
    assert evaluate_task("pocket", "perplexity", tmp_path) == before


def test_perplexity_of_any_text(tmp_path):
    (tmp_path / "a.txt").write_text(" ".join(islice(stories(seed=4), 10)))
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": "Mia ran home."}) + "\n")
    runs = [
        json.loads(
            command.run(
                "evaluate", "pocket", "perplexity", "--data", tmp_path, *more
            ).stdout
        )
        for more in ([], ["--stride", 64], ["--limit", 1])
    ]
    assert [run["items"] for run in runs] == [2, 2, 1]
    assert 1 < runs[1]["word_perplexity"] < runs[0]["word_perplexity"]


def test_a_text_without_spaces_has_figures_that_json_can_hold(tmp_path):
    (tmp_path / "a.txt").write_text("\u4eca" * 800)
    task = ("evaluate", "pocket", "perplexity", "--data", tmp_path)
    done = command.run(*task, "--beside", "pocket")
    figures = json.loads(done.stdout, parse_constant=pytest.fail)
    assert figures["word_perplexity"] is figures["word_perplexity_difference"] is None
    assert figures["bits_per_byte"] > 1


WRONG = {
    "stride": (["choices", "--stride", 3], "stride is for the task perplexity"),
    "limit": (["stories", "--limit", 0], "limit must be a whole number from 1"),
    "data": (["choices"], "has no data of its own: give some (--data)"),
    "empty": (["choices", "--data", ""], "the path of the data is empty"),
    "absent": (["perplexity", "--data", "nowhere"], "no text at nowhere"),
    "fetch": (["lambada"], "download lambada', or give your own (--data)"),
    "model": (["stories", "--beside", "nobody"], "no model at 'nobody'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_refused_in_a_line(name, monkeypatch, tmp_path):
    options, message = WRONG[name]
    if name == "fetch":
        monkeypatch.setattr("gpt2lib.files.DATA", tmp_path)
    done = command.run("evaluate", "pocket", *options)
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("gpt2lib: ")
    assert message in done.stderr


# ------------------------------------------------- what download fetches


def test_downloaded_sets_are_found_and_published_figures_stand_beside(
    monkeypatch, tmp_path, choices
):
    monkeypatch.setattr("gpt2lib.files.DATA", tmp_path)
    monkeypatch.setattr("gpt2lib.files.BIN", tmp_path / "bin")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gpt2").symlink_to(BIN / "pocket")
    rows = [json.loads(line) for line in choices.read_text().splitlines()]
    columns = {
        "ind": range(len(rows)),
        "activity_label": ["Reading"] * len(rows),
        "ctx_a": [row["context"] for row in rows],
        "ctx_b": [""] * len(rows),
        "ctx": [""] * len(rows),
        "endings": [row["endings"] for row in rows],
        "label": [str(row["label"]) for row in rows],
    }
    for name, write in {
        "hellaswag/data/validation-00000-of-00001.parquet": lambda path: (
            parquet.write_table(pyarrow.table(columns), path)
        ),
        "lambada/data/lambada_test_en.jsonl": lambda path: path.write_text(
            "".join(json.dumps({"text": row["context"]}) + "\n" for row in rows)
        ),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True)
        write(tmp_path / name)
    figures = {
        name: json.loads(command.run("evaluate", "gpt2", name).stdout)
        for name in ("hellaswag", "lambada")
    }
    assert figures["hellaswag"]["items"] == figures["lambada"]["items"] == len(rows)
    assert figures["hellaswag"]["acc_published"] == 0.2892
    assert figures["hellaswag"]["acc_norm_published"] == 0.3114
    own = command.run("evaluate", "gpt2", "hellaswag", "--data", tmp_path / "hellaswag")
    assert not [name for name in json.loads(own.stdout) if "published" in name]
    assert {"acc", "acc_low", "perplexity", "perplexity_high"} <= set(
        figures["lambada"]
    )
