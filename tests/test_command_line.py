"""The verbs, and the program of the first README, on models small enough for a test."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from small import SMALL, lively, with_compatible_names
from transformers import (
    AutoTokenizer,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    GPT2TokenizerFast,
)

from gpt2lib import GPTModel, files, load_model, save_model
from gpt2lib import __main__ as program
from gpt2lib.__main__ import main
from gpt2lib.finetuning import alpaca_prompt, replace_head
from gpt2lib.tokenizer import ENDOFTEXT, BPETokenizer

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


def test_export_writes_no_guess_down(tmp_path, capsys):
    torch.save(load_model("pocket").state_dict(), tmp_path / "mine.pth")  # 6 heads
    assert main(["export", str(tmp_path / "mine.pth"), str(tmp_path / "out")]) == 1
    assert "does not say how many heads" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_export_says_that_a_tokenizer_is_missing(tmp_path):
    shutil.copy(files.BIN / "pocket" / "model.safetensors", tmp_path)
    shutil.copy(files.BIN / "pocket" / "config.json", tmp_path)
    with pytest.warns(UserWarning, match="has no tokenizer beside it"):
        assert main(["export", str(tmp_path), str(tmp_path / "out")]) == 0


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

    def generated(model, ids, max_new_tokens, **_):
        asked.append((ids.shape[1], max_new_tokens))
        return ids

    monkeypatch.setattr(program, "generate", generated)
    assert main(["generate", "Hi", "--max-new-tokens", "3"]) == 0
    assert main(["generate", "Hi"]) == 0
    (length, room), (_, rest) = asked
    assert room == 3 and rest == 128 - length > 1


def with_context(pocket, tokenizer, task, context_length=256):
    """The model in pocket, made for a task."""
    cfg = dataclasses.replace(load_model(pocket).cfg, context_length=context_length)
    save_model(GPTModel(cfg), pocket, tokenizer, {"finetuning_task": task})


def prompt_ids(monkeypatch, prompt):
    """What a model is asked, as ids, when somebody types a prompt."""
    asked = []
    monkeypatch.setattr(
        program, "generate", lambda model, ids, **_: asked.append(ids) or ids
    )
    assert main(["generate", prompt]) == 0
    return asked[0][0].tolist()


def test_special_tokens_typed_into_an_instruction_are_text(
    pocket, tokenizer, monkeypatch
):
    with_context(pocket, tokenizer, "instruction")
    ids = prompt_ids(monkeypatch, "What is <|endoftext|>?")
    assert tokenizer.eot_token not in ids
    assert "What is <|endoftext|>?" in tokenizer.decode(ids)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_an_instruction_ends_with_its_line(pocket, tokenizer, monkeypatch, end):
    with_context(pocket, tokenizer, "instruction")
    text = tokenizer.decode(prompt_ids(monkeypatch, f"Count.{end}One two"))
    assert text.endswith(alpaca_prompt("Count.", "One two"))


@pytest.mark.parametrize("task", ["instruction", "reasoning"])
def test_a_prompt_that_leaves_no_room_is_refused(pocket, tokenizer, capsys, task):
    with_context(pocket, tokenizer, task, context_length=24)
    assert main(["generate", "word " * 30]) == 1
    printed = capsys.readouterr()
    assert "leaves no room" in printed.err and not printed.out


def test_the_end_of_a_text_is_not_printed(pocket, tokenizer, capsys, monkeypatch):
    end = torch.tensor([[tokenizer.eot_token]])
    monkeypatch.setattr(
        program, "generate", lambda model, ids, **_: torch.cat([ids, end], 1)
    )
    assert generated(capsys) == f"{PROMPT}\n"


@pytest.fixture
def chat(tmp_path, story):
    """A model of transformers that knows no token but one of its own, its end."""
    end = "<|im_end|>"
    tokenizer = BPETokenizer.train(story, 300, (ENDOFTEXT, end))
    tokenizer.save(tmp_path / "tokens")
    theirs = GPT2TokenizerFast.from_pretrained(tmp_path / "tokens", eos_token=end)
    size = {"vocab_size": 300, "n_positions": 64, "n_embd": 32, "n_head": 2}
    ids = {"bos_token_id": 0, "eos_token_id": theirs.eos_token_id}
    model = GPT2LMHeadModel(GPT2Config(n_layer=1, **size, **ids))
    with torch.no_grad():
        model.transformer.ln_f.weight.zero_()
        model.transformer.ln_f.bias.normal_()
        model.transformer.wte.weight[theirs.eos_token_id] = model.transformer.ln_f.bias
    model.save_pretrained(tmp_path / "chat")
    theirs.save_pretrained(tmp_path / "chat")
    return tmp_path / "chat"


def test_a_text_ends_where_the_models_config_says(chat, capsys):
    written = generated(capsys, "--model", str(chat), "--temperature", "0")
    assert written == f"{PROMPT}\n"


def test_export_keeps_special_tokens_and_the_end_of_a_text(chat, tmp_path):
    assert main(["export", str(chat), str(tmp_path / "out")]) == 0
    before, after = (AutoTokenizer.from_pretrained(f) for f in (chat, tmp_path / "out"))
    text = "a tide<|im_end|><|endoftext|>"
    assert after.encode(text) == before.encode(text)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["eos_token_id"] == before.eos_token_id != after.eos_token_id


def test_ids_of_padding_rows_are_never_drawn(pocket, tokenizer, capsys):
    """A model whose vocabulary was padded, as nanoGPT's, writes real tokens alone."""
    cfg = dataclasses.replace(load_model(pocket).cfg, vocab_size=tokenizer.n_vocab + 99)
    model = GPTModel(cfg)
    with torch.no_grad():
        model.tok_emb.weight[: tokenizer.n_vocab] *= 0.01
    save_model(model, pocket, tokenizer)
    assert generated(capsys, "--temperature", "5", "--seed", "1").startswith(PROMPT)


