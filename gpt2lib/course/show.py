"""What a chapter shows: source code, coloured tokens, heat maps, curves, bars.

Every function displays and returns nothing.
"""

import html
import inspect

import torch
from IPython.display import HTML, Markdown, display
from matplotlib import pyplot as plt

BLUE, ORANGE, GREEN, RED, GREY = "#3568a8", "#e08a1e", "#3f8f5b", "#c0453c", "#8a8f98"
COLOURS = (BLUE, ORANGE, GREEN, RED, GREY)
PASTELS = ("#cfe2f8", "#fde2c3", "#d3ecd9", "#f6d3d0", "#e6ddf3")


def source(*objects):
    """The source code of functions, methods or classes, with the file it stands in."""
    for thing in objects:
        module = inspect.getmodule(thing).__name__.replace(".", "/")
        code = inspect.cleandoc("\n" + inspect.getsource(thing))
        display(Markdown(f"`{module}.py`\n```python\n{code.rstrip()}\n```"))


def pieces(text, tokenizer):
    """The text of every token, parts of characters as bytes in hexadecimal."""
    ids = tokenizer.encode(text)
    if not hasattr(tokenizer, "decode_single_token_bytes"):
        return [tokenizer.decode([id]) for id in ids]
    return [_readable(tokenizer.decode_single_token_bytes(id)) for id in ids]


def _readable(token):
    try:
        return token.decode()
    except UnicodeDecodeError:
        return token.hex(" ")


def tokens(text, tokenizers):
    """One text as coloured tokens, a row for each of several named tokenizers."""
    rows = ""
    for name, tokenizer in tokenizers.items():
        parts = pieces(text, tokenizer)
        cells = "".join(
            f'<span style="background:{PASTELS[i % len(PASTELS)]};color:#111;'
            f"padding:1px 2px;margin:1px;border-radius:3px;white-space:pre;"
            f'display:inline-block">{html.escape(part).replace(" ", "·")}</span>'
            for i, part in enumerate(parts)
        )
        rows += (
            f'<tr><td style="text-align:left"><b>{html.escape(name)}</b></td>'
            f"<td>{len(parts)}</td>"
            f'<td style="text-align:left;font-family:monospace">{cells}</td></tr>'
        )
    head = "<tr><th></th><th>tokens</th><th></th></tr>"
    display(HTML(f"<table>{head}{rows}</table>"))


def heatmap(patterns, labels=None, titles=(), columns=None, values=None):
    """One matrix, or several side by side: rows look at columns.

    Args:
        patterns: (T, T) or (N, T, T), on one colour scale.
        labels: what the rows are, and the columns too unless `columns` are given.
        titles: one for each matrix.
        values: whether to write the numbers; by default where there is room.

    """
    patterns = torch.as_tensor(patterns).detach().float().cpu()
    patterns = patterns[None] if patterns.ndim == 2 else patterns
    count, height, width = patterns.shape
    values = height * width <= 64 if values is None else values
    columns = labels if columns is None else columns
    cell = 0.5 if values else 0.32
    size = (count * max(2.2, cell * width + 0.9) + 0.6, max(2.0, cell * height + 1.0))
    figure, axes = plt.subplots(1, count, figsize=size, layout="constrained")
    low = min(0.0, patterns.min().item())
    high = patterns.max().item()
    style = dict(cmap="Blues", vmin=0, vmax=high)
    if low < 0:  # numbers of both signs: white is zero
        bound = max(-low, high)
        style = dict(cmap="RdBu", vmin=-bound, vmax=bound)
    for i, axis in enumerate(plt.np.atleast_1d(axes)):
        image = axis.imshow(patterns[i], **style)
        axis.set_title(titles[i] if i < len(titles) else "", fontsize=10)
        _label(axis.set_xticks, columns, rotation=90)
        _label(axis.set_yticks, labels if i == 0 or values else None)
        if values:
            _write_values(axis, patterns[i], style["vmax"])
    figure.colorbar(image, ax=axes, shrink=0.7)
    plt.show()


def _label(set_ticks, labels, **style):
    set_ticks(range(len(labels)), labels, **style) if labels else set_ticks([])


def _write_values(axis, matrix, largest):
    for (row, column), value in plt.np.ndenumerate(matrix.numpy()):
        colour = "white" if abs(value) > 0.6 * largest else "#222"
        axis.text(
            column, row, f"{value:.2f}", ha="center", va="center", color=colour, size=7
        )


def curves(lines, x=None, xlabel="", ylabel="", title="", log_x=False, log_y=False):
    """Named lines over one axis.

    Args:
        lines: name -> y values, or name -> (x values, y values).
        x: the x values of all lines that bring none; 0, 1, 2, ... if None.
    """
    _, axis = plt.subplots(figsize=(6.6, 3.4), layout="constrained")
    for colour, (name, line) in zip(COLOURS, lines.items()):
        xs, ys = line if isinstance(line, tuple) else (x or range(len(line)), line)
        marker = "o" if len(ys) <= 30 else None
        axis.plot(xs, ys, label=name, color=colour, marker=marker, markersize=3)
    if log_x:
        axis.set_xscale("log")
    if log_y:
        axis.set_yscale("log")
    axis.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axis.grid(alpha=0.25)
    if len(lines) > 1:
        axis.legend(frameon=False)
    plt.show()


def bars(groups, labels, xlabel="", title="", number="{:,.0f}"):
    """Horizontal bars, one for each label, or one a group side by side.

    Args:
        groups: name -> values, one for each label.
        number: how a value is written at the end of its bar.
    """
    height = 0.8 / len(groups)
    size = (6.6, 0.9 + 0.32 * len(labels) * max(1, 0.7 * len(groups)))
    _, axis = plt.subplots(figsize=size, layout="constrained")
    for i, (name, values) in enumerate(groups.items()):
        places = [row + i * height for row in range(len(labels))]
        drawn = axis.barh(places, values, height * 0.92, label=name, color=COLOURS[i])
        axis.bar_label(drawn, [number.format(value) for value in values], padding=3)
    middle = height * (len(groups) - 1) / 2
    axis.set_yticks([row + middle for row in range(len(labels))], labels)
    axis.invert_yaxis()
    axis.margins(x=0.18)
    axis.set(xlabel=xlabel, title=title)
    axis.spines[["top", "right"]].set_visible(False)
    if len(groups) > 1:
        axis.legend(frameon=False)
    plt.show()
