"""Files of examples: every form is read, every bad row is named, no text twice."""

import csv
import json
import os
import sys
import unicodedata
from collections import Counter

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from gpt2lib.finetuning import (
    LABELS,
    Instruction,
    InstructionTask,
    Message,
    Reasoning,
    balanced,
    parse_instruction,
    parse_message,
    parse_reasoning,
    read_records,
    split,
    split_by_first,
)

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


def thinking(content, question="q"):
    user = {"role": "user", "content": question}
    return [user, {"role": "assistant", "content": content, "info": None}]


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


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_csv_has_a_header_quotes_and_texts_of_several_lines(tmp_path, end):
    path = tmp_path / "messages.csv"
    texts = ['See you,\n"at 7"?', "Win £5"]
    rows = [["label", "", " text"], ["ham", "0", texts[0]], ["1", "1", texts[1]]]
    with open(path, "w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, lineterminator=end).writerows(rows)
    read, bad = read_records(path, parse_message)
    assert read == [Message(text, i) for i, text in enumerate(texts)]
    assert bad == 0


BAD_CSV = {
    "label,text\nham,one\nspam,two, three\n": "line 3: not as many fields",
    "label,text\nham,one\nspam\n": "line 3: not as many fields",
    "label;text\nham;one\n": "line 2: no field 'label' among label;text",
    'label,text\nham,one\nspam,"two" or three\n': "after line 2 is not CSV",
    'label,text\nham,"one\nspam,two\n': "is not CSV in UTF-8",
    b"label,text\nham,\xa35\n": "is not CSV in UTF-8 .*0xa3",
    b"\xff\xfel\0a\0": "is UTF-16",
    "label,text\n": "no usable row",
    "": "no usable row",
}


@pytest.mark.parametrize(("text", "reason"), BAD_CSV.items())
def test_a_bad_csv_is_named_by_place_and_reason(tmp_path, text, reason):
    path = tmp_path / "messages.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=f"messages.csv.*{reason}"):
        read_records(path, parse_message)


@pytest.mark.parametrize("label", ["spam", 1, "1"])
@pytest.mark.parametrize("field", ["sms", "text"])
def test_records_of_messages_have_several_forms(label, field):
    record = {field: " Win! ", "label": label}
    assert parse_message(record) == Message("Win!", 1)


def test_a_missing_field_is_told_beside_those_there(tmp_path):
    path = tmp_path / "a.jsonl"
    for record, there in (({"label": 1, "body": "Win!"}, "label, body"), ({}, "none")):
        path.write_text(json.dumps(record) + "\n")
        with pytest.raises(ValueError, match=f"line 1: no field '.*' among {there}"):
            read_records(path, parse_message)


@pytest.mark.parametrize("label", [2, "eggs", None, "", -1])
def test_an_unknown_label_is_refused(label):
    with pytest.raises(ValueError, match="must be ham or 0, spam or 1"):
        parse_message({"text": "Win!", "label": label})


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
        ('{"input": "x", "output": "y"}', "no field 'instruction' among input, output"),
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
    with pytest.raises(ValueError, match=f"line {line}, record 3: no field 'output'"):
        read_records(path, parse_instruction)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"messages": []}, "no message with the role 'user'"),
        ({"messages": 3}, "not of the expected form"),
        ({"messages": [None]}, "not of the expected form"),
        ({"conversation": []}, "no field 'messages'"),
        ({"messages": [{"role": "user", "content": "q"}]}, "no message with .*'assist"),
        ({"messages": thinking("no tags")}, "thought is empty"),
        ({"messages": thinking("<think>a <answer>1</answer>")}, "answer is empty"),
        ({"messages": thinking("<think>a</think> 1")}, "answer is empty"),
    ],
)
def test_a_bad_thought_is_named(tmp_path, content, reason):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(content) + "\n")
    with pytest.raises(ValueError, match=f"line 1: ({reason})"):
        read_records(path, parse_reasoning)


@pytest.mark.parametrize(
    "messages",
    [
        thinking("<think>t</think><answer>a</answer>"),
        thinking("<think>t</think>\nSo: <answer>\na </answer>."),
        [{"role": "system", "content": "Be brief."}]
        + thinking("<think>t</think><answer>a</answer>"),
        thinking("<think>t</think><answer>a</answer>") + thinking("no tags"),
    ],
)
def test_question_thought_and_answer_are_found_by_role(messages):
    assert parse_reasoning({"messages": messages}) == Reasoning("q", "t", "a")


