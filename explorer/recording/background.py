"""A thread that writes a run to disk while the next update is computed.

What it is given it writes in order. At most one update and one state wait: who brings the next update waits until the
one before it is on the disk itself (fsync), and a page waits for that before it shows the next. So a killed process, or
a loss of power, costs the update in progress, and the one just ended where it comes before that is written: within some
hundredths of a second. However slow the disk, it is never more.

What goes wrong, such as a full disk, is raised by the next call of ``append``, ``checkpoint``, ``settle`` or
``close``, once; nothing is written after it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from explorer.config import Config
from explorer.recording.snapshot import Snapshot
from explorer.recording.writer import RunWriter

if TYPE_CHECKING:
    from explorer.ppo.state import State


class BackgroundWriter:
    """Gives a RunWriter's work to a thread of its own; its methods are for one caller.

    Args:
        writer: what writes; nobody else may use it from now on.
    """

    def __init__(self, writer: RunWriter) -> None:
        self._writer = writer
        # The job that is being done stays at the front until it is done.
        self._jobs: deque[tuple[str, Callable[[], None]]] = deque()
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._told = self._ended = False
        self._thread = threading.Thread(target=self._main, name="ppo-explorer-writer", daemon=True)
        self._thread.start()

    @property
    def failed(self) -> bool:
        """Whether something went wrong, so that nothing more is written."""
        return self._error is not None

    @property
    def last(self) -> int:
        """The last update that is safe, once it has settled or failed; 0 before the first."""
        return self._writer.last

    def append(self, snapshot: Snapshot) -> None:
        """Add the next update; waits until the one before is safe. Raises RecordingError as ``RunWriter`` does."""
        self._give("update", lambda: self._writer.append(snapshot))

    def append_metrics(self, update: int, config: Config, metrics: Mapping[str, float]) -> None:
        """Add the next update without its snapshot; waits and raises as ``append``."""
        self._give("update", lambda: self._writer.append_metrics(update, config, metrics))

    def checkpoint(self, state: State, passing: bool = False) -> None:
        """Keep a state after the updates given so far, as ``RunWriter.checkpoint`` does. Raises as ``append``."""
        self._give("state", lambda: self._writer.checkpoint(state, passing))

    def wait(self) -> None:
        """Wait until every update given so far is safe, or something has gone wrong, which a later call raises."""
        with self._changed:
            self._changed.wait_for(lambda: not any(kind == "update" for kind, _ in self._jobs) or self.failed)

    def settle(self) -> None:
        """Wait until everything given so far is safe. Raises as ``append``."""
        with self._changed:
            self._changed.wait_for(lambda: not self._jobs or self.failed)
        self._tell()

    def close(self) -> None:
        """Write what is left, and end the thread. Raises as ``append``."""
        if self._ended:
            return
        with self._changed:
            self._jobs.append(("end", self._writer.close))
            self._ended = True
            self._changed.notify_all()
        self._thread.join()
        self._tell()

    def __enter__(self) -> Self:
        """The writer; leaving the block closes it."""
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _give(self, kind: str, job: Callable[[], None]) -> None:
        self._tell()
        if self._ended:
            raise RuntimeError("the writer is closed")
        with self._changed:
            # First given, then waited: an interrupt while waiting loses nothing.
            self._jobs.append((kind, job))
            self._changed.notify_all()
            self._changed.wait_for(lambda: [k for k, _ in self._jobs].count(kind) < 2 or self.failed)

    def _tell(self) -> None:
        if self._error is not None and not self._told:
            self._told = True
            raise self._error

    def _main(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs)
                kind, job = self._jobs[0]
            try:
                if not self.failed:
                    job()
            except BaseException as error:  # it is raised where somebody can do something about it
                self._error = error  # first: whoever waits must not wait for ever, whatever comes next
                with suppress(Exception):
                    self._writer.release()
            del job  # a snapshot or a state: let it go now and not with the next one
            with self._changed:
                self._jobs.popleft()
                self._changed.notify_all()
            if kind == "end":
                return
