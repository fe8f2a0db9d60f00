"""The library from a terminal: python -m gpt2lib VERB ..."""

import argparse
import dataclasses
import json
import sys

import torch

from gpt2lib import config, files
from gpt2lib.checkpoint import Checkpoint
from gpt2lib.classification import COURSE_LENGTH, LABELS, classify
from gpt2lib.finetuning import TASKS, TRAINED, finetune
from gpt2lib.generate import generate
from gpt2lib.instruction import alpaca_prompt
from gpt2lib.pretraining import pretrain
from gpt2lib.reasoning import reasoning_prompt
from gpt2lib.tokenizer import (
    BPETokenizer,
    load_tokenizer,
    text_to_token_ids,
    token_ids_to_text,
)
from gpt2lib.weights import (
    PRECISIONS,
    load_model,
    perform_non_cpu_backend_check,
    save_model,
)

CONFIGS = {
    "pocket": config.POCKET,
    "gpt2": config.GPT2_124M,
    "gpt2-medium": config.GPT2_355M,
    "gpt2-large": config.GPT2_774M,
    "gpt2-xl": config.GPT2_1558M,
}


def main(argv=None):
    """Runs one verb and returns the exit code; a failure is one line on stderr."""
    args = _parser().parse_args(argv)
    try:
        args.run(args)
    except (ValueError, OSError, ArithmeticError) as error:
        print(f"gpt2lib: {'; '.join(str(error).split(chr(10)))}", file=sys.stderr)
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
    verb.add_argument("name", help=", ".join(files.SOURCES))
    verb.set_defaults(run=_download)

    verb = verbs.add_parser("generate", help="continue a text")
    verb.add_argument("prompt")
    verb.add_argument("--model", default="pocket", help="name in bin/, or a path")
    verb.add_argument("--max-new-tokens", type=int, help="60; a task has what fits")
    verb.add_argument("--temperature", type=float, help="0 is greedy; 0.8 if not given")
    verb.add_argument("--top-k", type=int)
    verb.add_argument("--top-p", type=float)
    verb.add_argument("--precision", default="float32", choices=PRECISIONS)
    verb.add_argument("--seed", type=int, help="repeats a run")
    verb.set_defaults(run=_generate)

    _add_pretrain(verbs.add_parser("pretrain", help="a text -> a trained model"))

    _add_finetune(verbs.add_parser("finetune", help="a model and examples -> a task"))

    verb = verbs.add_parser("export", help="any checkpoint -> Hugging Face folder")
    verb.add_argument("checkpoint", help="name in bin/, or a path")
    verb.add_argument("folder")
    verb.set_defaults(run=_export)
    return parser


def _add_pretrain(verb):
    verb.add_argument("--data", required=True, help="text, .jsonl, shards, or a folder")
    verb.add_argument("--out", required=True, help="folder to make")
    verb.add_argument("--config", default="pocket", choices=CONFIGS)
    verb.add_argument("--steps", type=int, help="one pass over the data if not given")
    verb.add_argument("--batch-size", type=int, default=32, help="of all processes")
    verb.add_argument("--micro-batch-size", type=int, help="rows at once, saves memory")
    verb.add_argument("--context-length", type=int)
    verb.add_argument("--checkpoint-every", type=int, default=250, metavar="STEPS")
    verb.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    verb.add_argument("--compile", action="store_true", help="use torch.compile")
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--resume", action="store_true", help="from the last checkpoint")
    verb.set_defaults(run=_pretrain)


def _add_finetune(verb):
    verb.add_argument("task", choices=TASKS)
    verb.add_argument("--data", required=True, help="file of examples")
    verb.add_argument("--out", required=True, help="folder to make")
    verb.add_argument("--model", default="pocket", help="name in bin/, or a path")
    verb.add_argument("--train", default="all", choices=TRAINED, help="what moves")
    verb.add_argument(
        "--lora", action="store_const", const="lora", dest="train", help="--train lora"
    )
    verb.add_argument("--epochs", type=int, help="the task's own number if not given")
    verb.add_argument("--batch-size", type=int, default=16)
    verb.add_argument("--balance", action="store_true", help="as much ham as spam")
    verb.add_argument(
        "--learn-prompt", action="store_true", help="not the response alone"
    )
    verb.add_argument("--skip-bad-rows", action="store_true", help="and count them")
    verb.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--resume", action="store_true", help="from the last checkpoint")
    verb.set_defaults(run=_finetune)


