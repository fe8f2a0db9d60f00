"""Colours, labels and readable tokens, shared by all figures."""

# The palette of Okabe and Ito, whose colours a colour-blind reader tells apart.
BLUE, ORANGE, GREEN, RED, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#8a8f98"
COLOURS = (BLUE, ORANGE, GREEN, RED, GREY)
PASTELS = ("#cfe2f8", "#fde2c3", "#d3ecd9", "#f6d3d0", "#e6ddf3")


def readable(token):
    """The text of a token's bytes; incomplete UTF-8 as bytes in hexadecimal."""
    try:
        return token.decode()
    except UnicodeDecodeError:
        return token.hex(" ")


def visible(text):
    """A text whose spaces and line ends can be seen."""
    return text.replace(" ", "·").replace("\n", "⏎")


def label_ticks(set_ticks, labels, **style):
    """A label at each row or column; without labels, no ticks."""
    set_ticks(range(len(labels)), labels, **style) if labels else set_ticks([])


def write_cell(axis, x, y, text, share):
    """A text in a cell that is the darker the larger its share."""
    colour = "white" if share > 0.6 else "#222"
    axis.text(x, y, visible(text), ha="center", va="center", size=8, color=colour)
