"""Is a downloaded GPT-2 the published one, and does it compute the same here?"""

import importlib.util
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from gpt2lib import config, files
from gpt2lib.evaluation.evaluate import evaluate_task
from gpt2lib.evaluation.tasks import HellaSwag
from gpt2lib.generate import generate
from gpt2lib.tokenizer import tokenizer_of
from gpt2lib.weights.hub import damaged_files
from gpt2lib.weights.loading import load_model

ITEMS = 100  # of HellaSwag


@dataclass(frozen=True)
class Published:
    """What is known of a published model.

    `continuations` are greedy ones in float32: prompt -> the text that follows.
    """

    config: config.GPTConfig
    continuations: dict[str, str] = field(default_factory=dict)


# Source of the continuations: transformers, tests/models/gpt2/test_modeling_gpt2.py,
# test_batch_generation; the last one is from Raschka's book, chapter 6.
KNOWN = {
    "gpt2": Published(
        config.GPT2_124M,
        {
            "Hello, my dog is a little": " bit of a mess. I'm not sure if he's going",
            "Today, I": "'m going to be doing a lot of research on this. I",
            "Every effort moves you": " forward.\nThe first step is to understand the "
            "importance of your work",
        },
    ),
    "gpt2-medium": Published(config.GPT2_355M),
    "gpt2-large": Published(config.GPT2_774M),
    "gpt2-xl": Published(config.GPT2_1558M),
}
# Of the likeliest next tokens, the share that must be those of float32.
AGREEMENT = {"float16": 0.98, "bfloat16": 0.9, "int8": 0.85}


class Check(NamedTuple):
    """One line of the table; `passed` is None where nothing could be checked."""

    name: str
    expected: str
    found: str
    passed: bool | None


def verify(name: str, known: Published | None = None) -> Iterator[Check]:
    """Checks a model in bin/ against what is published, one thing after the other.

    Raises:
        ValueError: nothing is published under this name.
        FileNotFoundError: no such model in bin/.
    """
    if known is None and name not in KNOWN:
        raise ValueError(
            f"nothing is published about {name!r}; known: {', '.join(KNOWN)}"
        )
    known = known or KNOWN[name]
    path = files.find_model(name)
    yield _file_hashes(name, path)
    model, tokenizer = load_model(path), tokenizer_of(path)
    yield _parameters(model, known.config)
    for prompt, text in known.continuations.items():
        yield _continuation(model, tokenizer, prompt, text)
    ids = torch.tensor([tokenizer.encode_ordinary(_sample())])
    ids = ids[:, : model.cfg.context_length]
    with torch.no_grad():
        logits = model(ids)
        separate = load_model(path, fused_qkv=False)(ids)
        yield _close("q, k and v in three matrices", separate, logits)
        yield _like_transformers(path, ids, logits)
        for precision, share in AGREEMENT.items():
            other = load_model(path, precision=precision)(ids)
            yield _agreement(precision, share, other, logits)
    yield _hellaswag(name, path)


def _sample():
    story = files.DATA / "the-tide-clock.txt"
    return story.read_text(encoding="utf-8")[:1500]


def _file_hashes(name, path):
    try:
        damaged = damaged_files(name, path)
    except FileNotFoundError:
        reason = "not fetched by 'python -m gpt2lib download', so no hash is known"
        return Check("file hashes", "as the hub states", reason, None)
    found = f"wrong: {', '.join(damaged)}" if damaged else "the same"
    return Check("file hashes", "as the hub states", found, not damaged)


def _parameters(model, cfg):
    count = sum(parameter.numel() for parameter in model.parameters())
    return Check("parameters", f"{cfg.n_params:,}", f"{count:,}", count == cfg.n_params)


def _continuation(model, tokenizer, prompt, text):
    ids = torch.tensor([tokenizer.encode_ordinary(prompt)])
    count = len(tokenizer.encode_ordinary(text))
    new = generate(model, ids, count)[0, ids.shape[1] :].tolist()
    found = tokenizer.decode(new)
    return Check(f"after {prompt!r}", repr(text), repr(found), found == text)


def _close(name, found, wanted):
    apart = (found - wanted).abs().max().item()
    close = torch.allclose(found, wanted, atol=1e-4, rtol=1e-5)
    return Check(name, "the same logits to 1e-4", f"{apart:.1e} apart", close)


def _like_transformers(path, ids, logits):
    name = "transformers"
    if not importlib.util.find_spec(name):
        return Check(name, "the same logits to 1e-4", "it is not installed", None)
    from transformers import GPT2LMHeadModel

    theirs = GPT2LMHeadModel.from_pretrained(path, dtype=torch.float32).eval()
    return _close(name, theirs(ids).logits, logits)


def _agreement(precision, share, other, logits):
    same = (other.argmax(-1) == logits.argmax(-1)).float().mean().item()
    wanted = f"at least {share:.0%} of the next tokens"
    return Check(precision, wanted, f"{same:.1%}", same >= share)


def _hellaswag(name, path):
    published = HellaSwag.published.get(name, {}).get("acc_norm")
    title = f"HellaSwag, first {ITEMS}"
    if published is None:
        return Check(title, "not published", "-", None)
    expected = f"acc_norm {published:.1%} within the interval"
    try:
        found = evaluate_task(path, "hellaswag", limit=ITEMS)
    except (FileNotFoundError, ImportError, ValueError) as error:
        return Check(title, expected, str(error).splitlines()[0], None)
    low, high = found["acc_norm_low"], found["acc_norm_high"]
    text = f"{found['acc_norm']:.1%} [{low:.1%}, {high:.1%}]"
    return Check(title, expected, text, low <= published <= high)


def lines_of(checks: Iterable[Check]) -> Iterator[str]:
    """The checks as lines, each as soon as it is known."""
    marks = {True: "ok", False: "WRONG", None: "-"}
    for name, expected, found, passed in checks:
        yield f"{marks[passed]:<6} {name:<36} {found}"
        if not passed:
            yield f"{'':<6} {'':<36} expected: {expected}"
