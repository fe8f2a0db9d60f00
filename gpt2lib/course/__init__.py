"""The classroom: all that chapters need besides the library, and what made pocket.

In reading order; nothing in the library imports any of it:

    show              figures and source code, as chapters show them
    check             exercises that check themselves, one file a chapter
    speed             how fast this machine reads, multiplies and runs a function
    words             texts filled from the word tables in data/words
    stories           stories whose words agree, and a reader that notices if not
    extras            short messages, sums and word games
    spam_data         the course's messages, wanted and unwanted
    instruction_data  the course's instructions
    reasoning_data    the course's problems, solved step by step
    ngram             the model to beat: counts of token sequences
    judge             how well a model tells stories, in figures
    pocket            how the model in bin/pocket is made
"""
