"""The library from a terminal: python -m gpt2lib VERB ..."""

import argparse
import sys

import torch

from gpt2lib import files
from gpt2lib.generate import generate
from gpt2lib.tokenizer import (
    BPETokenizer,
    load_tokenizer,
    text_to_token_ids,
    token_ids_to_text,
)
from gpt2lib.weights import load_model, perform_non_cpu_backend_check, save_model


def main(argv=None):
    """Runs one verb and returns the exit code; a failure is one line on stderr."""
    args = _parser().parse_args(argv)
    try:
        args.run(args)
    except (ValueError, OSError) as error:
        print(f"gpt2lib: {'; '.join(str(error).split(chr(10)))}", file=sys.stderr)
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
    verb.add_argument("--max-new-tokens", type=int, default=60)
    verb.add_argument("--temperature", type=float, default=0.8, help="0 is greedy")
    verb.add_argument("--top-k", type=int)
    verb.add_argument("--top-p", type=float)
    verb.add_argument("--seed", type=int, help="repeats a run")
    verb.set_defaults(run=_generate)

    verb = verbs.add_parser("export", help="any checkpoint -> Hugging Face folder")
    verb.add_argument("checkpoint", help="name in bin/, or a path")
    verb.add_argument("folder")
    verb.set_defaults(run=_export)
    return parser


def _download(args):
    print(files.download(args.name))


def _generate(args):
    model = load_model(args.model, device=perform_non_cpu_backend_check())
    tokenizer = load_tokenizer(args.model)
    generator = None
    if args.seed is not None:
        generator = torch.Generator().manual_seed(args.seed)
    ids = generate(
        model,
        text_to_token_ids(args.prompt, tokenizer),
        args.max_new_tokens,
        temperature=args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
        eos_id=tokenizer.eot_token,
        generator=generator,
    )
    print(token_ids_to_text(ids, tokenizer))


def _export(args):
    path = files.find_model(args.checkpoint)
    has_tokenizer = (path / "vocab.json").is_file()
    tokenizer = BPETokenizer.load(path) if has_tokenizer else None
    save_model(load_model(path), args.folder, tokenizer)
    print(args.folder)


if __name__ == "__main__":
    sys.exit(main())
