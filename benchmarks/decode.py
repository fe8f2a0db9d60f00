"""Decoding: GPT-2 124M with random weights, greedy, after a prompt of 16 tokens.

Each step reads all weights once, so the limit is the machine's memory bandwidth. What
lower precision costs is measured on the trained model in bin/pocket.
"""

import statistics
import tempfile
import time

import torch

from benchmarks.programs import DEVICE, installed
from benchmarks.timing import Limits, report, take_turns
from gpt2lib import GPT2_124M, GPTModel, fast, load_model, load_tokenizer, save_model
from gpt2lib.course.pocket import judge
from gpt2lib.generate import generate, next_token_logits

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}
BATCHES = (1, 8) if DEVICE == "cpu" else (1, 64)
NEW = 48


def main(nanogpt=None, turns=9):
    del nanogpt  # it has no KV cache
    limits = Limits()
    print(limits)
    cfg = GPT2_124M
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        save_model(GPTModel(cfg), folder)
        programs = installed("decode", folder)
    for rows in BATCHES:
        ids = torch.randint(cfg.vocab_size, (rows, 16))
        run = {
            name: lambda program=program, ids=ids: program.decode(ids, NEW)
            for name, (program, _) in programs.items()
        }
        at_best = {
            name: shortest(cfg, NEW, precision, limits.bandwidth)
            for name, (_, precision) in programs.items()
        }
        report(
            f"Decoding {NEW} tokens, batch {rows}",
            take_turns(run, turns, pause=0.3),
            "transformers, float32",
            rows * NEW,
            "tokens",
            at_best,
        )
    ours = {n: p.model for n, (p, _) in programs.items() if n.startswith("gpt2lib")}
    late_tokens(ours)
    costs()


def shortest(cfg, new, precision, bandwidth):
    """Seconds for so many tokens if each takes as long as reading all weights."""
    weights = cfg.n_params - cfg.context_length * cfg.emb_dim
    return new * weights * BYTES[precision] / bandwidth


def late_tokens(models, turns=9):
    """Time per token after 10 and after 1,000 tokens."""
    print("\n**A token at position 1,000 beside one at position 10**\n")
    print("| | ms at 10 | ms at 1,000 | ratio |\n|---|---|---|---|")
    for name, model in models.items():
        seconds = {10: [], 1000: []}
        ids = torch.randint(model.cfg.vocab_size, (1, 1000), device=model.device)
        with torch.inference_mode():
            caches = {length: model.new_caches(1024) for length in seconds}
            for length in seconds:
                next_token_logits(model, ids[:, :length], caches[length])
            for _ in range(turns):
                for length in seconds:
                    start = time.perf_counter()
                    next_token_logits(model, ids[:, :1], caches[length]).argmax().item()
                    seconds[length].append(time.perf_counter() - start)
        early, late = (1e3 * statistics.median(s) for s in seconds.values())
        print(f"| {name} | {early:.1f} | {late:.1f} | {late / early:.2f} |")


@torch.inference_mode()
def costs(stories=100):
    """What each precision changes on bin/pocket: bits per byte and likeliest ids."""
    tokenizer, tales = load_tokenizer(), judge.unseen_stories(stories)
    prompts = torch.tensor([tokenizer.encode(tale)[:20] for tale in tales])
    texts = [torch.tensor([tokenizer.encode(tale)]) for tale in tales]

    def measure(precision):
        model = load_model(device=DEVICE, precision=precision)
        likeliest = [model(ids.to(DEVICE)).argmax(dim=-1).flatten() for ids in texts]
        return (
            judge.story_bits_per_byte(model, tokenizer, tales),
            torch.cat(likeliest),
            generate(model, prompts, 100)[:, 20:],
        )

    print(f"\n**What it costs: bin/pocket on {stories} unseen stories**\n")
    print(
        "| | bits per byte | change | same likeliest id | same 100 greedy ids |\n"
        "|---|---|---|---|---|"
    )
    with_onednn, fast.HAS_ONEDNN = fast.HAS_ONEDNN, False
    plain = measure("float32")
    fast.HAS_ONEDNN = with_onednn
    print(f"| torch's own float32 | {plain[0]:.4f} | | | |")
    precisions = [p for p in BYTES if DEVICE == "cpu" or p != "int8"]
    for precision in precisions:
        bits, likeliest, ids = measure(precision)
        same = (likeliest == plain[1]).float().mean().item()
        alike = (ids == plain[2]).all(dim=1).float().mean().item()
        print(
            f"| {precision} | {bits:.4f} | {bits / plain[0] - 1:+.2%} | {same:.2%} "
            f"| {alike:.0%} of stories |"
        )
