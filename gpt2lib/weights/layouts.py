"""How each family of checkpoints names and lays out a GPT-2's tensors.

Every GPT-2 checkpoint holds the same tensors under different names, some transposed,
some with q, k and v in one matrix. All names used in files are listed here.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch.overrides import TorchFunctionMode

from gpt2lib.config import GPT2_124M, GPT2_355M, GPT2_774M, GPT2_1558M, GPTConfig
from gpt2lib.model import GPTModel


@dataclass(frozen=True)
class Layout:
    """How one family of checkpoints names and lays out the tensors of `GPTModel`.

    `names` maps parts of our names to theirs; all other parts are the same.
    """

    title: str
    names: dict[str, str]
    fused_qkv: bool
    transposed: bool = False

    def name(self, ours: str) -> str:
        for our_part, their_part in self.names.items():
            ours = ours.replace(our_part, their_part)
        return ours

    def shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape they store for the tensor with our `name` and `shape`."""
        return shape[::-1] if self.transposed and "trf_blocks" in name else shape


# -------------------------------------------------------------------------- name tables

OPENAI_NAMES = {
    "tok_emb.": "wte.",
    "pos_emb.": "wpe.",
    "trf_blocks.": "h.",
    "norm1.scale": "ln_1.weight",
    "norm1.shift": "ln_1.bias",
    "att.W_qkv.": "attn.c_attn.",
    "att.out_proj.": "attn.c_proj.",
    "norm2.scale": "ln_2.weight",
    "norm2.shift": "ln_2.bias",
    "ff.layers.0.": "mlp.c_fc.",
    "ff.layers.2.": "mlp.c_proj.",
    "final_norm.scale": "ln_f.weight",
    "final_norm.shift": "ln_f.bias",
    "out_head.": "lm_head.",
}
COMBINED_NAMES = {
    "att.W_qkv.": "attn.c_attn.",
    "att.out_proj.": "attn.c_proj.",
    "ff.layers.0.": "mlp.c_fc.",
    "ff.layers.2.": "mlp.c_proj.",
}
COURSE_NAMES = {"att.W_query.": "att.w_q.", "att.W_key.": "att.w_k."}
COURSE_NAMES |= {"att.W_value.": "att.w_v."}
HUGGING_FACE = Layout("Hugging Face", OPENAI_NAMES, fused_qkv=True, transposed=True)
NANOGPT = Layout("nanoGPT", OPENAI_NAMES, fused_qkv=True)
COURSE_LAYOUTS = (
    Layout("OpenAI-compatible course model", COMBINED_NAMES, fused_qkv=True),
    Layout("course model", COURSE_NAMES, fused_qkv=False),
)
LAYOUTS = (
    HUGGING_FACE,
    NANOGPT,
    *COURSE_LAYOUTS,
    Layout("Raschka, or gpt2lib with separate q, k, v", {}, fused_qkv=False),
    Layout("gpt2lib", {}, fused_qkv=True),
)
QKV = ("W_query", "W_key", "W_value")
CLASS_HEAD = "score.weight"  # transformers' name for the classification head
HEAD_BIAS = "out_head.bias"  # of the course's classifiers
TIED = {"lm_head.weight": "wte.weight", "out_head.weight": "tok_emb.weight"}
# Old checkpoints also hold causal masks; attn.c_attn.bias is a weight, not a mask.
MASK = re.compile(r"\.attn\.(masked_)?bias$|\.attn?\.mask$")
LORA = re.compile(r"\.lora_\w+(\.|$)|\.[AB]$|^base_model\.model\.")
# Wrappers insert parts into names; a module that contains the model adds a prefix.
WRAPPERS = re.compile(r"(?<![^.])_(orig_mod|(fsdp|checkpoint)_wrapped_module)\.")
OWN_NAMES = re.compile(
    r"(?<![^.])(h\.\d|(wte|wpe|ln_f|lm_head|score)\.|"
    r"(tok_emb|pos_emb|trf_blocks|final_norm|out_head)\.)"
)


def own_name(name: str) -> str:
    """A tensor's name without what wrappers and containing modules have added."""
    name = WRAPPERS.sub("", name)
    own = OWN_NAMES.search(name)
    return name[own.start() :] if own else name


WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "ckpt.pt",
)
PART = re.compile(r"-\d+-of-\d+(?=\.\w+$)")  # in the name of one of several files
STATE_DICTS = ("model", "model_state_dict", "state_dict", "module")

# ----------------------------------------------------------------------------- settings

HEADS = ("n_head", "n_heads", "num_attention_heads")
# Other programs' names for our settings; settings with one supported value.
SETTINGS = {
    "vocab_size": ("vocab_size",),
    "context_length": ("n_positions", "n_ctx", "block_size", "context_length"),
    "emb_dim": ("n_embd", "emb_dim", "hidden_size"),
    "n_heads": HEADS,
    "n_layers": ("n_layer", "n_layers", "num_hidden_layers"),
    "drop_rate": ("resid_pdrop", "dropout", "drop_rate"),
    "qkv_bias": ("qkv_bias",),
}
COUNTS = ("vocab_size", "context_length", "emb_dim", "n_heads", "n_layers")
PUBLISHED = [
    (cfg.emb_dim, cfg.n_layers) for cfg in (GPT2_124M, GPT2_355M, GPT2_774M, GPT2_1558M)
]
FIXED_SETTINGS = {
    "model_type": ("gpt2",),
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "layer_norm_epsilon": (1e-5,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
}

# ------------------------------------------------------------------------------- shapes


class ShapesOnly(TorchFunctionMode):
    """Skips weight initialisation, for models that are built for their shapes only."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def tensor_shapes(cfg: GPTConfig) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor of a model; only one block is built."""
    with ShapesOnly(), torch.device("meta"):
        tensors = GPTModel(dataclasses.replace(cfg, n_layers=1)).state_dict()
    shapes = {}
    for i in range(cfg.n_layers):
        for name, tensor in tensors.items():
            shapes[name.replace("blocks.0.", f"blocks.{i}.")] = tuple(tensor.shape)
    return shapes


def is_matrix(name: str) -> bool:
    """Whether our `name` is a matrix of a block; Hugging Face transposes these."""
    return "trf_blocks" in name and name.endswith(".weight")


@dataclass(frozen=True)
class Step:
    """One step of a plan: a tensor copied, split into three, or stacked from three."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]


def regroup(names: Iterable[str], fused_qkv: bool) -> Iterator[Step]:
    """The steps from tensors called `names` to fused or separate q, k and v."""
    for name in names:
        separate = tuple(name.replace("W_qkv", w) for w in QKV)
        if "W_qkv" in name and not fused_qkv:
            yield Step((name,), separate)
        elif "W_query" in name and fused_qkv:
            parts = tuple(name.replace("W_query", w) for w in QKV)
            yield Step(parts, (name.replace("W_query", "W_qkv"),))
        elif not (fused_qkv and ("W_key" in name or "W_value" in name)):
            yield Step((name,), (name,))
