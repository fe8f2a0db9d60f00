"""How the models in bin/ are made and measured.

In reading order:

    ngram     the baseline: an n-gram model
    judge     measures how well a model tells stories and answers questions
    training  trains bin/pocket: python -m gpt2lib.course.pocket
    thinker   trains bin/thinker: python -m gpt2lib.course.pocket.thinker
"""
