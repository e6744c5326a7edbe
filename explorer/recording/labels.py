"""Notes on a run, by people and scripts: ``labels.jsonl`` in its folder, one JSON object a line.

    {"update": 12, "response": 3, "token": 7, "label": "clipped up", "text": "…", "time": "2026-11-23T12:15:02+00:00"}

Lines are only ever added. One that a kill has cut off is passed over with a warning, and gone when the next is added.
What is read is checked: types, lengths and ranges, line by line.
"""

from __future__ import annotations

import dataclasses
import datetime
import errno
import json
import os
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from explorer.recording.folder import RecordingError, damaged, inside, sync

LABELS_FILE = "labels.jsonl"

MAX_LABEL, MAX_LABEL_TEXT = 80, 2000
MAX_LABELS_BYTES = 4 * 2**20
#: Every letter of it as \uXXXX, twice over.
MAX_LINE_BYTES = 12 * (MAX_LABEL + MAX_LABEL_TEXT) + 1000
_MOST = 10**9


@dataclasses.dataclass(frozen=True, kw_only=True)
class Label:
    """A note on an update, on one of its responses, or on a token of that.

    Attributes:
        update: which update, from 1.
        response: which of its responses, from 0; None for the update as a whole.
        token: which token of the response, from 0; None for the response as a whole.
        label: what it is, in a few words: at most 80 characters.
        text: what there is to say about it: at most 2000 characters.
        time: when it was noted, as ISO 8601 with its offset from UTC.

    Raises:
        ValueError, TypeError: a value is of another type or range.
    """

    update: int
    response: int | None = None
    token: int | None = None
    label: str
    text: str = ""
    time: str = ""

    def __post_init__(self) -> None:
        """Check each value."""
        _check_place("update", self.update, 1)
        for name in ("response", "token"):
            if getattr(self, name) is not None:
                _check_place(name, getattr(self, name), 0)
        if self.token is not None and self.response is None:
            raise ValueError("A token belongs to a response: say which.")
        for name, most in (("label", MAX_LABEL), ("text", MAX_LABEL_TEXT), ("time", 40)):
            value = getattr(self, name)
            if not isinstance(value, str):
                raise TypeError(f"{name} is a {type(value).__name__}, but must be a text.")
            if len(value) > most:
                raise ValueError(f"{name} has {len(value)} characters, but may have at most {most}.")
            if not all(letter.isprintable() or (letter == "\n" and name == "text") for letter in value):
                raise ValueError(f"{name} has characters that cannot be shown: leave them out.")
        if not self.label.strip():
            raise ValueError("label is empty: say in a few words what it is.")
        if self.time and datetime.datetime.fromisoformat(self.time).tzinfo is None:
            raise ValueError(f"time is {self.time!r}, but must tell its offset from UTC.")


def read_labels(root: Path) -> tuple[Label, ...]:
    """A run's labels, in the order in which they were added; none where it has no such file.

    Warns:
        RuntimeWarning: the last line is cut off, and passed over.

    Raises:
        RecordingError: it is damaged, too large, or no plain file of the folder.
    """
    path = root / LABELS_FILE
    if not path.exists() and not path.is_symlink():
        return ()
    try:
        *lines, rest = _content(inside(root, LABELS_FILE, "restore it.")).split(b"\n")
    except OSError as error:
        raise damaged(path, error) from None
    if rest:
        warnings.warn(
            f"'{path}' ends in the middle of a line, which is passed over: the program that wrote it was cut off.",
            RuntimeWarning,
            stacklevel=3,
        )
    found = []
    for nth, line in enumerate(lines, 1):
        try:
            found.append(_label(line))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise damaged(path, ValueError(f"line {nth}: {error}"), "mend that line, or remove the file") from None
    return tuple(found)


def add_label(root: Path, label: Label) -> Label:
    """Add a label to a run; without a time it gets that of now. It is on the disk on return.

    Raises:
        RecordingError: the folder takes no more, or the file is as large as it may be, or no plain file.
    """
    if not label.time:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        label = dataclasses.replace(label, time=now)
    line = json.dumps({k: v for k, v in dataclasses.asdict(label).items() if v is not None}, ensure_ascii=False)
    path = root / LABELS_FILE
    try:
        new = not path.exists() and not path.is_symlink()
        if not new:
            inside(root, LABELS_FILE, "restore it.")
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            _lock(opened)
            size = _whole_lines(opened)
            written = (line + "\n").encode()
            if size + len(written) > MAX_LABELS_BYTES:
                raise RecordingError(f"'{path}' is full: it holds at most {MAX_LABELS_BYTES // 2**20} MiB of labels.")
            _add_whole(opened, size, written)
        finally:
            os.close(opened)
        if new:
            sync(root)
    except OSError as error:
        raise RecordingError(f"'{path}' cannot be written to ({error.strerror}): make room there.") from None
    return label


def _add_whole(opened: int, size: int, line: bytes) -> None:
    """Add a line to a file of so many bytes, down to the disk itself; where that fails the file is as it was."""
    try:
        left = line
        while left:
            # A nearly full disk takes the beginning, and says so by this number alone.
            taken = os.write(opened, left)
            if taken == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            left = left[taken:]
        os.fsync(opened)
    except BaseException:
        with suppress(OSError):
            os.ftruncate(opened, size)
        raise


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_LABELS_BYTES + 1)
    if len(content) > MAX_LABELS_BYTES:
        raise damaged(path, ValueError("it is too large"))
    return content


def _label(line: bytes) -> Label:
    if len(line) > MAX_LINE_BYTES:
        raise ValueError("it is too long")
    found: Any = json.loads(line.decode("utf-8"))
    if not isinstance(found, dict):
        raise TypeError("it is no object")
    names = {field.name for field in dataclasses.fields(Label)}
    if unknown := found.keys() - names:
        raise ValueError(f"it has no field {min(unknown)[:40]!r}")
    return Label(**found)


def _check_place(name: str, value: object, least: int) -> None:
    if type(value) is not int:
        raise TypeError(f"{name} is a {type(value).__name__}, but must be a whole number.")
    if not least <= value < _MOST:
        raise ValueError(f"{name} is {value}, but must be from {least} on.")


def _lock(opened: int) -> None:
    """One program adds at a time, where the system knows locks."""
    try:
        import fcntl

        fcntl.flock(opened, fcntl.LOCK_EX)
    except (ImportError, OSError):
        pass


def _whole_lines(opened: int) -> int:
    """Take away a line at the end that was cut off; gives the size that is left."""
    size = os.fstat(opened).st_size
    start = max(0, size - MAX_LINE_BYTES)
    os.lseek(opened, start, os.SEEK_SET)
    end = os.read(opened, size - start)
    whole = start + end.rfind(b"\n") + 1 if b"\n" in end else start
    if whole < size:
        os.ftruncate(opened, whole)
    return whole
