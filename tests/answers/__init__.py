"""A bank of answers to the exercises, one module a chapter.

WRONG has (checker, answer, words of the message); RIGHT has (checker, answer), written
in other styles than the solutions.
"""

from answers import (
    attention,
    evaluation,
    gpt_block,
    instructions,
    preferences,
    pretraining,
    reasoning,
    reinforcement,
    spam,
    speed,
    tokenization,
    weight_loading,
)

CHAPTERS = (
    tokenization,
    attention,
    gpt_block,
    pretraining,
    weight_loading,
    spam,
    instructions,
    reasoning,
    speed,
    evaluation,
    preferences,
    reinforcement,
)
WRONG = [entry for chapter in CHAPTERS for entry in chapter.WRONG]
RIGHT = [entry for chapter in CHAPTERS for entry in chapter.RIGHT]
