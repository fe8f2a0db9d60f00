"""For teachers: `python -m gpt2lib.course grade NOTEBOOK ...`"""

import argparse
import json
import sys
from dataclasses import asdict

from tqdm import tqdm

from gpt2lib.course.grade import Grade, grade, junit, table

FORMATS = {
    "table": table,
    "json": lambda grades: json.dumps([asdict(given) for given in grades]),
    "junit": junit,
}


def main(arguments=None):
    """Grades notebooks, all of them; 0 if every answer is right, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m gpt2lib.course")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("grade", help="check the exercises of learners' notebooks")
    verb.add_argument("notebooks", nargs="+", metavar="NOTEBOOK")
    verb.add_argument("--format", choices=FORMATS, default="table")
    verb.add_argument(
        "--timeout",
        type=float,
        default=60,
        help="seconds a cell may take (default: 60)",
    )
    given = parser.parse_args(arguments)
    grades = []
    for path in tqdm(given.notebooks, unit="notebook", disable=None):
        try:
            grades += grade(path, given.timeout)
        except (OSError, ValueError) as error:
            grades.append(Grade(path, "", "unreadable", str(error)))
    print(FORMATS[given.format](grades))
    return int(any(given.status != "right" for given in grades))


if __name__ == "__main__":
    sys.exit(main())
