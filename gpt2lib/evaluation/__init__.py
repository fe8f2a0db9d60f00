"""Evaluation: from a model and a task to figures with their intervals.

In reading order:

    likelihood  how probable a model finds given endings, many at a time
    figures     a figure's 95 % interval, and that of a difference
    tasks       perplexity, LAMBADA, HellaSwag, choices, stories: rows -> figures
    evaluate    the whole: a model and a task -> figures, beside another model's
    verify      a published model: is it that one, and does it compute the same here?
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
from gpt2lib.evaluation.verify import (
    KNOWN,
    Check,
    Published,
    verify,
)

__all__ = [
    "BENCHMARKS",
    "KNOWN",
    "Benchmark",
    "Check",
    "Choices",
    "Difference",
    "Figure",
    "HellaSwag",
    "LastWords",
    "Likelihood",
    "Perplexity",
    "Published",
    "Question",
    "Stories",
    "compare",
    "encode_question",
    "evaluate_task",
    "log_likelihoods",
    "figures_of",
    "rolling_questions",
    "verify",
    "wilson",
]
