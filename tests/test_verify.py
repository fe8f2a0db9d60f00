"""A model is told from one with other weights, and from a damaged file."""

import hashlib
import json
import shutil

import pytest
import torch
from transformers import GPT2LMHeadModel

from gpt2lib import POCKET, GPTModel, files, load_tokenizer, save_model
from gpt2lib.__main__ import main
from gpt2lib.evaluation import KNOWN, Published, verify

PROMPT = "Once upon a time"


@pytest.fixture(scope="module")
def continued():
    """What pocket writes, by transformers."""
    folder, tokenizer = files.find_model("pocket"), load_tokenizer()
    theirs = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32)
    ids = torch.tensor([tokenizer.encode(PROMPT)])
    end = tokenizer.eot_token
    written = theirs.generate(ids, max_new_tokens=12, do_sample=False, pad_token_id=end)
    return tokenizer.decode(written[0, ids.shape[1] :].tolist())


@pytest.fixture
def known(monkeypatch, continued):
    published = Published(POCKET, {PROMPT: continued})
    monkeypatch.setitem(KNOWN, "pocket", published)
    return published


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A copy of pocket in a bin/ of its own, as `download` leaves a model."""
    monkeypatch.setattr(files, "BIN", tmp_path)
    copy = tmp_path / "pocket"
    shutil.copytree(files.ROOT / "bin" / "pocket", copy)
    weights = (copy / "model.safetensors").read_bytes()
    hashes = {"model.safetensors": hashlib.sha256(weights).hexdigest()}
    (copy / ".pocket.download.json").write_text(json.dumps(hashes))
    return copy


def test_the_published_model_passes(known, folder, capsys):
    assert main(["verify", "pocket"]) == 0
    lines = capsys.readouterr().out
    assert "WRONG" not in lines
    assert f"ok     parameters{' ' * 27}{POCKET.n_params:,}" in lines
    assert "ok     transformers" in lines and "ok     int8" in lines


def test_other_weights_of_the_same_shapes_are_found_out(known, folder, capsys):
    """By their words; what compares the model with itself cannot tell."""
    torch.manual_seed(5)
    tokenizer = load_tokenizer(folder)
    shutil.rmtree(folder, ignore_errors=False)
    save_model(GPTModel(POCKET), folder, tokenizer)
    checks = {check.name: check.passed for check in verify("pocket")}
    assert checks[f"after {PROMPT!r}"] is False
    assert checks["parameters"] and checks["transformers"]
    assert checks["file hashes"] is None
    assert main(["verify", "pocket"]) == 1
    assert f"not as published: after {PROMPT!r}" in capsys.readouterr().err


def test_a_damaged_file_is_named(known, folder):
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    first = next(iter(verify("pocket")))
    assert first.passed is False and "model.safetensors" in first.found


def test_only_published_models_are_verified(tmp_path):
    with pytest.raises(ValueError, match="known: gpt2, gpt2-medium"):
        next(iter(verify("my-own")))
