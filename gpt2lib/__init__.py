"""GPT-2 from scratch: the path of the data, one module a stage.

    Text -> ids -> windows -> embeddings -> blocks -> logits -> next id -> text

| module         | one responsibility                                                  |
|----------------|---------------------------------------------------------------------|
| config         | the shape of a model, checked; the four published sizes             |
| tokenizer      | text <-> ids: words, byte-level BPE that trains, GPT-2's            |
| data           | ids -> windows of inputs and targets                                |
| attention      | the ladder from plain averaging to GPT-2's multi-head attention     |
| model          | ids -> logits: LayerNorm, FeedForward, TransformerBlock, GPTModel   |
| fast           | all about processors: the same model, computed in faster ways       |
| sampling       | logits -> next id                                                   |
| generate       | ids -> more ids, with a KV cache                                    |
| training       | loss -> gradients -> a better model: the loop, its checkpoints      |
| corpus         | texts on disk -> token shards, once                                 |
| pretraining    | a text -> a trained GPT-2 in a Hugging Face folder                  |
| runs           | a training run on disk: measured, saved, continued after a kill     |
| records        | files of examples: read, bad rows named, split without overlap      |
| classification | spam or ham: a head for classes at the last real token              |
| instruction    | Alpaca's template, a loss on the response alone, exact match        |
| reasoning      | question, thought, answer, and the end                              |
| lora           | a finetuning that fits beside the model, and merges into it         |
| finetuning     | a trained GPT-2 and examples -> a model for a task, its figures     |
| weights        | checkpoint <-> model, in every known layout                         |
| checkpoint     | weight files on disk -> named tensors                               |
| devices        | which device computes                                               |
| vocabulary     | a tokenizer's files on disk -> tokens, ids, merges                  |
| untrusted      | files from outside: recognised, read within bounds, safely quoted   |
| files          | where bin/ and data/ are, whole files, downloads                    |
| course         | the classroom: figures, checkers, the storyteller, pocket           |
"""

from gpt2lib.config import (
    GPT2_124M,
    GPT2_355M,
    GPT2_774M,
    GPT2_1558M,
    POCKET,
    GPTConfig,
)
from gpt2lib.devices import perform_non_cpu_backend_check
from gpt2lib.files import download
from gpt2lib.generate import generate, stream
from gpt2lib.model import GPTModel, OpenAICompatibleGPTModel
from gpt2lib.tokenizer import (
    get_gpt2_tokenizer,
    load_tokenizer,
    text_to_token_ids,
    token_ids_to_text,
)
from gpt2lib.weights import (
    load_model,
    load_openai_124m_gpt2,
    load_openai_355m_gpt2,
    save_model,
)

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
