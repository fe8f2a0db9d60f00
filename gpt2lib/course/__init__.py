"""The classroom: what the chapters need beyond the library, and how pocket is made.

In reading order; the library imports none of it:

    show      figures and source listings for the chapters
    explore   the same with controls: views to play with
    check     self-checking exercises, one file per chapter
    grade     runs the exercises of learners' notebooks
    speed     timing, and the machine's memory bandwidth and matmul rate
    stories   generates consistent stories and checks texts for consistency
    datasets  generates the course's other data
    pocket    trains and measures the models in bin/
"""
