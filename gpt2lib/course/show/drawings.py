"""Drawings of how something is built: the model, a token, LoRA."""

from matplotlib import pyplot as plt

from gpt2lib.course.show.style import GREY, ORANGE, PASTELS, readable, visible


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
    text = visible(readable(token))
    axis.text(x, y, text, ha="center", va="center", size=9, bbox=box, color="#111")
    axis.plot([x], [y], alpha=0)  # so that the axes make room for it


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
