"""The folder of the live run, to read again what memory has let go of."""

from __future__ import annotations

from collections.abc import Callable

from explorer.recording.folder import RecordingError
from explorer.recording.shelf import Shelf
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording


class OwnFolder:
    """Reads back the updates of the run that is being recorded; called on the loop, where it takes some 10 ms.

    Args:
        shelf: where the runs are; None where none is kept.
        run: gives the id of the live run, "" before it has a folder.
    """

    def __init__(self, shelf: Shelf | None, run: Callable[[], str]) -> None:
        self._shelf, self._run = shelf, run
        self._opened: tuple[str, Recording] | None = None

    def has(self, update: int) -> bool:
        """Whether the folder is to have an update's snapshot."""
        return self._shelf is not None and bool(self._run()) and update % self._shelf.keep_every == 0

    def read(self, update: int) -> Snapshot | None:
        """An update's snapshot; None where the folder does not have it, as one that took no more for a while."""
        run = self._run()
        if self._shelf is None or not run:
            return None
        for anew in (False, True):  # opened before, it may lack what has been written since, or moved into a block
            try:
                if anew or self._opened is None or self._opened[0] != run:
                    self._opened = run, Recording.load(self._shelf.find(run).folder)
                return self._opened[1].at(update)
            except (KeyError, ValueError, RecordingError, OSError):
                continue
        return None
