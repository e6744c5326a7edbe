"""What is on screen of the shelf: which run, where it comes from, and all that is to come back where opening fails."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from explorer.config import Config
from explorer.recording.branches import Parting
from explorer.recording.history import History
from explorer.recording.lineage import Line
from explorer.recording.shelf import Entry
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording
from explorer.session.behind import Behind


@dataclass(frozen=True, kw_only=True, eq=False)
class Branch:
    """Where the run on screen comes from.

    Attributes:
        run: the id of its parent.
        update: after which update it branched off.
        changed: ``{knob: [before, after]}`` as recorded; empty until its first update is there.
        parent: the parent with its own past; None where it is gone.
    """

    run: str
    update: int
    changed: Mapping[str, Any]
    parent: Recording | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """Which run is on screen.

    Attributes:
        run: its id; empty where it has no folder.
        states: the updates that it can go back to, ascending.
        branch: where it comes from; None where it is no branch.
        parting: where it first differs from its parent; None as long as it does not.
        runs: the ids of the runs whose updates are on screen: its own and those that it came from.
    """

    run: str = ""
    states: tuple[int, ...] = ()
    branch: Branch | None = None
    parting: Parting | None = None
    runs: frozenset[str] = frozenset()

    def begun(self, run: str, parent: Mapping[str, Any] | None, recording: Recording | None) -> Place:
        """The same run when it has its folder; ``recording`` is what it came from, where that is known."""
        if run == self.run:
            return self
        if parent is None:
            return Place(run=run, runs=frozenset({run}))
        branch = Branch(run=parent["id"], update=parent["update"], changed=parent["changed"], parent=recording)
        return Place(run=run, states=self.states, branch=branch, runs=self.runs | {run})

    def parted(self, found: Parting) -> Place:
        """The same run when it is known to part from its parent; the earlier place counts."""
        known = self.parting
        return self if known is not None and known.update <= found.update else dataclasses.replace(self, parting=found)

    def keeping(self, own: tuple[int, ...]) -> Place:
        """The same run when its folder keeps these states; those of before it branched off are its parent's."""
        earlier = [update for update in self.states if self.branch is not None and update < own[0]]
        return dataclasses.replace(self, states=(*earlier, *own))


@dataclass(frozen=True, kw_only=True, eq=False)
class Before:
    """All that was on screen before another run was opened."""

    place: Place
    history: History
    live: bool
    waiting: bool
    config: Config
    preset: str
    behind: Behind | None
    parent_behind: Behind | None

    def with_update(self, snapshot: Snapshot) -> Before:
        """With an update that has ended since."""
        shown = self
        if self.waiting:  # a recorded run was on screen only until then
            shown = dataclasses.replace(self, history=History(), live=True, waiting=False)
        shown.history.append(snapshot)
        return shown


def branch_of(entry: Entry, line: Line) -> Branch | None:
    """Where a recorded run comes from; None where it is no branch."""
    if entry.parent is None:
        return None
    changed = entry.parent.get("changed")
    told = changed.items() if isinstance(changed, dict) else ()
    return Branch(
        run=str(entry.parent["id"]),
        update=line.branched,
        changed={name: values for name, values in told if isinstance(values, list) and len(values) == 2},
        parent=line.parent,
    )


def last_update(recording: Recording) -> int:
    """The number of a recording's last update. It has one."""
    last: int = recording.metrics.column("update")[-1].as_py()
    return last
