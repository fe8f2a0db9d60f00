"""Files from outside: other formats, traps and damage; one clear error for each."""

import dataclasses
import json
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from small import SMALL, lively

from gpt2lib import GPTModel, load_model, save_model
from gpt2lib.weights import plan_loading
from gpt2lib.weights.untrusted import inside, listed, read_json, recognise, shown


@pytest.fixture
def state():
    return lively(GPTModel(dataclasses.replace(SMALL, n_heads=2))).state_dict()


# ------------------------------------------------------------------ other formats


@pytest.mark.parametrize(
    ("name", "start", "what"),
    [
        ("m.gguf", b"GGUF\x03\0\0\0" + b"\x7b" + bytes(99), "a GGUF file"),
        ("m.bin", b"lmgg\x01\0\0\0" + bytes(99), "a GGML file"),
        ("m.onnx", b"\x08\x07\x12\x07pytorch" + bytes(99), "an ONNX file"),
        ("m.h5", b"\x89HDF\r\n\x1a\n" + bytes(99), "a Keras file"),
        ("model.ckpt.index", b"\0\0\x1b\x08\x01\x1a\x02\x08\x01", "a TensorFlow file"),
        ("model.ckpt.data-00000-of-00001", bytes(99), "a TensorFlow file"),
        ("saved_model.pb", b"\x08\x01\x12\x99" + bytes(99), "a TensorFlow file"),
        ("m.msgpack", b"\x81\xabtransformer\x84" + bytes(99), "a Flax file"),
        ("gpt2_124M.bin", b"\xc6\xd74\x01\x03" + bytes(99), "a file of llm.c"),
        ("m.npy", b"\x93NUMPY\x01\0" + bytes(99), "a NumPy file"),
        ("m.parquet", b"PAR1" + bytes(99), "a parquet file"),
        ("m.pt", b"\x1f\x8b\x08\0" + bytes(99), "a compressed file"),
        ("m.pth", b"data" + bytes(253) + b"ustar\0" + bytes(99), "a tar archive"),
        ("m.pth", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        ("m.pth", b"\xef\xbb\xbf\n<!DOCTYPE html>", "a web page"),
        ("m.bin", b"<?xml version='1.0'?><Error/>", "a web page"),
        ("m.json", b'{"n_head": 4}', r"\(JSON\)"),
        ("m.txt", "Eintrag fehlt für immer\n".encode()[:19], "a text file"),
    ],
)
def test_files_of_other_programs_are_called_by_name(tmp_path, name, start, what):
    (tmp_path / name).write_bytes(start)
    with pytest.raises(ValueError, match=f"is .*{what}.*not weights.*: [a-z']"):
        load_model(tmp_path / name)


@pytest.mark.parametrize(
    ("member", "what"),
    [
        ("w/arr_0.npy", "a NumPy file"),
        ("config.json", "a zip archive"),
        ("model.weights.h5", "a Keras file"),
        ("m/constants.pkl", "a TorchScript program"),
    ],
)
def test_archives_of_something_else_are_called_by_name(tmp_path, member, what):
    with zipfile.ZipFile(tmp_path / "m.pth", "w") as archive:
        archive.writestr(member, "x")
    with pytest.raises(ValueError, match=f"is {what}"):
        load_model(tmp_path / "m.pth")


@pytest.mark.parametrize("name", ["tf_model.h5", "flax_model.msgpack", "m.Q4.gguf"])
def test_a_folder_with_other_weights_only_says_so(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(FileNotFoundError, match=f"no weights.*{name} is a.*take the"):
        load_model(tmp_path)


def test_an_adapter_alone_says_what_it_is(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    name = "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight"
    save_file({name: torch.ones(2, 2)}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(FileNotFoundError, match="PEFT.*merge_and_unload"):
        load_model(tmp_path)
    for key in (name, "trf_blocks.0.att.W_qkv.A"):
        save_file({key: torch.ones(2, 2)}, tmp_path / "adapter_model.safetensors")
        with pytest.raises(ValueError, match="holds LoRA layers.*merge_lora"):
            load_model(tmp_path / "adapter_model.safetensors")


def test_the_ending_of_a_weight_file_does_not_matter(tmp_path, state):
    state.pop("out_head.weight")
    save_file(state, tmp_path / "weights.xyz")
    torch.save(state, tmp_path / "weights")
    for name in ("weights.xyz", "weights"):
        assert load_model(tmp_path / name).tok_emb.weight.equal(state["tok_emb.weight"])


# ------------------------------------------------------------------ indexes and parts


@pytest.fixture
def parts(tmp_path):
    """A model in two parts, and the path of its index."""
    save_model(lively(GPTModel(SMALL)), tmp_path)
    from transformers import GPT2LMHeadModel

    model = GPT2LMHeadModel.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    model.save_pretrained(tmp_path, max_shard_size="600KB")
    return tmp_path / "model.safetensors.index.json"


def test_a_part_or_the_index_opens_the_whole_model(parts):
    whole = load_model(parts.parent).state_dict()
    given = [parts, *parts.parent.glob("model-*.safetensors")]
    assert len(given) > 2
    for path in given:
        opened = load_model(path).state_dict()
        assert all(tensor.equal(whole[name]) for name, tensor in opened.items())
    parts.unlink()
    with pytest.raises(FileNotFoundError, match="one of several parts.*index.json"):
        load_model(given[1])


@pytest.mark.parametrize(
    "name",
    [
        "../good/part.safetensors",
        "/etc/shadow",
        "a/../../b",
        "..",
        "C:\\part.bin",
        "..\\part.bin",
        "a\0b",
        "\x1b[2J",
        "",
        "x" * 300,
        5,
        None,
        ["a"],
    ],
)
def test_an_index_names_files_of_its_folder_only(tmp_path, name):
    index = {"weight_map": {"wte.weight": name, "wpe.weight": "part.bin"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="not a plain relative path") as error:
        load_model(tmp_path)
    assert str(error.value).isprintable()
    assert inside(tmp_path, "sub/part.bin") == tmp_path / "sub" / "part.bin"


def test_what_is_no_weights_is_never_quoted(tmp_path):
    (tmp_path / "m.pth").write_text("root:secret:0:0\n")
    with pytest.raises(ValueError, match="is a text file") as error:
        load_model(tmp_path / "m.pth")
    assert "secret" not in str(error.value)


# ------------------------------------------------------------------ asking for too much


def test_blocks_that_are_not_there_are_not_built(tmp_path, state):
    for names in (["trf_blocks.99999.norm1.scale"], ["trf_blocks.4.norm1.scale"]):
        torch.save(state | {n: torch.ones(128) for n in names}, tmp_path / "m.pth")
        with pytest.raises(ValueError, match="missing: .* trf_blocks.3 the first"):
            load_model(tmp_path / "m.pth")
    torch.save(state | {"trf_blocks.99999999999.x": torch.ones(1)}, tmp_path / "m.pth")
    with pytest.raises(ValueError, match="unexpected: trf_blocks.99999999999.x"):
        load_model(tmp_path / "m.pth")
    many = {f"trf_blocks.{i}.norm1.scale": torch.ones(1) for i in range(3000)}
    torch.save(many, tmp_path / "m.pth")
    with pytest.raises(ValueError, match=r"missing: .*\d+ more") as error:
        load_model(tmp_path / "m.pth")
    assert len(str(error.value)) < 50_000


@pytest.mark.parametrize("name", ["tok_emb.weight", "out_head.weight", "stranger"])
def test_numbers_that_are_not_in_the_file_are_refused(tmp_path, state, name):
    vast = torch.zeros(1, 128).expand(10**9, 128)
    torch.save(state | {name: vast}, tmp_path / "m.pth")
    with pytest.raises(ValueError, match=f"{name}: more numbers than are in the file"):
        load_model(tmp_path / "m.pth")


def test_one_storage_for_many_tensors_is_refused(tmp_path):
    cfg = dataclasses.replace(SMALL, n_layers=40, context_length=97)
    with torch.device("meta"):
        shapes = {n: t.shape for n, t in GPTModel(cfg).state_dict().items()}
    numbers = torch.ones(max(shape.numel() for shape in shapes.values()))
    tensors = {n: numbers[: s.numel()].view(s) for n, s in shapes.items()}
    torch.save(tensors, tmp_path / "m.pth")
    with pytest.raises(ValueError, match="asks for more memory than the file has"):
        load_model(tmp_path / "m.pth")


def test_a_file_that_holds_itself_a_thousand_times_is_read_once(tmp_path, state):
    ring = {}
    ring |= {str(i): ring for i in range(3000)}
    torch.save({"model": state, "config": ring}, tmp_path / "m.pth")
    load_model(tmp_path / "m.pth")
    torch.save(ring, tmp_path / "m.pth")
    with pytest.raises(ValueError, match="more than tensors"):
        load_model(tmp_path / "m.pth")


class Call:
    """Pickled as a call of something that torch.load admits."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "value",
    [
        Call(bytearray, 10**12),
        Call(torch.Tensor, 10**6, 10**6),
        Call(torch.Size, [10**12, 128]),
        Call(
            torch._utils._rebuild_meta_tensor_no_storage, torch.half, (2,), (1,), True
        ),
    ],
    ids=lambda value: value.call[0].__name__,
)
def test_calls_that_allocate_are_refused(tmp_path, state, value):
    for zipped in (True, False):
        torch.save(
            state | {"tok_emb.weight": value},
            tmp_path / "m.pth",
            _use_new_zipfile_serialization=zipped,
        )
        with pytest.raises(ValueError, match=str(tmp_path)):
            load_model(tmp_path / "m.pth")


def test_a_compressed_archive_is_refused(tmp_path, state):
    torch.save(state, tmp_path / "whole.pth")
    with zipfile.ZipFile(tmp_path / "whole.pth") as whole:
        kinds = {"m.pth": zipfile.ZIP_DEFLATED, "lzma.pth": zipfile.ZIP_LZMA}
        for name, kind in kinds.items():
            with zipfile.ZipFile(tmp_path / name, "w", kind) as packed:
                for member in whole.namelist():
                    packed.writestr(member, whole.read(member))
            with pytest.raises(ValueError, match="a compressed archive"):
                load_model(tmp_path / name)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("n_positions", 10**9),
        ("n_layer", 10**6),
        ("vocab_size", 10**12),
        ("n_embd", 10**30),
        ("n_head", 10**40),
        ("n_head", 10**9),
        ("n_head", "12"),
        ("n_head", 2.0),
        ("n_head", True),
        ("n_head", [2]),
        ("n_head", 0),
        ("n_layer", 3.0),
        ("n_positions", "24"),
        ("resid_pdrop", "0.1"),
        ("resid_pdrop", float("nan")),
        ("qkv_bias", 1),
        ("model_type", ["gpt2"]),
        ("model_type", "x" * 10**6),
        ("layer_norm_epsilon", {}),
        ("finetuning_task", ["spam"]),
        ("id2label", ["ham"]),
        ("id2label", {"0": 1}),
    ],
)
def test_a_setting_of_another_type_or_size_is_refused(tmp_path, key, value):
    save_model(GPTModel(SMALL), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {key: value}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=str(tmp_path)) as error:
        load_model(tmp_path)
    assert len(str(error.value)) < 1000
    (tmp_path / "config.json").write_text(json.dumps(config | {key: None}))
    if key in ("n_layer", "n_positions", "resid_pdrop", "id2label", "finetuning_task"):
        load_model(tmp_path)  # null is what many programs write for nothing


# ------------------------------------------------------------------ damage


@pytest.mark.parametrize(
    "contents",
    ["[" * 10**6, '{"a":' * 10**5, "[1, 2]", "", '{"a": 1', "\ufeff[]", b"{\xff}"],
)
def test_broken_json_is_one_error(tmp_path, contents):
    path = tmp_path / "config.json"
    path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    with pytest.raises(ValueError, match="config.json is no"):
        read_json(path)


@pytest.mark.parametrize("depth", [400, 900, 940, 960, 980, 990, 1000])
def test_a_value_nested_deep_is_one_error(tmp_path, depth):
    save_model(GPTModel(SMALL), tmp_path)
    for key in ("n_head", "model_type", "id2label", "finetuning_task"):
        nested = "[" * depth + "]" * depth
        (tmp_path / "config.json").write_text(f'{{"{key}": {nested}}}')
        with pytest.raises(ValueError, match="config.json|model_type|n_head") as error:
            load_model(tmp_path)
        assert len(str(error.value)) < 1000


def test_a_byte_order_mark_is_read_over(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"n_head": 4}', encoding="utf-8-sig")
    assert read_json(path) == {"n_head": 4}


def test_a_vast_config_is_not_read(tmp_path):
    with open(tmp_path / "config.json", "wb") as file:
        file.truncate(2**30)
    with pytest.raises(ValueError, match="1,073,741,824 bytes, at most"):
        read_json(tmp_path / "config.json")


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(1.0),
        torch.zeros(0),
        torch.empty(97, 128, device="meta"),
        torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        torch.quantize_per_tensor(torch.ones(97, 128), 0.1, 0, torch.qint8),
        torch.ones(97, 128).to_sparse(),
        torch.ones(97, 128).to_sparse_csr(),
        torch.ones(97, 128, dtype=torch.complex64),
        torch.ones(97, 128, dtype=torch.bool),
        torch.ones(97, 128, dtype=torch.int8),
        torch.ones(97, 128, dtype=torch.int64),
        torch.ones(97, 128).to(torch.float8_e4m3fn),
        torch.ones(97, 128, dtype=torch.uint16),
        torch.ones(97, 128, 1),
    ],
    ids=lambda tensor: f"{tensor.layout} {tensor.dtype} {tensor.device}",
)
@pytest.mark.parametrize(
    "name", ["tok_emb.weight", "out_head.weight", "final_norm.scale", "pos_emb.weight"]
)
def test_tensors_of_another_kind_are_named(tmp_path, state, name, tensor):
    torch.save(state | {name: tensor}, tmp_path / "m.pth")
    with pytest.raises(ValueError, match=name):
        load_model(tmp_path / "m.pth")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_floats_of_any_width_are_read(tmp_path, state, dtype):
    torch.save({n: t.to(dtype) for n, t in state.items()}, tmp_path / "m.pth")
    loaded = load_model(tmp_path / "m.pth").state_dict()
    assert all(t.equal(state[n].to(dtype).float()) for n, t in loaded.items())


def test_masks_may_be_of_any_kind(tmp_path, state):
    state["trf_blocks.0.att.mask"] = torch.ones(24, 24, dtype=torch.bool)
    torch.save(state, tmp_path / "m.pth")
    assert plan_loading(tmp_path / "m.pth").dropped == [
        "out_head.weight",
        "trf_blocks.0.att.mask",
    ]


def test_names_reach_the_terminal_in_one_harmless_line(tmp_path, state):
    for name in ("\x1b[2Jx", "a\nb\rc", "\u202egnp", "x" * 10**5, "\ud800"):
        torch.save(state | {name: torch.ones(1)}, tmp_path / "m.pth")
        with pytest.raises(ValueError, match="unexpected: ") as error:
            load_model(tmp_path / "m.pth")
        message = str(error.value)
        assert message.replace("\n", "").isprintable() and len(message) < 1000


def test_long_lists_end_in_a_count():
    assert listed([]) == "none"
    assert listed(["a", "b"], "; ") == "a; b"
    assert listed([str(i) for i in range(1000)]).endswith("199, 800 more")
    assert shown("a" * 200) == "a" * 100 + "..."
    assert recognise("model.safetensors") is None is recognise("ckpt.pt")
