"""A branch together with what it branched off: its recording holds only its own updates, its past is its parent's.

    run A        1 ────────── 20 ────────── 40
    branch B                   └─ 21 ─ 30          lineage of B: 1–20 of A, 21–30 of B

A parent that has been deleted is missing, and the run begins where it branched off.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa

from explorer.recording.checkpoints import checkpoint_updates
from explorer.recording.columns import column
from explorer.recording.folder import RecordingError
from explorer.recording.shelf import Entry, Shelf
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording

#: More branches upon branches than anybody makes; two runs that name each other as parent end here too.
MAX_DEPTH = 50


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """A run and the runs that it came from.

    Attributes:
        recording: the whole line as one recording: every update from the first that is still there.
        own: the run's own recording.
        states: ``{update: folder}`` of every checkpoint on the line, by update.
        parent: the recording that it branched off, with that one's own past; None where it is no branch, or the parent
            is gone.
        branched: after which update, 0 where it is no branch.
    """

    recording: Recording
    own: Recording
    states: dict[int, Path]
    parent: Recording | None = None
    branched: int = 0


def line_of(shelf: Shelf, entry: Entry, depth: int = MAX_DEPTH) -> Line:
    """A run of the shelf with its past. Raises RecordingError where it, or a parent, is damaged."""
    own = Recording.load(entry.folder)
    states = dict.fromkeys(checkpoint_updates(entry.folder), entry.folder)
    branched, parent = _parent(shelf, entry) if depth else (0, None)
    if parent is None:
        return Line(recording=own, own=own, states=states, branched=branched)
    past = line_of(shelf, parent, depth - 1)
    earlier = {update: folder for update, folder in past.states.items() if update <= branched}
    return Line(
        recording=joined(past.recording, branched, own),
        own=own,
        states=dict(sorted((earlier | {n: f for n, f in states.items() if n > branched or n not in earlier}).items())),
        parent=past.recording,
        branched=branched,
    )


def until(recording: Recording, last: int) -> Recording:
    """A recording without its updates after ``last``; nothing is read or copied."""
    nothing = Recording(info=recording.info, metrics=recording.metrics.slice(0, 0), configs={}, updates=[], read=_none)
    return joined(recording, last, nothing)


def joined(past: Recording, last: int, branch: Recording) -> Recording:
    """The updates of ``past`` up to ``last``, then those of ``branch``, as one recording; nothing is read or copied."""
    before = past.metrics.slice(0, int(np.searchsorted(column(past.metrics, "update"), last, side="right")))
    metrics = pa.concat_tables([before, branch.metrics], promote_options="default").combine_chunks()
    kept = [update for update in past.updates if update <= last]

    def read(update: int) -> Snapshot:
        return past.at(update) if update <= last else branch.at(update)

    configs = {update: config for update, config in past.configs.items() if update <= last} | branch.configs
    return Recording(
        info=branch.info,
        metrics=metrics,
        configs=configs,
        updates=[*kept, *branch.updates],
        read=read,
        name=branch.name,
    )


def _none(update: int) -> Snapshot:
    raise KeyError(update)


def _parent(shelf: Shelf, entry: Entry) -> tuple[int, Entry | None]:
    """After which update a run branched off, and from which run; None where that is not there any more."""
    if entry.parent is None:
        return 0, None
    run, update = entry.parent.get("id"), entry.parent.get("update")
    if not isinstance(run, str) or type(update) is not int or update < 0:
        raise RecordingError(f"'{entry.folder}' does not say which run it branched off: restore its run.json.")
    try:
        return update, shelf.find(run)
    except RecordingError:
        return update, None
