"""A text becomes a model.

In reading order:

    loss         how good a model is, in nats per token
    processes    one training in many processes, as torchrun starts them
    trainer      loss -> gradients -> a better model: the loop, its checkpoints
    texts        texts on disk, read in chunks
    shards       token ids on disk, read as one long sequence
    corpus       texts -> token shards, once, by all cores
    runs         a run on disk: measured, saved, continued after a kill
    pretraining  all of it: a text -> a trained GPT-2 in a Hugging Face folder
"""

from gpt2lib.training.loss import (
    LossOf,
    bits_per_byte,
    count_tokens,
    evaluate,
    perplexity,
    total_loss,
    training_flops,
    training_memory,
)
from gpt2lib.training.pretraining import (
    default_learning_rate,
    pretrain,
)
from gpt2lib.training.processes import (
    Processes,
    connected,
    process_count,
)
from gpt2lib.training.runs import (
    Metrics,
)
from gpt2lib.training.shards import (
    TokenShards,
    write_shard,
)
from gpt2lib.training.trainer import (
    Progress,
    Trainer,
    TrainingSettings,
    decay_groups,
    learning_rate_at,
)

__all__ = [
    "LossOf",
    "Metrics",
    "Processes",
    "Progress",
    "TokenShards",
    "Trainer",
    "TrainingSettings",
    "bits_per_byte",
    "connected",
    "count_tokens",
    "decay_groups",
    "default_learning_rate",
    "evaluate",
    "learning_rate_at",
    "perplexity",
    "pretrain",
    "process_count",
    "total_loss",
    "training_flops",
    "training_memory",
    "write_shard",
]
