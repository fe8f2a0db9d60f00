"""Files of examples: every form is read, every bad row is named, no text twice."""

import json
from collections import Counter

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from gpt2lib.classification import LABELS, Message, parse_message
from gpt2lib.instruction import Instruction, parse_instruction
from gpt2lib.reasoning import Reasoning, parse_reasoning
from gpt2lib.records import balanced, read_records, split

MESSAGES = [Message("See you at 7?", 0), Message('Win "now"\u2026 £5', 1)]
RECORD = {
    "messages": [
        {"role": "user", "content": "1 + 1?", "info": {"source": "x"}},
        {
            "role": "assistant",
            "content": "<think>1 + 1 = 2</think><answer>2</answer>",
            "info": {"think_content": "1 + 1 = 2", "answer_content": "2"},
        },
    ]
}


def test_the_uci_file_has_no_header_and_no_quoting(tmp_path):
    path = tmp_path / "SMSSpamCollection"
    lines = [f"{LABELS[label]}\t{text}" for text, label in MESSAGES]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode() + b"\r\n")
    assert read_records(path, parse_message) == (MESSAGES, 0)


def test_the_hubs_messages_are_parquet_and_end_in_a_line_break(tmp_path):
    path = tmp_path / "plain_text" / "train-00000-of-00001.parquet"
    path.parent.mkdir()
    columns = {
        "sms": [m.text + "\n" for m in MESSAGES],
        "label": [m.label for m in MESSAGES],
    }
    parquet.write_table(pyarrow.table(columns), path)
    assert read_records(tmp_path, parse_message) == (MESSAGES, 0)


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_alpaca_comes_as_a_list_or_as_lines(tmp_path, suffix):
    rows = [
        {"instruction": "Say hi.", "input": "", "output": "Hi."},
        {"instruction": "Add.", "input": "1\n2", "output": "3"},
        {"instruction": "Say so.", "output": "So."},
        {"instruction": "Say no.", "input": None, "output": "No."},
    ]
    lines = "\n".join(map(json.dumps, rows))
    path = tmp_path / f"alpaca{suffix}"
    path.write_text(lines if suffix == ".jsonl" else json.dumps(rows, indent=2))
    read, bad = read_records(path, parse_instruction)
    assert [row[:3] for row in read] == [
        ("Say hi.", "", "Hi."),
        ("Add.", "1\n2", "3"),
        ("Say so.", "", "So."),
        ("Say no.", "", "No."),
    ]
    assert bad == 0


@pytest.mark.parametrize("info", ["given", "null fields", "null", "absent"])
def test_reasoning_is_read_with_and_without_info(tmp_path, info):
    record = json.loads(json.dumps(RECORD))
    assistant = record["messages"][1]
    if info == "null fields":
        assistant["info"] = {"think_content": None, "answer_content": None}
    elif info == "null":
        assistant["info"] = None
    elif info == "absent":
        del assistant["info"]
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps(record) + "\n")
    assert read_records(path, parse_reasoning) == (
        [Reasoning("1 + 1?", "1 + 1 = 2", "2")],
        0,
    )


def test_compressed_lines_are_read_as_a_stream(tmp_path):
    text = "".join(json.dumps(RECORD) + "\n" for _ in range(3000)).encode()
    path = tmp_path / "am.jsonl.zst"
    path.write_bytes(pyarrow.compress(text, "zstd", asbytes=True))
    rows, bad = read_records(path, parse_reasoning)
    assert (len(rows), bad) == (3000, 0)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="cut off or damaged"):
        read_records(path, parse_reasoning)


BAD = {
    "ham and no tab": "no tab",
    "eggs\tfor breakfast": "'eggs'",
    "ham\t  ": "empty",
    b"ham\t\xff\xfe": "UTF-8",
}


