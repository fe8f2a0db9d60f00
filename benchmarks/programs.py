"""One model in several programs: gpt2lib and whichever peers are installed.

All run the same weights, read from one Hugging Face folder. A program can `decode`
(greedily, from a prompt) and `prefill` (process a prompt, score the next token).
"""

import contextlib
import importlib
import json
import multiprocessing
import os
import sys
import tempfile
import threading
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import torch

from benchmarks.nanogpt import NanoGPTForm
from gpt2lib import load_model, perform_non_cpu_backend_check
from gpt2lib.generate import generate, next_token_logits
from gpt2lib.weights import Checkpoint

DEVICE = perform_non_cpu_backend_check()
THREADS = torch.get_num_threads()


class Ours:
    """gpt2lib."""

    def __init__(self, folder, precision, device=DEVICE):
        self.model = load_model(folder, device=device, precision=precision)

    def decode(self, ids, n):
        return generate(self.model, ids, n)[:, -n:].tolist()

    @torch.inference_mode()
    def prefill(self, ids):
        ids = ids.to(self.model.device)
        return next_token_logits(self.model, ids).argmax(dim=-1).tolist()


class Transformers:
    """Hugging Face's GPT2LMHeadModel, through its own `generate`."""

    def __init__(self, folder, precision, device=DEVICE):
        from transformers import GPT2LMHeadModel

        dtype = getattr(torch, precision)
        model = GPT2LMHeadModel.from_pretrained(folder, dtype=dtype)
        self.model = model.eval().to(device)

    def decode(self, ids, n):
        ids = ids.to(self.model.device)
        new = self.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=n,
            min_new_tokens=n,
            do_sample=False,
            pad_token_id=0,
        )
        return new[:, -n:].tolist()

    @torch.inference_mode()
    def prefill(self, ids):
        logits = self.model(ids.to(self.model.device), logits_to_keep=1).logits
        return logits[:, -1].argmax(dim=-1).tolist()


class NanoGPT:
    """A checkout of nanoGPT, or its form; without a KV cache, it only prefills."""

    def __init__(self, checkout, folder, precision, device=DEVICE):
        cfg = load_model(folder).cfg
        weights = _without_transposition(folder)
        weights["lm_head.weight"] = weights["transformer.wte.weight"]  # tied: has both
        self.model, self.device = nanogpt_model(cfg, checkout), device
        self.model.load_state_dict(weights)
        self.model.eval().to(device, getattr(torch, precision))

    @torch.inference_mode()
    def prefill(self, ids):
        return self.model(ids.to(self.device))[0][:, -1].argmax(dim=-1).tolist()


def nanogpt_model(cfg, checkout=None):
    """An untrained GPT of a checkout of nanoGPT, or `NanoGPTForm` without one."""
    if checkout is None:
        return NanoGPTForm(cfg)
    sys.path.insert(0, str(checkout))
    nanogpt = importlib.import_module("model")
    sys.path.remove(str(checkout))
    shape = {"block_size": cfg.context_length, "vocab_size": cfg.vocab_size}
    shape |= {"n_layer": cfg.n_layers, "n_head": cfg.n_heads, "n_embd": cfg.emb_dim}
    with contextlib.redirect_stdout(sys.stderr):  # it reports its size
        return nanogpt.GPT(nanogpt.GPTConfig(**shape, dropout=0.0, bias=True))


class Apart:
    """A program in a separate process.

    With CTranslate2 in the same process, torch's matmuls took 1.5 times as long.
    """

    def __init__(self, program, *arguments):
        self.process = ProcessPoolExecutor(
            1, get_context("spawn"), _begin, (program, *arguments)
        )
        self.process.submit(int).result()  # wait until it is ready

    def decode(self, ids, n):
        return self.process.submit(_call, "decode", ids.tolist(), n).result()

    def prefill(self, ids):
        return self.process.submit(_call, "prefill", ids.tolist()).result()


def end_with_parent():
    """Ends this process as soon as the one that started it has ended, even killed."""

    def wait():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _begin(program, *arguments):
    global here
    end_with_parent()
    here = program(*arguments)


def _call(ability, *arguments):
    return getattr(here, ability)(*arguments)


class CTranslate2:
    """OpenNMT's engine; here it only decodes."""

    def __init__(self, folder, precision):
        import ctranslate2
        from ctranslate2.converters.transformers import GPT2Loader

        model = Transformers(folder, "float32").model
        spec = GPT2Loader().get_model_spec(model)
        self.words = [f"<{id}>" for id in range(model.config.vocab_size)]
        spec.register_vocabulary(self.words)
        spec.config.bos_token = spec.config.eos_token = spec.config.unk_token = "<0>"
        spec.validate()
        spec.optimize()
        with tempfile.TemporaryDirectory() as converted:
            spec.save(converted)
            self.generator = ctranslate2.Generator(
                converted, compute_type=precision, intra_threads=THREADS
            )

    def decode(self, ids, n):
        rows = [[self.words[id] for id in row] for row in ids]
        results = self.generator.generate_batch(
            rows,
            max_length=n,
            min_length=n,
            sampling_topk=1,
            include_prompt_in_result=False,
        )
        return [result.sequences_ids[0] for result in results]


