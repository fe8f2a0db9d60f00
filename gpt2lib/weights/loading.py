"""A checkpoint to a model.

Loading is planned from names and shapes (`plan_loading`), then carried out tensor by
tensor (`load_model`), so that memory never holds the model twice. A checkpoint is
untrusted: nothing in it is run.
"""

import dataclasses
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from gpt2lib import files
from gpt2lib.config import GPTConfig
from gpt2lib.devices import find_device
from gpt2lib.fast import PREPARED, prepare_to_infer, speed_up, warn_if_emulated
from gpt2lib.model import GPTModel, OpenAICompatibleGPTModel
from gpt2lib.weights.layouts import (
    COUNTS,
    COURSE_LAYOUTS,
    FIXED_SETTINGS,
    HEAD_BIAS,
    HUGGING_FACE,
    LAYOUTS,
    MASK,
    NANOGPT,
    PUBLISHED,
    SETTINGS,
    Layout,
    ShapesOnly,
    Step,
    is_matrix,
    regroup,
    tensor_shapes,
)
from gpt2lib.weights.tensors import FLOATS, Checkpoint, same
from gpt2lib.weights.untrusted import listed, quoted, some

Tensors = dict[str, torch.Tensor]
PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.int8,
}


def load_model(
    name_or_path: str | Path = "pocket",
    *,
    device: str | torch.device = "cpu",
    precision: str = "float32",
    fused_qkv: bool = True,
) -> GPTModel:
    """A model from any GPT-2 checkpoint, in eval mode.

    Args:
        name_or_path: a name in bin/, or the path of a folder or file in any of the
            `LAYOUTS`: safetensors (also sharded), PyTorch's .bin, .pt and .pth.
        device: the device for the weights.
        precision: "float32"; "bfloat16", for weights and computation; "float16" or
            "int8", on a CPU weights prepared for inference, with sums in float32 or
            integers. On a GPU, float16 is for computation too, and int8 is refused.
        fused_qkv: OpenAI's combined q, k, v matrix, or the course's three.

    Raises:
        FileNotFoundError: no such model, or a folder without weights.
        ValueError: not a GPT-2 checkpoint, damaged, refused, or it does not fit; one
            error lists every missing, unexpected and misshaped tensor.
    """
    checkpoint = Checkpoint.at(files.find_model(name_or_path))
    plan, tensors = make_plan(checkpoint, fused_qkv)
    return carry_out(plan, tensors, device, precision)


def carry_out(
    plan: "LoadPlan",
    tensors: Tensors,
    device: str | torch.device = "cpu",
    precision: str = "float32",
) -> GPTModel:
    """Builds the model of a plan; its tensors are removed as they are used."""
    to_prepare = _check_precision(precision, device)
    dtype = torch.float32 if to_prepare else PRECISIONS[precision]
    weights = dict(_take(plan, tensors, device, dtype))
    for warning in _warnings(plan, weights):
        warnings.warn(f"{plan.checkpoint.path} {warning}", stacklevel=3)
    if plan.config.tied_head:
        weights["out_head.weight"] = weights["tok_emb.weight"]
    if plan.folded:
        _fold_head_bias(weights, tensors[HEAD_BIAS])
    model_class = OpenAICompatibleGPTModel if plan.config.fused_qkv else GPTModel
    with ShapesOnly(), torch.device("meta"):
        model = model_class(plan.config)
    model.load_state_dict(weights, assign=True)
    model.tie_head()
    model = prepare_to_infer(model, precision) if to_prepare else model
    return speed_up(model).eval()


def _warnings(plan, weights):
    """Possible defects of a model whose tensors all fit."""
    if plan.heads_are_guessed:
        yield (
            f"does not say how many heads it has, so {plan.config.n_heads} is a guess "
            '(emb_dim / 64, as in OpenAI\'s sizes): put a config.json with "n_head" '
            "beside it"
        )
    broken = [
        n
        for n, w in weights.items()
        if not w.sum().isfinite() and not w.isfinite().all()
    ]
    if broken:
        yield (
            f"has NaN or infinity in {len(broken)} tensors ({some(broken)}): its "
            "logits will be useless, its training probably diverged"
        )


