"""A run in memory: every metric of every update, and as many snapshots as the bound allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from explorer.recording.snapshot import Snapshot
from explorer.recording.thinning import to_drop


class History:
    """Metric series and a bounded store of snapshots.

    Metrics are kept for every update. Snapshots are kept up to ``limit`` and up to so many ``megabytes``; past that,
    every second one of the older half is dropped: the newest are whole, and the past grows coarser. At 32 responses of
    24 tokens and 4 epochs a snapshot weighs about 0.2 MB.
    """

    def __init__(self, limit: int = 400, megabytes: int = 200) -> None:
        self.limit, self.megabytes = limit, megabytes
        self._snapshots: dict[int, Snapshot] = {}
        self._metrics: dict[int, Mapping[str, float]] = {}

    def append(self, snapshot: Snapshot) -> None:
        """Add an update; one with the same number or a later one is replaced (a run that was rewound)."""
        for later in [n for n in self._metrics if n >= snapshot.update]:
            self._metrics.pop(later)
            self._snapshots.pop(later, None)
        self.note(snapshot.update, snapshot.metrics)
        self.keep(snapshot)

    def note(self, update: int, metrics: Mapping[str, float]) -> None:
        """Add an update's metrics alone, as those of a recorded run that kept fewer snapshots."""
        self._metrics[update] = metrics

    def keep(self, snapshot: Snapshot) -> None:
        """Keep a snapshot whose metrics are there, and let older ones go where the bound asks for it."""
        self._snapshots[snapshot.update] = snapshot
        limit = max(1, min(self.limit, self.megabytes * 1_000_000 // max(snapshot.nbytes, 1)))
        for number in to_drop(list(self._snapshots), limit):
            del self._snapshots[number]

    def __len__(self) -> int:
        """How many updates have happened."""
        return len(self._metrics)

    def __iter__(self) -> Iterator[Snapshot]:
        """The kept snapshots, oldest first."""
        return iter(list(self._snapshots.values()))

    @property
    def updates(self) -> list[int]:
        """Every update's number, oldest first."""
        return list(self._metrics)

    @property
    def last(self) -> Snapshot | None:
        """The newest snapshot, or None before the first."""
        return next(reversed(self._snapshots.values()), None)

    def at(self, update: int) -> Snapshot | None:
        """The snapshot of an update, or the nearest earlier one that is kept, or the first."""
        if not self._snapshots:
            return None
        kept = list(self._snapshots)
        earlier = [n for n in kept if n <= update]
        return self._snapshots[earlier[-1] if earlier else kept[0]]

    def series(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A metric over the run: updates ``[N]`` and values ``[N]``, NaN where an update lacks it."""
        values = [metrics.get(name, float("nan")) for metrics in self._metrics.values()]
        return np.array(self.updates, dtype=np.int64), np.array(values, dtype=np.float64)

    def clear(self) -> None:
        """Forget everything."""
        self._snapshots.clear()
        self._metrics.clear()
