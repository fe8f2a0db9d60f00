"""Views to play with: what `show` draws, with controls beside it.

They need a running notebook. Each stands beside a still picture of the same thing, for
whoever reads without one.
"""

from ipywidgets import IntSlider, Layout, SelectionSlider, Text, interact

from gpt2lib.course import show

WIDE = Layout(width="40em")


def live_tokens(text, tokenizers):
    """A box to type in; below it the text, as each named tokenizer cuts it."""
    box = Text(text, description="text", layout=WIDE)
    interact(lambda text: show.tokens(text, tokenizers), text=box)


def live_heads(words, patterns):
    """A slider over the tokens of a text; below it what each head reads from there."""
    tokens = [(f"{t}: {word}", t) for t, word in enumerate(words)]
    slider = SelectionSlider(
        options=tokens, value=len(words) - 1, description="from", layout=WIDE
    )
    interact(lambda t: show.most_read(words, patterns, t), t=slider)


def live_cache(words, prompt):
    """A slider over the steps of writing; below it what each finds in the KV cache."""
    slider = IntSlider(1, 1, len(words) - prompt, description="steps", layout=WIDE)
    interact(lambda steps: show.cache_steps(words, prompt, steps), steps=slider)