def test_an_answer_within_a_thought_or_a_question_is_none():
    inside = "Say <answer>9</answer>"
    said = f"<think>{inside}?</think><answer>2 <answer>s</answer></answer>"
    row = parse_reasoning({"messages": thinking(said, inside)})
    assert row == Reasoning(inside, f"{inside}?", "2 <answer>s</answer>")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (rb'{"instruction": "x", "output": "a\ud800"}', "an unpaired surrogate"),
        (rb'{"instruction": "x\u0000", "output": "a"}', "a NUL character"),
        (b"[" * 100_000, "not JSON"),
        (b'{"instruction": "\xff", "output": "a"}', "not UTF-8"),
        (b"1" * 5000, "not JSON"),
        (b"NaN", "not of the expected form"),
    ],
    ids=str,
)
def test_a_row_that_cannot_be_used_is_left_out_alone(tmp_path, row, reason):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"instruction": "x", "output": "y"}\n' + row + b"\n")
    with pytest.raises(ValueError, match=f"1 unusable rows.*line 2: {reason}"):
        read_records(path, parse_instruction)
    assert read_records(path, parse_instruction, True)[1] == 1


@pytest.mark.parametrize("name", ["a.JSONL", "a.ndjson", "a.jsonl"])
def test_json_lines_have_several_endings(tmp_path, name):
    (tmp_path / name).write_text('\ufeff{"instruction": "x", "output": "y"}\r\n')
    rows, _ = read_records(tmp_path / name, parse_instruction)
    assert rows == [Instruction("x", "", "y")]


def test_json_lines_called_json_are_told_their_name(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1}\n{"a": 2}\n')
    with pytest.raises(ValueError, match=r"Extra data.*name the file \.jsonl"):
        read_records(tmp_path / "a.json", parse_instruction)


def test_json_in_utf_16_is_told_its_encoding(tmp_path):
    (tmp_path / "a.json").write_bytes('[{"instruction": "x"}]'.encode("utf-16"))
    with pytest.raises(ValueError, match="a.json is UTF-16 or UTF-32, must be UTF-8"):
        read_records(tmp_path / "a.json", parse_instruction)


@pytest.mark.parametrize("text", ["[" * 100_000, "[NaN", "\0", "{}", "3", '"a"', ""])
def test_json_that_is_no_list_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match="a.json"):
        read_records(tmp_path / "a.json", parse_instruction)


def test_utf_16_is_not_read_as_letters_and_nuls(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes("ham\tSee you\n".encode("utf-16-le"))
    with pytest.raises(ValueError, match="a.tsv.*line 1: "):
        read_records(path, parse_message)
    path.write_bytes(b"ham\tSee\0you\n")
    with pytest.raises(ValueError, match="line 1: a NUL character"):
        read_records(path, parse_message)


def test_line_ends_of_old_macs_are_said(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b"ham\tSee you\rspam\tWin\r")
    with pytest.raises(ValueError, match="line 1: a carriage return"):
        read_records(tmp_path / "a.tsv", parse_message)


def test_the_uci_folder_holds_one_data_file(tmp_path):
    (tmp_path / "SMSSpamCollection").write_text("ham\tSee you\n")
    (tmp_path / "readme").write_text("about it\n")
    assert read_records(tmp_path, parse_message)[0] == [Message("See you", 0)]


def test_hidden_copies_are_no_data_files(tmp_path):
    for name in ("a.tsv", ".ipynb_checkpoints/a.tsv", "__MACOSX/a.tsv", "._a.tsv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("ham\tSee you\n")
    assert len(read_records(tmp_path, parse_message)[0]) == 1


@pytest.mark.parametrize("name", ["a.xlsx", "a.ods", "a.gz", "a.zst", "a.pdf"])
def test_an_unknown_ending_is_refused(tmp_path, name):
    (tmp_path / name).write_text("ham,See you\n")
    with pytest.raises(ValueError, match=r"unknown suffix.* \.tsv"):
        read_records(tmp_path / name, parse_message)


def test_binary_columns_are_said(tmp_path):
    table = pyarrow.table({"sms": [b"See you"], "label": [0]})
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="row 1: sms is binary, must be text"):
        read_records(tmp_path, parse_message)


@pytest.mark.parametrize("kind", ["parquet", "jsonl.zst"])
def test_a_compressed_file_cannot_fill_the_memory(tmp_path, monkeypatch, kind):
    """A small file of one text, many times over."""
    monkeypatch.setattr("gpt2lib.training.records.INFLATED", (1000, 200))
    path, text = tmp_path / f"a.{kind}", "x" * 1000
    if kind == "parquet":
        table = pyarrow.table({"sms": [text] * 5000, "label": [0] * 5000})
        parquet.write_table(table, path, compression="zstd")
    else:
        row = json.dumps({"sms": text, "label": 0}).encode() + b"\n"
        with pyarrow.output_stream(path, compression="zstd") as stream:
            stream.write(row * 5000)
    with pytest.raises(ValueError, match=f"a.{kind} expands to over 200 times"):
        read_records(path, parse_message)


def test_a_line_without_an_end_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("gpt2lib.training.records.LONGEST", 100)
    (tmp_path / "a.tsv").write_text("ham\tx\nham\t" + "x" * 100)
    with pytest.raises(ValueError, match="a.tsv, line 2 is longer than 100 bytes"):
        read_records(tmp_path, parse_message)


@pytest.mark.parametrize("kind", ["parquet", "jsonl.zst"])
def test_a_damaged_compressed_file_is_named(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    with pyarrow.output_stream(path, compression="zstd") as stream:
        for i in range(5000):
            stream.write(json.dumps({"sms": f"{i * i}", "label": 0}).encode() + b"\n")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=f"a.{kind} is "):
        read_records(path, parse_message)


@pytest.mark.parametrize("name", ["", " "])
def test_data_without_a_name_is_not_the_current_folder(name):
    with pytest.raises(ValueError, match="path of the data is empty"):
        read_records(name, parse_message)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="a pipe or a device"):
        read_records(tmp_path / "pipe", parse_message)


