"""Notes on a run: what is added is there, whoever adds it and however it ends, and nothing that is read is trusted."""

from __future__ import annotations

import datetime
import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from explorer.bundled import asset_path
from explorer.recording import labels
from explorer.recording.folder import RecordingError
from explorer.recording.labels import read_labels
from explorer.recording.shelf import Entry, Shelf
from explorer.recording.storage import Recording

LINE = '{"update": 12, "response": 3, "token": 7, "label": "clipped up", "time": "2026-11-23T12:15:02+00:00"}\n'


@pytest.fixture
def run(tmp_path: Path) -> Recording:
    """A copy of the bundled run, which has no labels."""
    return Recording.load(shutil.copytree(asset_path("recording"), tmp_path / "run"))


def path_of(run: Recording) -> Path:
    assert run.folder is not None
    return run.folder / "labels.jsonl"


def test_what_is_added_is_there_in_order(run: Recording) -> None:
    assert run.labels == () and not path_of(run).exists()
    first = run.add_label(12, "clipped up", "its ratio\nwas 1.3 ·词", response=3, token=7)
    second = run.add_label(2, "good")
    assert Recording.load(path_of(run).parent).labels == run.labels == (first, second)
    lines = [json.loads(line) for line in path_of(run).read_text(encoding="utf-8").splitlines()]
    assert lines[0] == {
        **{"update": 12, "response": 3, "token": 7, "label": "clipped up", "text": "its ratio\nwas 1.3 ·词"},
        "time": first.time,
    }
    assert lines[1].keys() == {"update", "label", "text", "time"}
    assert datetime.datetime.fromisoformat(first.time).utcoffset() == datetime.timedelta()


def test_labels_are_copied_with_the_run(run: Recording, tmp_path: Path) -> None:
    run.add_label(12, "clipped up", response=3)
    run.save(tmp_path / "copy")
    assert Recording.load(tmp_path / "copy").labels == run.labels
    Recording.in_memory([run[0]], info={}).save(tmp_path / "other")
    assert not (tmp_path / "other" / "labels.jsonl").exists()


def test_a_run_of_the_shelf_is_labelled_by_its_id(shelf: Shelf, record: Any, tmp_path: Path) -> None:
    entry: Entry = record("one", 2)
    added = shelf.add_label(entry.id, 2, "odd", token=1, response=0)
    assert Recording.load(entry.folder).labels == (added,)
    assert Recording.load(shelf.save(entry.id, tmp_path / "copy")).labels == (added,)
    with pytest.raises(RecordingError, match="There is no run"):
        shelf.add_label("0" * 32, 1, "x")


@pytest.mark.parametrize(
    ("place", "complaint"),
    [
        ({"update": 41}, "There is no update 41"),
        ({"update": 0}, "must be from 1"),
        ({"update": True}, "whole number"),
        ({"update": 1, "response": 32}, "update 1 has 32"),
        ({"update": 1, "response": -1}, "must be from 0"),
        ({"update": 1, "response": 0, "token": 24}, "update 1 has 24"),
        ({"update": 1, "token": 2}, "belongs to a response"),
        ({"update": 1, "label": " "}, "label is empty"),
        ({"update": 1, "label": "x" * 81}, "at most 80"),
        ({"update": 1, "label": "a\nb"}, "cannot be shown"),
        ({"update": 1, "text": "x" * 2001}, "at most 2000"),
        ({"update": 1, "text": 5}, "must be a text"),
    ],
    ids=str,
)
def test_what_cannot_be_is_not_noted(run: Recording, place: dict[str, Any], complaint: str) -> None:
    with pytest.raises((ValueError, TypeError), match=complaint):
        run.add_label(**{"label": "x", **place})
    assert not path_of(run).exists()


def test_a_recording_in_memory_takes_none(run: Recording) -> None:
    kept = Recording.in_memory([run[0]], info={})
    assert kept.labels == ()
    with pytest.raises(RecordingError, match="save it"):
        kept.add_label(1, "x")


