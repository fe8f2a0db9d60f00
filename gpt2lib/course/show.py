"""Displays for the chapters: source code, coloured tokens, heat maps, curves, bars.

All public functions but `pieces` display something and return nothing.
"""

import html
import inspect

import torch
from IPython.display import HTML, Markdown, clear_output, display
from matplotlib import pyplot as plt
from matplotlib.colors import ListedColormap

from gpt2lib.generate import keep_top_k, keep_top_p, next_token_logits, sample
from gpt2lib.training import Metrics

# The palette of Okabe and Ito, whose colours a colour-blind reader tells apart.
BLUE, ORANGE, GREEN, RED, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#8a8f98"
COLOURS = (BLUE, ORANGE, GREEN, RED, GREY)
PASTELS = ("#cfe2f8", "#fde2c3", "#d3ecd9", "#f6d3d0", "#e6ddf3")


def source(*objects):
    """The source code of functions, methods or classes, with the file it is in."""
    for thing in objects:
        module = inspect.getmodule(thing).__name__.replace(".", "/")
        code = inspect.cleandoc("\n" + inspect.getsource(thing))
        display(Markdown(f"`{module}.py`\n```python\n{code.rstrip()}\n```"))


def pieces(text, tokenizer):
    """The text of each token; incomplete UTF-8 as bytes in hexadecimal."""
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
    """A text as coloured tokens, one row per named tokenizer."""
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
        _label(axis.set_xticks, columns, rotation=90)
        _label(axis.set_yticks, labels if i == 0 or values else None)
        axis.set(xlabel=xlabel, ylabel=ylabel if i == 0 else "")
        if values:
            _write_values(axis, patterns[i], style["vmax"])
    figure.colorbar(image, ax=axes, shrink=0.7)
    plt.show()


def _label(set_ticks, labels, **style):
    set_ticks(range(len(labels)), labels, **style) if labels else set_ticks([])


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
            _write(axis, column, row, text, colours[row, column])
    axis.xaxis.tick_top()
    axis.tick_params(length=0, labelsize=8)
    _label(axis.set_xticks, columns and list(map(_visible, columns)))
    _label(axis.set_yticks, rows)
    axis.set_title(title, fontsize=10)
    plt.show()


@torch.inference_mode()
def steps_of(model, prompt, tokenizer, length=40, temperature=0.0, seed=0, others=2):
    """An answer step by step: [(text, probability), ...], what it says, then what else.

    The probabilities are the model's own, whatever the temperature; the others are the
    likeliest. The last step is <|endoftext|>, unless `length` comes first.
    """
    unread = torch.tensor([tokenizer.encode(prompt)])
    room = min(unread.shape[1] + length, model.cfg.context_length)
    caches = model.new_caches(room)
    generator = torch.Generator().manual_seed(seed)
    steps, end = [], tokenizer.eot_token
    while caches[0].length + unread.shape[1] < room:
        logits = next_token_logits(model, unread, caches)
        said = sample(logits, temperature, generator=generator)
        chances = logits[0].softmax(dim=-1)
        likely = chances.topk(others + 1).indices.tolist()
        ids = said.tolist() + [id for id in likely if id != said.item()][:others]
        texts = ["END" if id == end else tokenizer.decode([id]) for id in ids]
        steps.append(list(zip(texts, chances[ids].tolist())))
        if said.item() == end:
            break
        unread = said[:, None]
    return steps


def answer(steps, count=None, width=11, title=""):
    """The first `count` steps of `steps_of`: each token above what else was likely.

    Dark is likely; below half a percent, no number is given. Steps that are still to
    come are left empty, so that the picture keeps its size.
    """
    count = len(steps) if count is None else count
    texts, shares, labels = [], [], []
    for start in range(0, len(steps), width):
        for rank, line in enumerate(zip(*steps[start : start + width])):
            line = line[: max(0, count - start)]
            shown = [f"{text}{_percent(chance)}" for text, chance in line]
            texts.append(shown + [""] * (width - len(shown)))
            shares.append([chance for _, chance in line])
            labels.append("says" if rank == 0 else "or")
    if texts:
        grid(texts, shares, labels, title=title)


