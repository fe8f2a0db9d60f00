"""Exercises check themselves: one function for each, called with the learner's answer.

A stub that still raises NotImplementedError is "not attempted yet"; a wrong answer
raises WrongAnswer, which says what was given, what came out and what was expected.
"""

import dataclasses
import functools
import math
from collections import Counter

import safetensors.torch
import torch
from torch.nn import functional as F

from gpt2lib.config import GPT2_124M, GPT2_1558M, GPTConfig
from gpt2lib.data import IGNORED, sliding_windows
from gpt2lib.instruction import alpaca_prompt, token_f1
from gpt2lib.model import GPTModel, TransformerBlock
from gpt2lib.tokenizer import BPETokenizer
from gpt2lib.weights import HUGGING_FACE


class WrongAnswer(AssertionError):
    """Not right yet; shown in a notebook as its message alone."""

    def _render_traceback_(self):
        return [f"✗ {self}"]


def exercise(examine):
    """Turns an examination, which raises WrongAnswer, into a checker that reports."""

    @functools.wraps(examine)
    def check(answer):
        try:
            examine(answer)
        except NotImplementedError:
            print("not attempted yet")
        else:
            print("✓ right")

    return check


def expect(call, given, wanted, slips=()):
    """Raises WrongAnswer unless `given` is `wanted`, tensors up to rounding.

    Args:
        slips: (explanation, value) of answers that are wrong in a known way.
    """
    if given is None:
        raise WrongAnswer(f"{call} returned None: did you print instead of return?")
    if same(given, wanted):
        return
    for explanation, value in slips:
        if same(given, value):
            raise WrongAnswer(f"{call}: {explanation}")
    if not isinstance(wanted, torch.Tensor):
        raise WrongAnswer(f"{call} gave\n{given}\nexpected\n{wanted}")
    if not isinstance(given, torch.Tensor):
        raise WrongAnswer(f"{call} gave {given!r}, a tensor was expected")
    if given.shape != wanted.shape:
        raise WrongAnswer(
            f"{call} has shape {tuple(given.shape)}, expected {tuple(wanted.shape)}"
        )
    difference = (given - wanted).abs().max().item()
    if wanted.numel() > 16:
        raise WrongAnswer(
            f"{call} has the expected shape, but differs by up to {difference:.3g}"
        )
    raise WrongAnswer(f"{call} gave\n{given}\nexpected\n{wanted}")


def same(given, wanted):
    if isinstance(wanted, torch.Tensor):
        alike = isinstance(given, torch.Tensor) and given.shape == wanted.shape
        return alike and torch.allclose(given, wanted, atol=1e-5, rtol=1e-4)
    if isinstance(wanted, float):
        return isinstance(given, int | float) and math.isclose(given, wanted)
    return given == wanted


def as_list(given):
    """A list from any sequence; None stays None."""
    return given if given is None else list(given)


# ------------------------------------------------------------------- 1 · tokenization


@exercise
def most_frequent_pair(answer):
    for ids in (
        [3, 1, 2, 1, 2],
        [7, 8, 4, 4, 4, 7],
        [9, 1, 1, 9, 1, 9, 1],
        [5, 6, 1, 2],
    ):
        pairs = list(zip(ids, ids[1:]))
        wanted = max(sorted(set(pairs)), key=pairs.count)
        expect(f"most_frequent_pair({ids})", as_list(answer(ids)), list(wanted))


@exercise
def encode_word(answer):
    merges = [(b"b", b"c"), (b"a", b"b"), (b"a", b"bc"), (b"abc", b"abc")]
    wanted = {
        b"ab": [b"ab"],
        b"abc": [b"abc"],
        b"abb": [b"ab", b"b"],
        b"abcabc": [b"abcabc"],
        b"cab": [b"c", b"ab"],
    }
    for word, tokens in wanted.items():
        given = as_list(answer(word, merges))
        expect(f"encode_word({word}, merges) with merges\n{merges}\n", given, tokens)
    given = as_list(answer(b"abc", merges[:2]))
    expect(f"encode_word(b'abc', {merges[:2]})", given, [b"a", b"bc"])


