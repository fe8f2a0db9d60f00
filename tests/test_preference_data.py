"""The pairs of stories: judged again, in the form TRL reads, each opening once."""

import json

import pytest

from gpt2lib import load_model, load_tokenizer
from gpt2lib.course import preference_data
from gpt2lib.course.judge import UNSEEN_SEED
from gpt2lib.course.preference_data import continuations, openings, pair
from gpt2lib.course.stories import check_story
from gpt2lib.finetuning import PreferenceTask, parse_preference, read_splits


@pytest.fixture(scope="module")
def rows():
    lines = preference_data.FILE.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_every_chosen_story_holds_and_every_rejected_one_does_not(rows):
    for row in rows:
        assert check_story(row["prompt"] + row["chosen"]).holds
        assert not check_story(row["prompt"] + row["rejected"]).holds


def test_pairs_are_of_the_form_that_others_read_and_fit_the_context(rows):
    assert len(rows) >= 500 and preference_data.FILE.stat().st_size <= 1_500_000
    assert all(list(row) == ["prompt", "chosen", "rejected"] for row in rows)
    assert [parse_preference(row)._asdict() for row in rows] == rows
    job = PreferenceTask(load_tokenizer(), 256)
    splits, counts = read_splits(job, preference_data.FILE)
    assert counts["too_long"] == counts["bad_rows"] == 0
    assert sum(map(len, splits.values())) == len(rows)


def test_openings_are_the_first_six_words_of_stories_and_no_two_alike(rows):
    own = openings(preference_data.OPENINGS)
    assert len(set(own)) == len(own)
    assert all(len(text.split()) == 6 for text in own)
    prompts = [row["prompt"] for row in rows]
    kept = set(prompts)
    assert prompts == [text for text in own if text in kept]
    assert openings(20, UNSEEN_SEED) != own[:20]


def test_a_pair_is_the_first_that_holds_and_the_first_that_does_not(rows):
    opening, good, bad = rows[0].values()
    wanted = {"prompt": opening, "chosen": good, "rejected": bad}
    ends = [None, bad, bad + " So.", good, None, good + " So."]
    assert pair(opening, ends) == wanted
    assert pair(opening, [good, None, good]) is None
    assert pair(opening, [None, bad]) is None


def test_what_does_not_end_or_goes_on_with_a_question_is_left_out(monkeypatch):
    tokenizer, end = load_tokenizer(), "<|endoftext|>"
    said = [
        f" was glad.{end}",
        " was",
        f" was glad.\nQuestion: Who was glad? Answer: Tom{end}",
    ]
    drawn = [tokenizer.encode(text, allowed_special="all") for text in said]
    monkeypatch.setattr(
        preference_data, "generate_ragged", lambda *args, **options: drawn
    )
    found = continuations(load_model(), tokenizer, ["Tom"] * 3)
    assert found == [" was glad.", None, None]
