"""Views to play with: what `show` draws, with controls beside it or under the mouse.

They need a running notebook. Each stands beside a still picture of the same thing, for
whoever reads without one.
"""

import html
from functools import lru_cache

import torch
from IPython.display import display
from ipywidgets import (
    HTML,
    FloatSlider,
    IntSlider,
    Layout,
    Play,
    SelectionSlider,
    Text,
    interact,
    jslink,
)

from gpt2lib.course import show
from gpt2lib.course.show.style import visible

WIDE = Layout(width="40em")


def live_tokens(text, tokenizers):
    """A box to type in; below it the text, as each named tokenizer cuts it."""
    box = Text(text, description="text", layout=WIDE)
    interact(lambda text: show.tokens(text, tokenizers), text=box)


# What a token reads stands inside the token, and is seen while the mouse, or the
# keyboard's focus, is on it: ipywidgets has no event for that, CSS has.
POINTED_AT = """<style>
.pointed {position: relative; margin-bottom: BELOWem; line-height: 1.7; width: 50em}
.pointed > span {cursor: default; white-space: pre-wrap}
.pointed > span:hover, .pointed > span:focus {outline: 2px solid #e69f00}
.pointed table {display: none; position: absolute; top: 100%; left: 0}
.pointed > span:hover > table, .pointed > span:focus > table {display: table}
.pointed td, .pointed th {padding: 0 0.6em; line-height: 1.6; white-space: pre}
</style>"""


def live_heads(words, patterns):
    """A text to point at: below it, what each head reads most from that token.

    Args:
        words: the text of each token.
        patterns: attention weights (blocks, heads, T, T).

    Raises:
        ValueError: the patterns are not those of so many tokens.
    """
    patterns = torch.as_tensor(patterns)
    T = len(words)
    if not words or patterns.ndim != 4 or patterns.shape[2:] != (T, T):
        raise ValueError(
            f"{T} words need patterns of shape (blocks, heads, {T}, {T}), with T above "
            f"0; got {tuple(patterns.shape)}"
        )
    weights, places = (found.tolist() for found in patterns.max(dim=-1))
    text = ""
    for t, word in enumerate(words):
        rows = ""
        for block, (weight, place) in enumerate(zip(weights, places)):
            cells = f"<th>block {block}</th>"
            for at, sure in ((p[t], w[t]) for p, w in zip(place, weight)):
                shade = f"background:rgba(0,114,178,{0.8 * sure:.2f})"
                cells += (
                    f'<td style="{shade}">{at}:{html.escape(visible(words[at]))}</td>'
                )
            rows += f"<tr>{cells}</tr>"
        heads = "".join(f"<th>head {head}</th>" for head in range(patterns.shape[1]))
        table = f"<table><tr><th>{t}</th>{heads}</tr>{rows}</table>"
        text += f'<span tabindex="0">{html.escape(word)}{table}</span>'
    style = POINTED_AT.replace("BELOW", str(2 * len(patterns) + 3))
    display(HTML(f'{style}<div class="pointed">{text}</div>'))


def live_answer(models, prompt, tokenizer, instruction, given=""):
    """Boxes for an instruction and its input; below them what each named model says.

    Args:
        prompt: function of instruction and input, the template.
    """

    def draw(instruction, given):
        for name, model in models.items():
            text = prompt(instruction, given)
            steps = show.steps_of(model, text, tokenizer, others=0)
            show.answer(steps, title=name)

    style = dict(layout=WIDE, continuous_update=False)
    interact(
        draw,
        instruction=Text(instruction, description="instruction", **style),
        given=Text(given, description="input", **style),
    )


def live_thought(model, prompt, tokenizer, question, length=60):
    """A question, a temperature and a seed; below them the thought as it is drawn."""

    @lru_cache(maxsize=8)
    def steps(question, *drawn):
        return show.steps_of(model, prompt(question), tokenizer, length, *drawn)

    def draw(question, temperature, seed, tokens):
        show.answer(steps(question, temperature, seed), tokens)

    play = Play(min=1, max=length, value=12, interval=700)
    tokens = IntSlider(12, 1, length, description="tokens")
    jslink((play, "value"), (tokens, "value"))
    display(play)
    once, wide = dict(continuous_update=False), dict(description_width="initial")
    box = Text(question, description="question", layout=Layout(width="60em"), **once)
    interact(
        draw,
        question=box,
        temperature=FloatSlider(1, min=0, max=2, step=0.1, style=wide, **once),
        seed=IntSlider(1, 0, 20, **once),
        tokens=tokens,
    )


def live_cache(tokens, given):
    """A slider over the passes of a generation; below it what each pass computes."""
    passes = IntSlider(1, 1, len(tokens) - given, description="passes")
    interact(lambda passes: show.cache_filling(tokens, given, passes), passes=passes)


def live_sampling(logits, tokenizer):
    """Sliders for temperature, top-k and top-p over one distribution (V,)."""

    def draw(temperature, top_k, top_p):
        show.sampling(
            logits, lambda id: tokenizer.decode([id]), temperature, top_k, top_p
        )

    size = len(logits)
    ks = [k for k in (1, 2, 3, 5, 10, 20, 50, 100, 1000) if k < size] + [size]
    style = dict(style=dict(description_width="initial"), continuous_update=False)
    interact(
        draw,
        temperature=FloatSlider(1.0, min=0.1, max=3.0, **style),
        top_k=SelectionSlider(options=ks, value=size, **style),
        top_p=FloatSlider(1.0, min=0.05, max=1.0, step=0.05, **style),
    )


def live_surprise(text, draw):
    """A box to type in; below it what `draw` makes of the text."""
    box = Text(text, description="text", layout=Layout(width="50em"))
    box.continuous_update = False
    interact(draw, text=box)