def _download(args):
    print(files.download(args.name))


def _generate(args):
    device = perform_non_cpu_backend_check()
    model = load_model(args.model, device=device, precision=args.precision)
    tokenizer = load_tokenizer(args.model)
    given = Checkpoint.find(args.model).settings()
    task = given.get("finetuning_task")
    if model.cfg.n_classes:
        return _classify(args.prompt, model, tokenizer, given)
    prompt = PROMPTS[task](args.prompt) if task in PROMPTS else args.prompt
    ids = text_to_token_ids(prompt, tokenizer)
    temperature, room = 0.8, 60
    if task in PROMPTS:
        temperature, room = 0.0, max(1, model.cfg.context_length - ids.shape[1])
    generator = None
    if args.seed is not None:
        generator = torch.Generator().manual_seed(args.seed)
    new = generate(
        model,
        ids,
        room if args.max_new_tokens is None else args.max_new_tokens,
        temperature=temperature if args.temperature is None else args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
        eos_id=tokenizer.eot_token,
        generator=generator,
    )
    if task in PROMPTS:  # the prompt is ours, so only the answer is shown
        new = new[:, ids.shape[1] :]
        new = new[new != tokenizer.eot_token]
    print(token_ids_to_text(new, tokenizer))


def _ask(prompt):
    """A first line is the instruction, what follows its input."""
    instruction, _, input = prompt.partition("\n")
    return alpaca_prompt(instruction, input)


TASK_SETTINGS = ("finetuning_task", "id2label")
PROMPTS = {"instruction": _ask, "reasoning": reasoning_prompt}


def _classify(text, model, tokenizer, given):
    """Prints the verdict; a classifier without names of classes is the course's."""
    length = None if "id2label" in given else COURSE_LENGTH
    likely = classify(model, [text], tokenizer, padded_to=length)[0]
    names = given.get("id2label") or {str(i): name for i, name in enumerate(LABELS)}
    best = str(likely.argmax().item())
    print(f"{names.get(best, best)} ({likely.max():.1%})")


def _pretrain(args):
    # Dropout helps who reads a text many times; a pretraining hardly does.
    cfg = dataclasses.replace(CONFIGS[args.config], drop_rate=0.0)
    if args.context_length is not None:
        cfg = dataclasses.replace(cfg, context_length=args.context_length)
    figures = pretrain(
        args.data,
        args.out,
        cfg,
        steps=args.steps,
        batch_size=args.batch_size,
        checkpoint_every=args.checkpoint_every,
        resume=args.resume,
        micro_batch_size=args.micro_batch_size,
        precision=args.precision,
        compile=args.compile,
        seed=args.seed,
    )
    if figures:
        print(json.dumps(figures))


def _finetune(args):
    figures = finetune(
        args.task,
        args.data,
        args.out,
        args.model,
        train=args.train,
        epochs=args.epochs,
        batch_size=args.batch_size,
        balance=args.balance,
        learn_prompt=args.learn_prompt,
        skip_bad_rows=args.skip_bad_rows,
        resume=args.resume,
        precision=args.precision,
        seed=args.seed,
    )
    print(json.dumps(figures))


def _export(args):
    path = files.find_model(args.checkpoint)
    folder = path if path.is_dir() else path.parent
    has_tokenizer = (folder / "vocab.json").is_file()
    tokenizer = BPETokenizer.load(folder) if has_tokenizer else None
    given = Checkpoint.find(path).settings()
    kept = {name: given[name] for name in TASK_SETTINGS if name in given}
    save_model(load_model(path), args.folder, tokenizer, kept)
    print(args.folder)


if __name__ == "__main__":
    sys.exit(main())