@exercise
def join_documents(answer):
    tokenizer = BPETokenizer.train("the tide, the tide", vocab_size=264)
    texts = ["the tide", "<|endoftext|>the", "tide"]
    wanted = []
    for text in texts:
        wanted += [*tokenizer.encode_ordinary(text), tokenizer.eot_token]
    try:
        given = as_list(answer(tokenizer, texts))
    except ValueError as error:
        raise WrongAnswer(
            f"join_documents(tokenizer, {texts}) raised: {error}"
        ) from None
    smuggled = tokenizer.encode(
        "".join(f"{t}<|endoftext|>" for t in texts), allowed_special="all"
    )
    slips = [
        ("the second text smuggled in an end of text", smuggled),
        ("the last text has no end", wanted[:-1]),
    ]
    expect(f"join_documents(tokenizer, {texts})", given, wanted, slips)


@exercise
def windows(answer):
    for ids, context_length, stride in ((range(6), 2, 2), (range(9), 4, 2)):
        ids = list(ids)
        inputs, targets = sliding_windows(torch.tensor(ids), context_length, stride)
        wanted = list(zip(inputs.tolist(), targets.tolist()))
        call = f"windows({ids}, {context_length}, {stride})"
        given = as_list(answer(ids, context_length, stride))
        expect(call, given and [tuple(window) for window in given], wanted)


@exercise
def bytes_per_token(answer):
    tokenizer = BPETokenizer.train("the tide, the tide", vocab_size=264)
    for text in ("the tide", "ηχώ", "tide 🌊"):
        wanted = len(text.encode()) / len(tokenizer.encode(text))
        expect(f"bytes_per_token(tokenizer, {text!r})", answer(tokenizer, text), wanted)


# ---------------------------------------------------------------------- 2 · attention


@exercise
def softmax(answer):
    rows = [[1.0, 2.0], [3.0, 5.0]]
    for scores in ([1.0, 2.0, 3.0], rows, [1000.0, 999.0, -1000.0]):
        x = torch.tensor(scores)
        expect(f"softmax({scores})", answer(x), x.softmax(dim=-1))


@exercise
def causal_weights(answer):
    scores = torch.tensor([[1.0, 5.0, 2.0], [0.5, -1.0, 3.0], [2.0, 2.0, 0.0]])
    future = torch.ones(3, 3, dtype=torch.bool).triu(1)
    wanted = scores.masked_fill(future, -torch.inf).softmax(dim=-1)
    before = scores.clone()
    given = answer(scores)
    expect(f"causal_weights({scores.tolist()})", given, wanted)
    if given.triu(1).count_nonzero():
        raise WrongAnswer("the future was expected to be exactly 0, it is only small")
    expect("scores after the call", scores, before)


@exercise
def split_heads(answer):
    x = torch.arange(24.0).reshape(1, 3, 8)
    wanted = torch.stack([x[..., :4], x[..., 4:]], dim=1)
    expect("split_heads(arange(24).reshape(1, 3, 8), 2)", answer(x, 2), wanted)


@exercise
def attend_last(answer):
    generator = torch.Generator().manual_seed(5)
    keys, values = torch.randn(2, 6, 4, generator=generator)
    for T in (1, 3, 6):
        query = torch.randn(4, generator=generator)
        K, V = keys[:T], values[:T]
        wanted = F.scaled_dot_product_attention(query[None], K, V)[0]
        unscaled = F.scaled_dot_product_attention(query[None], K, V, scale=1.0)[0]
        slips = [("expected scores divided by √D", unscaled)]
        call = f"attend_last(query, keys, values) with {T} keys of 4 numbers"
        expect(call, answer(query, K, V), wanted, slips)


@exercise
def fuse(answer):
    W_query, W_key, W_value = torch.arange(12.0).reshape(3, 2, 2)
    wanted = torch.cat([W_query, W_key, W_value])
    sideways = torch.cat([W_query, W_key, W_value], dim=1)
    slips = [("the matrices lie side by side; expected one above the other", sideways)]
    expect(
        "fuse(W_query, W_key, W_value)", answer(W_query, W_key, W_value), wanted, slips
    )


# ---------------------------------------------------------------------- 3 · GPT block


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


# -------------------------------------------------------------------- 4 · pretraining


