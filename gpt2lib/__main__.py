"""gpt2lib from the command line: python -m gpt2lib VERB ..."""

import argparse
import dataclasses
import json
import math
import os
import sys
import warnings

import torch

from gpt2lib import config, files
from gpt2lib.checks import check_whole
from gpt2lib.devices import find_device
from gpt2lib.evaluation import BENCHMARKS, KNOWN, evaluate_task, verify
from gpt2lib.evaluation.verify import lines_of
from gpt2lib.finetuning import (
    COURSE_LENGTH,
    LABELS,
    TASKS,
    TRAINED,
    alpaca_prompt,
    classify,
    finetune,
    load_lora,
    merge_lora,
    reasoning_prompt,
    replace_head,
)
from gpt2lib.finetuning.lora import adapter_settings
from gpt2lib.generate import generate
from gpt2lib.tokenizer import text_to_token_ids, tokenizer_of
from gpt2lib.training import feed_tensorboard, pretrain
from gpt2lib.weights import PRECISIONS, SOURCES, Checkpoint, download, save_model
from gpt2lib.weights.loading import carry_out, make_plan
from gpt2lib.weights.vocabulary import (
    GPT2_SIZES,
    check_tokenizer_fits,
    has_tokenizer,
)

CONFIGS = {
    "pocket": config.POCKET,
    "gpt2": config.GPT2_124M,
    "gpt2-medium": config.GPT2_355M,
    "gpt2-large": config.GPT2_774M,
    "gpt2-xl": config.GPT2_1558M,
}


