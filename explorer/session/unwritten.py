"""The updates of the live run that are not known to be safe on disk: one or two, or all since the disk was full."""

from __future__ import annotations

from collections.abc import Mapping

from explorer.config import Config
from explorer.recording.background import BackgroundWriter
from explorer.recording.snapshot import Snapshot
from explorer.recording.thinning import to_drop


class Unwritten:
    """Updates in their order, to be written now or later.

    Metrics and settings are kept of all. Snapshots are kept up to so many ``megabytes`` (of a million bytes): past that
    every second one of the older half goes, as in ``History``.
    """

    def __init__(self, megabytes: int = 200) -> None:
        self.megabytes = megabytes
        self._facts: dict[int, tuple[Config, Mapping[str, float]]] = {}
        self._snapshots: dict[int, Snapshot] = {}
        self._given = 0

    def __len__(self) -> int:
        """How many there are."""
        return len(self._facts)

    @property
    def first(self) -> int | None:
        """The number of the oldest; None where there is none."""
        return next(iter(self._facts), None)

    @property
    def first_config(self) -> Config:
        """The settings of the oldest. There is one."""
        config, _ = next(iter(self._facts.values()))
        return config

    def add(self, snapshot: Snapshot) -> None:
        """Add the next update."""
        self._facts[snapshot.update] = (snapshot.config, snapshot.metrics)
        self._snapshots[snapshot.update] = snapshot
        limit = max(1, self.megabytes * 1_000_000 // max(snapshot.nbytes, 1))
        for number in to_drop(list(self._snapshots), limit):
            del self._snapshots[number]

    def give(self, writer: BackgroundWriter) -> None:
        """Give a writer those that it has not been given. Raises RecordingError where it takes no more."""
        for update in [update for update in self._facts if update > self._given]:
            if update in self._snapshots:
                writer.append(self._snapshots[update])
            else:
                writer.append_metrics(update, *self._facts[update])
            self._given = update
            if not writer.failed:
                self.safe_until(update - 1)  # the writer has waited for it

    def give_again(self) -> None:
        """Another writer is to be given all of them."""
        self._given = 0

    def safe_until(self, update: int) -> None:
        """Forget those up to an update, which are safe."""
        for number in [number for number in self._facts if number <= update]:
            del self._facts[number]
            self._snapshots.pop(number, None)

    def clear(self) -> None:
        """Forget all."""
        self._facts.clear()
        self._snapshots.clear()
        self._given = 0
