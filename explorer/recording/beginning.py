"""The folder of a run that begins: a new one, an empty one, or one that a killed run left before it had begun.

A run begins with ``run.json``. A kill before that leaves empty folders, the one state from which the run was to start,
and files that had not been given their names yet. Such a folder is taken over; one with anything else in it is not.
"""

from __future__ import annotations

import re
from pathlib import Path

from explorer.recording.folder import METRICS_FOLDER, check_unused
from explorer.recording.tables import Tables

_FOLDERS = (METRICS_FOLDER, "checkpoints", *Tables._fields)
_START = re.compile(r"\d{6,9}\.safetensors")


def check_free(folder: Path) -> None:
    """See that a run can begin in a folder; changes nothing. Raises RecordingError as ``check_unused``."""
    if _left_by_a_kill(folder) is None:
        check_unused(folder)


def clear(folder: Path) -> None:
    """Clear away what a kill has left of a run that had not begun.

    Raises:
        RecordingError: there is something else in it; nothing is removed.
        OSError: it cannot be removed.
    """
    left = _left_by_a_kill(folder)
    if left is None:
        check_unused(folder)
        return
    for path in left:
        path.unlink()
    for name in _FOLDERS:
        if (folder / name).exists():
            (folder / name).rmdir()


def _left_by_a_kill(folder: Path) -> list[Path] | None:
    """The files that a killed run has left, beside empty folders; None where there is anything else, or no folder."""
    if not folder.is_dir():
        return None
    folders = {folder / name for name in _FOLDERS}
    # Not below a link, and nothing below a folder that is none of ours.
    found = [*folder.iterdir(), *(path for name in folders if name.is_dir() for path in name.iterdir())]
    if any(path.is_symlink() or not (path.is_dir() if path in folders else path.is_file()) for path in found):
        return None
    files = [path for path in found if path not in folders]
    named = [path for path in files if not (path.name.startswith(".") and path.suffix == ".part")]
    starts = [path for path in named if path.parent.name == "checkpoints" and _START.fullmatch(path.name)]
    return files if named == starts and len(starts) <= 1 else None
