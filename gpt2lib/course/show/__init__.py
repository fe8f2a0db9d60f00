"""Displays for the chapters; all but `pieces` and `steps_of` return nothing.

In reading order:

    style     colours, tick labels and readable tokens
    matrices  heat maps, tables of short texts, fields of colour
    texts     source code, coloured tokens, surprise, an answer step by step
    plots     curves, bars, intervals, points, arrows, number lines
    drawings  how something is built: the model, a token, LoRA
"""

from gpt2lib.course.show.drawings import architecture, low_rank, merge_tree
from gpt2lib.course.show.matrices import (
    cache_filling,
    grid,
    heatmap,
    kinds,
    most_read,
)
from gpt2lib.course.show.plots import (
    arrows,
    bars,
    clouds,
    curves,
    intervals,
    levels,
    live,
    measured,
    places,
    sampling,
    strip,
    training,
)
from gpt2lib.course.show.style import BLUE, COLOURS, GREEN, GREY, ORANGE, PASTELS, RED
from gpt2lib.course.show.texts import (
    answer,
    leanings,
    pieces,
    source,
    steps_of,
    surprise,
    tokens,
    windows,
)

__all__ = [
    "BLUE",
    "COLOURS",
    "GREEN",
    "GREY",
    "ORANGE",
    "PASTELS",
    "RED",
    "answer",
    "architecture",
    "arrows",
    "bars",
    "cache_filling",
    "clouds",
    "curves",
    "grid",
    "heatmap",
    "intervals",
    "kinds",
    "leanings",
    "levels",
    "live",
    "low_rank",
    "measured",
    "merge_tree",
    "most_read",
    "pieces",
    "places",
    "sampling",
    "source",
    "steps_of",
    "strip",
    "surprise",
    "tokens",
    "training",
    "windows",
]
