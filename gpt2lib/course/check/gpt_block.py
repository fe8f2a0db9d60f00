"""The checkers of chapter 3: GPT block."""

import dataclasses

import torch
from torch.nn import functional as F

from gpt2lib.config import GPT2_124M, GPT2_355M, GPT2_774M, GPT2_1558M, GPTConfig
from gpt2lib.course.check.report import (
    WrongAnswer,
    draw,
    exercise,
    expect,
    unchanged,
)
from gpt2lib.model import GPTModel, TransformerBlock

SMALL = GPTConfig(
    vocab_size=30, context_length=16, emb_dim=8, n_heads=2, n_layers=1, qkv_bias=True
)


def _drawn(module, seed, scale=1.0):
    """The module in evaluation, its parameters drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    for weight in module.parameters():
        weight.data = scale * torch.randn(weight.shape, generator=generator)
    return module.eval()


@exercise
def layer_norm(answer):
    two = [[1.0, 2.0, 3.0, 6.0], [0.0, 0.0, 4.0, 8.0]]
    for rows in (two, [[1e-3, 2e-3, 3e-3, 2e-3]], [[5.0, 5.0, 5.0, 5.0]]):
        x = torch.tensor(rows)
        expect(f"layer_norm({rows})", answer(x), F.layer_norm(x, (4,)))
    for x in (4 * draw(1, 2, 3, 8) + 2, draw(2, 3, 3, 3), draw(3, 2, 5, 6).double()):
        before = x.clone()
        wanted = F.layer_norm(x, x.shape[-1:])
        spread, mean = torch.var_mean(x, dim=1, keepdim=True, correction=0)
        over_positions = (x - mean) / torch.sqrt(spread + 1e-5)
        slips = [
            ("it normalises over the positions; expected each vector", over_positions)
        ]
        call = f"layer_norm(x) with x {tuple(x.shape)}, {x.dtype},"
        expect(call, answer(x), wanted, slips)
        unchanged("x", x, before)


@exercise
def count_parameters(answer):
    small = GPTConfig(
        vocab_size=100, context_length=16, emb_dim=8, n_heads=2, n_layers=3
    )
    other = dataclasses.replace(small, vocab_size=71, emb_dim=12, n_layers=1)
    for cfg in (small, other, GPT2_124M, GPT2_355M, GPT2_774M, GPT2_1558M):
        expect(f"count_parameters({cfg})", answer(cfg), cfg.n_params)


@exercise
def block_forward(answer):
    for seed, shape in enumerate(((1, 4, 8), (3, 5, 8))):
        block = _drawn(TransformerBlock(SMALL), seed)
        _compare_blocks(answer, block, draw(seed + 6, *shape))


def _compare_blocks(answer, block, x):
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
        refused = _refuse_to_be_called
        hook = block.register_forward_pre_hook(refused)
        block.forward = refused
        before = x.clone()
        try:
            given = answer(block, x)
        finally:
            hook.remove()
            del block.forward
        expect(f"block_forward(block, x) with x {tuple(x.shape)}", given, wanted, slips)
        unchanged("x", x, before)


def _refuse_to_be_called(*_, **__):
    raise WrongAnswer("call the block's parts; the block itself was not expected")


@exercise
def transformer_block(answer):
    wide = dataclasses.replace(SMALL, emb_dim=12, n_heads=3)
    for seed, (cfg, B, T) in enumerate(((SMALL, 1, 3), (wide, 2, 5), (SMALL, 3, 4))):
        cfg = dataclasses.replace(cfg, fused_qkv=False)
        block = _drawn(TransformerBlock(cfg), seed, scale=0.5)
        x = draw(seed + 4, B, T, cfg.emb_dim)
        weights = {name: w.detach() for name, w in block.state_dict().items()}
        with torch.no_grad():
            wanted, slips = block(x), list(_block_slips(block, x))
        before = x.clone()
        call = f"transformer_block(x, weights, n_heads={cfg.n_heads}) with x {(B, T)}"
        call += f" vectors of {cfg.emb_dim} numbers"
        expect(call, answer(x, weights, cfg.n_heads), wanted, slips)
        unchanged("x", x, before)


def _block_slips(block, x):
    gathered = x + block.att(block.norm1(x))
    up, down = block.ff.layers[0], block.ff.layers[2]
    inside = up(block.norm2(gathered))
    yield "the GELU is missing", gathered + down(inside)
    yield "GPT-2's GELU was expected, this is ReLU", gathered + down(inside.relu())
    yield "the exact GELU; GPT-2's is the one by tanh", gathered + down(F.gelu(inside))
    yield "feed-forward is missing", gathered
    yield "the shortcut around attention is missing", block.att(block.norm1(x))
    q, k, v = block.att.queries_keys_values(block.norm1(x))
    every = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    seen = x + block.att.out_proj(every)
    yield "tokens look at the future", seen + block.ff(block.norm2(seen))
    normed = block.norm2(gathered)
    yield "the second shortcut starts at the norm", normed + block.ff(normed)


@exercise
def kv_cache_bytes(answer):
    for cfg, batch, positions, size in (
        (GPT2_124M, 1, 1024, 4),
        (GPT2_1558M, 8, 10, 2),
        (GPT2_355M, 3, 77, 1),
    ):
        wanted = 2 * cfg.n_layers * batch * positions * cfg.emb_dim * size
        call = f"kv_cache_bytes(a model with {cfg.n_layers} layers and emb_dim "
        call += f"{cfg.emb_dim}, batch={batch}, positions={positions}, size={size})"
        expect(call, answer(cfg, batch, positions, size), wanted)


def _varied_model(seed):
    """A random model whose likeliest ids depend much on positions and earlier ids."""
    cfg = dataclasses.replace(SMALL, emb_dim=16, tied_head=False, n_layers=2)
    model = _drawn(GPTModel(cfg), seed, scale=0.4)
    model.tok_emb.weight.data *= 3
    model.pos_emb.weight.data *= 5
    model.final_norm.shift.data.zero_()
    return model


@exercise
def mended_writer(answer):
    """Other models and prompts; counts what the blocks have to read."""
    for seed, (B, T, new) in enumerate(((1, 3, 6), (2, 4, 8), (3, 1, 7))):
        model = _varied_model(seed)
        prompt = torch.randint(
            30, (B, T), generator=torch.Generator().manual_seed(seed)
        )
        wanted = prompt
        for _ in range(new):
            best = model(wanted)[:, -1].argmax(dim=-1, keepdim=True)
            wanted = torch.cat([wanted, best], dim=1)
        read = []
        hook = model.trf_blocks[0].register_forward_pre_hook(
            lambda _, given, read=read: read.append(given[0].shape[1])
        )
        try:
            given = answer(model, prompt, new)
        finally:
            hook.remove()
        call = f"mended(model, prompt, {new}) with a prompt {(B, T)}"
        expect(call, given, wanted)
        if sum(read) > T + new:
            raise WrongAnswer(
                f"{call} is right, but read {sum(read)} positions; {T + new - 1} are "
                "enough: the bug is hidden, since the cache is not used"
            )
