"""Runs and grids that lie in folders of their own: shown from there, never copied, never deleted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from explorer.config import Config
from explorer.ppo.policy import Policy
from explorer.recording.claim import Claim
from explorer.recording.folder import RecordingError
from explorer.recording.lineage import line_of
from explorer.recording.shelf import Entry, Shelf
from explorer.recording.storage import Recording
from explorer.seed_grid import SeedGrid
from tests.conftest import TINY_PROMPTS
from tests.recording.test_shelf import everything

Record = Callable[..., Entry]


@pytest.fixture
def outside(shelf: Shelf, record: Record, tmp_path: Path) -> Path:
    """A run of two updates in a folder of its own, and another that stays on the shelf."""
    record("stays", 1)
    run = record("mine", 2, seed=5).folder
    return run.rename(tmp_path / "mine")


@pytest.fixture
def grid(make_tiny_policy: Callable[[], Policy], tiny_config: Config, tmp_path: Path) -> Path:
    root = tmp_path / "grid"
    list(SeedGrid(tiny_config, range(2), 1, root, policy=make_tiny_policy(), prompts=TINY_PROMPTS).steps())
    return root


def test_a_run_is_shown_from_its_own_folder(shelf: Shelf, outside: Path) -> None:
    before = everything(outside)
    (found,) = shelf.include(outside)
    assert (found.updates, found.seed, found.folder) == (2, 5, outside)
    for again in (shelf, Shelf(shelf.root)):  # and after the page has been left
        assert {entry.folder.name: entry.outside for entry in again.entries()} == {"stays": False, "mine": True}
        assert again.find(found.id).folder == outside
        assert line_of(again, again.find(found.id)).recording.updates == [1, 2]
    shelf.include(str(outside))
    assert json.loads((shelf.root / "elsewhere.json").read_text()) == [str(outside)]
    shelf.rename(found.id, "yours")
    assert shelf.find(found.id).name == "yours"
    (outside / "name.txt").unlink()
    assert everything(outside) == before


def test_deleting_it_takes_it_off_the_list_alone(shelf: Shelf, outside: Path) -> None:
    (found,) = shelf.include(outside)
    before = everything(outside)
    shelf.delete(found.id)
    assert [entry.folder.name for entry in shelf.entries()] == ["stays"]
    assert everything(outside) == before


def test_a_grid_is_shown_too(shelf: Shelf, outside: Path, grid: Path) -> None:
    found = shelf.include(grid)
    assert [(entry.seed, entry.folder) for entry in found] == [(n, grid / f"seed-00{n}") for n in (0, 1)]
    assert {entry.grid for entry in shelf.entries() if entry.outside} == {str(grid)}
    before = everything(grid)
    shelf.delete(str(grid))
    assert [entry.folder.name for entry in shelf.entries()] == ["stays"]
    assert everything(grid) == before


def test_a_grid_of_the_shelf_is_deleted_as_one(shelf: Shelf, record: Record, grid: Path) -> None:
    record("stays", 1)
    grid.rename(shelf.root / "2026_seeds")
    claim = Claim(shelf.root / "2026_seeds" / "seed-001")
    with pytest.raises(RecordingError, match="is being written to"):
        shelf.delete("2026_seeds")
    assert len(shelf.entries()) == 3
    claim.release()
    shelf.delete("2026_seeds")
    assert [path.name for path in shelf.root.iterdir()] == ["stays"]
    with pytest.raises(RecordingError, match="There is no run"):
        shelf.delete("2026_seeds")


@pytest.mark.parametrize("folder", ["", " ", "none", "a\0b", "notes"])
def test_what_is_no_run_is_not_shown(
    shelf: Shelf, tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes").mkdir()
    with pytest.raises(RecordingError, match="no folder|holds no recorded run"):
        shelf.include(folder)
    assert not shelf.root.exists()


def test_a_damaged_run_and_a_copy_are_not_shown(shelf: Shelf, record: Record, tmp_path: Path) -> None:
    kept = record("kept", 1)
    copy = shelf.save(kept.id, tmp_path / "copy")
    with pytest.raises(RecordingError, match="is a copy of"):
        shelf.include(copy)
    (entry,) = shelf.include(kept.folder)  # by its path, what is here is here
    assert entry.id == kept.id and not (shelf.root / "elsewhere.json").exists()
    (copy / "run.json").write_text("{")
    with pytest.raises(RecordingError, match="is damaged"):
        shelf.include(copy)


@pytest.mark.parametrize(
    "content", ["{", "[1, null]", '{"a": 1}', '["relative", "/none", "a\\u0000b"]', "[" * 100_000], ids=range(5)
)
def test_a_list_that_is_damaged_hides_nothing_else(shelf: Shelf, outside: Path, content: str) -> None:
    (shelf.root / "elsewhere.json").write_text(content)
    assert [entry.folder.name for entry in shelf.entries()] == ["stays"]
    shelf.include(outside)
    assert len(shelf.entries()) == 2
    shutil.rmtree(outside)
    assert [entry.folder.name for entry in shelf.entries()] == ["stays"]


def test_names_that_no_system_takes_are_refused_in_words(shelf: Shelf, record: Record) -> None:
    with pytest.raises(RecordingError, match="There is no folder"):
        Recording.load("a\0b")
    with pytest.raises(RecordingError, match="There is no run '3'"):
        shelf.find(3)  # type: ignore[arg-type]
    entry = record("one", 1)
    with pytest.raises(RecordingError, match="cannot be the name"):
        Recording.load(entry.folder).save("a\0b")
    with pytest.raises(RecordingError, match="Say where"):
        shelf.save(entry.id, "a\0b")
