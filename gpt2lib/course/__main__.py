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
    if hasattr(sys.stdout, "reconfigure"):  # escape what it cannot encode
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser(prog="python -m gpt2lib.course")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("grade", help="check the exercises of learners' notebooks")
    verb.add_argument("notebooks", nargs="+", metavar="NOTEBOOK")
    verb.add_argument("--format", choices=FORMATS, default="table")
    verb.add_argument(
        "--timeout",
        type=int,
        default=60,
        help="seconds a cell may take (default: 60)",
    )
    given = parser.parse_args(arguments)
    if given.timeout < 1:
        parser.error(f"--timeout must be at least 1 second, got {given.timeout}")
    try:
        grades = [
            one
            for path in tqdm(given.notebooks, unit="notebook", disable=None)
            for one in _grades(path, given.timeout)
        ]
        print(FORMATS[given.format](grades), flush=True)
    except OSError as error:  # such as a full disk, or a reader that went away
        print(f"the grades could not be printed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return int(any(one.status != "right" for one in grades))


def _grades(path, timeout):
    try:
        return grade(path, timeout)
    except (OSError, ValueError) as error:
        return [Grade(path, "", "unreadable", str(error))]


if __name__ == "__main__":
    sys.exit(main())
