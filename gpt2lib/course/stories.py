"""Generates consistent stories, and checks texts for consistency.

A plot has beats, a beat has templates (its wordings), and a template has slots.
Writing fills a slot with a word from a list, and reuses that word wherever the slot
recurs. Checking does the reverse: it matches the templates, reads the slots and
compares. The plots and the words are plain text in data/stories.
"""

import hashlib
import random
import re
from dataclasses import dataclass, field
from functools import cache, cached_property

from gpt2lib.files import DATA

FOLDER = DATA / "stories"
QUESTION = "\nQuestion: "  # what stands between a story and what it is asked
ANSWER = " Answer:"
LENGTHS = range(350, 851)  # characters of a story
PRONOUNS = ("she", "he", "they")
FORMS = {  # slot in a template -> its word for each of PRONOUNS
    "she": PRONOUNS,
    "her": ("her", "his", "their"),
    "him": ("her", "him", "them"),
    "hers": ("hers", "his", "theirs"),
    "herself": ("herself", "himself", "themselves"),
    "was": ("was", "was", "were"),
    "girl": ("girl", "boy", "children"),
    "a girl": ("a girl", "a boy", "two cousins"),
    "i": ("I", "I", "we"),
    "my": ("my", "my", "our"),
    "me": ("me", "me", "us"),
    "i am": ("I am", "I am", "we are"),
}


def stories(seed=0, title=None):
    """Endless stories, no two alike, reproducible by seed.

    Args:
        title: the only plot to tell, such as "Lost and found"; all plots if None.
    """
    pick = random.Random(seed)
    told = set()
    choice = [plot for plot in plots() if title in (None, plot.title)]
    if not choice:
        known = ", ".join(plot.title for plot in plots())
        raise ValueError(f"no plot is called {title!r}; there are {known}")
    while True:
        story = _tell(pick.choice(choice), pick)
        mark = hashlib.blake2b(story.encode(), digest_size=8).digest()
        if len(story) in LENGTHS and mark not in told:
            told.add(mark)
            yield story


def _tell(plot, pick):
    bound = {}
    story = ""
    for beat in plot.beats:
        if not beat.optional or pick.random() < 0.5:
            told = pick.choice(beat.templates).write(bound, pick)
            story += ("\n" if told.startswith('"') else " ") + told
    return story[1:]


@dataclass(frozen=True)
class Report:
    """The result of a check: what agrees, what does not, and unreadable sentences."""

    plot: str
    words: dict = field(default_factory=dict)  # slot -> first word read for it
    held: list = field(default_factory=list)
    broken: list = field(default_factory=list)
    unreadable: list = field(default_factory=list)
    complete: bool = False  # the plot reached its end
    recognised: list = field(default_factory=list, repr=False)  # (template, match)

    @property
    def holds(self):
        trouble = self.broken or self.unreadable or not self.complete
        return bool(self.held and not trouble)


def check_story(text):
    """Matches a text to the most similar plot and reports whether its words agree."""
    plot = max(plots(), key=lambda plot: plot.resemblance(text))
    return plot.read(text.strip())


def questions(text):
    """(question, answer) pairs about a story; empty if it is not consistent."""
    report = check_story(text)
    if not report.holds:
        return []
    asked = next(plot.questions for plot in plots() if plot.title == report.plot)
    pairs = [(q.recall(report.words), a.recall(report.words)) for q, a in asked]
    return [pair for pair in pairs if None not in pair]


def with_question(story, rng):
    """A story followed by a question about it and the answer."""
    question, answer = rng.choice(questions(story))
    return f"{story}{QUESTION}{question}{ANSWER} {answer}"


@dataclass(frozen=True)
class Slot:
    """A gap in a template: a word from a list, a pronoun form, or a sum.

    `{toy}` and `{toy2}` are two words of the list "toy"; `{friend:her}` is "her" or
    "his", depending on the friend; `{few + few2}` adds; `{Toy}` is capitalised.
    """

    name: str
    capital: bool

    @classmethod
    def parse(cls, text):
        name = text[0].lower() + text[1:]
        return cls(f"hero:{name}" if name in FORMS else name, name != text)

    @cached_property
    def derived(self):
        """Whether other slots determine the word: a pronoun or a sum."""
        return ":" in self.name or " " in self.name

    @cached_property
    def options(self):
        """Every word that could stand here."""
        if ":" in self.name:
            return FORMS[self.name.partition(":")[2]]
        kind = self.name.rstrip("0123456789")
        return word_lists()["number" if self.derived else kind]

    @cached_property
    def shown(self):
        """Each option as it would be shown -> the option."""
        return {self.show(word): word for word in reversed(self.options)}

    def show(self, word):
        return word[0].upper() + word[1:] if self.capital else word

    def recall(self, bound):
        """The word that the bound slots require here, or None if it is free."""
        if self.name in bound or " " not in self.name or ":" in self.name:
            return bound.get(self.name)
        left, sign, right = self.name.split()
        if left not in bound or right not in bound:
            return None
        numbers = word_lists()["number"]
        first, second = numbers.index(bound[left]), numbers.index(bound[right])
        return numbers[first + second if sign == "+" else first - second]

    def bind(self, bound, word):
        """Stores the word of this slot; for a name, its pronoun forms too."""
        bound[self.name] = word
        if pronoun := name_pronouns().get(word):
            column = PRONOUNS.index(pronoun)
            bound |= {f"{self.name}:{form}": FORMS[form][column] for form in FORMS}

    def choose(self, bound, pick):
        """A random word not used yet; for a name, one with an unused pronoun."""
        if self.derived:
            raise ValueError(f"a plot says {{{self.name}}} before it tells of whom")
        taken = bound.values()
        while True:
            word = pick.choice(self.options)
            if word not in taken and name_pronouns().get(word) not in taken:
                return word


