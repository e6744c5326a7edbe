"""A run in memory: every metric of every update, and as many snapshots as the bound allows."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Protocol

import numpy as np

from explorer.recording.snapshot import Snapshot
from explorer.recording.thinning import to_drop

if TYPE_CHECKING:
    from explorer.config import Config
    from explorer.recording.storage import Recording


class Folder(Protocol):
    """Where a live run is recorded as it goes."""

    def has(self, update: int) -> bool:
        """Whether it is to have an update's snapshot."""

    def read(self, update: int) -> Snapshot | None:
        """An update's snapshot; None where it is not there after all."""


class History:
    """Metric series and a bounded store of snapshots, which may go on from a recorded run.

    Metrics are kept for every update. Snapshots are kept up to ``limit`` and up to so many ``megabytes``; past that,
    every second one of the older half is dropped, and is read again from the run's ``folder`` when it is asked for. Of
    a run that lies in none the newest are whole, and the past grows coarser. At 32 responses of 24 tokens and 4 epochs
    a snapshot weighs about 0.2 MB.

    Of a recorded run nothing is copied: its metrics stay the columns that were read, and a snapshot is read from its
    folder when it is asked for (4 files, about 7 ms at those settings). So a run of 10,000 updates costs what its
    metrics weigh, some 4 MB, and is there at once (``tests/benchmarks/bench_long_run.py``).

    Attributes:
        folder: where the run itself is recorded; None where it is not.

    Args:
        limit, megabytes: how many snapshots of the run itself are kept in memory.
        recorded: a recorded run that lies before them; an update with one of its numbers takes the place of that one
            and of those after it.
    """

    def __init__(self, limit: int = 400, megabytes: int = 200, recorded: Recording | None = None) -> None:
        self.limit, self.megabytes = limit, megabytes
        self._snapshots: dict[int, Snapshot] = {}
        self._metrics: dict[int, Mapping[str, float]] = {}
        self._configs: dict[int, Config] = {}
        self._past = _Past(recorded) if recorded is not None else None
        self.folder: Folder | None = None
        self._dropped: list[int] = []  # of those that the folder has, oldest first

    def append(self, snapshot: Snapshot) -> None:
        """Add an update; one with the same number or a later one is replaced (a run that was rewound)."""
        for later in [n for n in self._metrics if n >= snapshot.update]:
            self._metrics.pop(later)
            self._snapshots.pop(later, None)
            self._configs.pop(later, None)
        self._dropped = [n for n in self._dropped if n < snapshot.update]
        self.note(snapshot.update, snapshot.metrics)
        self._configs[snapshot.update] = snapshot.config
        self.keep(snapshot)

    def note(self, update: int, metrics: Mapping[str, float]) -> None:
        """Add an update's metrics alone, where its snapshot is not kept."""
        if self._past is not None:
            self._past.end_before(update)
        self._metrics[update] = metrics

    def keep(self, snapshot: Snapshot) -> None:
        """Keep a snapshot whose metrics are there, and let older ones go where the bound asks for it."""
        self._snapshots[snapshot.update] = snapshot
        limit = max(1, min(self.limit, self.megabytes * 1_000_000 // max(snapshot.nbytes, 1)))
        for number in to_drop(list(self._snapshots), limit):
            del self._snapshots[number]
            if self.folder is not None and self.folder.has(number):
                insort(self._dropped, number)

    def __len__(self) -> int:
        """How many updates have happened."""
        return len(self._metrics) + (len(self._past.updates) if self._past is not None else 0)

    def __iter__(self) -> Iterator[Snapshot]:
        """The kept snapshots, oldest first; recorded ones are read one by one."""
        found = map(self._snapshot, self.kept)
        return (snapshot for snapshot in found if snapshot is not None)

    @property
    def updates(self) -> list[int]:
        """Every update's number, oldest first."""
        return [*(self._past.updates.tolist() if self._past is not None else ()), *self._metrics]

    @property
    def kept(self) -> list[int]:
        """The numbers of the updates whose snapshots are kept, oldest first."""
        here = sorted([*self._dropped, *self._snapshots]) if self._dropped else self._snapshots
        return [*(self._past.kept if self._past is not None else ()), *here]

    @property
    def last(self) -> Snapshot | None:
        """The newest snapshot, or None before the first."""
        kept = self.kept
        return self._snapshot(kept[-1]) if kept else None

    def at(self, update: int) -> Snapshot | None:
        """The snapshot of an update, or the nearest earlier one that is kept, or the first.

        Raises:
            RecordingError: it is of a recorded run, and its files are damaged.
        """
        while kept := self.kept:
            found = self._snapshot(kept[max(bisect_right(kept, update) - 1, 0)])
            if found is not None:
                return found
        return None

    def series(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A metric over the run: updates ``[N]`` and values ``[N]``, NaN where an update lacks it."""
        values = np.array([metrics.get(name, float("nan")) for metrics in self._metrics.values()], dtype=np.float64)
        updates = np.array(list(self._metrics), dtype=np.int64)
        if self._past is None:
            return updates, values
        return np.concatenate([self._past.updates, updates]), np.concatenate([self._past.series(name), values])

    def configs(self) -> Iterator[Config | None]:
        """The Config of every update, oldest first, the same object as long as it stays; None where it is not known."""
        past = self._past.configs() if self._past is not None else ()
        return chain(past, (self._configs.get(update) for update in self._metrics))

    @property
    def policy_digest(self) -> str:
        """Of the weights that a recorded run was begun with, where that is known; "" otherwise."""
        return self._past.policy_digest if self._past is not None else ""

    def clear(self) -> None:
        """Forget everything."""
        self._snapshots.clear()
        self._metrics.clear()
        self._dropped.clear()
        self._configs.clear()
        self._past = None

    def _snapshot(self, update: int) -> Snapshot | None:
        """One of those that are kept; one that its folder does not have after all is kept no longer, and None."""
        here = self._snapshots.get(update)
        if here is not None:
            return here
        if update in self._dropped:
            found = self.folder.read(update) if self.folder is not None else None
            if found is None:
                self._dropped.remove(update)
            return found
        assert self._past is not None
        return self._past.snapshot(update)


class _Past:
    """A recorded run up to some update.

    Attributes:
        updates: ``[N]`` every update's number.
        kept: those of which there is a snapshot.
        policy_digest: of the weights that the run was begun with, "" where nobody has noted it.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._columns: dict[str, np.ndarray] = {}
        self.updates = recording.metrics.column("update").to_numpy().astype(np.int64)
        self.kept = list(recording.updates)
        self.policy_digest = str(recording.info.get("policy_digest", ""))

    def end_before(self, update: int) -> None:
        """Forget the updates from this one on."""
        if len(self.updates) and self.updates[-1] >= update:
            self.updates = self.updates[self.updates < update]
            self.kept = [n for n in self.kept if n < update]

    def series(self, name: str) -> np.ndarray:
        """A metric ``[N]``, NaN where an update lacks it."""
        if name not in self._columns:
            metrics = self._recording.metrics
            known = name in metrics.column_names
            self._columns[name] = metrics.column(name).to_numpy() if known else np.full(metrics.num_rows, float("nan"))
        return self._columns[name][: len(self.updates)]

    def configs(self) -> Iterator[Config]:
        """The Config of every update."""
        since = sorted(self._recording.configs.items())
        places = np.searchsorted([update for update, _ in since], self.updates, side="right") - 1
        return (since[place][1] for place in np.maximum(places, 0).tolist())

    def snapshot(self, update: int) -> Snapshot:
        """One that is kept, read where it is not among the last few that were."""
        return self._recording.at(update)