def _check_precision(precision, device):
    """Whether to prepare the weights for inference; ValueError if impossible."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {[*PRECISIONS]}, got {precision!r}")
    if precision == "int8" and not str(device).lower().startswith("cpu"):
        raise ValueError(
            f"int8 is for the CPU, got device {str(device)!r}: use bfloat16 or float16"
        )
    device = find_device(device)
    warn_if_emulated(precision, device)
    return device.type == "cpu" and precision in PREPARED


def _take(plan, tensors, device, dtype):
    """Yields (our name, new tensor) for every step of a plan.

    The pages of a mapped file count as memory once they are read. Mapping it again
    every 64 MB releases them, so that the peak is little more than the model itself.
    """
    for name, shape in plan.zeros.items():
        yield name, torch.zeros(shape, device=device, dtype=dtype)
    taken = 0
    for step in plan.steps:
        if taken > 2**26 and plan.checkpoint.is_mapped:
            tensors.clear()  # release the old mapping before making a new one
            tensors |= plan.checkpoint.tensors()
            taken = 0
        parts = [tensors.pop(plan.layout.name(name)).detach() for name in step.sources]
        if plan.layout.transposed and is_matrix(step.sources[0]):
            parts = [part.T for part in parts]
        taken += sum(part.nbytes for part in parts)
        if len(step.targets) > 1:
            parts = parts[0].chunk(len(step.targets))
        elif len(parts) > 1:
            parts = [torch.cat(parts)]
        for target, part in zip(step.targets, parts):
            yield (
                target,
                torch.empty(part.shape, device=device, dtype=dtype).copy_(part),
            )


def _fold_head_bias(weights, bias):
    """Moves a classification head's bias into final_norm.shift, to equal effect."""
    head, shift = weights["out_head.weight"], weights["final_norm.shift"]
    # Solves head @ shift = bias, on the CPU since not all devices have float64.
    moved = torch.linalg.pinv(head.cpu().double()) @ bias.double()
    weights["final_norm.shift"] = (shift.cpu() + moved).to(shift)


# --------------------------------------------------------------------------------- plan


@dataclass(frozen=True)
class LoadPlan:
    """How a checkpoint will be loaded; print it for a summary.

    `steps` use our names. Everything is decided before any weight is copied.
    """

    checkpoint: Checkpoint
    settings: dict[str, object]
    layout: Layout
    config: GPTConfig
    steps: list[Step]
    zeros: dict[str, tuple]
    dropped: list[str]
    folded: list[str]
    heads_are_guessed: bool = False

    @property
    def is_course_classifier(self) -> bool:
        """Whether it is a classifier of the course, trained at a padded position.

        Its output head has a bias, unlike those of `replace_head` and transformers.
        """
        of_course = self.layout in COURSE_LAYOUTS or bool(self.folded)
        return bool(self.config.n_classes) and of_course

    def __str__(self):
        split = sum(len(step.targets) == 3 for step in self.steps)
        stacked = sum(len(step.sources) == 3 for step in self.steps)
        matrices = [s for step in self.steps for s in step.sources if is_matrix(s)]
        dropped = f"({some(self.dropped)})" if self.dropped else ""
        lines = {
            "layout": self.layout.title,
            "mapped": sum(len(step.sources) for step in self.steps),
            "transposed": len(matrices) if self.layout.transposed else 0,
            "split q, k, v": split,
            "stacked q, k, v": stacked,
            "head": self._head(),
            "biases set to 0": len(self.zeros),
            "dropped": f"{len(self.dropped)} {dropped}".rstrip(),
            "parameters": f"{self.config.n_params:,}",
        }
        if self.heads_are_guessed:
            lines["heads"] = f"{self.config.n_heads}, a guess: emb_dim / 64"
        return "\n".join(f"{name + ':':18}{value}" for name, value in lines.items())

    def _head(self):
        if self.config.n_classes:
            bias = ", its bias moved into final_norm.shift" if self.folded else ""
            return f"for {self.config.n_classes} classes{bias}"
        return "tied to tok_emb" if self.config.tied_head else "its own"


def plan_loading(name_or_path: str | Path, *, fused_qkv: bool = True) -> LoadPlan:
    """Decides how a checkpoint becomes a model, before any weight is copied.

    Raises:
        FileNotFoundError, ValueError: as `load_model`.
    """
    return make_plan(Checkpoint.at(files.find_model(name_or_path)), fused_qkv)[0]


