"""GPT-2 from scratch: the path of the data, one module a stage.

    text -> tokenizer -> data -> attention -> model -> generate -> text

| module     | one responsibility                                                 |
|------------|--------------------------------------------------------------------|
| config     | the shape of a model, checked; the four published sizes            |
| tokenizer  | text <-> ids: words, byte-level BPE that trains, GPT-2's           |
| data       | ids -> windows of inputs and targets                               |
| attention  | from plain averages to GPT-2's multi-head attention; the KV cache  |
| model      | ids -> logits: LayerNorm, FeedForward, TransformerBlock, GPTModel  |
| generate   | ids -> more ids: sampling, batches, streaming                      |
| fast       | all about processors: the same model, faster; float16 and int8     |
| checks     | what cannot be meant is refused: numbers, positions, sampling      |
| devices    | which device computes: the one asked for, or the best there is     |
| files      | where bin/ and data/ are, files written whole or not at all        |
| weights    | a file <-> a model: layouts, plans, tokenizer files, downloads     |
| training   | a text -> a model: loss, trainer, runs, corpus, pretraining        |
| evaluation | a model -> figures with intervals: perplexity, choices, last words |
| finetuning | a model and examples -> a model for a task: spam, instructions ... |
| course     | the classroom: figures, checkers, the storyteller, pocket          |

Each folder's `__init__` says what lives there.
"""

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec

from gpt2lib.config import (
    GPT2_124M,
    GPT2_355M,
    GPT2_774M,
    GPT2_1558M,
    POCKET,
    GPTConfig,
)
from gpt2lib.devices import perform_non_cpu_backend_check
from gpt2lib.generate import generate, stream
from gpt2lib.model import GPTModel, OpenAICompatibleGPTModel
from gpt2lib.tokenizer import (
    get_gpt2_tokenizer,
    load_tokenizer,
    text_to_token_ids,
    token_ids_to_text,
)
from gpt2lib.weights import (
    download,
    load_model,
    load_openai_124m_gpt2,
    load_openai_355m_gpt2,
    save_model,
)

__version__ = "0.1.0"

__all__ = [
    "GPT2_124M",
    "GPT2_355M",
    "GPT2_774M",
    "GPT2_1558M",
    "POCKET",
    "GPTConfig",
    "GPTModel",
    "OpenAICompatibleGPTModel",
    "download",
    "generate",
    "get_gpt2_tokenizer",
    "load_model",
    "load_openai_124m_gpt2",
    "load_openai_355m_gpt2",
    "load_tokenizer",
    "perform_non_cpu_backend_check",
    "save_model",
    "stream",
    "text_to_token_ids",
    "token_ids_to_text",
]

# Imports of modules by their old names, from before the folders, go on working.
MOVED = {
    "checkpoint": "weights.tensors",
    "classification": "finetuning.classification",
    "corpus": "training.corpus",
    "course.evaluation_data": "course.datasets.evaluation",
    "course.extras": "course.datasets.extras",
    "course.instruction_data": "course.datasets.instructions",
    "course.judge": "course.pocket.judge",
    "course.ngram": "course.pocket.ngram",
    "course.preference_data": "course.datasets.preferences",
    "course.reasoning_data": "course.datasets.reasoning",
    "course.spam_data": "course.datasets.spam",
    "course.thinker": "course.pocket.thinker",
    "course.words": "course.datasets.words",
    "instruction": "finetuning.instruction",
    "lora": "finetuning.lora",
    "pretraining": "training.pretraining",
    "reasoning": "finetuning.reasoning",
    "records": "training.records",
    "runs": "training.runs",
    "sampling": "generate",
    "untrusted": "weights.untrusted",
    "vocabulary": "weights.vocabulary",
}


class _Moved(MetaPathFinder, Loader):
    def find_spec(self, name, path=None, target=None):
        if name.removeprefix(f"{__name__}.") in MOVED:
            return ModuleSpec(name, self)

    def exec_module(self, module):
        old = module.__name__
        new = MOVED[old.removeprefix(f"{__name__}.")]
        sys.modules[old] = import_module(f"{__name__}.{new}")


sys.meta_path.append(_Moved())