@dataclass(frozen=True)
class Template:
    """A sentence or two with slots, to write, to recall and to recognise."""

    text: str

    @cached_property
    def literals(self):
        return re.split(r"\{.+?\}", self.text)

    @cached_property
    def slots(self):
        return [Slot.parse(text) for text in re.findall(r"\{(.+?)\}", self.text)]

    @cached_property
    def pattern(self):
        """The template as a regular expression, with a group for each slot."""
        pattern = re.escape(self.literals[0])
        for slot, literal in zip(self.slots, self.literals[1:]):
            words = sorted(map(slot.show, slot.options), key=len, reverse=True)
            pattern += f"({'|'.join(map(re.escape, words))})" + re.escape(literal)
        return re.compile(pattern + r"(?:\s+|$)")

    def write(self, bound, pick):
        for slot in sorted(self.slots, key=lambda slot: slot.derived):
            if slot.recall(bound) is None:
                slot.bind(bound, slot.choose(bound, pick))
        return self.recall(bound)

    def recall(self, bound):
        """The text with all slots filled from the bound words; None if one is free."""
        words = [slot.recall(bound) for slot in self.slots]
        if None in words:
            return None
        shown = [slot.show(word) for slot, word in zip(self.slots, words)]
        return "".join(a + b for a, b in zip(self.literals, [*shown, ""]))

    def compare(self, match, bound):
        """Binds free slots; yields (slot, required word, word read) for all others."""
        pairs = zip(self.slots, match.groups())
        for slot, read in sorted(pairs, key=lambda pair: pair[0].derived):
            word = slot.shown[read]
            must = slot.recall(bound)
            if must is not None:
                yield slot, must, word
            elif not slot.derived:
                slot.bind(bound, word)


@dataclass(frozen=True)
class Beat:
    """One step of a plot, in several wordings."""

    templates: tuple
    optional: bool

    def recognise(self, text, at, bound):
        """The template that matches at a position, as (template, match), or None.

        Of several, the one with the fewest contradictions, then the longest match.
        """

        def rank(found):
            template, match = found
            compared = template.compare(match, dict(bound))
            return -sum(must != read for _, must, read in compared), match.end()

        matches = ((t, t.pattern.match(text, at)) for t in self.templates)
        return max((found for found in matches if found[1]), key=rank, default=None)


@dataclass(frozen=True)
class Plot:
    """A title, the beats in order, and questions about the story."""

    title: str
    beats: tuple
    questions: tuple  # pairs of templates

    @cached_property
    def phrases(self):
        """The longest fixed piece of each template."""
        return [max(t.literals, key=len) for b in self.beats for t in b.templates]

    def resemblance(self, text):
        return sum(len(phrase) for phrase in self.phrases if phrase in text)

    def read(self, text):
        """Follows a text beat by beat; reports and skips sentences that fit none."""
        report = Report(self.title)
        at = done = 0
        while at < len(text):
            sentence = re.compile(r'[^.!?]*[.!?]*"?\s*').match(text, at)
            number, found = self._next_beat(text, at, done, report.words)
            if found is None or any(not b.optional for b in self.beats[done:number]):
                report.unreadable.append(sentence[0].strip())
            if found is None:
                at = max(sentence.end(), at + 1)
            else:
                at, done = found[1].end(), number + 1
                _note(report, *found)
        complete = bool(done) and all(beat.optional for beat in self.beats[done:])
        return Report(**vars(report) | {"complete": complete})

    def _next_beat(self, text, at, done, bound):
        for number in range(done, len(self.beats)):
            if found := self.beats[number].recognise(text, at, bound):
                return number, found
        return done, None


def _note(report, template, match):
    """Adds to a report which slots of a recognised template agree and which do not."""
    report.recognised.append((template, match))
    for slot, must, read in template.compare(match, report.words):
        if read == must:
            notes, note = report.held, f"{slot.name}: {read}"
        else:
            notes, note = report.broken, f"{slot.name}: {must}, then {read}"
        if note not in notes:
            notes.append(note)


@cache
def word_lists():
    """name of a list -> its words."""
    lists = {}
    for (name, _), words in _sections():
        lists.setdefault(name, []).extend(words)
    return lists


@cache
def name_pronouns():
    """name of a character -> its pronoun."""
    return {w: p for (_, p), words in _sections() for w in words if p}


def _sections():
    """Yields ((name of a list, pronoun or ""), words) for each block of words.txt."""
    for block in _blocks("words.txt"):
        head, _, words = " ".join(block).partition(": ")
        name, _, pronoun = head.partition(" ")
        yield (name, pronoun), [" ".join(word.split()) for word in words.split(",")]


@cache
def plots():
    """All plots."""
    found = []
    for first, *rest in _blocks("plots.txt"):
        if first.startswith("== "):
            found.append(Plot(first.removeprefix("== "), beats := [], asked := []))
        elif first.startswith("?"):
            asked += [pair for line in (first, *rest) for pair in _questions(line)]
        else:
            optional = first == "(maybe)"
            lines = rest if optional else (first, *rest)
            beats.append(Beat(tuple(map(Template, lines)), optional))
    return tuple(found)


def _questions(line):
    """'? One wording? | Another? = answer' as pairs of templates."""
    asked, _, answer = line.removeprefix("? ").partition(" = ")
    return [(Template(wording), Template(answer)) for wording in asked.split(" | ")]


def _blocks(name):
    """The blocks of lines in a file, split at blank lines, without comments."""
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    text = "\n".join(line.strip() for line in lines if not line.startswith("#"))
    return [block.split("\n") for block in re.split(r"\n{2,}", text.strip())]
