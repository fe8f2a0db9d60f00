"""Views to play with: what `show` draws, with controls beside it.

They need a running notebook. Each stands beside a still picture of the same thing, for
whoever reads without one.
"""

from ipywidgets import FloatSlider, IntSlider, Layout, Text, interact

from gpt2lib.course import show


def live_tokens(text, tokenizers):
    """A box to type in; below it the text, as each named tokenizer cuts it."""
    box = Text(text, description="text", layout=Layout(width="40em"))
    interact(lambda text: show.tokens(text, tokenizers), text=box)


def live_sampling(logits, tokenizer):
    """Sliders for temperature, top-k and top-p over one distribution (V,)."""

    def draw(temperature, top_k, top_p):
        show.sampling(
            logits, lambda id: tokenizer.decode([id]), temperature, top_k, top_p
        )

    interact(
        draw,
        temperature=FloatSlider(1.0, min=0.1, max=3.0, continuous_update=False),
        top_k=IntSlider(len(logits), min=1, max=len(logits), continuous_update=False),
        top_p=FloatSlider(1.0, min=0.05, max=1.0, step=0.05, continuous_update=False),
    )


def live_surprise(text, draw):
    """A box to type in; below it what `draw` makes of the text."""
    box = Text(text, description="text", layout=Layout(width="50em"))
    box.continuous_update = False
    interact(draw, text=box)
