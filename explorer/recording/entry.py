"""What the folder of a run says of it, for a list of runs. Whatever stands there is taken with care; nothing raises."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from explorer.recording.checkpoints import CHECKPOINTS_FOLDER
from explorer.recording.folder import METRICS_FOLDER, RUN_FILE, RecordingError, inside, read_run
from explorer.recording.metrics import last_metrics

NAME_FILE = "name.txt"
MAX_NAME = 80

_ID = re.compile(r"[0-9a-f]{8,64}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """A run on the shelf.

    Attributes:
        id: of ``run.json``; empty where that cannot be read.
        folder: where it lies.
        name: what it is called; empty where nobody has named it.
        created: when it was begun, UTC, as ISO 8601.
        updates: the number of its last update, 0 before the first.
        score: the mean score of that update; None before the first.
        megabytes: what it weighs, in millions of bytes.
        parent: where it is a branch: ``{"id", "update", "changed"}`` as ``explorer.recording.origin`` writes it.
        preset: the preset that it was begun with; empty where none is told.
        seed: its seed; None where none is told.
        grid: the name of the seed grid's folder that it belongs to, or its whole path where that lies outside of the
            shelf; empty where to none.
        outside: whether it lies in a folder of its own and not on the shelf.
        problem: why it cannot be opened; empty where it can.
    """

    id: str
    folder: Path
    name: str = ""
    created: str = ""
    updates: int = 0
    score: float | None = None
    megabytes: float = 0.0
    parent: Mapping[str, Any] | None = None
    preset: str = ""
    seed: int | None = None
    grid: str = ""
    outside: bool = False
    problem: str = ""


def is_id(text: object) -> bool:
    """Whether something can be the id of a run."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def read_entry(folder: Path, grid: str = "") -> Entry:
    """What a run's folder says of it; ``grid`` is the name of the seed grid that it belongs to."""
    megabytes = _bytes(folder) / 1e6
    try:
        info = read_run(folder)["info"]
        update, metrics = last_metrics(folder)
        run, parent, seed = info.get("id"), info.get("parent"), info.get("seed")
        if not isinstance(run, str) or not is_id(run):
            raise RecordingError("Its run.json names no id by which it can be opened: open its folder by a command.")
        return Entry(
            id=run,
            folder=folder,
            name=_name(folder),
            created=_plain(info.get("created", ""), 40),
            updates=update,
            score=metrics.get("objective/score"),
            megabytes=megabytes,
            parent=parent if isinstance(parent, dict) else None,
            preset=_plain(info.get("preset", ""), 40),
            seed=seed if type(seed) is int else None,
            grid=grid,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, pa.ArrowException) as error:
        said = _plain(error, 400)
        return Entry(
            id="", folder=folder, name=_plain(folder.name, MAX_NAME), megabytes=megabytes, grid=grid, problem=said
        )


def stamp(folder: Path) -> tuple[Any, ...]:
    """Changes whenever what ``read_entry`` finds does: a file that is written anew has another number, size or time."""
    return tuple(_state(folder / name) for name in ("", METRICS_FOLDER, CHECKPOINTS_FOLDER, RUN_FILE, NAME_FILE))


def _state(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_ino, found.st_size)


def _bytes(folder: Path) -> int:
    """What a folder weighs. It may be written to meanwhile, so that a file that was there is gone."""
    found = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                found += os.lstat(os.path.join(where, name)).st_size
            except OSError:
                continue
    return found


def _name(folder: Path) -> str:
    try:
        with inside(folder, NAME_FILE, "it has no name.").open(encoding="utf-8") as file:
            return _plain(file.read(4 * MAX_NAME), MAX_NAME)
    except (OSError, ValueError):
        return ""


def _plain(found: object, most: int) -> str:
    """A text on one line, without what cannot be shown."""
    shown = "".join(letter if letter.isprintable() else " " for letter in str(found))
    return " ".join(shown.split())[:most]