def main(argv: list[str] | None = None) -> int:
    """Runs one verb and returns the exit code; a failure is one line on stderr."""
    if hasattr(sys.stdout, "reconfigure"):  # escape what it cannot encode
        sys.stdout.reconfigure(errors="backslashreplace")
    args = vars(_parser().parse_args(argv))
    try:
        args.pop("run")(**args)
    except (ValueError, OSError, ArithmeticError, MemoryError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        print(f"gpt2lib: {'; '.join(lines)}", file=sys.stderr)
        return 1
    except torch.OutOfMemoryError as error:
        print(f"gpt2lib: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser():
    parser = argparse.ArgumentParser(prog="python -m gpt2lib", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    verb = verbs.add_parser("download", help="fetch weights or a data set")
    verb.add_argument("name", help=", ".join(SOURCES))
    verb.set_defaults(run=_download)

    _add_generate(verbs.add_parser("generate", help="continue a text"))
    _add_pretrain(verbs.add_parser("pretrain", help="train a new model on texts"))
    _add_finetune(verbs.add_parser("finetune", help="train a model for a task"))
    _add_evaluate(verbs.add_parser("evaluate", help="how good a model is"))

    verb = verbs.add_parser("verify", help="is a GPT-2 in bin/ the published one?")
    verb.add_argument("name", nargs="?", default="gpt2", choices=KNOWN)
    verb.set_defaults(run=_verify)

    verb = verbs.add_parser("metrics", help="a run's measurements for TensorBoard")
    verb.add_argument("folder", help="what pretrain or finetune writes to")
    verb.add_argument("--follow", action="store_true", help="go on while it is trained")
    verb.set_defaults(run=_metrics)

    verb = verbs.add_parser("export", help="checkpoint -> Hugging Face folder")
    verb.add_argument("checkpoint", help="name in bin/, or a path")
    verb.add_argument("folder")
    verb.add_argument("--adapter", help="adapter.safetensors from finetune --lora")
    verb.set_defaults(run=_export)
    return parser


def _add_device(verb):
    verb.add_argument("--device", help="cpu, cuda, cuda:1, mps; default: the best one")


def _add_generate(verb):
    verb.add_argument("prompt")
    verb.add_argument("--model", default="pocket", help="name in bin/, or a path")
    verb.add_argument("--max-new-tokens", type=int, help="60; for a task, all that fit")
    verb.add_argument(
        "--temperature", type=float, help="0 is greedy; default: 0.8, for a task 0"
    )
    verb.add_argument("--top-k", type=int)
    verb.add_argument("--top-p", type=float)
    verb.add_argument("--precision", default="float32", choices=PRECISIONS)
    verb.add_argument("--seed", type=int, help="for a reproducible text")
    _add_device(verb)
    verb.set_defaults(run=_generate)


def _add_pretrain(verb):
    verb.add_argument("--data", required=True, help="text, .jsonl, shards, or a folder")
    verb.add_argument("--out", required=True, help="folder to create")
    verb.add_argument("--config", default="pocket", choices=CONFIGS)
    verb.add_argument("--steps", type=int, help="one pass over the data if not given")
    verb.add_argument("--batch-size", type=int, default=32, help="over all processes")
    verb.add_argument("--micro-batch-size", type=int, help="rows at once: less memory")
    verb.add_argument("--context-length", type=int)
    verb.add_argument("--checkpoint-every", type=int, default=250, metavar="STEPS")
    verb.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    verb.add_argument("--compile", action="store_true", help="use torch.compile")
    verb.add_argument(
        "--shard", action="store_true", help="divide the model over the processes"
    )
    verb.add_argument("--seed", type=int, default=0)
    _add_device(verb)
    verb.add_argument("--resume", action="store_true", help="continue this run")
    verb.set_defaults(run=_pretrain)


def _add_finetune(verb):
    verb.add_argument("task", choices=TASKS)
    verb.add_argument("--data", required=True, help="file of examples")
    verb.add_argument("--out", required=True, help="folder to create")
    verb.add_argument("--model", default="pocket", help="name in bin/, or a path")
    verb.add_argument("--train", default="all", choices=TRAINED, help="what to train")
    verb.add_argument(
        "--lora", action="store_const", const="lora", dest="train", help="--train lora"
    )
    verb.add_argument("--epochs", type=int, help="the task's default if not given")
    verb.add_argument("--batch-size", type=int, default=16)
    verb.add_argument(
        "--learning-rate",
        type=float,
        default=argparse.SUPPRESS,
        help="at its peak; default: by the model's size and what is trained",
    )
    _add_task_options(verb)
    verb.add_argument(
        "--skip-bad-rows", action="store_true", help="leave out unusable rows"
    )
    verb.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    verb.add_argument("--seed", type=int, default=0)
    _add_device(verb)
    verb.add_argument("--resume", action="store_true", help="continue this run")
    verb.set_defaults(run=_finetune)


def _add_task_options(verb):
    verb.add_argument("--balance", action="store_true", help="drop surplus ham or spam")
    verb.add_argument(
        "--adapt",
        type=int,
        nargs="?",
        default=0,
        const=1,
        metavar="PASSES",
        help="first read the texts without labels, by default once (spam)",
    )
    verb.add_argument(
        "--learn-prompt",
        action="store_true",
        default=argparse.SUPPRESS,
        help="include the prompt in the loss",
    )
    for name, kind, text in (
        ("--beta", float, "what a gain in nats is worth, 0.1 by default (preference)"),
        ("--samples", int, "answers to each question (reinforcement)"),
        ("--max-new-tokens", int, "of an answer (reinforcement)"),
        ("--kl", float, "weight of the divergence from --model (reinforcement)"),
    ):
        verb.add_argument(name, type=kind, default=argparse.SUPPRESS, help=text)


def _add_evaluate(verb):
    verb.add_argument("model", help="name in bin/, or a path")
    verb.add_argument("task", choices=BENCHMARKS)
    verb.add_argument("--data", help="file or folder; default: what download fetched")
    verb.add_argument("--beside", metavar="MODEL", help="compare on the same items")
    verb.add_argument("--limit", type=int, metavar="ITEMS", help="only the first ones")
    verb.add_argument(
        "--stride", type=int, metavar="TOKENS", help="perplexity: windows overlap"
    )
    verb.add_argument(
        "--skip-bad-rows", action="store_true", help="leave out unusable rows"
    )
    verb.add_argument("--precision", default="float32", choices=PRECISIONS)
    _add_device(verb)
    verb.set_defaults(run=_evaluate)


def _download(name):
    print(download(name))


def _generate(prompt, model, precision, device, **options):
    prompt, path = _typed(prompt), files.find_model(model)
    plan, tensors = make_plan(Checkpoint.at(path))
    tokenizer = tokenizer_of(path)
    check_tokenizer_fits(tokenizer, plan.config.vocab_size)
    gpt = carry_out(plan, tensors, find_device(device), precision)
    given = {name: value for name, value in options.items() if value is not None}
    if plan.config.n_classes:
        print(_classify(prompt, gpt, tokenizer, plan, given))
    else:
        task, end = plan.settings.get("finetuning_task"), _end(plan, tokenizer)
        print(_write(prompt, gpt, tokenizer, PROMPTS.get(task), end, given))


def _end(plan, tokenizer):
    """The id at which a text ends: the config's, if the tokenizer has such an id."""
    end = plan.settings.get("eos_token_id")
    return end if end in range(tokenizer.n_vocab) else tokenizer.eot_token


def _write(prompt, gpt, tokenizer, template, end, given):
    """The text that a model generates: prompt and continuation, or only an answer."""
    if template:
        ids = torch.tensor([tokenizer.encode_ordinary(template(prompt))])
        room = gpt.cfg.context_length - ids.shape[1]
        if room < 1:
            raise ValueError(
                f"the prompt has {ids.shape[1]} tokens, which leaves no room for an "
                f"answer in a context of {gpt.cfg.context_length}: shorten it"
            )
        usual = {"temperature": 0.0, "max_new_tokens": room}
    else:
        ids = text_to_token_ids(prompt, tokenizer)
        usual = {"temperature": 0.8, "max_new_tokens": 60}
    if "seed" in given:
        check_whole("seed", given["seed"], 0)
        given["generator"] = torch.Generator().manual_seed(given.pop("seed"))
    usual |= {"eos_id": end, "vocab_size": tokenizer.n_vocab}
    new_ids = generate(gpt, ids, **usual | given)
    new_ids = [id for id in new_ids[0, ids.shape[1] :].tolist() if id != end]
    return tokenizer.decode(new_ids if template else ids[0].tolist() + new_ids)


def _classify(text, gpt, tokenizer, plan, given):
    """The name and probability of the most likely class."""
    if given:
        flags = ", ".join("--" + name.replace("_", "-") for name in given)
        raise ValueError(f"this model is a classifier, so leave out {flags}")
    settings = _settings_of_course(plan) | plan.settings
    length, longest = settings.get("padded_to"), gpt.cfg.context_length
    if length is not None and length not in range(1, longest + 1):
        raise ValueError(f"padded_to must be from 1 to {longest}, got {length!r}")
    likely = classify(gpt, [text], tokenizer, padded_to=length)[0]
    names = settings.get("id2label") or {}
    best = str(likely.argmax().item())
    return f"{names.get(best, f'LABEL_{best}')} ({likely.max():.1%})"


def _settings_of_course(plan):
    """Settings that the course's classifiers do not store: class names and padding."""
    if not plan.is_course_classifier:
        return {}
    names = {str(id): name for id, name in enumerate(LABELS)}
    return {"padded_to": COURSE_LENGTH, "id2label": names}


def _typed(text):
    """A text from the command line in UTF-8, with every line end as a newline.

    Raises:
        ValueError: bytes that are not text in the terminal's locale.
    """
    try:
        text = os.fsencode(text).decode("utf-8")
    except UnicodeError:
        try:
            text.encode("utf-8")
        except UnicodeError as error:
            raise ValueError(
                "the prompt is not text in the terminal's locale: use a UTF-8 one, "
                "such as LC_ALL=C.UTF-8"
            ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _ask(prompt):
    """Alpaca's prompt: the first line is the instruction, the rest its input."""
    instruction, _, input = prompt.partition("\n")
    return alpaca_prompt(instruction, input)


TASK_SETTINGS = ("finetuning_task", "id2label", "label2id", "padded_to")
PROMPTS = {"instruction": _ask, "reasoning": reasoning_prompt}


def _pretrain(data, out, config, context_length, **options):
    # No dropout: each text is seen about once.
    cfg = dataclasses.replace(CONFIGS[config], drop_rate=0.0)
    if context_length is not None:
        cfg = dataclasses.replace(cfg, context_length=context_length)
    if figures := pretrain(data, out, cfg, **options):
        _print_figures(figures)


def _finetune(task, data, out, model, **options):
    _print_figures(finetune(task, data, out, model, **options))


def _evaluate(model, task, data, **options):
    _print_figures(evaluate_task(model, task, data, **options))


def _verify(name):
    checks = []
    for check in verify(name):
        checks.append(check)
        print("\n".join(lines_of([check])), flush=True)
    wrong = [check.name for check in checks if check.passed is False]
    if wrong:
        raise ValueError(f"{name} is not as published: {', '.join(wrong)}")


def _print_figures(figures):
    known = {n: None if value == math.inf else value for n, value in figures.items()}
    print(json.dumps(known))  # JSON has no infinity


def _metrics(folder, follow):
    folders = feed_tensorboard(folder, follow)
    print(f"tensorboard --logdir {next(folders)}", flush=True)
    for _ in folders:
        pass


def _export(checkpoint, folder, adapter):
    path = files.find_model(checkpoint)
    files.check_free(folder)
    tokenizer = tokenizer_of(path) if has_tokenizer(path) else None
    plan, tensors = make_plan(Checkpoint.at(path))
    _check_known(path, plan, tokenizer)
    settings = _settings_of_course(plan) | plan.settings
    gpt = carry_out(plan, tensors)
    if adapter is not None:
        settings |= adapter_settings(adapter)
        gpt = _with_adapter(gpt, adapter, settings.get("id2label"))
    kept = {name: settings[name] for name in TASK_SETTINGS if name in settings}
    if tokenizer:
        kept["eos_token_id"] = _end(plan, tokenizer)
    save_model(gpt, folder, tokenizer, kept)
    print(folder)


def _check_known(path, plan, tokenizer):
    """Refuses to write down a guess; warns if a tokenizer has to be brought along."""
    known = {cfg.emb_dim: cfg.n_heads for cfg in CONFIGS.values()}
    if plan.heads_are_guessed and known.get(plan.config.emb_dim) != plan.config.n_heads:
        raise ValueError(
            f"{path} does not say how many heads it has: put a config.json with "
            '"n_head" beside it, or a guess would be written down'
        )
    if tokenizer:
        check_tokenizer_fits(tokenizer, plan.config.vocab_size)
    elif plan.config.vocab_size not in GPT2_SIZES:
        warnings.warn(
            f"{path} has no tokenizer beside it, so its copy has none either: put the "
            "model's vocab.json and merges.txt, or its tokenizer.json, there",
            stacklevel=1,
        )


def _with_adapter(gpt, adapter, classes):
    if classes and not gpt.cfg.n_classes:
        gpt = replace_head(gpt, len(classes))
    return merge_lora(load_lora(gpt, adapter))


if __name__ == "__main__":
    sys.exit(main())