class LlamaCpp:
    """llama.cpp through llama-cpp-python's low-level calls, which support batches."""

    def __init__(self, folder, precision):
        import llama_cpp

        self.api = llama_cpp
        self.log = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self.log, None)
        with tempfile.TemporaryDirectory() as converted:
            path = Path(converted, "model.gguf")
            _write_gguf(folder, path, precision)
            settings = llama_cpp.llama_model_default_params()
            settings.use_mmap = False  # the file is removed
            self.model = llama_cpp.llama_model_load_from_file(
                str(path).encode(), settings
            )
        self.vocab_size = json.loads(Path(folder, "config.json").read_text())[
            "vocab_size"
        ]

    def decode(self, ids, n):
        prompt, new = len(ids[0]), []
        context = self._context(len(ids), prompt + n)
        for step in range(n):
            start = prompt + step - 1 if step else 0
            ids = self._read(context, ids, start)
            new.append([id for (id,) in ids])
        self.api.llama_free(context)
        return [list(row) for row in zip(*new)]

    def prefill(self, ids):
        context = self._context(len(ids), len(ids[0]))
        new = self._read(context, ids, 0)
        self.api.llama_free(context)
        return [id for (id,) in new]

    def _context(self, rows, length):
        settings = self.api.llama_context_default_params()
        settings.n_ctx = settings.n_batch = settings.n_ubatch = rows * length
        settings.n_seq_max = rows
        settings.n_threads = settings.n_threads_batch = THREADS
        return self.api.llama_init_from_model(self.model, settings)

    def _read(self, context, rows, start):
        """Feeds rows of ids from position `start` on; the likeliest next id of each."""
        import numpy

        tokens = [(s, p, id) for s, row in enumerate(rows) for p, id in enumerate(row)]
        batch = self.api.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        last = len(rows[0]) - 1
        for i, (sequence, place, id) in enumerate(tokens):
            batch.token[i], batch.pos[i] = id, start + place
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
            batch.logits[i] = place == last
        assert self.api.llama_decode(context, batch) == 0
        self.api.llama_batch_free(batch)
        new = []
        for i in range(last, len(tokens), last + 1):
            logits = self.api.llama_get_logits_ith(context, i)
            logits = numpy.ctypeslib.as_array(logits, (self.vocab_size,))
            new.append([int(logits.argmax())])
        return new


def _write_gguf(folder, path, precision):
    """Converts a Hugging Face folder to llama.cpp's file format."""
    import gguf

    cfg = json.loads(Path(folder, "config.json").read_text())
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_block_count(cfg["n_layer"])
    writer.add_context_length(cfg["n_positions"])
    writer.add_embedding_length(cfg["n_embd"])
    writer.add_feed_forward_length(4 * cfg["n_embd"])
    writer.add_head_count(cfg["n_head"])
    writer.add_layer_norm_eps(1e-5)
    writer.add_vocab_size(cfg["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    kind = {"float32": "F32", "float16": "F16", "int8": "Q8_0"}[precision]
    kind = gguf.GGMLQuantizationType[kind]
    for name, tensor in _without_transposition(folder).items():
        array = tensor.numpy()
        for theirs, its in GGUF_NAMES.items():
            name = name.replace(theirs, its)
        matrix = array.ndim == 2 and "position" not in name
        dtype = kind if matrix else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quants.quantize(array, dtype), raw_dtype=dtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


GGUF_NAMES = {
    "transformer.h.": "blk.",
    "transformer.wte": "token_embd",
    "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm",
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}


def _without_transposition(folder):
    """The folder's tensors, with the blocks' matrices transposed to (out, in)."""
    tensors = Checkpoint.at(folder).tensors()
    return {
        f"transformer.{name}": (
            tensor.T.contiguous()
            if name.startswith("h.") and tensor.ndim == 2
            else tensor
        )
        for name, tensor in tensors.items()
    }


PEERS = {
    "transformers": (Transformers, ("float32", "bfloat16")),
    "ctranslate2": (CTranslate2, ("float32", "int8")),
    "llama_cpp": (LlamaCpp, ("float32", "float16", "int8")),
}
APART = ("ctranslate2", "llama_cpp")


def installed(ability, folder, nanogpt=None):
    """name -> (program, precision) of all programs with an ability, ours first."""
    ours = ("float32", "bfloat16", "float16", "int8")
    programs = {
        f"gpt2lib, {p}": (Ours(folder, p), p)
        for p in ours
        if DEVICE == "cpu" or p != "int8"
    }
    for module, (program, precisions) in PEERS.items():
        if hasattr(program, ability) and find_spec(module):
            for precision in precisions:
                given = folder, precision
                made = Apart(program, *given) if module in APART else program(*given)
                programs[f"{module}, {precision}"] = made, precision
    if nanogpt and hasattr(NanoGPT, ability):
        for precision in ("float32", "bfloat16"):
            made = NanoGPT(nanogpt, folder, precision)
            programs[f"nanoGPT, {precision}"] = made, precision
    return programs
