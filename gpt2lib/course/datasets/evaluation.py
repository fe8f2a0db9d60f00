"""Two tests of whether a model keeps track of what it has read, made from stories.

`python -m gpt2lib.course.datasets.evaluation` writes both files in data/evaluation. In
story-endings.jsonl, one of two to four sentences continues a story; the others have a
wrong name, thing, number or pronoun. In story-last-words.jsonl, the last word of a text
follows from what comes before. `distance` is how many words back a model must look. In
half of the rows, `stories` is 2: another story of the same plot has begun before.

Source: the tasks are those of HellaSwag (Zellers et al. 2019) and LAMBADA (Paperno et
al. 2016).
"""

import json
import random
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache, cached_property
from heapq import heappop, heappush
from itertools import islice
from math import inf

from gpt2lib.course.stories import (
    FORMS,
    Slot,
    Template,
    check_story,
    name_pronouns,
    plots,
    stories,
)
from gpt2lib.files import DATA, write_text

ENDINGS = DATA / "evaluation" / "story-endings.jsonl"
LAST_WORDS = DATA / "evaluation" / "story-last-words.jsonl"
EVALUATION_SEED = 2_000_000  # for stories used nowhere else; openings: the next seed
STORIES = 1600  # to choose from
ROWS = 400  # in each file
MOST_CHARACTERS = 820  # before an ending; leaves room for one in 250 of pocket's tokens
BUCKETS = (1, 10, 25, 60)  # the shortest distance in each
ABOUT = dict.fromkeys(("hero", "friend", "child", "elder", "petname"), "name")
ABOUT |= {"few": "number", "many": "number"}
TELLING = [form for form, words in FORMS.items() if len(set(words)) == 3]  # not "I"


@dataclass(frozen=True, eq=False)
class Mention:
    """A filled slot of a story."""

    story: str
    words: dict  # slot -> word, in the whole story
    opening: str  # of another story of the same plot, or empty
    earlier: list  # the mentions before this one
    slot: Slot
    start: int
    end: int
    template: Template
    match: re.Match  # of the sentence

    @cached_property
    def word(self):
        return self.slot.recall(self.words)

    @cached_property
    def about(self):
        if ":" in self.slot.name:
            return "pronoun"
        return ABOUT.get(self.slot.name.split()[0].rstrip("23"), "thing")

    @cached_property
    def subject(self):
        """The slot; for a pronoun, the slot of its name and a colon."""
        return re.sub(":.*", ":", self.slot.name)

    @cached_property
    def distance(self):
        """How many words back the word was last determined; inf if it is new.

        The same slot determines it, and so do both numbers of a sum, and for a pronoun
        the name and its other pronouns, except those that she and he share, as I.
        """
        if self.about == "pronoun":
            return self.back(self.subject[:-1], *(self.subject + f for f in TELLING))
        numbers = self.slot.name.split()[::2]  # or just the name of the slot
        return min(self.back(self.slot.name), max(map(self.back, numbers)))

    def back(self, *names):
        """How many words back the last of these slots is; inf if there is none."""
        ends = [other.end for other in self.earlier if other.slot.name in names]
        here = len(self.story[: self.start + 1].split())
        return here - len(self.story[: ends[-1]].split()) if ends else inf

    @property
    def kind(self):
        bucket = max(least for least in BUCKETS if least <= self.distance)
        return self.about, bucket, bool(self.opening)


def mentions(story, opening=""):
    """All mentions in a story, in order."""
    report, found = check_story(story), []
    for template, match in report.recognised:
        for group, slot in enumerate(template.slots, 1):
            place = (slot, *match.span(group), template, match)
            found.append(Mention(story, report.words, opening, found[:], *place))
    return found


def endings_row(mention, rng):
    """A choice of endings, or None if the mention does not make a good one."""
    begin = mention.match.start()
    sentence = [m.subject for m in mention.earlier if m.match is mention.match]
    if mention.subject in sentence or mention.story[begin - 1] != " ":
        return None
    context = mention.story[: begin - 1]
    fillings = [mention.words | change for change in changes(mention, rng)]
    truth, *others = map(mention.template.recall, [mention.words, *fillings])
    endings = list(dict.fromkeys([truth, *others]))
    reports = [check_story(f"{context} {ending}") for ending in endings]
    right = [not (report.broken or report.unreadable) for report in reports]
    if len(endings) < 2 or right != [True] + [False] * (len(endings) - 1):
        return None
    rng.shuffle(endings)
    context = mention.opening + context
    return {"context": context, "endings": endings, "label": endings.index(truth)}


