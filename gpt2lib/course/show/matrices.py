"""Matrices as fields of colour: attention, tables of short texts, caches."""

import torch
from matplotlib import pyplot as plt
from matplotlib.colors import ListedColormap

from gpt2lib.course.show.style import (
    BLUE,
    GREY,
    ORANGE,
    PASTELS,
    label_ticks,
    visible,
    write_cell,
)


def heatmap(
    patterns, labels=None, titles=(), columns=None, values=None, xlabel="", ylabel=""
):
    """One matrix, or several side by side; for attention, each row is a query.

    Args:
        patterns: (T, T) or (N, T, T), on one colour scale.
        labels: labels of the rows, and of the columns unless `columns` is given.
        titles: one per matrix.
        values: whether to write the numbers; by default, if there is room.
    """
    patterns = torch.as_tensor(patterns).detach().float().cpu()
    patterns = patterns[None] if patterns.ndim == 2 else patterns
    count, height, width = patterns.shape
    values = count * height * width <= 128 if values is None else values
    columns = labels if columns is None else columns
    cell = 0.42 if values else 0.3
    size = (count * max(2.2, cell * width + 0.9) + 0.6, max(2.0, cell * height + 1.0))
    figure, axes = plt.subplots(
        1, count, figsize=size, layout="constrained", squeeze=False
    )
    low = min(0.0, patterns.min().item())
    high = patterns.max().item()
    style = dict(cmap="Blues", vmin=0, vmax=high)
    if low < 0:  # both signs: white is zero
        bound = max(-low, high)
        style = dict(cmap="RdBu", vmin=-bound, vmax=bound)
    for i, axis in enumerate(axes[0]):
        image = axis.imshow(patterns[i], **style)
        axis.set_title(titles[i] if i < len(titles) else "", fontsize=10)
        label_ticks(axis.set_xticks, columns, rotation=90)
        label_ticks(axis.set_yticks, labels if i == 0 or values else None)
        axis.set(xlabel=xlabel, ylabel=ylabel if i == 0 else "")
        if values:
            _write_values(axis, patterns[i], style["vmax"])
    figure.colorbar(image, ax=axes, shrink=0.7)
    plt.show()


def _write_values(axis, matrix, largest):
    place = {"ha": "center", "va": "center", "size": 7}
    for row, values in enumerate(matrix.tolist()):
        for column, value in enumerate(values):
            colour = "white" if abs(value) > 0.6 * largest else "#222"
            axis.text(column, row, f"{value:.2f}", color=colour, **place)


def grid(texts, shares, rows=None, columns=None, title=""):
    """A table of short texts on coloured cells: white for a share of 0, dark for 1.

    Args:
        texts: rows of texts; the last may be shorter, for a text broken into lines.
        shares: a number from 0 to 1 for each text, in the same rows.
        rows, columns: labels of the rows and columns.
    """
    width, height = max(map(len, texts)), len(texts)
    size = (0.9 + 0.74 * width, 0.8 + 0.32 * height)
    _, axis = plt.subplots(figsize=size, layout="constrained")
    colours = torch.zeros(height, width)
    for row, values in enumerate(shares):
        colours[row, : len(values)] = torch.as_tensor(values)
    axis.imshow(colours, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, line in enumerate(texts):
        for column, text in enumerate(line):
            write_cell(axis, column, row, text, colours[row, column])
    axis.xaxis.tick_top()
    axis.tick_params(length=0, labelsize=8)
    label_ticks(axis.set_xticks, columns and list(map(visible, columns)))
    label_ticks(axis.set_yticks, rows)
    axis.set_title(title, fontsize=10)
    plt.show()


def most_read(words, patterns, t):
    """The token that each head reads most from position `t`, the darker the surer.

    Args:
        words: the text of each token.
        patterns: attention weights (blocks, heads, T, T).
    """
    weight, place = patterns[:, :, t].max(dim=-1)  # (blocks, heads) each
    texts = [[f"{i}:{words[i]}" for i in row] for row in place.tolist()]
    rows = [f"block {n}" for n in range(len(texts))]
    columns = [f"head\u00a0{n}" for n in range(len(texts[0]))]
    title = f"what token {t}, {visible(words[t])!r}, reads most"
    grid(texts, weight.tolist(), rows, columns, title)


def kinds(matrices, names, titles=(), xlabel="", ylabel="", columns=None):
    """Matrices of small whole numbers as fields of colour, with a name for each number.

    Args:
        matrices: (H, W) or (N, H, W); 0 is the first of `names`, and white.
        names: what each number means.
        titles: one per matrix.
        columns: labels of the columns of the lowest matrix.
    """
    matrices = torch.as_tensor(matrices)
    matrices = matrices[None] if matrices.ndim == 2 else matrices
    count, height, _ = matrices.shape
    size = (9.0, 0.9 + count * (0.5 + 0.16 * height))
    _, axes = plt.subplots(count, figsize=size, layout="constrained", squeeze=False)
    colours = ["#ffffff", PASTELS[0], BLUE, ORANGE][: len(names)]
    style = dict(cmap=ListedColormap(colours), vmin=-0.5, vmax=len(names) - 0.5)
    for i, (axis, matrix) in enumerate(zip(axes[:, 0], matrices)):
        axis.imshow(matrix, aspect="auto", interpolation="nearest", **style)
        axis.set_title(titles[i] if i < len(titles) else "", fontsize=10)
        axis.set_ylabel(ylabel)
        axis.yaxis.set_major_formatter(lambda at, _: f"{at + 1:.0f}")
        if columns:
            label_ticks(
                axis.set_xticks, list(map(visible, columns)), rotation=90, size=8
            )
    axis.set_xlabel(xlabel)
    boxes = [plt.Rectangle((0, 0), 1, 1, facecolor=c, ec=GREY) for c in colours]
    place = dict(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    axes[0, 0].legend(boxes, names, fontsize=9, **place)
    plt.show()


def cache_filling(tokens, given, passes):
    """Which positions each pass works through, without a KV cache and with one.

    Args:
        tokens: the text of each position, prompt and answer.
        given: how many of them are the prompt.
        passes: how many passes have been made.
    """
    without = torch.zeros(len(tokens) - given, len(tokens), dtype=torch.int64)
    with_cache = without.clone()
    for row in range(passes):
        end = given + row
        without[row, :end] = 2
        with_cache[row, :end] = 1
        with_cache[row, end - 1 if row else 0 : end] = 2
    work = [int((each == 2).sum()) for each in (without, with_cache)]
    titles = [f"without a cache: {work[0]} positions computed"]
    titles += [f"with a cache: {work[1]}, of which it keeps the keys and values"]
    names = ["not reached", "read from the cache", "computed"]
    both = torch.stack([without, with_cache])
    kinds(both, names, titles, ylabel="pass", columns=tokens)