def make_plan(
    checkpoint: Checkpoint, fused_qkv: bool = True
) -> tuple[LoadPlan, Tensors]:
    """The plan for a checkpoint, and its tensors."""
    path = checkpoint.path
    tensors, settings = checkpoint.read()
    layout = _find_layout(tensors, path)
    config, guessed = _infer_config(tensors, settings, layout, path)
    wanted = tensor_shapes(dataclasses.replace(config, fused_qkv=layout.fused_qkv))
    if config.tied_head:
        del wanted["out_head.weight"]
    zeros = {}
    weights = [name for name in tensors if not MASK.search(name)]
    if layout is NANOGPT and not any(name.endswith(".bias") for name in weights):
        biases = [name for name in wanted if name.endswith((".bias", ".shift"))]
        zeros = {name: wanted.pop(name) for name in biases}
    expected = {layout.name(n): layout.shape(n, s) for n, s in wanted.items()}
    dropped = [name for name in tensors if _is_dispensable(name, tensors, config)]
    folded = [name for name in tensors if config.n_classes and name == HEAD_BIAS]
    expected |= dict.fromkeys(folded, (config.n_classes,))
    _check_fit(tensors, expected, dropped, checkpoint, layout)
    config = dataclasses.replace(config, fused_qkv=fused_qkv)
    steps = list(regroup(wanted, fused_qkv))
    decisions = (layout, config, steps, zeros, dropped, folded, guessed)
    return LoadPlan(checkpoint, settings, *decisions), tensors


def _is_dispensable(name, tensors, config):
    """Whether a tensor may be dropped: a mask, a tied head, zeros for no qkv bias."""
    if name in ("lm_head.weight", "out_head.weight"):
        return config.tied_head
    if name.endswith(".attn.c_attn.bias"):
        return not config.qkv_bias and not tensors[name].any()
    return bool(MASK.search(name))


def _find_layout(tensors, path):
    """The layout whose names fit best; of two with the same names, shapes decide."""

    def fit(layout):
        one_block = GPTConfig(1, 1, 1, 1, 1, fused_qkv=layout.fused_qkv)
        return sum(layout.name(name) in tensors for name in tensor_shapes(one_block))

    best = max(LAYOUTS, key=fit)
    if not fit(best):
        raise ValueError(
            f"{path} holds tensors, but not those of a GPT-2 ({some(tensors)}); known "
            f"layouts: {', '.join(layout.title for layout in LAYOUTS)}"
        )
    if best is HUGGING_FACE:
        weight = tensors.get("h.0.mlp.c_fc.weight", torch.empty(1, 4))
        is_tall = weight.ndim == 2 and weight.shape[0] > weight.shape[1]
        best = NANOGPT if is_tall else HUGGING_FACE
    return best


def _infer_config(tensors, given, layout, path):
    """The config that tensors and settings agree on, and whether n_heads is a guess."""
    settings = _our_settings(given, path)
    known = _measure(tensors, given, layout, path)
    contradictions = [
        f"{name}: {settings[name]} in the config, {value} in the tensors"
        for name, value in known.items()
        if settings.get(name, value) != value
    ]
    if contradictions:
        raise ValueError(
            f"{path}: the config contradicts the tensors "
            f"({'; '.join(contradictions)}): use the config that belongs to them"
        )
    _check_classes(given, known.get("n_classes", 0), path)
    known = settings | known
    known.setdefault("emb_dim", GPTConfig.emb_dim)  # its absence is reported later
    guessed = "n_heads" not in known
    if guessed and known["emb_dim"] % 64:
        raise ValueError(
            f"{path}: the number of heads is not in the tensors, and emb_dim "
            f"{known['emb_dim']} is no multiple of 64: put a config.json with "
            '"n_head" beside it'
        )
    bias = layout.name("att.W_qkv.bias" if layout.fused_qkv else "att.W_query.bias")
    usual = {
        "n_heads": known["emb_dim"] // 64,
        "qkv_bias": any(name.endswith(bias) for name in tensors),
    }
    try:
        cfg = GPTConfig(**usual | known)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return cfg, guessed and (cfg.emb_dim, cfg.n_layers) not in PUBLISHED


def _check_classes(given, n_classes, path):
    """Refuses a head that does not choose one of several classes."""
    kind = "regression" if n_classes == 1 else "single_label_classification"
    kind = given.get("problem_type") or kind
    if n_classes and kind != "single_label_classification":
        raise ValueError(
            f"{path} is for {quoted(kind)}, but gpt2lib's classifiers choose one of "
            "several classes: use it with transformers"
        )


