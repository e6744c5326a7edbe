"""A branch with its past as one line: whatever its parents have become, no update is lost, doubled or made up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from explorer.recording.checkpoints import checkpoint_path
from explorer.recording.folder import RecordingError
from explorer.recording.history import History
from explorer.recording.lineage import MAX_DEPTH, Line, line_of, until
from explorer.recording.shelf import Entry, Shelf
from explorer.recording.storage import Recording, RunWriter
from tests.learned import learned

Record = Callable[..., Entry]


def rewrite(entry: Entry, **changes: Any) -> None:
    path = entry.folder / "run.json"
    content = json.loads(path.read_text())
    content["info"].update(changes)
    path.unlink()
    path.write_text(json.dumps(content))


def line(shelf: Shelf, entry: Entry) -> Line:
    return line_of(shelf, shelf.find(entry.id))


@pytest.fixture
def family(record: Record) -> list[Entry]:
    """A run of four updates, a branch of its second with three, and a branch of that one's third with two."""
    first = record("a", 4)
    second = record("b", 3, came_from=(first, 2), clip_range=0.3)
    return [first, second, record("c", 2, came_from=(second, 3), epochs=1)]


def test_a_branch_of_a_branch_is_one_line(shelf: Shelf, family: list[Entry]) -> None:
    a, b, c = (Recording.load(entry.folder) for entry in family)
    found = line(shelf, family[2])
    whole = found.recording
    parts = [a.at(1), a.at(2), b.at(3), c.at(4), c.at(5)]
    assert learned(list(whole)) == learned(parts)
    assert whole.updates == whole.metrics.column("update").to_pylist() == [1, 2, 3, 4, 5]
    assert whole.metrics.column("objective/score").to_pylist() == [part.metrics["objective/score"] for part in parts]
    assert [whole.config_at(n) for n in whole.updates] == [part.config for part in parts]
    assert [whole.config_at(n).clip_range for n in whole.updates] == [0.2, 0.2, 0.3, 0.3, 0.3]
    assert whole.info == c.info
    assert (found.branched, found.runs) == (3, tuple(entry.id for entry in reversed(family)))
    assert learned(list(found.own)) == learned(list(c))
    assert found.parent is not None
    assert learned(list(found.parent)) == learned([a.at(1), a.at(2), *b])
    with pytest.raises(KeyError):
        whole.at(6)


def test_the_states_are_those_of_the_run_in_which_each_update_was_made(shelf: Shelf, family: list[Entry]) -> None:
    a, b, c = (entry.folder for entry in family)
    assert line(shelf, family[2]).states == {0: a, 1: a, 2: a, 3: b, 4: c, 5: c}
    checkpoint_path(a, 2).unlink()  # thinned out: the branch has kept where it began
    checkpoint_path(b, 3).unlink()
    assert line(shelf, family[2]).states == {0: a, 1: a, 2: b, 3: c, 4: c, 5: c}
    checkpoint_path(c, 9).write_bytes(b"of an update that has not happened")
    assert list(line(shelf, family[2]).states) == [0, 1, 2, 3, 4, 5]


def test_a_run_that_is_no_branch_is_its_own_line(shelf: Shelf, family: list[Entry]) -> None:
    found = line(shelf, family[0])
    assert learned(list(found.recording)) == learned(list(Recording.load(family[0].folder)))
    assert (found.parent, found.branched, found.runs) == (None, 0, (family[0].id,))


@pytest.mark.parametrize("harm", ["deleted", "damaged", "half damaged"])
def test_a_parent_that_is_gone_leaves_the_branch_where_it_begins(shelf: Shelf, family: list[Entry], harm: str) -> None:
    parent = family[1].folder
    if harm == "deleted":
        shutil.rmtree(parent)
    elif harm == "damaged":
        (parent / "run.json").unlink()
        (parent / "run.json").write_text("{")
    else:
        content = json.loads((parent / "run.json").read_text())
        (parent / "run.json").unlink()
        (parent / "run.json").write_text(json.dumps({**content, "configs": []}))
    found = line(shelf, family[2])
    assert found.recording.updates == [4, 5]
    assert (found.parent, found.branched, list(found.states)) == (None, 3, [3, 4, 5])
    history = History(recorded=found.recording)
    assert (history.updates, history.at(4).update) == ([4, 5], 4)


def test_two_runs_that_name_each_other_are_each_read_once(
    shelf: Shelf, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = record("a", 3), record("b", 3)
    rewrite(a, parent={"id": b.id, "update": 2, "changed": {}})
    rewrite(b, parent={"id": a.id, "update": 2, "changed": {}})
    loaded: list[str] = []
    load = Recording.load

    def counted(path: Any) -> Recording:
        loaded.append(path.name)
        return load(path)

    monkeypatch.setattr(Recording, "load", counted)
    found = line(shelf, a)
    assert sorted(loaded) == ["a", "b"]
    assert found.recording.updates == [1, 2, 3]
    assert found.recording.metrics.column("update").to_pylist() == [1, 2, 3]  # its own, and none twice
    assert learned(list(found.recording)) == learned(list(load(a.folder)))
    rewrite(a, parent={"id": a.id, "update": 2, "changed": {}})
    assert line(shelf, a).recording.updates == [1, 2, 3]


def test_a_long_row_of_branches_ends(shelf: Shelf) -> None:
    names = [f"{n:08x}" for n in range(1, MAX_DEPTH + 20)]
    for before, run in zip(["", *names], names, strict=False):
        parent = {"parent": {"id": before, "update": 0, "changed": {}}} if before else {}
        RunWriter(shelf.root / f"run_{run}", {"id": run, **parent}).close()
    found = line_of(shelf, shelf.find(names[-1]))
    assert len(found.runs) == MAX_DEPTH
    assert found.recording.updates == []


@pytest.mark.parametrize(
    "parent",
    [{}, {"id": 5, "update": 1}, {"id": "0123456789"}, {"id": "0123456789", "update": -1}, {"id": None, "update": 1},
     {"id": "0123456789", "update": True}, {"id": "0123456789", "update": "1"}],
)  # fmt: skip
def test_a_parent_of_the_wrong_types_is_told(shelf: Shelf, record: Record, parent: dict[str, Any]) -> None:
    run = record("a", 1)
    rewrite(run, parent=parent)
    with pytest.raises(RecordingError, match="does not say which run it branched off: restore its run.json"):
        line(shelf, run)


@pytest.mark.parametrize("run", ["../../x", "/etc", "", "x" * 10_000])
def test_a_parent_that_is_a_path_is_not_followed(shelf: Shelf, record: Record, run: str) -> None:
    entry = record("a", 1)
    rewrite(entry, parent={"id": run, "update": 1})
    assert line(shelf, entry).parent is None


def test_a_recording_until_an_update(shelf: Shelf, family: list[Entry]) -> None:
    whole = line(shelf, family[2]).recording
    for last in (0, 1, 3, 4, 5, 9):
        part = until(whole, last)
        kept = [n for n in (1, 2, 3, 4, 5) if n <= last]
        assert part.updates == part.metrics.column("update").to_pylist() == kept
        assert learned(list(part)) == learned(list(whole))[: len(kept)]
        assert [part.config_at(n) for n in kept] == [whole.config_at(n) for n in kept]
    with pytest.raises(KeyError):
        until(whole, 3).at(4)
    assert len(whole) == 5
