"""Stories agree with themselves, and the reader finds out when they do not."""

import re
from collections import defaultdict
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2lib.course.stories import check_story, plots, questions, stories

TOLD = list(islice(stories(), 2000))
AGREEMENTS = [
    ("Lost and found", "toy"),
    ("Lost and found", "look"),
    ("Lost and found", "spot"),
    ("The present without a name", "friend"),
    ("The present without a name", "shade"),
    ("The long trade", "goods3"),
    ("The race", "goal"),
    ("The race", "friend:she"),
    ("The dare", "child:her"),
    ("How many?", "few + few2"),
    ("A plate of buns", "many - few"),
    ("A plate of buns", "hero:her"),
    ("The letter", "elder"),
    ("The borrowed thing", "weekday"),
]


@pytest.fixture(scope="module")
def by_plot():
    """(story, report) pairs under the title of their plot."""
    found = defaultdict(list)
    for story in TOLD:
        report = check_story(story)
        found[report.plot].append((story, report))
    return found


def corrupted(story, word, slot):
    """The story with the last of these words exchanged for another of its kind."""
    other = next(option for option in slot.options if option != word)
    *_, last = re.finditer(rf"\b{re.escape(word)}\b", story, re.IGNORECASE)
    other = other[0].upper() + other[1:] if last[0][0].isupper() else other
    return story[: last.start()] + other + story[last.end() :]


def slots(plot):
    templates = [template for beat in plot.beats for template in beat.templates]
    return {slot.name: slot for template in templates for slot in template.slots}


def test_every_story_holds_with_several_agreements(by_plot):
    for story, report in (pair for pairs in by_plot.values() for pair in pairs):
        assert report.holds, (story, report)
        assert len(report.held) >= 4, (story, report)


def test_no_two_stories_are_alike_and_a_seed_tells_the_same_again():
    assert len(set(TOLD)) == len(TOLD)
    assert list(islice(stories(0), 50)) == TOLD[:50]
    assert not set(islice(stories(1), 50)) & set(TOLD)


def test_every_plot_and_every_wording_occurs(by_plot):
    assert set(by_plot) == {plot.title for plot in plots()}
    assert len(plots()) >= 14
    for plot in plots():
        for phrase in plot.phrases:
            assert any(phrase in story for story, _ in by_plot[plot.title]), phrase


def test_stories_are_short_plain_and_rich_in_words():
    assert all(350 <= len(story) <= 850 and story.isascii() for story in TOLD)
    opened = sum(story.startswith("Once upon a time") for story in TOLD)
    assert 0.2 < opened / len(TOLD) < 0.35
    words = {word for story in TOLD for word in re.findall(r"[a-z]+", story.lower())}
    assert len(words) > 1500


def test_grammar_that_no_slot_watches():
    text = "\n".join(TOLD)
    wrong = re.findall(r"\ba [aeiou]\w*|\ban [^aeiou]\w*", text, re.IGNORECASE)
    assert {article.lower() for article in wrong} <= {"an hour"}
    assert not re.findall(r"(?:^|[.?] )[a-z].*", text, re.MULTILINE)
    assert not re.findall(r"[a-z,] We\b|\w and \w+ was\b|[{}|]|  ", text)
    assert not re.findall(r"(?i)\b(?:they|we) was\b|\b(\w+) \1\b", text)


@pytest.mark.parametrize("plot", plots(), ids=lambda plot: plot.title)
def test_a_plot_introduces_whom_and_what_it_speaks_of(plot):
    sure = set()
    for beat in plot.beats:
        names = [{slot.name for slot in t.slots} for t in beat.templates]
        for name in set().union(*names):
            needed = set(re.split(r" [+-] |:.*", name)) - {""}
            if needed != {name}:
                assert all(needed <= sure | told for told in names if name in told)
        sure |= set() if beat.optional else set.intersection(*names)
    answers = {slot.name for _, answer in plot.questions for slot in answer.slots}
    assert answers <= sure | {"few + few2", "many - few"}


@pytest.mark.parametrize(("title", "name"), AGREEMENTS)
def test_another_word_in_the_same_slot_is_found_out(by_plot, title, name):
    slot = next(slots(plot)[name] for plot in plots() if plot.title == title)
    named = 0
    for story, report in by_plot[title]:
        held = dict(note.split(": ") for note in report.held)
        if name in held:
            found = check_story(corrupted(story, held[name], slot))
            start = f"{name}: {held[name]}, then "
            named += any(note.startswith(start) for note in found.broken)
            assert not found.holds, (story, found)
    assert named > len(by_plot[title]) / 4


@given(st.sampled_from(TOLD), st.floats(0, 0.9))
def test_a_truncated_story_is_not_complete(story, part):
    report = check_story(story[: int(len(story) * part)])
    assert not report.complete and not report.holds


@given(st.sampled_from(TOLD), st.text(min_size=1), st.integers(0, 800))
def test_anything_can_be_checked(story, noise, at):
    assert not check_story(noise).holds
    check_story(story[:at] + noise + story[at:])


def test_a_sentence_that_fits_no_template_is_reported_and_the_rest_is_read():
    for story in TOLD[:100]:
        end = re.search(r'[.!?]"?\s', story).end()
        report = check_story(story[:end] + "Purple is a Tuesday. " + story[end:])
        assert report.unreadable and not report.holds
    assert check_story("Purple is a Tuesday.").unreadable == ["Purple is a Tuesday."]
    assert not check_story("").holds


def test_questions_have_their_answer_in_the_story():
    for story in TOLD[:500]:
        asked = questions(story)
        assert len(asked) >= 3
        for question, answer in asked:
            assert question.endswith("?") and "{" not in question
            assert answer.lower() in story.lower(), (question, answer, story)
    assert questions("Purple is a Tuesday.") == []
