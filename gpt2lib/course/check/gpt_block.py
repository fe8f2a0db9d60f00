"""The checkers of chapter 3: GPT block."""

import torch
from torch.nn import functional as F

from gpt2lib.config import GPT2_124M, GPT2_1558M, GPTConfig
from gpt2lib.course.check.report import WrongAnswer, exercise, expect
from gpt2lib.model import TransformerBlock


@exercise
def layer_norm(answer):
    two = [[1.0, 2.0, 3.0, 6.0], [0.0, 0.0, 4.0, 8.0]]
    for rows in (two, [[1e-3, 2e-3, 3e-3, 2e-3]], [[5.0, 5.0, 5.0, 5.0]]):
        x = torch.tensor(rows)
        expect(f"layer_norm({rows})", answer(x), F.layer_norm(x, (4,)))


@exercise
def count_parameters(answer):
    small = GPTConfig(
        vocab_size=100, context_length=16, emb_dim=8, n_heads=2, n_layers=3
    )
    for cfg in (small, GPT2_124M, GPT2_1558M):
        expect(f"count_parameters({cfg})", answer(cfg), cfg.n_params)


@exercise
def block_forward(answer):
    cfg = GPTConfig(emb_dim=8, n_heads=2, n_layers=1, context_length=4, vocab_size=5)
    generator = torch.Generator().manual_seed(6)
    block = TransformerBlock(cfg).eval()
    for weight in block.parameters():
        weight.data = torch.randn(weight.shape, generator=generator)
    x = torch.randn(1, 4, 8, generator=generator)
    with torch.no_grad():
        wanted = block(x)
        after = block.norm1(x + block.att(x))
        on_shortcut = block.norm1(x) + block.att(block.norm1(x))
        gathered = x + block.att(block.norm1(x))
        slips = [
            ("the norm stands after the sum", block.norm2(after + block.ff(after))),
            (
                "the norm stands on the shortcut, expected beside it",
                block.norm2(on_shortcut) + block.ff(block.norm2(on_shortcut)),
            ),
            (
                "the second shortcut was expected to start at the first sum",
                x + block.ff(block.norm2(gathered)),
            ),
        ]
        block.register_forward_pre_hook(_refuse_to_be_called)
        expect("block_forward(block, x)", answer(block, x), wanted, slips)


def _refuse_to_be_called(*_):
    raise WrongAnswer("call the block's parts; the block itself was not expected")


@exercise
def kv_cache_bytes(answer):
    for cfg, batch, positions, size in (
        (GPT2_124M, 1, 1024, 4),
        (GPT2_1558M, 8, 10, 2),
    ):
        wanted = 2 * cfg.n_layers * batch * positions * cfg.emb_dim * size
        call = f"kv_cache_bytes(a model with {cfg.n_layers} layers and emb_dim "
        call += f"{cfg.emb_dim}, batch={batch}, positions={positions}, size={size})"
        expect(call, answer(cfg, batch, positions, size), wanted)
