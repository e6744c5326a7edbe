"""One writer a folder: a lock on it that the system lets go of when its process ends, however it ends."""

from __future__ import annotations

import os
from pathlib import Path

from explorer.recording.folder import ElsewhereError


class Claim:
    """Holds a run's folder until it is released.

    On Windows, and where the file system knows no locks, it holds nothing and hinders nobody.

    Args:
        root: the folder, which must exist.

    Raises:
        ElsewhereError: another writer holds it.
    """

    def __init__(self, root: Path) -> None:
        self._opened: int | None = None
        try:
            import fcntl
        except ImportError:
            return
        opened = os.open(root, os.O_RDONLY)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(opened)
            raise ElsewhereError(
                f"'{root}' is being written to by another run: wait until it has ended, or record into a new folder."
            ) from None
        except OSError:
            os.close(opened)
            return
        self._opened = opened

    def release(self) -> None:
        """Let others write; again does nothing."""
        opened, self._opened = self._opened, None
        if opened is not None:
            os.close(opened)

    def __del__(self) -> None:
        self.release()