def test_a_tokenizer_of_another_model_is_said_before_anything_is_written(
    pocket, tokenizer, capsys
):
    cfg = dataclasses.replace(load_model(pocket).cfg, vocab_size=tokenizer.n_vocab - 9)
    shutil.rmtree(pocket)
    save_model(GPTModel(cfg), pocket)
    tokenizer.save(pocket)
    for verb in (["generate", PROMPT], ["export", "pocket", str(pocket / "new")]):
        assert main(verb) == 1
        assert "belongs to another model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["joy", "rage", "fear"], ["joy", "rage", "fear"]),
        (None, ["LABEL_0", "LABEL_1", "LABEL_2"]),
    ],
)
def test_a_class_is_called_what_the_config_says(
    pocket, tokenizer, capsys, names, expected
):
    cfg = dataclasses.replace(load_model(pocket).cfg, context_length=128)
    given = {"id2label": dict(enumerate(names))} if names else {}
    save_model(replace_head(GPTModel(cfg), 3), pocket, tokenizer, given)
    assert main(["generate", PROMPT]) == 0
    assert capsys.readouterr().out.split(" (")[0] in expected


@pytest.mark.parametrize("layout", ["transformers", "course"])
def test_the_layout_says_where_a_classifier_is_read(
    pocket, tokenizer, capsys, monkeypatch, layout
):
    """transformers writes no names for two classes; the course's has padded texts."""
    cfg = dataclasses.replace(load_model(pocket).cfg, context_length=128)
    model = replace_head(GPTModel(cfg), 2)
    if layout == "transformers":
        config = GPT2Config(vocab_size=cfg.vocab_size, n_positions=128, n_embd=128)
        config.n_head, config.n_layer, config.num_labels, config.pad_token_id = (
            2,
            3,
            2,
            0,
        )
        GPT2ForSequenceClassification(config).save_pretrained(pocket)
    else:
        (pocket / "model.safetensors").unlink()
        (pocket / "config.json").write_text('{"n_head": 2}')
        head = {"out_head.bias": torch.zeros(2)}
        torch.save(model.state_dict() | head, pocket / "ckpt.pt")
    seen, classified = [], program.classify
    monkeypatch.setattr(
        program,
        "classify",
        lambda *args, padded_to: seen.append(padded_to) or classified(*args),
    )
    assert main(["generate", PROMPT]) == 0
    assert main(["export", "pocket", str(pocket / "new")]) == 0
    assert main(["generate", PROMPT, "--model", str(pocket / "new")]) == 0
    assert seen == 2 * [None if layout == "transformers" else 120]
    names = ["LABEL_0", "LABEL_1"] if layout == "transformers" else ["ham", "spam"]
    first, _, second = capsys.readouterr().out.splitlines()
    assert first == second and first.split(" (")[0] in names


