"""The shape of a GPT-2: a frozen dataclass, validated when it is created.

Legend for the whole project: B batch, T positions, C = emb_dim, H = n_heads,
D = C / H, V = vocab_size.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class GPTConfig:
    """The architecture of a GPT-2; `dataclasses.replace` gives a changed copy.

    Args:
        vocab_size: number of token ids, V.
        context_length: maximum number of positions.
        emb_dim: width of a token's embedding, C.
        n_heads: attention heads per block, H; must divide emb_dim.
        n_layers: number of transformer blocks.
        drop_rate: dropout probability in training, 0 <= rate < 1.
        qkv_bias: whether the query, key and value projections add a bias.
        fused_qkv: one combined q, k, v matrix (OpenAI's), not three (the course's).
        tied_head: whether the output head shares the token embedding's weight.
        n_classes: classes of a classification head; 0 for a language model.

    Raises:
        ValueError: an invalid value; the message says what is allowed.

    >>> GPT2_124M.n_params
    124439808
    """

    vocab_size: int = 50257
    context_length: int = 1024
    emb_dim: int = 768
    n_heads: int = 12
    n_layers: int = 12
    drop_rate: float = 0.1
    qkv_bias: bool = True
    fused_qkv: bool = True
    tied_head: bool = True
    n_classes: int = 0

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context_length", "emb_dim", "n_heads", "n_layers"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be an int, at least 1, got {value!r}")
        if self.emb_dim % self.n_heads:
            raise ValueError(
                f"emb_dim must be divisible by n_heads, so that all heads have the "
                f"same width, got {self.emb_dim} and {self.n_heads}"
            )
        if type(self.drop_rate) not in (int, float) or not 0 <= self.drop_rate < 1:
            raise ValueError(f"drop_rate must be in [0, 1), got {self.drop_rate!r}")
        for name in ("qkv_bias", "fused_qkv", "tied_head"):
            if type(getattr(self, name)) is not bool:
                raise ValueError(
                    f"{name} must be True or False, got {getattr(self, name)!r}"
                )
        if type(self.n_classes) is not int or self.n_classes < 0 or self.n_classes == 1:
            raise ValueError(
                f"n_classes must be 0 or an int from 2, got {self.n_classes!r}"
            )
        if self.n_classes and self.tied_head:
            raise ValueError("a classification head is never tied: set tied_head=False")

    @property
    def head_dim(self) -> int:
        """D, the width of one head."""
        return self.emb_dim // self.n_heads

    @property
    def n_params(self) -> int:
        """Number of parameters, counted without building the model."""
        C = self.emb_dim
        embeddings = (self.vocab_size + self.context_length) * C
        norm = 2 * C
        attention = 4 * C * C + C + (3 * C if self.qkv_bias else 0)
        feed_forward = 8 * C * C + 5 * C
        block = attention + feed_forward + 2 * norm
        head = 0 if self.tied_head else (self.n_classes or self.vocab_size) * C
        return embeddings + self.n_layers * block + norm + head


# Radford et al. 2019, table 2. The names count parameters with the output head tied.
GPT2_124M = GPTConfig(emb_dim=768, n_heads=12, n_layers=12)
GPT2_355M = GPTConfig(emb_dim=1024, n_heads=16, n_layers=24)
GPT2_774M = GPTConfig(emb_dim=1280, n_heads=20, n_layers=36)
GPT2_1558M = GPTConfig(emb_dim=1600, n_heads=25, n_layers=48)

# Small enough to train on a laptop. No dropout: each text is seen about once.
POCKET = GPTConfig(
    vocab_size=3072,
    context_length=256,
    emb_dim=192,
    n_heads=6,
    n_layers=6,
    drop_rate=0.0,
)
