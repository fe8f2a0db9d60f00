"""A file to a model, and a model to a file.

In reading order:

    untrusted   files from outside: recognised, read within limits, quoted safely
    layouts     how each family of checkpoints names and lays out a GPT-2's tensors
    tensors     a file -> named tensors, without running code from it
    loading     names and shapes -> a plan -> a model
    vocabulary  a tokenizer's files -> tokens, ids, merges
    saving      a model -> a folder that transformers opens too
    hub         downloads from the Hugging Face hub
"""

from gpt2lib.weights.hub import (
    SOURCES,
    download,
)
from gpt2lib.weights.layouts import (
    HUGGING_FACE,
    LAYOUTS,
    NANOGPT,
    OPENAI_NAMES,
    Layout,
)
from gpt2lib.weights.loading import (
    PRECISIONS,
    LoadPlan,
    load_model,
    load_openai_124m_gpt2,
    load_openai_355m_gpt2,
    plan_loading,
)
from gpt2lib.weights.saving import (
    save_model,
)
from gpt2lib.weights.tensors import (
    Checkpoint,
)

__all__ = [
    "Checkpoint",
    "HUGGING_FACE",
    "LAYOUTS",
    "Layout",
    "LoadPlan",
    "NANOGPT",
    "OPENAI_NAMES",
    "PRECISIONS",
    "SOURCES",
    "download",
    "load_model",
    "load_openai_124m_gpt2",
    "load_openai_355m_gpt2",
    "plan_loading",
    "save_model",
]
