"""The pairs of stories: judged again, in the form TRL reads, each opening once."""

import json
import os
from itertools import islice
from types import SimpleNamespace

import pytest
import torch

from gpt2lib import load_model, load_tokenizer
from gpt2lib.course.datasets import preferences
from gpt2lib.course.datasets.preferences import OPENING, continuations, openings, pair
from gpt2lib.course.pocket.judge import UNSEEN_SEED
from gpt2lib.course.stories import check_story, stories
from gpt2lib.finetuning import PreferenceTask, parse_preference, read_splits


@pytest.fixture(scope="module")
def rows():
    lines = preferences.FILE.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_every_chosen_story_holds_and_every_rejected_one_does_not(rows):
    for row in rows:
        assert check_story(row["prompt"] + row["chosen"]).holds
        assert not check_story(row["prompt"] + row["rejected"]).holds


def test_pairs_are_of_the_form_that_others_read_and_fit_the_context(rows):
    assert len(rows) >= 500 and preferences.FILE.stat().st_size <= 1_500_000
    assert all(list(row) == ["prompt", "chosen", "rejected"] for row in rows)
    assert [parse_preference(row)._asdict() for row in rows] == rows
    job = PreferenceTask(load_tokenizer(), 256)
    splits, counts = read_splits(job, preferences.FILE)
    assert counts["too_long"] == counts["bad_rows"] == 0
    assert sum(map(len, splits.values())) == len(rows)


def test_openings_are_the_first_six_words_of_stories_and_no_two_alike(rows):
    own = openings(preferences.OPENINGS)
    assert len(set(own)) == len(own)
    assert all(len(text.split()) == 6 for text in own)
    left = iter(own)
    for row in rows:  # each begins with another opening, in their order
        assert any(row["prompt"].startswith(opening) for opening in left)
    assert openings(20, UNSEEN_SEED) != own[:20]


def test_both_stories_go_on_where_they_begin_to_differ(rows):
    for row in rows:
        texts = [row["chosen"], row["rejected"]]
        shared = os.path.commonprefix(texts)
        assert not preferences.SENTENCE_END.search(shared)
        if len(row["prompt"].split()) > 7:
            assert row["prompt"][-1] in '.!?"' and all(t[0] in " \n" for t in texts)


def test_the_second_file_is_cut_down_from_the_first(rows):
    """Its rejected stories differ in one sentence, and break because of it."""
    lines = preferences.SENTENCES.read_text(encoding="utf-8").splitlines()
    cut = [json.loads(line) for line in lines]
    possible = [pair for pair in map(preferences.one_sentence, rows) if pair]
    assert 0.7 * len(rows) < len(cut) < len(possible)
    left = iter(possible)
    assert all(row in left for row in cut)  # some of them, in their order
    for row in cut:
        assert not check_story(row["prompt"] + row["rejected"]).holds
        _, rest = preferences.first_sentence(row["chosen"])
        assert row["rejected"].endswith(rest)


def test_a_sentence_after_which_all_can_be_well_is_not_at_fault(rows, monkeypatch):
    """The careful model goes on from each to another end, to none, or to a good one."""
    pairs = [next(filter(None, map(preferences.one_sentence, rows)))] * 3

    def tell(careful, tokenizer, begun):
        odd, _ = preferences.first_sentence(pairs[0]["rejected"])
        assert begun == [pairs[0]["prompt"] + odd] * 3 and careful == "careful"
        return [" And so on.", None, " in which all is well."]

    def judged(text):
        return SimpleNamespace(holds=text.endswith(" in which all is well."))

    monkeypatch.setattr(preferences, "continuations", tell)
    monkeypatch.setattr(preferences, "check_story", judged)
    found = list(preferences.of_one_sentence(pairs, "careful", None))
    assert found == pairs[:2]


def test_a_sentence_that_breaks_nothing_gives_no_pair(rows):
    row = rows[0]
    assert preferences.one_sentence(row | {"rejected": row["chosen"]}) is None
    assert preferences.first_sentence("No end") == ("No end", "")
    assert preferences.first_sentence('"Hi!" she said.') == ('"Hi!"', " she said.")


def test_a_pair_needs_a_careful_story_that_holds():
    tale = next(stories(seed=6))
    opening = OPENING.match(tale)[0]
    at = check_story(tale).recognised[-1][1].start()
    free = f"{tale[:at]}So it rained soup. {tale[at:]}"[len(opening) :]
    careful = tale[len(opening) :]
    wanted = {
        "prompt": tale[:at].rstrip(),
        "chosen": tale[len(tale[:at].rstrip()) :],
        "rejected": " So it rained soup. " + tale[at:],
    }
    assert pair(opening, free, careful) == wanted
    assert pair(opening, free, None) is None
    assert pair(opening, careful, free) is None


def test_for_each_opening_the_first_story_that_breaks_is_told_again(monkeypatch):
    tales = list(islice(stories(seed=6), 2))
    begun, told = [OPENING.match(tale)[0] for tale in tales], []
    ends = [tale[len(opening) :] for tale, opening in zip(tales, begun)]

    def tell(model, tokenizer, beginnings):
        told.append(isinstance(model.out_head, preferences.Careful))
        found = [ends[begun.index(text)] for text in beginnings]
        if len(told) == 1:  # the third try breaks, and for the first story the sixth
            found[2] = found[5] = f"{ends[0]} So!"
            found[8] = None
        return found

    monkeypatch.setattr(preferences, "openings", lambda count: begun)
    monkeypatch.setattr(preferences, "continuations", tell)
    monkeypatch.setattr(preferences, "pair", lambda *texts: texts)
    found = list(preferences.records(load_model(), None))
    assert told == [False, True]
    assert found == [(begun[0], f"{ends[0]} So!", ends[0])]


def test_a_careful_head_keeps_likely_tokens_as_they_are():
    head = torch.nn.Identity()
    logits = torch.tensor([[0.1, 0.5, 0.39, 0.009, 0.001]]).log()
    likely = preferences.Careful(head)(logits).softmax(-1)
    torch.testing.assert_close(likely, torch.tensor([[0.1, 0.5, 0.39, 0, 0]]) / 0.99)


def test_what_does_not_end_or_goes_on_with_a_question_is_left_out(monkeypatch):
    tokenizer, end = load_tokenizer(), "<|endoftext|>"
    said = [
        f" was glad.{end}",
        " was",
        f" was glad.\nQuestion: Who was glad? Answer: Tom{end}",
    ]
    drawn = [tokenizer.encode(text, allowed_special="all") for text in said]
    monkeypatch.setattr(preferences, "generate_ragged", lambda *args, **options: drawn)
    found = continuations(load_model(), tokenizer, ["Tom"] * 3)
    assert found == [" was glad.", None, None]
