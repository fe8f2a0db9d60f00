"""Numbers: curves, bars, intervals, points and number lines."""

import torch
from IPython.display import clear_output
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator, NullLocator
from matplotlib.transforms import Bbox

from gpt2lib.course.show.style import BLUE, COLOURS, GREEN, GREY, ORANGE, RED
from gpt2lib.generate import keep_top_k, keep_top_p
from gpt2lib.training import Metrics


def curves(
    lines, x=None, xlabel="", ylabel="", title="", log_x=False, log_y=False, notes=()
):
    """Named lines in one plot.

    Args:
        lines: name -> y values, or name -> (x values, y values).
        x: x values of the lines without their own; 0, 1, 2, ... if None.
        log_x: logarithmic x axis with a tick at each value of x.
        notes: (x, y, text) for text beside a point.
    """
    _, axis = plt.subplots(figsize=(6.6, 3.4), layout="constrained")
    for colour, (name, line) in zip(COLOURS, lines.items()):
        xs, ys = line if isinstance(line, tuple) else (x or range(len(line)), line)
        marker = "o" if len(ys) <= 30 else None
        axis.plot(xs, ys, label=name, color=colour, marker=marker, markersize=3)
    if log_x:
        axis.set_xscale("log")
        axis.set_xticks(x, [f"{at:g}" for at in x])
        axis.minorticks_off()
    if log_y:
        axis.set_yscale("log")
        lowest, highest = axis.get_ylim()
        if highest < 1e4 * lowest:  # room for more than the powers of ten
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_major_formatter("{x:,g}")
            axis.yaxis.set_minor_locator(NullLocator())
    if notes:
        axis.margins(0.2)
    for *place, text in notes:
        axis.annotate(text, place, (6, -6), textcoords="offset points", va="top")
    axis.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axis.grid(alpha=0.25)
    if len(lines) > 1:
        axis.legend(frameon=False)
    plt.show()


def live(lines, **style):
    """Draws `curves` in place of the cell's previous output."""
    clear_output(wait=True)
    curves(lines, **style)


def training(path):
    """Draws the loss curves from the metrics file of a training run."""
    steps = {"training": "loss", "held out": "val_loss"}
    measured = Metrics(path).read()
    lines = {}
    for name, key in steps.items():
        found = [m for m in measured if key in m]
        lines[name] = ([m["step"] for m in found], [m[key] for m in found])
    curves(lines, xlabel="step", ylabel="loss (nats per token)")


