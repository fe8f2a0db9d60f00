"""Texts: source code, coloured tokens, surprise, and an answer step by step."""

import html
import inspect

import torch
from IPython.display import HTML, Markdown, display
from matplotlib import pyplot as plt

from gpt2lib.course.show.matrices import grid
from gpt2lib.course.show.style import PASTELS, readable, visible, write_cell
from gpt2lib.generate import next_token_logits, sample


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
    return [readable(tokenizer.decode_single_token_bytes(id)) for id in ids]


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
        axis.text(x + len(part) / 2 + 0.1, y, visible(part), **style)
    axis.set(xlim=(-0.5, width + 8), ylim=(y + 0.6, -0.6), title=title)
    axis.axis("off")
    figure.colorbar(shade, ax=axis, label="surprise (nats)", extend="max")
    plt.show()


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
        write_cell(axis, i % width, i // width, word, abs(move) / most)
    axis.set(title=title, xticks=[], yticks=[])
    figure.colorbar(image, ax=axis, label=label)
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
