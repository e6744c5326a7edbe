"""Looks for the place where a recorded branch parts from its parent, beside everything else, and keeps what it finds.

An unparted branch has to be compared update by update, some 13 ms each, so this is done after the run is on screen, in
a thread that stops between two updates. What has been compared once is kept in the branch's folder.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from contextlib import suppress

from explorer.recording.branches import Parting, parting_in
from explorer.recording.folder import RecordingError
from explorer.recording.parted import Parted, read_parted, write_parted
from explorer.recording.storage import Recording


class Comparing:
    """Compares one branch at a time; ``begin`` and ``end`` are for one caller.

    Args:
        threaded: False compares in the caller, for scripts and tests.
    """

    def __init__(self, threaded: bool = True) -> None:
        self._threaded = threaded
        self._stop = threading.Event()

    def begin(self, own: Recording, parent_id: str, parent: Recording, then: Callable[[Parting], None]) -> None:
        """Compare a branch with its parent; ``then`` is called in the thread with where they part, if they do."""
        self.end()
        stop = self._stop = threading.Event()

        def job() -> None:
            found = compare(own, parent_id, parent, stop.is_set).parting
            if found is not None and not stop.is_set():
                then(found)

        if self._threaded:
            threading.Thread(target=job, name="ppo-explorer-comparing", daemon=True).start()
        else:
            job()

    def end(self) -> None:
        """Stop after the update that is being compared; nothing more is told."""
        self._stop.set()


def compare(own: Recording, parent_id: str, parent: Recording, stopped: Callable[[], bool] = lambda: False) -> Parted:
    """Go on comparing a branch with its parent where that was left, and keep how far it came.

    Args:
        own: the branch as it lies in its folder.
        parent_id: the parent's id.
        parent: the parent with its own past.
        stopped: asked before every update.
    """
    assert own.folder is not None
    known = before = read_parted(own.folder, parent_id)
    theirs = set(parent.metrics.column("update").to_pylist())
    for update in own.metrics.column("update").to_pylist():
        if known.parting is not None or stopped():
            break
        if update <= known.compared or update not in theirs:
            continue
        try:
            found = parting_in(parent, own, update)
        except RecordingError:  # damaged, or deleted meanwhile: more is not to be known
            break
        known = dataclasses.replace(known, compared=update, parting=found)
    if known != before:
        with suppress(OSError):
            write_parted(own.folder, known)
    return known