def bars(groups, labels, xlabel="", title="", number="{:,.0f}"):
    """Horizontal bars, one per label; with several groups, one per label and group.

    Args:
        groups: name -> one value per label.
        number: format of the value at the end of each bar.
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
    axis.set(xlabel=xlabel, title=title, xticks=[])
    axis.spines[["top", "right", "bottom"]].set_visible(False)
    if len(groups) > 1:
        axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    plt.show()


def sampling(logits, labels, temperature=1.0, top_k=None, top_p=None):
    """The likeliest tokens' probabilities after temperature, and what top-k and top-p
    make of them.

    Args:
        logits: (V,) of one position.
        labels: id -> text, for instance `lambda id: tokenizer.decode([id])`.
    """
    logits = logits / temperature
    kept = logits if top_k is None else keep_top_k(logits, top_k)
    kept = kept if top_p is None else keep_top_p(kept, top_p)
    top = logits.topk(12).indices
    groups = {
        "after temperature": logits.softmax(dim=-1)[top].tolist(),
        "drawn from": kept.softmax(dim=-1)[top].tolist(),
    }
    count = int((kept > -torch.inf).sum())
    title = f"{count:,} of {len(logits):,} tokens may be drawn"
    names = [repr(labels(id))[1:-1].replace(" ", "·") for id in top.tolist()]
    bars(groups, names, "probability", title, "{:.2f}")


def intervals(figures, xlabel="", title="", number="{:.1%}"):
    """Figures as dots, with their 95 % intervals as lines.

    Args:
        figures: name -> (value, low, high).
        number: format of the value beside its line.
    """
    size = (6.6, 0.9 + 0.36 * len(figures))
    _, axis = plt.subplots(figsize=size, layout="constrained")
    for row, (value, low, high) in enumerate(figures.values()):
        axis.plot([low, high], [row, row], color=BLUE, linewidth=2)
        axis.plot([value], [row], "o", color=BLUE)
        text = number.format(value)
        axis.annotate(
            text, (high, row), (8, 0), textcoords="offset points", va="center"
        )
    axis.set_yticks(range(len(figures)), figures)
    axis.set_ylim(len(figures) - 0.4, -0.6)
    left, right = axis.get_xlim()
    axis.set_xlim(left - 0.15 * (right - left), right + 0.28 * (right - left))
    axis.set(xlabel=xlabel, title=title)
    low = min(low for _, low, _ in figures.values())
    high = max(high for _, _, high in figures.values())
    inside = [at for at in axis.get_xticks() if low - 1e-9 <= at <= high + 1e-9]
    axis.set_xticks(inside, [number.format(at) for at in inside])
    axis.grid(axis="x", alpha=0.25)
    plt.show()


def measured(lines, x, band=None, xlabel="", ylabel="", title=""):
    """Named lines of figures, each with its 95 % interval, over a shaded band.

    Args:
        lines: name -> one figure for each x: (value, low, high), or the value alone.
        band: (low, high, text), the part of the x axis that is shaded.
    """
    _, axis = plt.subplots(figsize=(6.6, 3.4), layout="constrained")
    if band:
        *ends, text = band
        axis.axvspan(*ends, color=GREY, alpha=0.22, label=text, lw=0)
    for colour, marker, (name, line) in zip(COLOURS, "osD^v", lines.items()):
        style = dict(color=colour, label=name, marker=marker, markersize=4)
        if isinstance(line[0], tuple):
            values, lows, highs = zip(*line)
            below = [value - low for value, low in zip(values, lows)]
            above = [high - value for value, high in zip(values, highs)]
            axis.errorbar(x, values, (below, above), capsize=3, **style)
        else:
            axis.plot(x, line, **style)
    axis.set(xlabel=xlabel, ylabel=ylabel, title=title, xticks=x)
    axis.grid(alpha=0.25)
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    plt.show()


def places(groups, title=""):
    """Named points on a map; each group has its own colour and marker.

    Args:
        groups: name -> {label: (x, y)}.
    """
    _, axis = plt.subplots(figsize=(7.6, 5.0), layout="constrained")
    for (name, points), colour, marker in zip(groups.items(), COLOURS, "os^Dv"):
        xs, ys = zip(*points.values())
        axis.scatter(xs, ys, 26, color=colour, marker=marker, label=name)
    axis.set(title=title, xticks=[], yticks=[])
    axis.set(xlabel="first direction", ylabel="second direction")
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    _label(axis, [point for points in groups.values() for point in points.items()])
    plt.show()


def _label(axis, points):
    """Writes the label of each point at that corner of it where it covers least."""
    axis.figure.canvas.draw()  # only now is it known how large everything is
    spots = axis.transData.transform([place for _, place in points])
    taken = [Bbox.from_bounds(x - 3, y - 3, 6, 6) for x, y in spots]
    for text, place in points:
        labels = [
            axis.annotate(
                text,
                place,
                (x, y),
                textcoords="offset points",
                size=8,
                ha="left" if x > 0 else "right",
                va="bottom" if y > 0 else "top",
            )
            for x, y in ((4, 3), (-4, 3), (4, -3), (-4, -3))
        ]
        boxes = [label.get_window_extent() for label in labels]
        covered = [box.count_overlaps(taken) for box in boxes]
        outside = [box.x1 > axis.bbox.x1 for box in boxes]
        best = min(range(len(boxes)), key=lambda i: covered[i] + outside[i])
        taken.append(boxes[best])
        for label in labels[:best] + labels[best + 1 :]:
            label.remove()


def clouds(panels):
    """Groups of points in a plane, side by side; each panel has its own scale.

    Args:
        panels: title -> {name of the group: (N, 2)}.
    """
    size = (4.4 * len(panels), 3.8)
    _, axes = plt.subplots(
        1, len(panels), figsize=size, layout="constrained", squeeze=False
    )
    for axis, (title, groups) in zip(axes[0], panels.items()):
        for (name, points), colour, marker in zip(groups.items(), COLOURS, "os^Dv"):
            style = dict(color=colour, marker=marker, alpha=0.6, lw=0, label=name)
            axis.scatter(*torch.as_tensor(points).T.tolist(), 20, **style)
        axis.set(title=title, xticks=[], yticks=[])
        axis.set(xlabel="first direction", ylabel="second direction")
    axes[0, -1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    plt.show()


def arrows(panels, thick=()):
    """Vectors of two numbers as arrows from the origin.

    Args:
        panels: title -> {label: (x, y)}.
        thick: labels of the vectors that stand out.
    """
    size = (4.2 * len(panels), 3.4)
    _, axes = plt.subplots(1, len(panels), figsize=size, layout="constrained")
    for axis, (title, vectors) in zip(axes, panels.items()):
        for label, (x, y) in vectors.items():
            colour, width = (RED, 3) if label in thick else (BLUE, 1.5)
            style = {"arrowstyle": "->", "color": colour, "lw": width, "shrinkB": 0}
            axis.annotate("", (x, y), (0, 0), arrowprops=style | {"shrinkA": 0})
            axis.annotate(
                label, (x, y), (5, 3), textcoords="offset points", color=colour, size=9
            )
            axis.plot([0, x], [0, y], alpha=0)
        axis.margins(0.4, 0.25)
        axis.set(title=title, xlabel="first number", ylabel="second number")
        axis.grid(alpha=0.25)
        axis.set_aspect("equal", adjustable="datalim")
    plt.show()


def levels(values, steps, title=""):
    """A number line: exact values above, below where rounding to `steps` puts them.

    Args:
        values: (N,) numbers.
        steps: the numbers that are left, in order.
    """
    _, axis = plt.subplots(figsize=(8.6, 2.6), layout="constrained")
    for step in steps:
        axis.axvline(step, color=GREY, lw=1)
    for value in torch.as_tensor(values).tolist():
        nearest = min(steps, key=lambda step: abs(step - value))
        axis.plot((value, nearest), (1, 0), color=BLUE, lw=0.6, alpha=0.6)
        axis.plot(value, 1, "o", color=BLUE, markersize=5, alpha=0.7)
        axis.plot(nearest, 0, "s", color=ORANGE, markersize=6)
    axis.set_xticks(steps, [f"{step:.2f}" for step in steps])
    axis.set_yticks([0, 1], ["rounded", "exact"])
    axis.set_ylim(-0.35, 1.35)
    axis.set(xlabel="weight", title=title)
    axis.spines[["top", "right", "left"]].set_visible(False)
    plt.show()


def strip(segments, xlabel="", title=""):
    """Segments of a file or a row, end to end and to scale, coloured by their kind.

    Args:
        segments: (kind, size) pairs, in order; at most seven kinds.
    """
    _, axis = plt.subplots(figsize=(9, 1.7), layout="constrained")
    palette = ["black", BLUE, ORANGE, GREEN, RED, "#cc79a7", "#f0e442"]
    colours, start = {}, 0
    for kind, size in segments:
        known = kind in colours
        colour = colours.setdefault(kind, palette[len(colours)])
        label = None if known else kind
        axis.barh(0, size, left=start, color=colour, label=label)
        start += size
    axis.set(xlim=(0, start), yticks=[], xlabel=xlabel, title=title)
    axis.xaxis.set_major_formatter(lambda at, _: f"{at:,.0f}")
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    plt.show()