@pytest.mark.parametrize("start", [b"\xff\xfeh\0", b"\x1f\x8b\x08"])
def test_a_file_of_another_kind_is_named(tmp_path, start):
    (tmp_path / "a.tsv").write_bytes(start + b"am\tSee you\n")
    with pytest.raises(ValueError, match="a.tsv is (UTF-16|a compressed file)"):
        read_records(tmp_path / "a.tsv", parse_message, skip_bad_rows=True)


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file"):
        read_records(tmp_path / "no.tsv", parse_message)
    with pytest.raises(FileNotFoundError, match="holds none"):
        read_records(tmp_path, parse_message)
    for name, content in {"a.json": "{", "b.json": "{}", "c.parquet": "no"}.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(ValueError, match=name):
            read_records(tmp_path / name, parse_message)
    with pytest.raises(FileNotFoundError, match="a.json, b.json, c.parquet"):
        read_records(tmp_path, parse_message)
    (tmp_path / "empty.tsv").touch()
    with pytest.raises(ValueError, match="no usable row"):
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


def test_one_text_in_two_forms_of_unicode_stands_on_one_side():
    texts = [form for i in range(40) for form in (f"caf\u00e9 {i}", f"cafe\u0301 {i}")]
    parts = split(texts, str, (0.5, 0.5))
    first, second = ({unicodedata.normalize("NFC", t) for t in part} for part in parts)
    assert not first & second


def test_rows_with_one_passage_are_split_by_their_instructions():
    task = InstructionTask(None, 0)
    rows = [Instruction(f"Question {i}?", "One passage.", "x") for i in range(200)]
    parts = split_by_first(rows, task.keys(), task.shares)
    assert [len(part) for part in parts] == [170, 10, 20]
    many = [
        Instruction(r.instruction, f"Passage {i // 4}.", "x")
        for i, r in enumerate(rows)
    ]
    seen = [
        {r.input for r in part}
        for part in split_by_first(many, task.keys(), task.shares)
    ]
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


@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl.zst"])
def test_without_pyarrow_one_is_told_to_install_it(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / name).write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=f"{name} needs pyarrow.*pip install"):
        read_records(tmp_path / name, dict)


def test_a_csv_may_hold_a_long_text(tmp_path):
    path, usual = tmp_path / "messages.csv", csv.field_size_limit()
    text = "word " * 40_000
    path.write_text(f"label,text\nham,{text}\nspam,Win!\n")
    read, bad = read_records(path, parse_message)
    assert [len(message.text) for message in read] == [len(text) - 1, 4] and bad == 0
    assert csv.field_size_limit() == usual


def test_what_comes_after_the_limit_is_not_read(tmp_path):
    path = tmp_path / "messages.tsv"
    path.write_text("ham\tOne\nspam\tTwo\nno label\n")
    read, bad = read_records(path, parse_message, limit=2)
    assert len(read) == 2 and bad == 0
