"""The verbs, and the program of the first README, on models small enough for a test."""

import dataclasses
import json
import subprocess
import sys

import pytest
import torch
from small import SMALL, lively
from transformers import GPT2LMHeadModel

from gpt2lib import GPTModel, files, load_model, save_model
from gpt2lib import __main__ as program
from gpt2lib.__main__ import main
from gpt2lib.classification import replace_head

PROMPT = "Nora looked at the"


@pytest.fixture
def pocket(tmp_path, monkeypatch, tokenizer):
    """A random model named pocket in a bin/ of its own."""
    monkeypatch.setattr(files, "BIN", tmp_path)
    model = lively(GPTModel(dataclasses.replace(SMALL, vocab_size=tokenizer.n_vocab)))
    save_model(model, tmp_path / "pocket", tokenizer)
    return tmp_path / "pocket"


def generated(capsys, *arguments):
    assert main(["generate", PROMPT, *arguments]) == 0
    return capsys.readouterr().out


def test_generate_prints_the_prompt_and_more(pocket, capsys):
    text = generated(capsys, "--max-new-tokens", "9", "--temperature", "0")
    assert text.startswith(PROMPT) and len(text) > len(PROMPT)


@pytest.mark.parametrize("precision", ["bfloat16", "float16", "int8"])
def test_generate_in_fewer_bytes(pocket, capsys, precision):
    greedy = ("--max-new-tokens", "9", "--temperature", "0")
    text = generated(capsys, *greedy, "--precision", precision)
    assert text.startswith(PROMPT) and len(text) > len(PROMPT)


def test_generate_repeats_with_a_seed(pocket, capsys):
    arguments = ("--temperature", "1", "--top-k", "50", "--seed", "1")
    assert generated(capsys, *arguments) == generated(capsys, *arguments)
    assert generated(capsys, *arguments) != generated(capsys, *arguments[:-1], "2")


def test_export_turns_any_layout_into_a_hugging_face_folder(pocket, tmp_path, capsys):
    model = load_model(pocket)
    torch.save(model.state_dict(), tmp_path / "mine.pth")
    out = tmp_path / "out"
    assert main(["export", str(tmp_path / "mine.pth"), str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    ids = torch.arange(9)[None]
    theirs = GPT2LMHeadModel.from_pretrained(out).eval()(ids).logits
    assert torch.allclose(theirs, model(ids), atol=1e-4)


def test_export_takes_the_tokenizer_along(pocket, tmp_path):
    assert main(["export", "pocket", str(tmp_path / "out")]) == 0
    for name in ("vocab.json", "merges.txt"):
        assert (tmp_path / "out" / name).read_bytes() == (pocket / name).read_bytes()


def test_export_of_a_file_takes_the_tokenizer_beside_it_along(pocket, tmp_path):
    assert main(["export", str(pocket / "model.safetensors"), str(tmp_path / "o")]) == 0
    assert (tmp_path / "o" / "vocab.json").is_file()


def test_an_answer_has_the_room_that_the_prompt_leaves(pocket, tokenizer, monkeypatch):
    cfg = dataclasses.replace(load_model(pocket).cfg, context_length=128)
    task = {"finetuning_task": "instruction"}
    save_model(GPTModel(cfg), pocket, tokenizer, task)
    asked = []

    def generated(model, ids, room, **_):
        asked.append((ids.shape[1], room))
        return ids

    monkeypatch.setattr(program, "generate", generated)
    assert main(["generate", "Hi", "--max-new-tokens", "3"]) == 0
    assert main(["generate", "Hi"]) == 0
    (length, room), (_, rest) = asked
    assert room == 3 and rest == 128 - length > 1


@pytest.mark.parametrize("names", [["joy", "rage", "fear"], None])
def test_a_class_is_called_what_the_config_says(pocket, tokenizer, capsys, names):
    cfg = dataclasses.replace(load_model(pocket).cfg, context_length=128)
    model = replace_head(GPTModel(cfg), 3)
    given = {"id2label": dict(enumerate(names))} if names else {}
    save_model(model, pocket, tokenizer, given)
    assert main(["generate", PROMPT]) == 0
    assert capsys.readouterr().out.split(" (")[0] in (names or ["ham", "spam", "2"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", PROMPT, "--model", "nonsense"],
        ["generate", PROMPT, "--temperature", "-1"],
        ["generate", PROMPT, "--top-k", "0"],
        ["generate", ""],
        ["export", "nonsense", "out"],
        ["download", "nonsense"],
    ],
)
def test_a_failure_is_one_line_and_not_zero(pocket, capsys, arguments):
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("gpt2lib: ") and printed.err.count("\n") == 1


def test_a_failure_of_the_process_has_no_traceback():
    ended = subprocess.run(
        [sys.executable, "-m", "gpt2lib", "generate", "x", "--model", "nonsense"],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    assert "no model at nonsense" in ended.stderr and "Traceback" not in ended.stderr


EXAMPLE = """
from gpt2lib import (
    perform_non_cpu_backend_check, generate, text_to_token_ids, token_ids_to_text,
    get_gpt2_tokenizer, load_openai_355m_gpt2
)

device = perform_non_cpu_backend_check()

def main():
    tokenizer = get_gpt2_tokenizer()
    model = load_openai_355m_gpt2(device=device, eval_mode=True)

    prompt = (
        "Is the following text 'spam'? Answer with 'yes' or 'no':"
        "'You are a winner you have been specially selected"
        " to receive $1000 cash or a $2000 award.'"
    )

    token_ids = generate(
        model=model,
        idx=text_to_token_ids(prompt, tokenizer),
        max_new_tokens=35,
        context_size=1024,
        top_k=25,
        temperature=1.4
    )

    print("Output text:\\n", token_ids_to_text(token_ids, tokenizer))

if __name__ == "__main__":
    main()
"""


def test_the_example_of_the_first_readme_runs(gpt2_folder, tmp_path):
    """On a file of the right layout and vocabulary, with fewer and narrower layers."""
    cfg = dataclasses.replace(
        SMALL, vocab_size=50257, context_length=1024, emb_dim=64, n_heads=1
    )
    weights = {
        name.replace("att.W_qkv", "attn.c_attn")
        .replace("att.out_proj", "attn.c_proj")
        .replace("ff.layers.0", "mlp.c_fc")
        .replace("ff.layers.2", "mlp.c_proj"): tensor
        for name, tensor in GPTModel(cfg).state_dict().items()
    }
    torch.save(weights, tmp_path / "gpt2_355m_compat_openai.pth")
    program = "from gpt2lib import files; from pathlib import Path\n"
    program += f"files.BIN = Path({json.dumps(str(tmp_path))})\n" + EXAMPLE
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.startswith("Output text:\n Is the following text 'spam'?")