def _percent(chance):
    return f"\u00a0{chance:.0%}" if chance >= 0.005 else ""


def _write(axis, x, y, text, share):
    colour = "white" if share > 0.6 else "#222"
    axis.text(x, y, _visible(text), ha="center", va="center", size=8, color=colour)


def _visible(text):
    return text.replace(" ", "·").replace("\n", "⏎")


def leanings(words, moves, title="", width=8, label=""):
    """A text whose words are coloured by signed numbers: orange above 0, violet below.

    Args:
        moves: one number per word.
        width: words in a line.
        label: what the numbers are, with their unit, for the colour bar.
    """
    rows = range(0, len(words), width)
    size = (0.9 + 0.74 * min(width, len(words)) + 1.0, 0.9 + 0.36 * len(rows))
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    colours = torch.full((len(rows), min(width, len(words))), torch.nan)
    colours.flatten()[: len(words)] = torch.as_tensor(moves)
    most = max(1e-9, *map(abs, moves))
    image = axis.imshow(colours, cmap="PuOr_r", vmin=-most, vmax=most, aspect="auto")
    for i, (word, move) in enumerate(zip(words, moves)):
        _write(axis, i % width, i // width, word, abs(move) / most)
    axis.set(title=title, xticks=[], yticks=[])
    figure.colorbar(image, ax=axis, label=label)
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


def surprise(parts, nats, title="", width=64):
    """A text whose tokens are darker the more they surprised a model.

    Args:
        parts: the text of each token, from `pieces`.
        nats: the surprise of each; None where there is none, at the first token.
        width: characters in a line.
    """
    places, x, y = [], 0, 0
    for part in parts:
        if x + len(part) > width:
            x, y = 0, y + 1
        places.append((x, y))
        x += len(part) + 0.4
    figure, axis = plt.subplots(figsize=(9, 1 + 0.34 * (y + 1)), layout="constrained")
    shade = plt.cm.ScalarMappable(plt.Normalize(0, 6), "Oranges")
    for (x, y), part, amount in zip(places, parts, nats):
        colour = "white" if amount is None else shade.to_rgba(amount)
        size = (len(part) + 0.2, 0.9)
        axis.add_patch(plt.Rectangle((x, y - 0.45), *size, facecolor=colour))
        style = {"family": "monospace", "size": 9, "va": "center", "ha": "center"}
        style["color"] = "white" if amount is not None and amount > 4.2 else "#222"
        axis.text(x + len(part) / 2 + 0.1, y, _visible(part), **style)
    axis.set(xlim=(-0.5, width + 8), ylim=(y + 0.6, -0.6), title=title)
    axis.axis("off")
    figure.colorbar(shade, ax=axis, label="surprise (nats)", extend="max")
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
    axis.margins(x=0.2)
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
            _label(axis.set_xticks, list(map(_visible, columns)), rotation=90, size=8)
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


def windows(tokens, inputs, title=""):
    """Shows where each window of inputs lies in a text, and its last target.

    Args:
        tokens: the text of the token at each position.
        inputs: (windows, context_length) positions, from `sliding_windows`.
    """
    size = (0.9 + 0.75 * len(tokens), 0.9 + 0.42 * len(inputs))
    _, axis = plt.subplots(figsize=size, layout="constrained")
    for row, window in enumerate(torch.as_tensor(inputs).tolist()):
        for place in window:
            _cell(axis, place, row, tokens[place], PASTELS[0])
        _cell(axis, window[-1] + 1, row, tokens[window[-1] + 1], PASTELS[1])
    axis.set_xlim(-0.6, len(tokens) - 0.4)
    axis.set_ylim(len(inputs) - 0.4, -0.6)
    axis.set_xticks(range(len(tokens)), range(len(tokens)), fontsize=8)
    axis.set_yticks(range(len(inputs)), [f"window {i}" for i in range(len(inputs))])
    axis.set_title(title, fontsize=10)
    axis.spines[["top", "right", "left"]].set_visible(False)
    plt.show()


def _cell(axis, x, y, text, colour):
    box = plt.Rectangle((x - 0.46, y - 0.4), 0.92, 0.8, facecolor=colour)
    axis.add_patch(box)
    axis.text(x, y, text.replace(" ", "·"), ha="center", va="center", fontsize=8)


def architecture(cfg):
    """GPT-2 from ids (bottom) to logits (top), with one block expanded on the right."""
    figure, axis = plt.subplots(figsize=(8.6, 6.4), layout="constrained")
    axis.set(xlim=(0, 10), ylim=(0, 10))
    axis.axis("off")
    _stack(axis, 2.3, _model_boxes(cfg))
    axis.add_patch(plt.Rectangle((5.6, 1.3), 4.2, 7.4, fill=False, color=GREY, ls="--"))
    for y in (1.4, 8.6):  # from the block to its expanded view
        axis.plot((4.25, 5.6), (4.9 if y < 5 else 5.5, y), color=GREY, lw=0.8, ls="--")
    _stack(axis, 7.9, _block_boxes(cfg), width=3.0)
    for low, high in ((2.05, 4.6), (5.0, 7.7)):  # the shortcuts
        axis.plot((7.9, 6.0, 6.0), (low, low, high), color=ORANGE, lw=1.6)
        _arrow(axis, (6.0, high), (7.65, high), ORANGE)
    figure.suptitle(f"GPT-2 with {cfg.n_params:,} parameters", fontsize=12)
    plt.show()


def _model_boxes(cfg):
    C, V = f"{cfg.emb_dim:,}", f"{cfg.vocab_size:,}"
    return (
        (0.5, "token ids   (B, T)", "white"),
        (2.0, f"tok_emb   {V} × {C}", PASTELS[0]),
        (3.1, f"+ pos_emb   {cfg.context_length:,} × {C}", PASTELS[0]),
        (5.2, f"{cfg.n_layers} × TransformerBlock   (B, T, {C})", PASTELS[1]),
        (7.1, "final_norm", PASTELS[2]),
        (8.2, "out_head, the same matrix as tok_emb", PASTELS[0]),
        (9.5, f"logits   (B, T, {V})", "white"),
    )


def _block_boxes(cfg):
    C = f"{cfg.emb_dim:,}"
    return (
        (1.7, "x", "white"),
        (2.6, "norm1", PASTELS[2]),
        (3.5, f"att   {cfg.n_heads} heads × {cfg.head_dim}", PASTELS[3]),
        (4.6, "+", "white"),
        (5.7, "norm2", PASTELS[2]),
        (6.6, f"ff   {C} → {4 * cfg.emb_dim:,} → {C}", PASTELS[4]),
        (7.7, "+", "white"),
    )


def _stack(axis, x, boxes, width=3.9):
    """Boxes (height, text, colour) above one another, joined by arrows."""
    for y, text, colour in boxes:
        w = 0.5 if text in ("x", "+") else width
        axis.add_patch(
            plt.Rectangle((x - w / 2, y - 0.28), w, 0.56, facecolor=colour, ec=GREY)
        )
        axis.text(x, y, text, ha="center", va="center", fontsize=9)
    for (low, *_), (high, *_) in zip(boxes, boxes[1:]):
        _arrow(axis, (x, low + 0.28), (x, high - 0.28))


def _arrow(axis, start, end, colour="black"):
    style = {"arrowstyle": "->", "color": colour, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", end, start, arrowprops=style)


# ------------------------------------------------------------------ chapters 1 to 3


def merge_tree(word, merges):
    """How byte-pair encoding puts a word together: its bytes, and each merge above
    the two tokens that it joins, the earliest lowest.

    Args:
        merges: pairs of token bytes, the first to merge first.
    """
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    row = [(bytes([byte]), float(i), 0) for i, byte in enumerate(word.encode())]
    _, axis = plt.subplots(figsize=(1.6 + 0.7 * len(row), 3.6), layout="constrained")
    for node in row:
        _node(axis, *node)
    steps = []
    while pairs := [
        (ranks[left[0], right[0]], i)
        for i, (left, right) in enumerate(zip(row, row[1:]))
        if (left[0], right[0]) in ranks
    ]:
        rank, i = min(pairs)
        steps.append(rank)
        left, right = row[i : i + 2]
        joined = left[0] + right[0], (left[1] + right[1]) / 2, len(steps)
        for _, x, y in (left, right):
            axis.plot((x, joined[1]), (y, joined[2]), color=GREY, lw=1, zorder=0)
        _node(axis, *joined)
        row[i : i + 2] = [joined]
    axis.set_yticks(
        range(len(steps) + 1), ["bytes"] + [f"merge {rank}" for rank in steps]
    )
    axis.set(xticks=[], title=f"{len(row)} token{'s' * (len(row) > 1)}: {word!r}")
    axis.margins(0.12)
    axis.spines[["top", "right", "bottom", "left"]].set_visible(False)
    plt.show()


def _node(axis, token, x, y):
    box = {"boxstyle": "round,pad=0.3", "fc": PASTELS[y % len(PASTELS)], "ec": GREY}
    text = _visible(_readable(token))
    axis.text(x, y, text, ha="center", va="center", size=9, bbox=box, color="#111")
    axis.plot([x], [y], alpha=0)  # so that the axes make room for it


def places(groups, title=""):
    """Named points on a map; each group has its own colour and marker.

    Args:
        groups: name -> {label: (x, y)}.
    """
    _, axis = plt.subplots(figsize=(7.6, 5.0), layout="constrained")
    for (name, points), colour, marker in zip(groups.items(), COLOURS, "os^Dv"):
        xs, ys = zip(*points.values())
        axis.scatter(xs, ys, 26, color=colour, marker=marker, label=name)
        for label, place in points.items():
            axis.annotate(label, place, (4, 3), textcoords="offset points", size=8)
    axis.set(title=title, xticks=[], yticks=[])
    axis.set(xlabel="first direction", ylabel="second direction")
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
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
    title = f"what token {t}, {_visible(words[t])!r}, reads most"
    grid(texts, weight.tolist(), rows, columns, title)


# ------------------------------------------------------------------------- chapter 6


def low_rank(out, in_, rank):
    """LoRA to scale: two thin matrices, their product, and the matrix it is added to.

    Args:
        out, in_: rows and columns of the large matrix.
    """
    gap = 0.3 * in_
    parts = [("B", out, rank, ORANGE), ("·", gap), ("A", rank, in_, ORANGE)]
    parts += [("=", gap), ("B·A", out, in_, PASTELS[1]), ("+", gap)]
    parts += [("W, frozen", out, in_, PASTELS[0])]
    _, axis = plt.subplots(figsize=(7.6, 4.6), layout="constrained")
    x = 0
    for text, *size in parts:
        if len(size) == 1:
            axis.text(x + gap / 2, 0, text, ha="center", va="center", size=14)
            x += gap
            continue
        height, width, colour = size
        corner = x, -height / 2
        axis.add_patch(plt.Rectangle(corner, width, height, facecolor=colour, ec=GREY))
        label = f"{text}\n{height} × {width}"
        axis.text(x + width / 2, height / 2 + 12, label, ha="center", va="bottom")
        x += width
    axis.set(xlim=(-0.4 * gap, x + 0.2 * gap), ylim=(-0.53 * out, 0.66 * out))
    axis.set_aspect("equal")
    axis.axis("off")
    plt.show()


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
