"""Finetuning: from a trained model and examples to a model for a task.

In reading order:

    responses       many prompts, many responses: drawn and scored side by side
    tasks           the base class of all tasks
    classification  spam or ham: a classification head at the last real token
    instruction     Alpaca's template, loss on the response only, exact match
    reasoning       a question, a thought that leads to the answer, the answer
    preference      of two texts one is liked better: direct preference optimization
    reinforcement   trial and reward: groups of answers, the better ones reinforced
    adaptation      reading the texts of a task before learning its labels
    lora            low-rank adaptation: few trained parameters, merged in the end
    finetune        the whole run: a model and a file of examples -> a model, figures
"""

from gpt2lib.finetuning.adaptation import (
    adapt_to_texts,
    text_windows,
    texts_as_ids,
)
from gpt2lib.finetuning.classification import (
    COURSE_LENGTH,
    LABELS,
    Message,
    NaiveBayes,
    SpamTask,
    best_naive_bayes,
    classify,
    confusion_matrix,
    parse_message,
    replace_head,
    scores,
    train_only,
)
from gpt2lib.finetuning.finetune import (
    TASKS,
    TRAINED,
    choose_trained,
    finetune,
    finetuning_rate,
    keep,
    read_splits,
    restore,
    train_best,
    trained,
)
from gpt2lib.finetuning.instruction import (
    Instruction,
    InstructionTask,
    ResponseTask,
    alpaca_prompt,
    encode_pair,
    exact_match,
    mean,
    parse_instruction,
    seed_prompt,
    token_f1,
)
from gpt2lib.finetuning.lora import (
    LoRALinear,
    add_lora,
    has_lora,
    load_lora,
    merge_lora,
    save_lora,
)
from gpt2lib.finetuning.preference import (
    Preference,
    PreferenceBatches,
    PreferenceLoss,
    PreferenceTask,
    divergence,
    dpo_loss,
    encode_preference,
    log_probs_of,
    margins,
    pair_log_probs,
    parse_preference,
    text_log_probs,
)
from gpt2lib.finetuning.reasoning import (
    Reasoning,
    ReasoningTask,
    parse_reasoning,
    reasoning_prompt,
    reasoning_response,
    split_response,
)
from gpt2lib.finetuning.reinforcement import (
    PolicyLoss,
    ReinforcementTask,
    Rollouts,
    Verifiable,
    advantages,
    clipped_objective,
    kl_estimate,
    parse_verifiable,
    right_answer,
)
from gpt2lib.finetuning.responses import (
    generate_ragged,
    respond,
)
from gpt2lib.finetuning.tasks import (
    Task,
    batches_of,
)
from gpt2lib.training.records import (
    balanced,
    find_records,
    read_records,
    split,
    split_by_first,
)

__all__ = [
    "COURSE_LENGTH",
    "Instruction",
    "InstructionTask",
    "LABELS",
    "LoRALinear",
    "Message",
    "NaiveBayes",
    "Preference",
    "PreferenceBatches",
    "PreferenceLoss",
    "PreferenceTask",
    "PolicyLoss",
    "Verifiable",
    "Reasoning",
    "ReasoningTask",
    "ReinforcementTask",
    "ResponseTask",
    "Rollouts",
    "SpamTask",
    "TASKS",
    "TRAINED",
    "Task",
    "adapt_to_texts",
    "add_lora",
    "advantages",
    "alpaca_prompt",
    "balanced",
    "batches_of",
    "best_naive_bayes",
    "choose_trained",
    "classify",
    "clipped_objective",
    "confusion_matrix",
    "divergence",
    "dpo_loss",
    "encode_pair",
    "encode_preference",
    "exact_match",
    "find_records",
    "finetune",
    "finetuning_rate",
    "generate_ragged",
    "has_lora",
    "keep",
    "kl_estimate",
    "load_lora",
    "log_probs_of",
    "margins",
    "mean",
    "merge_lora",
    "pair_log_probs",
    "parse_instruction",
    "parse_message",
    "parse_preference",
    "parse_verifiable",
    "parse_reasoning",
    "read_records",
    "read_splits",
    "reasoning_prompt",
    "reasoning_response",
    "replace_head",
    "respond",
    "restore",
    "right_answer",
    "save_lora",
    "scores",
    "seed_prompt",
    "split",
    "split_by_first",
    "split_response",
    "text_log_probs",
    "text_windows",
    "texts_as_ids",
    "token_f1",
    "train_best",
    "train_only",
    "trained",
]