def changes(mention, rng):
    """What the wrong endings fill in differently: for each, slot -> word."""
    if mention.about != "pronoun":
        return [{mention.subject: word} for word in wrong_words(mention, rng)[:3]]
    slots = [mention.subject + form for form in FORMS]
    return [dict(zip(slots, column)) for column in zip(*FORMS.values())]


def wrong_words(mention, rng):
    """Words for a mention's place: first those read before, then others."""
    options, gender = mention.slot.options, name_pronouns().get(mention.word)
    read = mentions(mention.opening) + mention.earlier
    read = [other for other in read if other.about == mention.about]
    seen = sorted({m.word for m in read if m.about != "thing" or m.word in options})
    new = [word for word in options if name_pronouns().get(word) == gender]
    words = rng.sample(seen, len(seen)) + rng.sample(new, len(new))
    sentence, unfit = mention.match[0].lower(), {mention.word, "zero", "one"}
    words = [word for word in dict.fromkeys(words) if word not in unfit]
    return [word for word in words if word.lower() not in sentence]


def last_word_row(mention, rng):
    """A text that ends in a mention, or None if it does not make a good end."""
    story, start, end = mention.story, mention.start, mention.end
    alone = story[start - 1] + story[end : end + 1] == "  " and " " not in mention.word
    form = mention.slot.name.partition(":")[2]
    clear = len(story[mention.match.start() : start].split()) >= 3
    if alone and clear and (not form or form in TELLING):
        return {"text": mention.opening + story[:end]}
    return None


def rows(make):
    """Rows by `make`, each from another story.

    The next is of the rarest kind so far, and within that of the rarest template.
    """
    rng, cells = random.Random(EVALUATION_SEED), defaultdict(list)
    for mention in candidates():
        cells[mention.kind, mention.template.text].append(mention)
    used, chosen, counts = set(), [], Counter()
    rarest = [((0, 0), number, cell) for number, cell in enumerate(cells)]  # a heap
    while len(chosen) < ROWS:
        counted, number, cell = heappop(rarest)
        now = tuple(counts[part] for part in cell)
        if now > counted:  # than when it was put there
            heappush(rarest, (now, number, cell))
        elif row := next_row(cells[cell], make, rng, used):
            counts.update(cell)
            chosen.append(row)
            heappush(rarest, (counted, number, cell))
    return chosen


@cache
def candidates():
    """Mentions of known words in many stories, half of them after an opening."""
    found = []
    seed = EVALUATION_SEED + 1
    others = {plot.title: stories(seed, plot.title) for plot in plots()}
    for count, story in enumerate(islice(stories(EVALUATION_SEED), STORIES)):
        begun = opening(next(others[check_story(story).plot])) if count % 2 else ""
        found += mentions(story, begun)
    return [mention for mention in found if mention.distance < inf]


def opening(story):
    """The first three steps of a story, and an empty line."""
    _, match = check_story(story).recognised[2]
    return story[: match.end()].rstrip() + "\n\n"


def next_row(found, make, rng, used):
    """The first row from these mentions, which are used up; None if there is none."""
    while found:
        mention = found.pop()
        row = None if mention.story in used else make(mention, rng)
        text = row and next(iter(row.values()))
        if row and text not in used and len(text) <= MOST_CHARACTERS:
            used |= {mention.story, text}
            about, _, after_opening = mention.kind
            more = {"about": about, "distance": mention.distance}
            return row | more | {"stories": 1 + after_opening}
    return None


def lines(make):
    """The content of a file: a row of JSON on each line."""
    return "".join(json.dumps(row) + "\n" for row in rows(make))


if __name__ == "__main__":
    write_text(ENDINGS, lines(endings_row))
    write_text(LAST_WORDS, lines(last_word_row))
