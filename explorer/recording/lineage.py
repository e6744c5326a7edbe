"""A branch together with what it branched off: its recording holds only its own updates, its past is its parent's.

    run A        1 ────────── 20 ────────── 40
    branch B                   └─ 21 ─ 30          lineage of B: 1–20 of A, 21–30 of B

A parent that has been deleted, or is damaged, is missing, and the run begins where it branched off.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa

from explorer.recording.columns import column
from explorer.recording.folder import RecordingError
from explorer.recording.labels import Label, read_labels
from explorer.recording.origin import states_of
from explorer.recording.shelf import Entry, Shelf
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording

#: More branches upon branches than anybody makes.
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
        runs: the ids of the run and of those before it, the newest first.
    """

    recording: Recording
    own: Recording
    states: dict[int, Path]
    parent: Recording | None = None
    branched: int = 0
    runs: tuple[str, ...] = ()


def line_of(shelf: Shelf, entry: Entry, later: tuple[str, ...] = ()) -> Line:
    """A run of the shelf with its past.

    Args:
        shelf: where it and its parents are.
        entry: the run.
        later: the ids of the runs that came from it, on the way to which it is asked for.

    Raises:
        RecordingError: the run is damaged.
    """
    own, runs = Recording.load(entry.folder), (*later, entry.id)
    states = dict.fromkeys(states_of(entry.folder, own), entry.folder)
    branched, past = _past(shelf, entry, runs)
    if past is None:
        return Line(recording=own, own=own, states=states, branched=branched, runs=runs)
    earlier = {update: folder for update, folder in past.states.items() if update <= branched}
    return Line(
        recording=joined(past.recording, branched, own),
        own=own,
        states=dict(sorted((earlier | {n: f for n, f in states.items() if n > branched or n not in earlier}).items())),
        parent=past.recording,
        branched=branched,
        runs=past.runs,
    )


def labels_of(shelf: Shelf, entry: Entry, later: tuple[str, ...] = ()) -> list[Label]:
    """The notes on a run and on the updates that it has from the runs before it, as far as those are still there.

    Args:
        shelf: where it and its parents are.
        entry: the run.
        later: the ids of the runs that came from it, on the way to which it is asked for.

    Raises:
        RecordingError: the run's own notes are damaged.
    """
    own, runs, parent = list(read_labels(entry.folder)), (*later, entry.id), entry.parent or {}
    run, update = parent.get("id"), parent.get("update")
    if not isinstance(run, str) or type(update) is not int or run in runs or len(runs) >= MAX_DEPTH:
        return own
    try:
        past = labels_of(shelf, shelf.find(run), runs)
    except RecordingError:
        past = []
    return [*(label for label in past if label.update <= update), *own]


def add_label_to_line(shelf: Shelf, entry: Entry, label: Label, later: tuple[str, ...] = ()) -> Label:
    """Note something on an update of a run, or on one that it has from the runs before it: with the run that made it.

    Args:
        shelf: where it and its parents are.
        entry: the run.
        label: the note.
        later: the ids of the runs that came from it, on the way to which it is asked for.

    Raises:
        ValueError: no such update, response or token is recorded.
        RecordingError: the run that made it is gone, or its folder takes no more.
    """
    own, runs, parent = Recording.load(entry.folder), (*later, entry.id), entry.parent or {}
    if label.update in own.metrics.column("update").to_pylist():
        return own.add_label(label.update, label.label, label.text, response=label.response, token=label.token)
    run, update = parent.get("id"), parent.get("update")
    if not isinstance(run, str) or type(update) is not int or run in runs or label.update > update:
        raise ValueError(f"Update {label.update} is not recorded, so that nothing can be noted on it: choose another.")
    return add_label_to_line(shelf, shelf.find(run), label, runs)


def until(recording: Recording, last: int) -> Recording:
    """A recording without its updates after ``last``; nothing is read or copied."""
    nothing = Recording(info=recording.info, metrics=recording.metrics.slice(0, 0), configs={}, updates=[], read=_none)
    return joined(recording, last, nothing)


def joined(past: Recording, last: int, branch: Recording) -> Recording:
    """The updates of ``past`` up to ``last``, then those of ``branch``, as one recording; nothing is read or copied."""
    if branch.metrics.num_rows:  # whatever it says of where it branched off, no update happens twice
        last = min(last, int(column(branch.metrics, "update")[0]) - 1)
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


def _past(shelf: Shelf, entry: Entry, runs: tuple[str, ...]) -> tuple[int, Line | None]:
    """After which update a run branched off, and from what; None where that is not there any more, or comes from it."""
    if entry.parent is None:
        return 0, None
    run, update = entry.parent.get("id"), entry.parent.get("update")
    if not isinstance(run, str) or type(update) is not int or update < 0:
        raise RecordingError(f"'{entry.folder}' does not say which run it branched off: restore its run.json.")
    if run in runs or len(runs) >= MAX_DEPTH:
        return update, None
    try:
        return update, line_of(shelf, shelf.find(run), runs)
    except RecordingError:
        return update, None
