"""Labels on disk as they are made: one line of JSONL a comparison, safe before the next one is shown.

A process that is killed in the middle of an append leaves a last line that breaks off. It is read as a bad line, named
by its number, and the next append begins a line of its own: no label before it or after it is lost.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, NamedTuple

from explorer.ppo.preferences.comparisons import MAX_LINE_BYTES, Comparison, PreferenceError

#: The most lines that are read from one file: more than anyone has clicked, and still read in a second.
MAX_LINES = 200_000


class BadLine(NamedTuple):
    """A line that is no comparison."""

    number: int  # from 1, as an editor counts
    reason: str  # one sentence that says what is wrong

    def __str__(self) -> str:
        return f"line {self.number}: {self.reason}"


class Labels(NamedTuple):
    """What a file of labels holds."""

    comparisons: list[Comparison]
    bad: list[BadLine]


def read_labels(path: str | Path) -> Labels:
    """Every comparison of a JSONL file, and the lines that are none. Blank lines count as lines and are passed over.

    Raises:
        PreferenceError: the file cannot be read, or has too many lines.
    """
    try:
        with Path(path).open("rb") as file:
            return _labels(file, f"'{path}'")
    except OSError as error:
        raise PreferenceError(_why_not_read(path, error)) from None


def labels_in(content: bytes) -> Labels:
    """As ``read_labels``, of a file's content.

    Raises:
        PreferenceError: it has too many lines.
    """
    return _labels(io.BytesIO(content), "The file")


class LabelFile:
    """A JSONL file to which comparisons are added as they are made.

    One program at a time may add to it. Bad lines that it holds stay as they are.

    Args:
        path: a file, made with the first comparison together with its folder; or one that is there already.

    Raises:
        PreferenceError: the file is there and cannot be read.

    Attributes:
        path: the file.
        bad: the lines that were no comparisons when it was opened.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        there = os.path.lexists(self.path)
        self._comparisons, self.bad = read_labels(self.path) if there else Labels([], [])

    @property
    def comparisons(self) -> list[Comparison]:
        """Every comparison of the file, in the order in which they were made."""
        return list(self._comparisons)

    def __len__(self) -> int:
        return len(self._comparisons)

    def append(self, comparison: Comparison) -> None:
        """Add one comparison; when this returns it outlasts a loss of power.

        Raises:
            PreferenceError: it cannot be written, as the disk is full. The file is then as it was before.
        """
        self.extend([comparison])

    def extend(self, comparisons: Iterable[Comparison]) -> None:
        """Add several at once, such as those of another file: all or none. Raises as ``append``."""
        added = list(comparisons)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                end = file.tell()
                start = b"" if _ends_whole(self.path, end) else b"\n"
                try:
                    file.write(start + "".join(comparison.to_line() for comparison in added).encode())
                    _settle(file)
                except OSError:
                    os.ftruncate(file.fileno(), end)
                    raise
        except OSError as error:
            raise PreferenceError(
                f"'{self.path}' takes no more labels ({_reason(error)}): make room, or name another file."
            ) from None
        self._comparisons += added

    def undo(self) -> Comparison | None:
        """Take the newest comparison back, out of the file too; None where there is none left.

        What stands behind it, such as a line that broke off, goes with it.

        Raises:
            PreferenceError: the file cannot be changed; nothing is then taken back.
        """
        if not self._comparisons:
            return None
        try:
            with self.path.open("r+b") as file:
                starts = [start for _, start, found in _lines(file) if isinstance(found, Comparison)]
                if len(starts) != len(self._comparisons):
                    raise PreferenceError(f"'{self.path}' was changed by another program: open it again.")
                file.truncate(starts[-1])
                _settle(file)
        except OSError as error:
            raise PreferenceError(f"'{self.path}' cannot be changed ({_reason(error)}): make it writable.") from None
        return self._comparisons.pop()


def _labels(file: IO[bytes], called: str) -> Labels:
    comparisons, bad = [], []
    for number, _, found in _lines(file):
        if number > MAX_LINES:
            raise PreferenceError(f"{called} has more than {MAX_LINES} lines: cut it into several files.")
        if isinstance(found, Comparison):
            comparisons.append(found)
        elif found is not None:
            bad.append(BadLine(number, found))
    return Labels(comparisons, bad)


def _lines(file: IO[bytes]) -> Iterable[tuple[int, int, Comparison | str | None]]:
    """Each line's number, where it begins, and what it is: a comparison, why it is none, or None where it is blank."""
    number, start = 0, 0
    while line := file.readline(MAX_LINE_BYTES):
        number, whole = number + 1, line.endswith(b"\n")
        length = len(line)
        while not whole and (rest := file.readline(MAX_LINE_BYTES)):  # pass over the rest of a line that is too long
            length, whole, line = length + len(rest), rest.endswith(b"\n"), b""
        yield number, start, _parsed(line, whole) if line else f"it has {length} bytes: it may have {MAX_LINE_BYTES}."
        start += length


def _parsed(line: bytes, whole: bool) -> Comparison | str | None:
    try:
        text = line.decode("utf-8-sig").strip()
        return Comparison.from_json(json.loads(text)) if text else None
    except UnicodeDecodeError:
        return "it is not UTF-8 text: save the file as UTF-8."
    except (json.JSONDecodeError, RecursionError) as error:
        if not whole:
            return "it breaks off: the program ended while it was written; label this pair again."
        where = f" at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
        return f"it is not JSON{where}: every line must be one object."
    except PreferenceError as error:
        return str(error)


def _ends_whole(path: Path, end: int) -> bool:
    """Whether what is there already ends with the end of a line."""
    if end == 0:
        return True
    with path.open("rb") as file:
        file.seek(end - 1)
        return file.read(1) == b"\n"


def _settle(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _why_not_read(path: str | Path, error: OSError) -> str:
    reason = "is a folder" if Path(path).is_dir() else _reason(error)
    return f"'{path}' cannot be read ({reason}): give a JSONL file with prompt, chosen and rejected in every line."


def _reason(error: OSError) -> str:
    return (error.strerror or "unknown reason").lower()
