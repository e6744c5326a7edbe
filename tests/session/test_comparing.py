"""Where a branch parts is looked for once, beside everything else, and what was found is kept in its folder."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from explorer.recording.branches import Parting, parting, parting_in
from explorer.recording.parted import Parted, read_parted, write_parted
from explorer.recording.shelf import Shelf
from explorer.recording.storage import Recording
from explorer.session import comparing as comparing_module
from explorer.session.comparing import Comparing, compare
from explorer.session.session import Session

if TYPE_CHECKING:
    from tests.session.conftest import MakeSession

Pair = tuple[Session, Shelf, Recording, Recording]


@pytest.fixture
def branch(make_session: Callable[..., Session], tmp_path: Path) -> Callable[..., Pair]:
    """``branch(clip_range=...)``: a run of 6 updates, and one of 5 more that left it after the second."""

    def make(**changes: Any) -> Pair:
        shelf = Shelf(tmp_path / "shelf", checkpoint_every=1)
        session = make_session(shelf=shelf)
        session.train(6)
        parent = session.runs.run
        session.runs.rewind(2)
        session.train(2)
        if changes:
            session.set(**changes)
        session.train(3)
        child = session.runs.run
        session.close()
        runs = [Recording.load(shelf.find(run).folder) for run in (parent, child)]
        return session, shelf, runs[0], runs[1]

    return make


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The updates that are compared from here on."""
    compared: list[int] = []

    def counting(parent: Recording, child: Recording, update: int) -> Parting | None:
        compared.append(update)
        return parting_in(parent, child, update)

    monkeypatch.setattr(comparing_module, "parting_in", counting)
    return compared


def test_a_branch_that_has_not_parted_is_compared_once_and_only_what_is_new_after_that(
    branch: Callable[..., Pair], make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, shelf, parent, child = branch()
    compared = counted(monkeypatch)
    for expected in ([3, 4, 5, 6], []):  # the parent has no more than six
        compared.clear()
        session = make_session(shelf=shelf)
        session.runs.open(child.info["id"])
        assert session.runs.parting is None
        assert compared == expected
        session.close()
    assert child.folder is not None
    assert read_parted(child.folder, parent.info["id"]) == Parted(parent=parent.info["id"], compared=6)


def test_where_a_branch_parts_is_told_after_opening_and_at_once_the_next_time(
    branch: Callable[..., Pair], make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, shelf, parent, child = branch(clip_range=0.01)
    compared = counted(monkeypatch)
    found = parting(parent, child)
    assert found is not None
    assert found.update == 5
    for expected in ([3, 4, 5], []):
        compared.clear()
        session = make_session(shelf=shelf)
        session.runs.open(child.info["id"])
        assert session.runs.parting == found
        assert compared == expected
        session.train(1)  # beyond the parent's end
        assert session.runs.parting == found
        session.close()


def test_it_is_stopped_between_two_updates_and_goes_on_from_there(
    branch: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, parent, child = branch()
    compared, run = counted(monkeypatch), parent.info["id"]
    assert compare(child, run, parent, lambda: len(compared) == 2).compared == 4
    assert compared == [3, 4]
    assert compare(child, run, parent).compared == 6
    assert compared == [3, 4, 5, 6]


def test_a_thread_that_was_ended_tells_nothing_and_holds_nobody_up(
    branch: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, parent, child = branch(clip_range=0.01)
    entered, gate, done, told = threading.Event(), threading.Event(), threading.Event(), []

    def held(*runs: Any) -> Parting | None:
        entered.set()
        assert gate.wait(30)
        return parting_in(*runs)

    def last(*arguments: Any) -> None:
        done.set()

    monkeypatch.setattr(comparing_module, "parting_in", held)
    monkeypatch.setattr(comparing_module, "write_parted", last)
    comparing = Comparing()
    comparing.begin(child, parent.info["id"], parent, told.append)
    assert entered.wait(30)
    comparing.end()
    gate.set()
    assert done.wait(30)
    ended = [thread for thread in threading.enumerate() if thread.name == "ppo-explorer-comparing"]
    for thread in ended:
        thread.join(30)
    assert told == []


FOUND = Parting(
    update=3, stage="sample", quantity="response_ids", response=1, token=2, parent=7, child=9, words=(" a", " b")
)


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    for known in (
        Parted(parent="0123", compared=3, parting=FOUND),
        Parted(parent="0123", compared=8),
        Parted(parent="0123"),
    ):
        write_parted(tmp_path, known)
        assert read_parted(tmp_path, "0123") == known
        assert read_parted(tmp_path, "4567") == Parted(parent="4567")  # of another parent nothing is known


@pytest.mark.parametrize(
    "change",
    [
        *({"compared": "9"}, {"compared": -1}, {"compared": True}, {"parting": []}, {"parting": {"update": 3}}),
        *({"parting": {**vars(FOUND), "stage": 7}}, {"parting": {**vars(FOUND), "words": [1, 2]}}, {"parent": None}),
        {"parting": {**vars(FOUND), "parent": "<b>"}},
    ],
    ids=str,
)
def test_what_is_not_as_it_was_written_is_found_anew(tmp_path: Path, change: dict[str, Any]) -> None:
    content = {"parent": "0123", "compared": 5, "parting": None, **change}
    (tmp_path / "parting.json").write_text(json.dumps(content))
    assert read_parted(tmp_path, "0123") == Parted(parent="0123")
    for text in ("", "[]", "{", "x" * 20_000, "[" * 9_000):
        (tmp_path / "parting.json").write_text(text)
        assert read_parted(tmp_path, "0123") == Parted(parent="0123")