@pytest.mark.parametrize("cut", [1, 30, len(LINE) - 1])
def test_a_line_that_was_cut_off_is_told_and_gone_with_the_next(run: Recording, cut: int) -> None:
    path_of(run).write_text(LINE + LINE[:cut])
    with pytest.warns(RuntimeWarning, match="in the middle of a line"):
        assert [label.update for label in run.labels] == [12]
    added = run.add_label(3, "next")
    assert [label.update for label in run.labels] == [12, 3] and run.labels[1] == added


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("", "line 2"),
        ("[]", "no object"),
        ("{", "line 2"),
        ("[" * 20_000, "line 2"),
        ("x" * 40_000, "too long"),
        ('{"update": 1}', "label"),
        ('{"label": "x"}', "update"),
        ('{"update": 1.0, "label": "x"}', "whole number"),
        ('{"update": 1000000000, "label": "x"}', "must be from"),
        ('{"update": 1, "label": "x", "token": 0}', "belongs to a response"),
        ('{"update": 1, "label": "a\\u0007"}', "cannot be shown"),
        ('{"update": 1, "label": "x", "time": "yesterday"}', "yesterday"),
        ('{"update": 1, "label": "x", "time": "2026-11-23T12:15:02"}', "offset"),
        ('{"update": 1, "label": "x", "code": "y"}', "no field 'code'"),
        ('{"update": ' + "9" * 5000 + ', "label": "x"}', "line 2"),
    ],
)
def test_a_line_that_is_no_label_is_refused_by_its_number(run: Recording, line: str, complaint: str) -> None:
    path_of(run).write_text(LINE + line + "\n")
    with pytest.raises(RecordingError, match=complaint) as refused:
        run.labels  # noqa: B018
    assert "line 2" in str(refused.value) and len(str(refused.value)) < 1000


def test_a_file_that_is_too_large_is_neither_read_nor_written(run: Recording, monkeypatch: Any) -> None:
    monkeypatch.setattr(labels, "MAX_LABELS_BYTES", 2 * len(LINE))
    path_of(run).write_text(LINE + LINE)
    assert len(run.labels) == 2
    with pytest.raises(RecordingError, match="is full"):
        run.add_label(1, "x")
    path_of(run).write_text(LINE * 3)
    with pytest.raises(RecordingError, match="too large"):
        run.labels  # noqa: B018


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on a file's size")
def test_a_disk_that_takes_a_part_of_a_note_is_told_and_has_nothing_of_it(run: Recording) -> None:
    import resource

    first, before = run.add_label(12, "clipped up"), path_of(run).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        # As on a nearly full disk, the system takes so many bytes of what is given, and says no more than that.
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, limits[1]))
        with pytest.raises(RecordingError, match=r"labels.jsonl' cannot be written to \(.+\): make room there"):
            run.add_label(3, "lost", "x" * 200)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (path_of(run).read_bytes(), run.labels) == (before, (first,))
    second = run.add_label(3, "there is room again")
    assert run.labels == (first, second)


@pytest.mark.parametrize("takes", [[25, "full"], [25, 30, "full"], [0], ["full"], [25, 0]], ids=str)
def test_a_write_that_is_cut_short_is_gone_on_with_or_taken_back(
    run: Recording, monkeypatch: pytest.MonkeyPatch, takes: list[Any]
) -> None:
    first, before = run.add_label(12, "clipped up"), path_of(run).read_bytes()
    write, steps = os.write, iter(takes)

    def short(opened: int, content: bytes) -> int:
        step = next(steps)
        if step == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(opened, content[:step]) if step else 0

    with monkeypatch.context() as patch:
        patch.setattr(labels.os, "write", short)
        with pytest.raises(RecordingError, match="No space left on device"):
            run.add_label(3, "lost")
    assert (path_of(run).read_bytes(), run.labels) == (before, (first,))


def test_a_write_that_takes_several_goes_is_whole(run: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(labels.os, "write", lambda opened, content: write(opened, content[:7]))
        added = run.add_label(3, "in pieces")
    assert run.labels == (added,)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_is_neither_read_nor_written_through(run: Recording, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text(LINE)
    path_of(run).symlink_to(tmp_path / "mine")
    for act in (lambda: run.labels, lambda: run.add_label(1, "x")):
        with pytest.raises(RecordingError, match="not a plain file"):
            act()
    assert (tmp_path / "mine").read_text() == LINE


def test_two_programs_add_without_losing_a_line(run: Recording) -> None:
    program = (
        "import sys; from explorer import Recording; run = Recording.load(sys.argv[1])\n"
        "for nth in range(40): run.add_label(nth + 1, sys.argv[2])"
    )
    where = str(path_of(run).parent)
    both = [subprocess.Popen([sys.executable, "-c", program, where, name]) for name in ("one", "other")]
    assert [process.wait() for process in both] == [0, 0]
    for name in ("one", "other"):
        assert [label.update for label in read_labels(path_of(run).parent) if label.label == name] == [*range(1, 41)]
