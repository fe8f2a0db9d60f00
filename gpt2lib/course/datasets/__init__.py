"""The course's own data, generated; each module writes its files when it is run.

In reading order:

    words         fills templates from the word tables in data/words
    extras        short messages, arithmetic and word games
    spam          messages, ham and spam
    instructions  instructions and answers
    reasoning     problems solved step by step, and problems to practise on
    evaluation    tests of what a model remembers of a story
    preferences   pairs of stories of which one agrees with itself
"""
