"""Views to play with: what `show` draws, with controls beside it.

They need a running notebook. Each stands beside a still picture of the same thing, for
whoever reads without one.
"""

from ipywidgets import Layout, Text, interact

from gpt2lib.course import show


def live_tokens(text, tokenizers):
    """A box to type in; below it the text, as each named tokenizer cuts it."""
    box = Text(text, description="text", layout=Layout(width="40em"))
    interact(lambda text: show.tokens(text, tokenizers), text=box)