@pytest.mark.parametrize(
    "flag", ["--temperature", "--top-k", "--top-p", "--seed", "--max-new-tokens"]
)
def test_a_classifier_has_no_use_for_flags_of_generating(
    pocket, tokenizer, capsys, flag
):
    save_model(replace_head(load_model(pocket), 2), pocket, tokenizer)
    assert main(["generate", PROMPT, flag, "1"]) == 1
    assert flag in capsys.readouterr().err


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "gpu", "meta", "", "cpu:x"])
def test_a_device_that_is_not_there_is_said(pocket, capsys, device):
    assert main(["generate", PROMPT, "--device", device]) == 1
    printed = capsys.readouterr().err
    assert "choose from: cpu" in printed and printed.count("\n") == 1


def test_int8_computes_on_the_device_asked_for(pocket, capsys):
    assert "Nora" in generated(capsys, "--device", "cpu", "--precision", "int8")


@pytest.mark.parametrize("seed", ["-1", str(2**63), str(2**64)])
def test_a_seed_out_of_range_is_refused(pocket, capsys, seed):
    assert main(["generate", PROMPT, "--seed", seed]) == 1
    assert "seed must be a whole number from 0" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["", " ", "taken", "a-file", "a-file/below"])
def test_export_writes_over_nothing(pocket, tmp_path, capsys, out):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "model.safetensors").write_text("somebody else's")
    (tmp_path / "a-file").touch()
    folder = str(tmp_path / out) if out.strip() else out
    assert main(["export", "pocket", folder]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert (tmp_path / "taken" / "model.safetensors").read_text() == "somebody else's"


def run(*arguments, **environment):
    """In a process of its own, for what Python does before the program begins."""
    return subprocess.run(
        [sys.executable, "-m", "gpt2lib", *arguments],
        capture_output=True,
        env=os.environ | environment,
    )


def test_a_narrow_terminal_loses_no_text():
    ended = run("generate", "日本", "--max-new-tokens", "1", PYTHONIOENCODING="cp1252")
    assert ended.returncode == 0
    assert rb"\u65e5\u672c" in ended.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="arguments are text there")
def test_a_prompt_that_is_no_text_is_blamed_on_the_locale_without_a_traceback():
    ended = run("generate", b"caf\xe9", PYTHONUTF8="1")
    assert ended.returncode == 1
    assert b"locale" in ended.stderr and ended.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", PROMPT, "--model", "nonsense"], "no model at 'nonsense'"),
        (["generate", PROMPT, "--temperature", "-1"], "temperature"),
        (["generate", PROMPT, "--top-k", "0"], "top_k"),
        (["generate", ""], "there are no ids"),
        (["export", "nonsense", "out"], "no model at 'nonsense'"),
        (["download", "nonsense"], "'nonsense'"),
    ],
)
def test_a_failure_is_one_line_and_not_zero(pocket, capsys, arguments, message):
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and message in printed.err
    assert printed.err.startswith("gpt2lib: ") and printed.err.count("\n") == 1


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


def test_the_example_of_the_first_readme_runs(
    gpt2_folder, tmp_path, monkeypatch, capsys
):
    """On a file of the right layout and vocabulary, with fewer and narrower layers."""
    monkeypatch.setattr(files, "BIN", tmp_path)
    cfg = dataclasses.replace(
        SMALL, vocab_size=50257, context_length=1024, emb_dim=64, n_heads=1
    )
    weights = with_compatible_names(GPTModel(cfg))
    torch.save(weights, tmp_path / "gpt2_355m_compat_openai.pth")
    exec(EXAMPLE, {"__name__": "__main__"})
    printed = capsys.readouterr().out
    assert printed.startswith("Output text:\n Is the following text 'spam'?")
