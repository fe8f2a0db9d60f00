"""Pretraining: from text files to a trained model.

In reading order:

    loss         cross-entropy, perplexity, bits per byte, and what training costs
    processes    one training run in several processes, started by torchrun
    state        the training state on disk, written beside the next steps
    sharding     a model larger than one GPU, divided over the processes
    trainer      the training loop: gradients, AdamW, learning rate, resuming
    records      files of examples: reading, reporting bad rows, splitting
    texts        text files, read in chunks
    shards       files of token ids, read as one long sequence
    corpus       texts -> token shards, once, on all cores
    runs         a run's folder: measurements, training state, resuming after a kill
    tensorboard  a run's measurements, for TensorBoard
    pretraining  the whole run: texts -> a GPT-2 in a Hugging Face folder
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
from gpt2lib.training.tensorboard import (
    feed_tensorboard,
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
    "feed_tensorboard",
    "learning_rate_at",
    "perplexity",
    "pretrain",
    "process_count",
    "total_loss",
    "training_flops",
    "training_memory",
    "write_shard",
]
