"""The shelf as a tree, and the words for where a branch parts, in plain values that can be sent."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from explorer.config import Config
from explorer.ppo.policy import Policy
from explorer.ppo.records import Credit, Epoch, Rollout
from explorer.recording.branches import Parting, parting_of
from explorer.recording.shelf import Entry, Shelf
from explorer.session.session import Session
from explorer.text import labels
from explorer.views import runs as runs_view
from explorer.views.runs import rows, runs_picture


def entry(run: str, parent: str = "", **more: object) -> Entry:
    came = {"id": parent, "update": 3, "changed": {"clip_range": [0.2, 0.1]}} if parent else None
    return Entry(id=run, folder=Path("shelf") / run, created=f"2026-11-0{len(run)}T10:00:00+00:00", parent=came, **more)  # type: ignore[arg-type]


def drawn(*entries: Entry) -> list[tuple[str, int]]:
    return [(row["key"], row["depth"]) for row in rows(entries)]


def test_a_branch_stands_below_its_parent_and_the_newest_first() -> None:
    found = (entry("newest"), entry("b2", "a"), entry("b1", "a"), entry("c", "b1"), entry("a"))
    assert drawn(*found) == [("newest", 0), ("a", 0), ("b2", 1), ("b1", 1), ("c", 2)]


def test_a_branch_whose_parent_is_gone_stands_alone() -> None:
    assert drawn(entry("b", "lost"), entry("a")) == [("b", 0), ("a", 0)]


def test_runs_that_name_each_other_as_parent_are_there_once() -> None:
    assert sorted(key for key, _ in drawn(entry("a", "b"), entry("b", "a"), entry("c", "c"))) == ["a", "b", "c"]


def test_seeds_stand_below_their_grid_in_their_order() -> None:
    seeds = [entry(f"s{n}", grid="g", seed=n, megabytes=2.5) for n in (2, 0, 1)]
    found = list(rows([*seeds, entry("branch", "s0"), entry("alone")]))
    assert [row["key"] for row in found] == ["g", "s0", "branch", "s1", "s2", "alone"]
    assert (found[0]["grid"], found[0]["megabytes"], found[0]["depth"]) == (3, 7.5, 0)
    assert [row["depth"] for row in found[1:]] == [1, 2, 1, 1, 0]


def test_a_damaged_run_keeps_its_row_and_says_why() -> None:
    damaged = Entry(id="", folder=Path("shelf/2026_x"), name="2026_x", problem="it is damaged")
    (row,) = rows([damaged])
    assert (row["key"], row["name"], row["problem"], row["score"]) == ("2026_x", "2026_x", "it is damaged", None)


@pytest.mark.parametrize("changed", [None, 3, {"clip_range": 3}, {"clip_range": [1, 2, 3]}, {"a": [{}, []]}])
def test_what_a_hostile_file_says_of_its_parent_can_still_be_sent(changed: object) -> None:
    strange = Entry(id="x", folder=Path("x"), parent={"id": ["?"], "update": 2, "changed": changed})
    (row,) = rows([strange])
    json.dumps(row)
    assert row["from"]["update"] == 2
    assert next(iter(rows([dataclasses.replace(strange, parent={"update": "2"})])))["from"] is None


def test_every_number_in_which_runs_can_part_has_a_name() -> None:
    named = labels("en")["ui"]["runs"]["numbers"]
    for record in (Rollout, Credit, Epoch):
        arrays = [field.name for field in dataclasses.fields(record) if field.type not in ("float", float)]
        missing = [name for name in arrays if name not in named and not name.endswith("_components")]
        assert not missing, record


@pytest.fixture
def session(make_tiny_policy: Callable[[], Policy], tiny_config: Config, tmp_path: Path) -> Session:
    shelf = Shelf(tmp_path / "shelf", checkpoint_every=2)
    return Session(make_tiny_policy(), tiny_config, prompts=["The cat", "Lily"], threaded=False, shelf=shelf)


def test_the_run_on_screen_is_as_it_is_now(session: Session) -> None:
    session.train(3)
    session.library.refresh()
    session.train(2)  # the shelf was read two updates ago
    picture = runs_picture(session)
    json.dumps(picture)
    (row,) = picture["runs"]
    assert (row["id"], row["updates"]) == (picture["run"], 5)
    assert row["score"] == pytest.approx(session.history.series("objective/score")[1][-1])
    assert (picture["states"], picture["branch"], picture["parting"], picture["behind"]) == (
        [0, 2, 3, 4, 5],
        None,
        None,
        "",
    )


def test_the_newest_notes_come_first_and_the_rest_are_counted(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runs_picture(session)["notes"] == {"found": [], "total": 0, "damage": "", "open": False}
    session.train(2)
    for nth in range(4):
        session.library.note(1 + nth % 2, f"note {nth}", response=nth % 2 or None)
    monkeypatch.setattr(runs_view, "NOTES_SHOWN", 3)
    notes = runs_picture(session)["notes"]
    json.dumps(notes)
    assert (notes["total"], notes["open"]) == (4, True)
    assert [note["label"] for note in notes["found"]] == ["note 3", "note 2", "note 1"]
    assert notes["found"][0] == {"update": 2, "response": 1, "token": None, "label": "note 3", "text": ""}


def test_a_branch_says_what_was_changed_and_where_it_parts(session: Session) -> None:
    session.train(4)
    first = session.runs.run
    session.runs.rewind(2)
    session.set(temperature=0.7)
    session.train(1)
    session.library.refresh()
    picture = runs_picture(session)
    json.dumps(picture)
    assert picture["branch"]["changed"] == [["temperature", 1.0, 0.7]]
    assert (picture["branch"]["update"], picture["branch"]["known"]) == (2, True)
    assert picture["behind"] == first
    # Another temperature acts on the very first number that is drawn.
    assert (picture["parting"]["update"], picture["parting"]["stage"]) == (3, "sample")
    assert [(row["key"], row["depth"]) for row in picture["runs"]] == [(first, 0), (session.runs.run, 1)]
    assert picture["runs"][1]["from"] == {"update": 2, "changed": [["temperature", 1.0, 0.7]]}


def test_back_from_a_branch_to_its_parent_has_the_parents_settings_and_curves(session: Session) -> None:
    session.train(4)
    first = session.runs.run
    session.runs.rewind(2)
    session.set(temperature=0.7)
    session.train(2)
    session.runs.rewind(2)
    assert session.config.temperature == 1.0
    session.train(2)
    session.library.refresh()
    picture = runs_picture(session)
    assert (picture["branch"]["changed"], picture["parting"], picture["behind"]) == ([], None, first)
    assert [row["depth"] for row in picture["runs"]] == [0, 1, 1]


def test_tokens_that_part_are_told_as_words(session: Session) -> None:
    session.train(1)
    one = session.history.at(1)
    assert one is not None
    ids = one.rollout.response_ids.copy()
    ids[0, 0] += 1
    tokens = [list(response) for response in one.tokens.responses]
    tokens[0][0] = " other"
    child = dataclasses.replace(
        one,
        rollout=dataclasses.replace(one.rollout, response_ids=ids),
        tokens=dataclasses.replace(one.tokens, responses=tuple(map(tuple, tokens))),
    )
    session.runs.parting = parting_of(one, child)
    found = runs_picture(session)["parting"]
    assert (found["quantity"], found["response"], found["token"]) == ("response_ids", 0, 0)
    assert found["words"] == [one.tokens.responses[0][0], " other"]


def test_a_stopped_grid_goes_on_in_its_folder_and_another_one_has_its_own(session: Session) -> None:
    session.library.start_seeds(1, 2)
    session.grid.progress = {**session.grid.progress, "state": "stopped"}
    session.library.start_seeds(2, 2)
    folders = {path.name for path in session.library.shelf.root.iterdir()}
    assert len(folders) == 1
    session.grid.progress = {**session.grid.progress, "state": "stopped"}
    session.set(clip_range=0.1)
    session.library.start_seeds(1, 2)
    assert session.error == {}
    assert len(list(session.library.shelf.root.iterdir())) == 2


def test_numbers_that_are_none_can_be_sent(session: Session) -> None:
    session.runs.parting = Parting(
        update=1, stage="metrics", quantity="x", response=None, token=None, parent=float("nan"), child=float("inf")
    )
    found = runs_picture(session)["parting"]
    assert (found["parent"], found["child"]) == ("nan", "inf")
    json.dumps(found, allow_nan=False)


def test_without_a_shelf_there_is_nothing_to_show(make_tiny_policy: Callable[[], Policy], tiny_config: Config) -> None:
    assert runs_picture(Session(make_tiny_policy(), tiny_config, threaded=False)) == {}