@pytest.mark.parametrize(("line", "reason"), BAD.items())
def test_a_bad_row_is_named_by_line_and_reason_or_counted(tmp_path, line, reason):
    line = line if isinstance(line, bytes) else line.encode()
    path = tmp_path / "sms.tsv"
    path.write_bytes(b"ham\tone\n\n" + line + b"\nspam\ttwo\n")
    with pytest.raises(ValueError, match=f"line 3: .*{reason}.*--skip-bad-rows"):
        read_records(path, parse_message)
    assert read_records(path, parse_message, skip_bad_rows=True) == (
        [Message("one", 0), Message("two", 1)],
        1,
    )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('{"instruction": "x"', "not JSON"),
        ('{"instruction": "x", "output": ""}', "output is empty"),
        ('{"input": "x", "output": "y"}', "instruction is empty"),
        ('{"instruction": 5, "output": "y"}', "instruction is 5"),
        ("[1, 2]", "not of the expected form"),
    ],
)
def test_a_bad_instruction_is_named(tmp_path, row, reason):
    path = tmp_path / "a.jsonl"
    path.write_text('{"instruction": "x", "output": "y"}\n' + row + "\n")
    with pytest.raises(ValueError, match=f"line 2: {reason}"):
        read_records(path, parse_instruction)


def test_a_bad_row_of_a_list_is_named_by_its_line(tmp_path):
    path = tmp_path / "a.json"
    good = {"instruction": "a [b]\\n", "output": "y"}
    path.write_text(json.dumps([good, good, {"instruction": "x"}], indent=1))
    line = path.read_text().split("\n").index('  "instruction": "x"')
    with pytest.raises(ValueError, match=f"line {line}: output is empty"):
        read_records(path, parse_instruction)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"messages": []}, "not of the expected form|not enough"),
        ({"conversation": []}, "no field 'messages'"),
        ({"messages": [{"content": "q"}, {"content": "no tags"}]}, "thought is empty"),
    ],
)
def test_a_bad_thought_is_named(tmp_path, content, reason):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(content) + "\n")
    with pytest.raises(ValueError, match=f"line 1: ({reason})"):
        read_records(path, parse_reasoning)


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file"):
        read_records(tmp_path / "no.tsv", parse_message)
    with pytest.raises(FileNotFoundError, match="it holds none"):
        read_records(tmp_path, parse_message)
    for name, content in {"a.json": "{", "b.json": "{}", "c.parquet": "no"}.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(ValueError, match=name):
            read_records(tmp_path / name, parse_message)
    with pytest.raises(FileNotFoundError, match="a.json, b.json, c.parquet"):
        read_records(tmp_path, parse_message)
    (tmp_path / "empty.tsv").touch()
    with pytest.raises(ValueError, match="no row that can be used"):
        read_records(tmp_path / "empty.tsv", parse_message)


texts = st.lists(st.text("ab A", min_size=1, max_size=6), min_size=30, max_size=80)


@given(texts, st.integers(0, 5))
def test_no_text_stands_on_two_sides_of_a_split(texts, seed):
    try:
        parts = split(texts, str, (0.5, 0.25, 0.25), seed)
    except ValueError:
        return  # all alike
    assert Counter(sum(parts, [])) == Counter(texts)
    seen = [{" ".join(text.lower().split()) for text in part} for part in parts]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]


def test_a_split_has_its_shares_and_follows_the_seed():
    texts = [f"text {i}" for i in range(1000)]
    parts = split(texts, str, (0.7, 0.1, 0.2), seed=1)
    assert [len(part) for part in parts] == [700, 100, 200]
    assert parts == split(texts, str, (0.7, 0.1, 0.2), seed=1)
    assert parts == split(texts[::-1], str, (0.7, 0.1, 0.2), seed=1)
    assert parts != split(texts, str, (0.7, 0.1, 0.2), seed=2)
    with pytest.raises(ValueError, match="too few"):
        split(["a", "a "], str, (0.5, 0.5))


def test_balanced_keeps_as_many_of_each_label():
    rows = [Message(f"ham {i}", 0) for i in range(50)]
    rows += [Message(f"spam {i}", 1) for i in range(7)]
    kept = balanced(rows, lambda row: row.label, seed=1)
    assert Counter(row.label for row in kept) == {0: 7, 1: 7}
    assert len(set(kept)) == 14 and set(kept) <= set(rows)
    assert kept != balanced(rows, lambda row: row.label, seed=2)


def test_a_kind_is_read_where_there_is_one():
    row = {"instruction": "a", "input": "", "output": "b", "kind": "copy"}
    assert parse_instruction(row) == Instruction("a", "", "b", "copy")
