"""The classroom: what the chapters need beyond the library, and how pocket is made.

In reading order; the library imports none of it:

    show              figures and source listings for the chapters
    explore           the same with controls: views to play with
    check             self-checking exercises, one file per chapter
    grade             runs the exercises of learners' notebooks
    speed             timing, and the machine's memory bandwidth and matmul rate
    words             fills templates from the word tables in data/words
    stories           generates consistent stories and checks texts for consistency
    extras            short messages, arithmetic and word games
    spam_data         the course's messages, ham and spam
    instruction_data  the course's instructions
    reasoning_data    the course's problems, solved step by step
    evaluation_data   tests of what a model remembers of a story
    ngram             the baseline: an n-gram model
    judge             measures how well a model tells stories
    preference_data   pairs of stories of which one agrees with itself
    pocket            trains the model in bin/pocket
    thinker           trains the model in bin/thinker
"""
