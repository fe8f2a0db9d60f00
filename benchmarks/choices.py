"""Choices of HellaSwag's shape, beside EleutherAI's harness if it is installed.

GPT-2 124M with random weights; contexts of 20 to 110 ids, four endings of 10 to 40.
The harness reads each context four times and scores all its positions.
"""

import random
import tempfile
from importlib.util import find_spec

import torch

from benchmarks.programs import DEVICE
from benchmarks.timing import Limits, report, take_turns
from gpt2lib import GPT2_124M, GPTModel, load_model, load_tokenizer, save_model
from gpt2lib.evaluation import Question, log_likelihoods

ITEMS = 16


def questions():
    rng = random.Random(0)

    def ids(fewest, most):
        size = rng.randint(fewest, most)
        return [rng.randrange(GPT2_124M.vocab_size) for _ in range(size)]

    return [
        Question(ids(20, 110), [ids(10, 40) for _ in range(4)]) for _ in range(ITEMS)
    ]


def harness(folder, batch_size):
    """A program that asks the harness; its tokenizer is never used."""
    from lm_eval.models.huggingface import HFLM

    model = HFLM(folder, dtype="float32", device=str(DEVICE), batch_size=batch_size)

    def answer(asked):
        pairs = [(context, ending) for context, endings in asked for ending in endings]
        requests = [(("", str(i)), *pair) for i, pair in enumerate(pairs)]
        return [n for n, _ in model._loglikelihood_tokens(requests, disable_tqdm=True)]

    return answer


def ours(folder, precision):
    model = load_model(folder, device=DEVICE, precision=precision)

    def answer(asked):
        found = log_likelihoods(model, asked)
        return [ending.nats for endings in found for ending in endings]

    return answer


def main(nanogpt=None, turns=3):
    del nanogpt  # the harness knows no models but Hugging Face's
    print(Limits())
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        save_model(GPTModel(GPT2_124M), folder, load_tokenizer())
        programs = {"gpt2lib, float32": ours(folder, "float32")}
        if DEVICE == "cpu":
            programs["gpt2lib, int8"] = ours(folder, "int8")
        peer = "gpt2lib, float32"
        if find_spec("lm_eval"):
            peer = "the harness, batch 1"
            programs[peer] = harness(folder, 1)
            programs["the harness, batch 16"] = harness(folder, 16)
    asked = questions()
    exact = torch.tensor(programs["gpt2lib, float32"](asked))
    for name, program in programs.items():
        if "int8" not in name:
            torch.testing.assert_close(
                torch.tensor(program(asked)), exact, rtol=1e-4, atol=1e-2
            )
    run = {
        name: lambda program=program: program(asked)
        for name, program in programs.items()
    }
    title = f"{ITEMS} items of four endings"
    report(title, take_turns(run, turns, pause=0.3), peer, ITEMS, "items")