def _measure(tensors, given, layout, path):
    """The part of the config that follows from names and shapes."""
    names = ("tok_emb.weight", "pos_emb.weight", "final_norm.scale", "out_head.weight")
    found = [tensors.get(layout.name(name), torch.empty(())) for name in names]
    embedding, positions, norm, head = found
    known = {}
    if norm.ndim == 1:
        known["emb_dim"] = len(norm)
    if embedding.ndim == 2:
        known["vocab_size"], known["emb_dim"] = embedding.shape
    if positions.ndim == 2:
        known["context_length"] = positions.shape[0]
    known["n_layers"] = _count_blocks(tensors, layout, path)
    has_head = layout.name("out_head.weight") in tensors
    may_be_absent = given.get("tie_word_embeddings") is not False
    known["tied_head"] = may_be_absent if not has_head else same(head, embedding)
    if head.ndim == embedding.ndim == 2 and 2 * len(head) < len(embedding):
        known["n_classes"] = len(head)  # an output head nearly as long is damaged
    return known


def _count_blocks(tensors, layout, path):
    """The number of blocks; ValueError if one is missing before the last."""
    prefix = layout.name("trf_blocks.")
    block = re.compile(re.escape(prefix) + r"([0-9]{1,9})\.")
    present = {int(found[1]) for name in tensors if (found := block.match(name))}
    number = max(present, default=0) + 1
    if present and number > len(present):
        gap = next(i for i in range(number) if i not in present)
        raise ValueError(
            f"{path} does not fit (layout {layout.title})\n"
            f"missing: {number - len(present)} blocks, {prefix}{gap} the first, "
            f"although there is {prefix}{number - 1}"
        )
    return number


def _our_settings(given, path):
    """The settings beside the weights, in our names."""
    for name, allowed in FIXED_SETTINGS.items():
        if given.get(name, allowed[0]) not in allowed:
            raise ValueError(
                f"{path}: {name} is {quoted(given[name])}, but GPT-2 has "
                f"{allowed[0]!r}, and gpt2lib supports nothing else"
            )
    settings = {}
    for ours, names in SETTINGS.items():
        for theirs in reversed(names):
            value = given.get(theirs)
            if ours in COUNTS and value is not None and not _is_count(value):
                raise ValueError(
                    f"{path}: {theirs} must be a whole number from 1 to 2**31, got "
                    f"{quoted(value)}: correct the config"
                )
            settings |= {} if value is None else {ours: value}
    return settings


def _is_count(value):
    return type(value) is int and 1 <= value <= 2**31


def _check_fit(tensors, expected, dropped, checkpoint, layout):
    """Raises one ValueError that lists every tensor that does not fit."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    missing = [name for name in expected if name not in shapes]
    known = expected.keys() | set(dropped)
    unexpected = [name for name in shapes if name not in known]
    misshaped = [
        f"{name} is {shapes[name]}, must be {shape}"
        for name, shape in expected.items()
        if shapes.get(name, shape) != shape
    ]
    used = {name: tensor for name, tensor in tensors.items() if name in expected}
    misshaped += [
        f"{name} is {str(tensor.dtype).removeprefix('torch.')}, must be floats"
        for name, tensor in used.items()
        if tensor.dtype not in FLOATS
    ]
    if missing or unexpected or misshaped:
        raise ValueError(
            f"{checkpoint.path} does not fit (layout {layout.title})\n"
            f"missing: {listed(missing)}\n"
            f"unexpected: {listed(unexpected)}\n"
            f"misshaped: {listed(misshaped, '; ')}"
        )
    if sum(tensor.nbytes for tensor in used.values()) > checkpoint.n_bytes:
        raise ValueError(
            f"{checkpoint.path} was refused: several of its tensors share their "
            "numbers, so that it asks for more memory than the file has"
        )


# ---------------------------------------------------------------------- OpenAI's models


def load_openai_124m_gpt2(
    device: str | torch.device = "cpu", eval_mode: bool = False
) -> GPTModel:
    """OpenAI's GPT-2 with 124M parameters, from bin/; in train mode unless eval_mode.

    Raises:
        FileNotFoundError: not in bin/; the message says which command fetches it.
    """
    return _load_openai("gpt2_124m_compat_openai.pth", "gpt2", device, eval_mode)


def load_openai_355m_gpt2(
    device: str | torch.device = "cpu", eval_mode: bool = False
) -> GPTModel:
    """As `load_openai_124m_gpt2`, for the model with 355M parameters."""
    return _load_openai("gpt2_355m_compat_openai.pth", "gpt2-medium", device, eval_mode)


def _load_openai(checkpoint, name, device, eval_mode):
    path = files.BIN / checkpoint
    try:
        model = load_model(path if path.exists() else files.BIN / name, device=device)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"neither {checkpoint} nor a complete {name} is in {files.BIN}: "
            f"'python -m gpt2lib download {name}' fetches OpenAI's weights"
        ) from error
    return model.train(not eval_mode)
