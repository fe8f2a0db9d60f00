"""Self-checking exercises: one function each, called with the learner's answer.

A stub that still raises NotImplementedError is "not attempted yet"; a wrong answer
raises WrongAnswer, which shows the call, its result and the expected value. One file
per chapter, in the order of the chapters; `report` has the shared functions.
"""

from gpt2lib.course.check.attention import (
    attend_last,
    causal_weights,
    fuse,
    induction_score,
    mended_attention,
    multi_head,
    softmax,
    split_heads,
)
from gpt2lib.course.check.evaluation import (
    choose,
    interval,
    mean_nats,
    pass_at_k,
    sliding,
)
from gpt2lib.course.check.gpt_block import (
    block_forward,
    count_parameters,
    kv_cache_bytes,
    layer_norm,
    mended_writer,
    transformer_block,
)
from gpt2lib.course.check.instructions import (
    collate,
    format_alpaca,
    mask_prompt,
    pad_batch,
    response_loss,
    word_f1,
)
from gpt2lib.course.check.preferences import (
    best_policy,
    loss_of_votes,
    preference_loss,
    win_table,
)
from gpt2lib.course.check.pretraining import (
    decayed,
    hours,
    learning_rate,
    mean_loss,
    mended_split,
    sample_top_p,
    training_step,
)
from gpt2lib.course.check.reasoning import (
    answers_of,
    follow,
    majority,
    mask_turns,
    parse_record,
    share_right,
)
from gpt2lib.course.check.reinforcement import (
    bandit_step,
    clipped_loss,
    group_advantages,
    strict_reward,
)
from gpt2lib.course.check.report import WrongAnswer, exercise, expect
from gpt2lib.course.check.spam import (
    fool,
    last_token_logits,
    lora_forward,
    lora_merge,
    mended_verdicts,
    precision_recall,
)
from gpt2lib.course.check.speed import (
    cached,
    int8_linear,
    most_tokens,
    quantize_rows,
    shortest_time,
)
from gpt2lib.course.check.tokenization import (
    bytes_per_token,
    encode_word,
    join_documents,
    mended_encoder,
    most_frequent_pair,
    train_bpe,
    windows,
)
from gpt2lib.course.check.weight_loading import (
    cut_qkv,
    is_mask,
    map_names,
    measure,
    mended_thirds,
    read_header,
)

__all__ = [
    "most_frequent_pair",
    "encode_word",
    "join_documents",
    "windows",
    "bytes_per_token",
    "train_bpe",
    "mended_encoder",
    "softmax",
    "causal_weights",
    "split_heads",
    "attend_last",
    "fuse",
    "induction_score",
    "multi_head",
    "mended_attention",
    "layer_norm",
    "count_parameters",
    "block_forward",
    "kv_cache_bytes",
    "transformer_block",
    "mended_writer",
    "mean_loss",
    "learning_rate",
    "decayed",
    "hours",
    "training_step",
    "sample_top_p",
    "mended_split",
    "is_mask",
    "read_header",
    "cut_qkv",
    "measure",
    "map_names",
    "mended_thirds",
    "last_token_logits",
    "precision_recall",
    "lora_merge",
    "lora_forward",
    "mended_verdicts",
    "fool",
    "format_alpaca",
    "mask_prompt",
    "pad_batch",
    "word_f1",
    "collate",
    "response_loss",
    "parse_record",
    "mask_turns",
    "follow",
    "majority",
    "answers_of",
    "share_right",
    "most_tokens",
    "shortest_time",
    "quantize_rows",
    "int8_linear",
    "cached",
    "interval",
    "choose",
    "sliding",
    "mean_nats",
    "pass_at_k",
    "win_table",
    "best_policy",
    "preference_loss",
    "loss_of_votes",
    "group_advantages",
    "clipped_loss",
    "bandit_step",
    "strict_reward",
    "WrongAnswer",
    "exercise",
    "expect",
]
