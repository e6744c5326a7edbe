from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from explorer.ppo.preferences import label_file
from explorer.ppo.preferences.comparisons import MAX_CHARACTERS, MAX_LINE_BYTES, Comparison, PreferenceError
from explorer.ppo.preferences.label_file import LabelFile, read_labels

FIRST = Comparison("The cat", " sat.", " ran.", "a")
SECOND = Comparison("The cat", " sat.", "<b>\n\u2028", "tie")
THIRD = Comparison("", "é", "", "skip")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a folder" / "pairs.jsonl"


def test_every_label_is_on_disk_as_soon_as_it_is_made(path):
    labels = LabelFile(path)
    for number, comparison in enumerate((FIRST, SECOND, THIRD), start=1):
        labels.append(comparison)
        assert read_labels(path) == ([FIRST, SECOND, THIRD][:number], [])
    assert LabelFile(path).comparisons == [FIRST, SECOND, THIRD] == labels.comparisons


def test_it_is_flushed_to_the_disk_before_append_returns(path, monkeypatch):
    settled = []
    monkeypatch.setattr(label_file.os, "fsync", lambda number: settled.append(os.fstat(number).st_size))
    LabelFile(path).append(FIRST)
    assert settled == [path.stat().st_size]


def test_every_line_is_an_object_that_any_tool_reads(path):
    LabelFile(path).extend([FIRST, SECOND])
    assert [json.loads(line)["prompt"] for line in path.read_text().splitlines()] == ["The cat", "The cat"]


def test_bad_lines_are_named_by_number_and_reason(tmp_path):
    path = tmp_path / "mine.jsonl"
    good = FIRST.to_line().encode()
    long = json.dumps({"prompt": "p", "chosen": "x" * (MAX_CHARACTERS + 1), "rejected": ""}).encode() + b"\n"
    lines = [
        b"\xef\xbb\xbf" + good,
        b"{oops}\n",
        b"\n",
        good,
        b'{"prompt": "p"}\n',
        b'{"prompt": "p", "chosen": 1, "rejected": ""}\n',
        long,
        b"\xff\xfe\n",
        b"x" * (3 * MAX_LINE_BYTES) + b"\n",
        b"[" * 100_000 + b"\n",
        good.rstrip(),
    ]
    path.write_bytes(b"".join(lines))
    found = read_labels(path)
    assert found.comparisons == [FIRST, FIRST, FIRST]
    reasons = dict(found.bad)
    assert list(reasons) == [2, 5, 6, 7, 8, 9, 10]
    assert "not JSON at character 2" in reasons[2]
    assert "no 'chosen'" in reasons[5]
    assert "'chosen' is a number" in reasons[6]
    assert f"{MAX_CHARACTERS + 1} characters" in reasons[7]
    assert "UTF-8" in reasons[8]
    assert f"{3 * MAX_LINE_BYTES + 1} bytes" in reasons[9]
    assert "not JSON" in reasons[10]
    assert str(found.bad[0]).startswith("line 2: ")


def test_undo_takes_the_newest_back_out_of_the_file_too(path):
    labels = LabelFile(path)
    assert labels.undo() is None
    labels.extend([FIRST, SECOND])
    assert labels.undo() == SECOND
    assert labels.comparisons == read_labels(path).comparisons == [FIRST]
    labels.append(THIRD)
    assert read_labels(path) == ([FIRST, THIRD], [])
    assert [labels.undo(), labels.undo(), labels.undo()] == [THIRD, FIRST, None]
    assert path.read_bytes() == b""


def test_undo_passes_over_what_is_no_label(path):
    LabelFile(path).extend([FIRST, SECOND])
    with path.open("ab") as file:
        file.write(b'{"prompt": "bro')
    labels = LabelFile(path)
    assert labels.undo() == SECOND
    assert read_labels(path) == ([FIRST], [])


def test_undo_refuses_a_file_that_another_program_has_changed(path):
    labels = LabelFile(path)
    labels.append(FIRST)
    LabelFile(path).append(SECOND)
    with pytest.raises(PreferenceError, match="changed by another program"):
        labels.undo()
    assert read_labels(path).comparisons == [FIRST, SECOND]


def test_a_last_line_that_breaks_off_anywhere_costs_itself_alone(tmp_path):
    whole, cut = FIRST.to_line().encode(), SECOND.to_line().encode()
    for length in range(1, len(cut) - 1):
        path = tmp_path / f"{length}.jsonl"
        path.write_bytes(whole + cut[:length])
        labels = LabelFile(path)
        assert labels.comparisons == [FIRST]
        assert [bad.number for bad in labels.bad] == [2] and "breaks off" in labels.bad[0].reason
        labels.append(THIRD)
        assert read_labels(path).comparisons == [FIRST, THIRD]


def test_a_last_line_without_its_end_is_a_label_all_the_same(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(FIRST.to_line().rstrip())
    labels = LabelFile(path)
    labels.append(SECOND)
    assert read_labels(path) == ([FIRST, SECOND], [])


def test_a_process_killed_while_it_appends_loses_no_label_that_append_had_returned(path):
    code = f"""
from explorer.ppo.preferences.label_file import LabelFile
from explorer.ppo.preferences.comparisons import Comparison
labels = LabelFile({str(path)!r})
for number in range(100_000):
    labels.append(Comparison("p", str(number), "x" * 5000, "a"))
    print(number, flush=True)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    )
    assert process.stdout is not None
    last = -1
    while last < 30:
        last = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    said = [last, *(int(line) for line in process.stdout.read().split("\n") if line)]
    process.wait(timeout=60)
    labels = LabelFile(path)
    assert [c.a for c in labels.comparisons] == [str(n) for n in range(len(labels))]
    assert len(labels) > max(said) and len(labels.bad) <= 1
    labels.append(FIRST)
    assert read_labels(path).comparisons[-1] == FIRST


def test_a_full_disk_leaves_the_file_as_it_was(path, monkeypatch):
    labels = LabelFile(path)
    labels.append(FIRST)
    before = path.read_bytes()

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(label_file.os, "fsync", full)
    with pytest.raises(PreferenceError, match="takes no more labels .no space left on device."):
        labels.append(SECOND)
    assert path.read_bytes() == before and labels.comparisons == [FIRST]


def test_a_file_that_cannot_be_read_says_so(tmp_path):
    with pytest.raises(PreferenceError, match="is a folder"):
        read_labels(tmp_path)
    with pytest.raises(PreferenceError, match="no such file"):
        read_labels(tmp_path / "missing.jsonl")
    with pytest.raises(PreferenceError, match="is a folder"):
        LabelFile(tmp_path)


def test_a_file_of_too_many_lines_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(label_file, "MAX_LINES", 3)
    path = tmp_path / "mine.jsonl"
    path.write_text(FIRST.to_line() * 4)
    with pytest.raises(PreferenceError, match="more than 3 lines"):
        read_labels(path)