@exercise
def mean_loss(answer):
    generator = torch.Generator().manual_seed(1)
    for scale in (1, 300):
        logits = scale * torch.randn(5, 7, generator=generator)
        targets = torch.randint(7, (5,), generator=generator)
        picked = logits.log_softmax(dim=-1)[range(5), targets]
        slips = [
            ("that is the sum; a loss is the mean over tokens", -picked.sum()),
            ("a loss is positive: mind the sign", picked.mean()),
            ("these are bits: use the natural logarithm", -picked.mean() / math.log(2)),
        ]
        given = answer(logits, targets)
        given = given if given is None else torch.as_tensor(given)
        if isinstance(given, torch.Tensor) and not given.isfinite().all():
            raise WrongAnswer(
                f"with logits up to {logits.max():.0f} the loss is {given.item()}: a "
                "probability became 0 before its logarithm was taken"
            )
        expect("mean_loss(logits, targets)", given, -picked.mean(), slips)


@exercise
def learning_rate(answer):
    def wanted(step, steps, warmup, peak):
        if step < warmup:
            return peak * (step + 1) / warmup
        fall = (step - warmup) / (steps - 1 - warmup)
        return peak * (1 + math.cos(math.pi * fall)) / 2

    for steps, warmup, peak in ((100, 10, 1.0), (50, 5, 0.3), (50, 0, 1.0)):
        for step in (0, warmup // 2, warmup, warmup + 7, steps - 2):
            slips = []
            if step < warmup:
                late = peak * step / warmup
                slips = [("the first step moves already, so count it from 1", late)]
            given = answer(step, steps, warmup, peak)
            given = given.item() if isinstance(given, torch.Tensor) else given
            call = f"learning_rate({step}, {steps}, {warmup}, {peak})"
            expect(call, given, wanted(step, steps, warmup, peak), slips)


@exercise
def decayed(answer):
    cfg = GPTConfig(vocab_size=11, context_length=8, emb_dim=8, n_heads=2, n_layers=1)
    for fused in (True, False):
        model = GPTModel(dataclasses.replace(cfg, fused_qkv=fused))
        named = dict(model.named_parameters())
        wanted = sorted(name for name, p in named.items() if p.ndim == 2)
        unbiased = sorted(name for name in named if not name.endswith("bias"))
        slips = [("the scale and shift of a norm are vectors, too", unbiased)]
        expect("decayed(model)", as_list(answer(model)), wanted, slips)


@exercise
def hours(answer):
    for n_params, tokens, gpus, flops, utilisation in (
        (124_439_808, 10**10, 1, 989e12, 0.4),
        (1_557_611_200, 3 * 10**10, 64, 312e12, 0.35),
    ):
        given = answer(n_params, tokens, gpus, flops, utilisation)
        seconds = 6 * n_params * tokens / (gpus * flops * utilisation)
        slips = [
            ("these are seconds", seconds),
            ("a way back costs twice a way forward: 6, not 2", seconds / 3600 / 3),
            ("more GPUs take less time", seconds / 3600 * gpus**2),
            ("nobody reaches the promised speed", seconds / 3600 * utilisation),
        ]
        expect(
            f"hours({n_params}, {tokens}, {gpus}, {flops}, {utilisation})",
            given,
            seconds / 3600,
            slips,
        )


# ------------------------------------------------------------------ 5 · weight loading


@exercise
def is_mask(answer):
    for name in ("h.0.attn.bias", "trf_blocks.3.att.mask", "trf_blocks.0.attn.mask"):
        expect(f"is_mask({name!r})", answer(name), True)
    for name in ("transformer.h.11.attn.bias", "h.2.attn.masked_bias"):
        expect(f"is_mask({name!r})", answer(name), True)
    for part in ("attn.c_attn.bias", "attn.c_proj.bias", "mlp.c_fc.bias", "ln_1.bias"):
        name = f"h.0.{part}"
        expect(f"is_mask({name!r})", bool(answer(name)), False)
    for name in ("trf_blocks.0.attn.c_attn.bias", "trf_blocks.1.att.w_q.weight"):
        expect(f"is_mask({name!r})", bool(answer(name)), False)


@exercise
def read_header(answer):
    shapes = {"wte.weight": (5, 4), "ln_f.bias": (4,), "h.0.attn.bias": (1, 1, 3, 3)}
    shapes |= {f"h.{i}.attn.c_attn.weight": (4, 12) for i in range(12)}
    tensors = {name: torch.zeros(shape) for name, shape in shapes.items()}
    for metadata in (None, {"format": "pt"}):
        given = answer(safetensors.torch.save(tensors, metadata))
        if isinstance(given, dict):
            given = {
                n: tuple(s) if isinstance(s, list) else s for n, s in given.items()
            }
            if "__metadata__" in given:
                raise WrongAnswer("__metadata__ is in the header, but is no tensor")
        note = f" with the note {metadata}" if metadata else ""
        expect(f"read_header(a file of {len(shapes)} tensors{note})", given, shapes)


@exercise
def cut_qkv(answer):
    weight, bias = torch.arange(48.0).reshape(4, 12), torch.arange(12.0)
    call = "cut_qkv(arange(48).reshape(4, 12), arange(12))"
    given = as_list(answer(weight, bias))
    if given is None or len(given) != 3 or any(len(pair) != 2 for pair in given):
        expect(call, given, "three pairs of a weight and a bias")
    for i, (part, pair) in enumerate(zip(("queries", "keys", "values"), given)):
        wanted = weight.T.chunk(3)[i]
        slips = [
            ("cut at the right place, but not turned", wanted.T),
            ("reshaping is not turning", weight.reshape(3, 4, 4)[i]),
            ("every third number; expected a block of them", weight.T[i::3]),
        ]
        expect(f"{call}: the weight of the {part}", pair[0], wanted, slips)
        expect(f"{call}: the bias of the {part}", pair[1], bias.chunk(3)[i])


@exercise
def measure(answer):
    for n_layers, masks in ((12, True), (2, False)):
        cfg = GPTConfig(
            vocab_size=11, context_length=5, emb_dim=4, n_heads=1, n_layers=n_layers
        )
        names = [f"h.{i}.attn.bias" for i in range(n_layers) if masks]
        tensors = {name: torch.empty(1, 1, 5, 5, device="meta") for name in names}
        with torch.device("meta"):
            weights = GPTModel(cfg).state_dict()
        del weights["out_head.weight"]
        for name, tensor in reversed(weights.items()):
            shape = HUGGING_FACE.shape(name, tuple(tensor.shape))
            tensors[HUGGING_FACE.name(name)] = torch.empty(shape, device="meta")
        wanted = dict(vocab_size=11, context_length=5, emb_dim=4, n_layers=n_layers)
        call = f"measure(a file of {n_layers} blocks{', with masks' if masks else ''})"
        expect(call, answer(tensors), wanted)


# ------------------------------------------------------------- 6 · finetuning: spam


@exercise
def last_token_logits(answer):
    generator = torch.Generator().manual_seed(7)
    logits = torch.randn(3, 5, 2, generator=generator)
    for lengths in ([4, 2, 1], [5, 1, 3]):
        wanted = torch.stack([row[n - 1] for row, n in zip(logits, lengths)])
        slips = [
            ("that is the last position; the message ended before", logits[:, -1]),
            ("expected one position, not a mean", logits.mean(dim=1)),
        ]
        if max(lengths) < 5:
            late = torch.stack([row[n] for row, n in zip(logits, lengths)])
            slips.append(("one too far: the last of n tokens has index n - 1", late))
        call = f"last_token_logits(logits of shape (3, 5, 2), {lengths})"
        expect(call, answer(logits, lengths), wanted, slips)


@exercise
def precision_recall(answer):
    for labels, predicted, wanted in (
        ([1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 0, 1, 1, 0, 0, 0], (2 / 4, 2 / 3)),
        ([1, 0, 1, 1], [0, 0, 0, 1], (1.0, 1 / 3)),
        ([1, 0], [0, 0], (0.0, 0.0)),
        ([0, 0], [1, 0], (0.0, 0.0)),
    ):
        call = f"precision_recall({labels}, {predicted})"
        given = as_list(answer(labels, predicted))
        if given is None or len(given) != 2:
            expect(call, given, wanted)
        if wanted[0] != wanted[1] and given == [*reversed(wanted)]:
            raise WrongAnswer(f"{call}: these are (recall, precision)")
        for name, number, right in zip(("precision", "recall"), given, wanted):
            expect(f"{call}: the {name}", number, right)


@exercise
def lora_merge(answer):
    generator = torch.Generator().manual_seed(8)
    for out, in_, rank, alpha in ((6, 4, 2, 16), (4, 4, 1, 2)):
        W = torch.randn(out, in_, generator=generator)
        A = torch.randn(rank, in_, generator=generator)
        B = torch.randn(out, rank, generator=generator)
        before, detour = W.clone(), B @ A
        slips = [
            ("the detour was expected with its factor alpha / r", W + detour),
            ("alpha is shared out over the r dimensions", W + alpha * detour),
            ("that is the detour alone", alpha / rank * detour),
        ]
        call = f"lora_merge(W, A, B, {alpha}) with W {out} × {in_} and r = {rank}"
        expect(call, answer(W, A, B, alpha), before + alpha / rank * detour, slips)
        expect("W after the call", W, before)


@exercise
def fool(answer):
    def by_words(text):
        weights = {"PIN": 2.0, "now": 1.0, "please": -0.4, "thanks": -1.2}
        return _logistic(sum(weights.get(word, 0) for word in text.split()) - 1)

    def by_order(text):
        return 0.1 if "not send" in text else 0.9

    def by_both(text):
        pairs = text.count("not send") + text.count("no PIN")
        return _logistic(3 - 2 * pairs - 0.1 * text.count("no"))

    words = ["please", "now", "thanks"]
    _expect_fooled(answer, "send your PIN now", by_words, words, 2)
    _expect_fooled(answer, "please send your PIN", by_order, ["friend", "not"], 1)
    _expect_fooled(answer, "send your PIN", by_both, ["not", "friend", "no"], 2)


def _logistic(odds):
    return 1 / (1 + math.exp(-odds))


def _expect_fooled(answer, text, p_spam, additions, n):
    call = f"fool({text!r}, p_spam, {additions}, {n})"
    given = answer(text, p_spam, additions, n)
    if not isinstance(given, str):
        expect(call, given, "a text")
    rest = iter(given.split())
    if not all(word in rest for word in text.split()):
        raise WrongAnswer(f"{call} gave {given!r}: words of the message are gone")
    added = Counter(given.split()) - Counter(text.split())
    if strange := [*added.keys() - set(additions)]:
        raise WrongAnswer(f"{call} gave {given!r}: {strange[0]!r} is not in the list")
    if added.total() > n:
        raise WrongAnswer(f"{call} gave {given!r}: {added.total()} words were added")
    if p_spam(given) >= 0.5:
        raise WrongAnswer(
            f"{call} gave {given!r}, which is spam with {p_spam(given):.2f} still; "
            "there is a way"
        )


# ------------------------------------------------------- 7 · finetuning: instructions


@exercise
def format_alpaca(answer):
    for instruction, given in (("Say hello.", ""), ("Name the animal.", "A wet fox.")):
        wanted = alpaca_prompt(instruction, given)
        closed = wanted.removesuffix("\n")
        with_input = alpaca_prompt(instruction, "x").replace("Input:\nx", "Input:\n")
        slips = [
            ("there is a space before Write", wanted.replace(". Write", ".Write")),
            ("the response begins on a line of its own", closed),
            ("without an input, nothing speaks of one", with_input),
        ]
        call = f"format_alpaca({instruction!r}, {given!r})"
        expect(call, answer(instruction, given), wanted, slips)


@exercise
def mask_prompt(answer):
    for prompt, response in (([5, 6, 7], [8, 9]), ([4], [3, 2, 1])):
        ids, own = [*prompt, *response, 0], len(prompt) - 1
        wanted = ids[:-1], [IGNORED] * own + ids[1 + own :]
        late = [IGNORED] * (own + 1) + ids[2 + own :]
        slips = [
            ("the prompt is learned, too", (ids[:-1], ids[1:])),
            ("the first token of the response is to be learned", (ids[:-1], late)),
            (
                "a target is the id that comes next",
                (ids, [IGNORED] * len(prompt) + ids[len(prompt) :]),
            ),
            ("nothing tells it where to stop", (wanted[0][:-1], wanted[1][:-1])),
        ]
        given = answer(prompt, response, 0)
        if isinstance(given, tuple | list):
            given = tuple(as_list(part) for part in given)
        expect(f"mask_prompt({prompt}, {response}, 0)", given, wanted, slips)


@exercise
def pad_batch(answer):
    examples = [([5, 6], [6, 7]), ([8], [9]), ([1, 2, 3], [IGNORED, 3, 4])]
    call = f"pad_batch({examples}, 0)"
    wanted = [
        ([5, 6, 0], [6, 7, IGNORED]),
        ([8, 0, 0], [9, IGNORED, IGNORED]),
        ([1, 2, 3], [IGNORED, 3, 4]),
    ]
    learned = [
        ([5, 6, 0], [6, 7, 0]),
        ([8, 0, 0], [9, 0, 0]),
        ([1, 2, 3], [IGNORED, 3, 4]),
    ]
    slips = [("the padding would be learned: its targets are not -100", learned)]
    given = as_list(answer(examples, 0))
    if given is not None:
        given = [tuple(as_list(part) for part in row) for row in given]
    expect(call, given, wanted, slips)


@exercise
def word_f1(answer):
    for said, wanted in (
        ("the red kite", "a red kite"),
        ("red red kite", "red kite"),
        ("it is the kite of Una", "the kite"),
        ("A Kite", "a kite"),
        ("blue", "red"),
        ("", "a red kite"),
    ):
        mine, theirs = said.lower().split(), wanted.lower().split()
        shared = sum(min(mine.count(word), theirs.count(word)) for word in {*mine})
        slips = [("that is the share of the words said", shared / max(1, len(mine)))]
        slips += [("that is the share of the words wanted", shared / len(theirs))]
        call = f"word_f1({said!r}, {wanted!r})"
        expect(call, answer(said, wanted), token_f1(said, wanted), slips)


# ---------------------------------------------------------- 8 · finetuning: reasoning


@exercise
def parse_record(answer):
    question, thought = "Two and two?", "2 + 2 = 4\nThat is all."
    full = {"think_content": f" {thought}\n", "answer_content": "4"}
    null = dict.fromkeys(full)
    tagged = f"<think>\n{thought}</think>\n<answer> 4 </answer>"
    for info, content in (
        (full, "<think>Hm.</think><answer>four</answer>"),
        (None, tagged),
        (null, tagged),
        (full | {"answer_content": None}, tagged),
        (full | {"think_content": None}, tagged),
    ):
        user = {"role": "user", "content": question, "info": None}
        reply = {"role": "assistant", "content": content, "info": info}
        wanted = question, thought, "4"
        spaces = question, f" {thought}\n", "4"
        slips = [
            ("there are spaces around a text", spaces),
            ("the fields of info come first", (question, "Hm.", "four")),
        ]
        given = answer({"messages": [user, reply]})
        given = tuple(given) if isinstance(given, tuple | list) else given
        expect(f"parse_record(a record with the reply {reply})", given, wanted, slips)


@exercise
def mask_turns(answer):
    one = [("user", [5, 6, 7]), ("assistant", [8, 9])]
    two = [*one, ("user", [3]), ("assistant", [2, 1])]
    for turns in (one, two):
        ids, own = [], []
        for role, said in turns:
            said = said + [0] if role == "assistant" else said
            ids, own = ids + said, own + [role == "assistant"] * len(said)
        wanted = ids[:-1], [i if o else IGNORED for i, o in zip(ids[1:], own[1:])]
        unmoved = ids, [i if o else IGNORED for i, o in zip(ids, own)]
        late = ids[:-1], [i if o else IGNORED for i, o in zip(ids[1:], own)]
        first = len(one[0][1]) - 1
        from_there = ids[:-1], [IGNORED] * first + ids[1 + first :]
        slips = [
            ("everything is learned, the user's words, too", (ids[:-1], ids[1:])),
            ("a target is the id that comes next", unmoved),
            ("the flags were not moved together with the ids", late),
            ("the second question is not to be learned either", from_there),
        ]
        given = answer(turns, 0)
        if isinstance(given, tuple | list):
            given = tuple(as_list(part) for part in given)
        expect(f"mask_turns({turns}, 0)", given, wanted, slips)


@exercise
def follow(answer):
    for thought, wanted, slip in (
        ("12 + 5 = 17, 17 - 3 = 14", 0, ""),
        ("12 + 5 = 17, 17 - 3 = 13", 2, ""),
        ("12 + 5 = 19, 19 - 3 = 16", 1, "every step counts, not only the last"),
        ("12 + 5 = 17, 16 - 3 = 13", 2, "a step begins where the one before ended"),
        ("12 + 5 = 16, 17 - 3 = 13", 1, "the first wrong step was asked for"),
        ("7 + 5 = 12, 12 + 1 = 13, 13 - 9 = 4, 5 + 5 = 10", 4, ""),
        ("9 - 4 = 5", 0, ""),
    ):
        given = answer(thought)
        if slip and given is not None and given != wanted:
            raise WrongAnswer(f"follow({thought!r}) gave {given}: {slip}")
        expect(f"follow({thought!r})", given, wanted)


@exercise
def majority(answers):
    for given, wanted in (
        (["4", "7", "4"], "4"),
        (["7", "4 ", " 4", "7", "4"], "4"),
        (["9", "4", "9", "4"], "9"),
        (["12", "8", "8", "12"], "12"),
        ([None, None, "4"], "4"),
        (["10", "9", "10", "9", "9", None], "9"),
    ):
        expect(f"majority({given})", answers(list(given)), wanted)


# ---------------------------------------------------------------------------- 9 · speed


@exercise
def most_tokens(answer):
    for n_weights, size, bandwidth, batch in (
        (10**8, 4, 4e10, 1),
        (10**8, 1, 4e10, 1),
        (5 * 10**7, 2, 1e10, 8),
    ):
        wanted = batch * bandwidth / (n_weights * size)
        slips = [
            ("a weight has more than one byte", batch * bandwidth / n_weights),
            ("that is seconds a token", n_weights * size / bandwidth / batch),
            ("one reading serves the whole batch", bandwidth / (n_weights * size)),
        ]
        call = f"most_tokens({n_weights}, {size}, {bandwidth:g}, {batch})"
        expect(call, answer(n_weights, size, bandwidth, batch), wanted, slips)


@exercise
def shortest_time(answer):
    for calculations, n_bytes in ((8e9, 1e9), (8e12, 1e9), (0.0, 2e9)):
        bandwidth, rate = 5e10, 2e11
        times = calculations / rate, n_bytes / bandwidth
        slips = [
            ("the two happen at the same time", sum(times)),
            ("the shorter one has to wait for the longer", min(times)),
        ]
        call = f"shortest_time({calculations:g}, {n_bytes:g}, {bandwidth:g}, {rate:g})"
        expect(call, answer(calculations, n_bytes, bandwidth, rate), max(times), slips)


@exercise
def quantize_rows(answer):
    matrix = torch.randn(5, 8, generator=torch.Generator().manual_seed(9))
    matrix[1] *= 100
    matrix[2] = 0
    given = answer(matrix.clone())
    call = "quantize_rows(a matrix of shape (5, 8))"
    if given is None or len(given) != 2:
        expect(call, given, "whole numbers and scales")
    whole, scales = given
    if whole.dtype != torch.int8:
        raise WrongAnswer(f"{call}: the numbers are {whole.dtype}, expected torch.int8")
    expect(f"{call}: the shape of the scales", tuple(scales.shape), (5, 1))
    for number, scale in enumerate(scales.flatten().tolist()):
        if not 0 < scale < math.inf:
            row = "the row of zeros" if number == 2 else f"row {number}"
            raise WrongAnswer(
                f"{call}: {row} has the scale {scale}, expected one larger than 0"
            )
    wanted = matrix.abs().amax(dim=1, keepdim=True) / 127
    off_by = (whole * scales - matrix).abs() / wanted.clamp(min=1e-9)
    if off_by.max() > 0.51:
        raise WrongAnswer(
            f"{call}: numbers times scales miss the matrix by {off_by.max():.2f} steps "
            "of max / 127, at most half a step is possible"
        )
