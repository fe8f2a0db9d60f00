"""Evaluation: from a model and a task to figures with their intervals.

In reading order:

    likelihood  how probable a model finds given endings, many at a time
    figures     a figure's 95 % interval, and that of a difference
    tasks       perplexity, LAMBADA, HellaSwag, choices, stories: rows -> figures
    evaluate    the whole: a model and a task -> figures, beside another model's
"""

from gpt2lib.evaluation.evaluate import (
    evaluate_task,
)
from gpt2lib.evaluation.figures import (
    Difference,
    Figure,
    compare,
    wilson,
)
from gpt2lib.evaluation.likelihood import (
    Likelihood,
    Question,
    encode_question,
    log_likelihoods,
    rolling_questions,
)
from gpt2lib.evaluation.tasks import (
    BENCHMARKS,
    Benchmark,
    Choices,
    HellaSwag,
    LastWords,
    Perplexity,
    Stories,
    figures_of,
)

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "Choices",
    "Difference",
    "Figure",
    "HellaSwag",
    "LastWords",
    "Likelihood",
    "Perplexity",
    "Question",
    "Stories",
    "compare",
    "encode_question",
    "evaluate_task",
    "log_likelihoods",
    "figures_of",
    "rolling_questions",
    "wilson",
]
