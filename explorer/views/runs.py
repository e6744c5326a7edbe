"""The runs in plain values: the shelf as a tree, the run on screen, and where a branch parts from its parent."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from explorer.recording.branches import Parting
from explorer.recording.labels import Label
from explorer.recording.shelf import Entry
from explorer.session.library import called

#: More notes than a panel can list; all of them are in the run's folder.
NOTES_SHOWN = 200


def runs_picture(session: Any) -> dict[str, Any]:
    """What the panel of runs shows; empty where none are recorded.

    folder     where they are
    runs       a row each, a branch below its parent and the seeds below their grid, see ``rows``
    run        the id of the one on screen, "" before its first update
    states     the updates to which that one can go back
    opening    whether its state is still being loaded
    branch     {name, update, changed: [[field, before, after]]} where it is a branch, else None
    parting    where it first differs from its parent, see Parting; None as long as it does not
    grid       see SeedRuns.progress
    behind     the key of the row that lies behind the curves, else ""
    saved      the folder into which a run was last saved
    notes      {found: [{update, response, token, label, text}], total, damage, open}: the newest notes first, how many
               there are, why they cannot be read, and whether one can be added
    """
    library, runs = session.library, session.runs
    if not library.kept:
        return {}
    entries = [_now(entry, session) for entry in library.entries]
    return {
        "folder": str(library.shelf.root),
        "runs": list(rows(entries)),
        "run": runs.run,
        "states": list(runs.states),
        "opening": runs.opening,
        "branch": _branch(runs.branch, entries),
        "parting": _parting(runs.parting),
        "grid": dict(session.grid.progress),
        "behind": "" if session.behind is None else session.behind.key,
        "saved": library.saved,
        "notes": {
            "found": [_note(label) for label in library.notes[: -NOTES_SHOWN - 1 : -1]],
            "total": len(library.notes),
            "damage": library.damage,
            "open": bool(runs.lies_in) and session.live and not session.waiting,
        },
    }


def rows(entries: Iterable[Entry]) -> Iterator[dict[str, Any]]:
    """The shelf as a tree, a row each: ``{key, id, name, preset, seed, updates, score, megabytes, depth, problem}``.

    ``key`` names the row, ``depth`` says how far in it stands, ``from`` after which update a branch begins and what it
    has changed. A grid has a row of its own, without an id.

    Args:
        entries: the newest first; so are the rows that stand beside each other.
    """
    found = list(entries)
    known = {entry.id for entry in found if entry.id}
    below: dict[str, list[Entry]] = {}
    for entry in found:
        parent = str((entry.parent or {}).get("id", ""))
        # A run that says to be its own ancestor would be reached from nowhere.
        below.setdefault(parent if parent in known and parent != entry.id else "", []).append(entry)
    told: set[str] = set()

    def tree(entry: Entry, depth: int) -> Iterator[dict[str, Any]]:
        told.add(str(entry.folder))
        yield _row(entry, depth)
        for branch in below.get(entry.id, []) if entry.id else []:
            if str(branch.folder) not in told:
                yield from tree(branch, depth + 1)

    grids: dict[str, list[Entry]] = {}
    for entry in below.get("", []):
        if entry.grid:
            grids.setdefault(entry.grid, []).append(entry)
    for entry in below.get("", []):
        if not entry.grid:
            yield from tree(entry, 0)
        elif seeds := grids.pop(entry.grid, None):
            size = sum(seed.megabytes for seed in seeds)
            begun = dataclasses.replace(min(seeds, key=lambda seed: seed.created), name="")
            named = {"name": called(begun), "outside": entry.outside}
            yield {"key": entry.grid, "grid": len(seeds), **named, "depth": 0, "megabytes": size}
            for seed in sorted(seeds, key=lambda seed: seed.seed or 0):
                yield from tree(seed, 1)
    for entry in found:  # what only rings of parents lead to
        if str(entry.folder) not in told:
            yield from tree(entry, 0)


def _row(entry: Entry, depth: int) -> dict[str, Any]:
    score = entry.score
    return {
        "key": entry.id or entry.folder.name,
        "id": entry.id,
        "name": called(entry) if entry.id else entry.name,
        "named": bool(entry.name) and bool(entry.id),
        "preset": entry.preset,
        "seed": entry.seed,
        "updates": entry.updates,
        "score": score if score is not None and math.isfinite(score) else None,
        "megabytes": entry.megabytes,
        "depth": depth,
        "in_grid": bool(entry.grid),
        "outside": entry.outside and not entry.grid,
        "from": _from(entry.parent),
        "problem": entry.problem,
    }


def _now(entry: Entry, session: Any) -> Entry:
    """The run on screen as it is now, which may be more than the shelf said when it was read."""
    if entry.id != session.runs.run or not entry.id or not session.live or session.waiting or not len(session.history):
        return entry
    updates, scores = session.history.series("objective/score")
    return dataclasses.replace(entry, updates=int(updates[-1]), score=float(scores[-1]))


def _note(label: Label) -> dict[str, Any]:
    return {name: getattr(label, name) for name in ("update", "response", "token", "label", "text")}


def _branch(branch: Any, entries: Iterable[Entry]) -> dict[str, Any] | None:
    if branch is None:
        return None
    names = {entry.id: called(entry) for entry in entries}
    return {
        "name": names.get(branch.run, ""),
        "update": branch.update,
        "changed": _changes(branch.changed),
        "known": branch.parent is not None,
    }


def _from(parent: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Where a recorded branch comes from, as far as its file says so in the right form."""
    if parent is None or type(parent.get("update")) is not int:
        return None
    return {"update": parent["update"], "changed": _changes(parent.get("changed"))}


def _changes(changed: Any) -> list[list[Any]]:
    """``[[field, before, after]]`` of what a branch says to have changed."""
    if not isinstance(changed, Mapping):
        return []
    pairs = ((str(name)[:40], pair) for name, pair in changed.items() if isinstance(pair, list) and len(pair) == 2)
    return [[name, *map(_plain, pair)] for name, pair in pairs]


def _parting(found: Parting | None) -> dict[str, Any] | None:
    if found is None:
        return None
    values: Mapping[str, Any] = {"parent": found.parent, "child": found.child}
    return {
        "update": found.update,
        "stage": found.stage,
        "quantity": found.quantity,
        "response": found.response,
        "token": found.token,
        "words": None if found.words is None else list(found.words),
        **{
            name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in values.items()
        },
    }


def _plain(value: Any) -> Any:
    """A setting's value as the page shows it: prompts by how many there are, a learnt component by its labels."""
    if isinstance(value, list):
        return len(value)
    if isinstance(value, str) and value.startswith("{") and '"kind": "learned"' in value:
        decided = re.search(r'"decided": (\d{1,9})\b', value)
        return f"learned · {decided[1]}" if decided else "learned"
    return value if isinstance(value, bool | int | float | None) else str(value)[:40]
