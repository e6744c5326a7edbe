"""The shelf: every run on it is found, named, saved and deleted, and nothing else is touched."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from explorer.config import Config
from explorer.headless import Trainer
from explorer.ppo.policy import Policy
from explorer.recording import entry as entry_module
from explorer.recording import folder as folder_module
from explorer.recording import shelf as shelf_module
from explorer.recording.checkpoints import checkpoint_path, checkpoint_updates
from explorer.recording.claim import Claim
from explorer.recording.folder import RecordingError
from explorer.recording.lineage import line_of
from explorer.recording.origin import find_origin
from explorer.recording.shelf import Entry, Shelf
from explorer.recording.storage import Recording, RunWriter
from explorer.seed_grid import SeedGrid
from tests.conftest import TINY_PROMPTS
from tests.learned import learned

Record = Callable[..., Entry]


def rewrite(folder: Path, **changes: Any) -> None:
    """Change what a run says of itself; the file stays the same one, as under an editor that writes in place."""
    path = folder / "run.json"
    content = json.loads(path.read_text())
    content["info"].update(changes)
    with path.open("r+") as file:
        file.truncate()
        file.write(json.dumps(content))


def everything(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


# --- what is there ---


def test_a_shelf_that_is_not_there_is_empty_and_stays_away(shelf: Shelf) -> None:
    assert shelf.entries() == []
    with pytest.raises(RecordingError, match="There is no run '01234567'"):
        shelf.find("01234567")
    assert not shelf.root.exists()


def test_an_entry_says_what_the_run_says(shelf: Shelf, record: Record) -> None:
    entry = record("one", 3, seed=5)
    recording = Recording.load(entry.folder)
    assert (entry.id, entry.created) == (recording.info["id"], recording.info["created"])
    assert (entry.updates, entry.seed, entry.parent, entry.grid, entry.problem) == (3, 5, None, "", "")
    assert entry.score == recording.metrics.column("objective/score")[-1].as_py()
    assert entry.megabytes == pytest.approx(sum(map(len, everything(entry.folder).values())) / 1e6)


def test_the_newest_comes_first(shelf: Shelf, record: Record) -> None:
    for name, created in (("a", "2026-01-02"), ("b", "2026-01-03"), ("c", "2026-01-01")):
        rewrite(record(name, 1).folder, created=f"{created}T00:00:00+00:00")
    assert [entry.folder.name for entry in shelf.entries()] == ["b", "a", "c"]


def test_a_run_before_its_first_update_has_no_score(shelf: Shelf) -> None:
    RunWriter(shelf.root / "run", {"id": "0123456789"}).close()
    (entry,) = shelf.entries()
    assert (entry.updates, entry.score, entry.problem) == (0, None, "")


def test_the_seeds_of_a_grid_are_runs_too(
    shelf: Shelf, make_tiny_policy: Callable[[], Policy], tiny_config: Config
) -> None:
    folder = shelf.new_folder("seeds")
    list(SeedGrid(tiny_config, range(2), 1, folder, policy=make_tiny_policy(), prompts=TINY_PROMPTS).steps())
    (folder / "notes").mkdir()
    found = {entry.seed: entry for entry in shelf.entries()}
    assert found.keys() == {0, 1}
    assert {entry.grid for entry in found.values()} == {folder.name}
    assert shelf.find(found[1].id).folder == folder / "seed-001"


def test_links_and_strangers_are_left_alone(shelf: Shelf, record: Record, tmp_path: Path) -> None:
    run = record("one", 1)
    outside = tmp_path / "outside"
    run.folder.rename(outside)
    (shelf.root / "notes").mkdir()
    (shelf.root / "notes" / "mine.txt").write_text("mine")
    (shelf.root / "mine.txt").write_text("mine")
    (shelf.root / f"link_{run.id[:8]}").symlink_to(outside)
    before = everything(tmp_path)
    assert shelf.entries() == []
    for refused in (shelf.delete, shelf.find, lambda run: shelf.rename(run, "mine")):
        for name in (run.id, "notes", "mine.txt", f"link_{run.id[:8]}"):
            with pytest.raises(RecordingError, match="There is no run"):
                refused(name)
    assert everything(tmp_path) == before


def test_a_damaged_run_is_there_with_its_problem(shelf: Shelf, record: Record) -> None:
    fine, bad, worse = record("fine", 1), record("bad", 1), record("worse", 1)
    (bad.folder / "run.json").write_text("{")
    (worse.folder / "metrics" / "000001.parquet").unlink()
    (worse.folder / "metrics" / "000001.parquet").write_bytes(b"no")
    found = {entry.folder.name: entry for entry in shelf.entries()}
    assert found["fine"].id == fine.id
    for name in ("bad", "worse"):
        assert (found[name].id, found[name].name) == ("", name)
        assert "is damaged" in found[name].problem
        assert len(found[name].problem.splitlines()) == 1
    with pytest.raises(RecordingError, match="There is no run"):
        shelf.find(worse.id)


@pytest.mark.parametrize("table", ["unordered", "texts", "empty"])
def test_metrics_that_are_none_are_a_problem(shelf: Shelf, record: Record, table: str) -> None:
    forms = {
        "unordered": {"update": pa.array([1, 9, 5], pa.int32()), "objective/score": [0.1, 0.2, 0.3]},
        "texts": {"update": pa.array([1], pa.int32()), "objective/score": ["high"]},
        "empty": {"update": pa.array([], pa.int32())},
    }
    run = record("run", 1)
    (run.folder / "metrics" / "000001.parquet").unlink()
    pq.write_table(pa.table(forms[table]), run.folder / "metrics" / "000001.parquet")
    (entry,) = shelf.entries()
    assert "is damaged" in entry.problem and entry.score is None


@pytest.mark.parametrize(
    "info",
    [
        {"id": "../../x"},
        {"id": "/etc"},
        {"id": 7},
        {"id": None},
        {"id": "a" * 1000},
        {"id": {"a": "b"}},
    ],
)
def test_an_id_that_is_none_is_a_problem_and_leads_nowhere(
    shelf: Shelf, record: Record, tmp_path: Path, info: dict[str, Any]
) -> None:
    run = record("run", 1)
    rewrite(run.folder, **info)
    (tmp_path / "x").mkdir()
    (entry,) = shelf.entries()
    assert (entry.id, entry.name) == ("", "run")
    assert "names no id" in entry.problem
    for refused in (shelf.delete, shelf.find):
        with pytest.raises(RecordingError, match="There is no run"):
            refused(str(info["id"]))
    shelf.delete("run")
    assert (shelf.entries(), (tmp_path / "x").is_dir()) == ([], True)


def test_whatever_else_a_run_says_is_taken_with_care(shelf: Shelf, record: Record) -> None:
    run = record("run", 1)
    rewrite(run.folder, parent=["x"], seed=True, created=5, preset="learn\x1b[31m\u202e" * 100)
    (run.folder / "name.txt").write_text("<b>bold</b>\x00\u202e" + "x" * 100_000)
    (entry,) = shelf.entries()
    assert (entry.id, entry.parent, entry.seed, entry.problem) == (run.id, None, None, "")
    assert (entry.created, len(entry.preset), entry.preset.isprintable()) == ("5", 40, True)
    assert entry.name == "<b>bold</b> " + "x" * 68
    content = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps({**content, "info": ["x"]}))
    assert [entry.id for entry in shelf.entries()] == [""]


def test_a_name_is_read_from_the_run_alone(shelf: Shelf, record: Record, tmp_path: Path) -> None:
    run = record("run", 1)
    (tmp_path / "secret").write_text("secret")
    (run.folder / "name.txt").symlink_to(tmp_path / "secret")
    assert shelf.find(run.id).name == ""


def test_a_run_is_read_again_only_where_it_has_changed(
    shelf: Shelf, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = record("one", 1), record("two", 1)
    reads: list[str] = []
    real = entry_module.read_entry

    def counted(folder: Path, grid: str = "") -> Entry:
        reads.append(folder.name)
        return real(folder, grid)

    monkeypatch.setattr(shelf_module, "read_entry", counted)

    def changed(change: Callable[[], Any]) -> Entry:
        change()
        reads.clear()
        found = {entry.folder.name: entry for entry in shelf.entries()}
        assert reads == ["one"]
        shelf.entries()
        assert reads == ["one"]
        return found["one"]

    shelf.entries()
    assert reads == []
    assert changed(lambda: shelf.rename(run.id, "mine")).name == "mine"
    assert changed(lambda: rewrite(run.folder, seed=99)).seed == 99  # in place: its folder looks the same
    before = shelf.find(run.id).megabytes
    smaller = changed(lambda: checkpoint_path(run.folder, 0).unlink()).megabytes
    assert smaller < before
    shutil.rmtree(shelf.root / "two")
    assert [entry.id for entry in shelf.entries()] == [run.id]


def test_an_update_is_seen(shelf: Shelf, record: Record, make_tiny_policy: Callable[[], Policy]) -> None:
    run = record("one", 1)
    Trainer.resume(run.folder, policy=make_tiny_policy()).train(1, out=run.folder)
    assert [entry.updates for entry in shelf.entries()] == [2]


def test_a_file_that_goes_while_it_is_counted_hides_nothing(
    shelf: Shelf, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    record("one", 1), record("two", 1)
    lstat = os.lstat

    def gone(path: Any, **more: Any) -> os.stat_result:
        if str(path).endswith("000001.safetensors"):
            raise FileNotFoundError(errno.ENOENT, "gone", str(path))
        return lstat(path, **more)

    monkeypatch.setattr(entry_module.os, "lstat", gone)
    found = Shelf(shelf.root).entries()
    assert sorted(entry.folder.name for entry in found) == ["one", "two"]
    assert all(0 < entry.megabytes < known.megabytes for entry, known in zip(found, shelf.entries(), strict=True))


def test_a_run_is_found_by_its_id_whatever_its_folder_is_called(shelf: Shelf, record: Record) -> None:
    run, other = record("one", 1), record("two", 1)
    assert shelf.find(run.id).folder.name == "one"
    run.folder.rename(shelf.root / f"moved_{other.id[:8]}")  # as if it were the other
    assert shelf.find(run.id).folder.name == f"moved_{other.id[:8]}"
    assert shelf.find(other.id).folder.name == "two"


def test_a_shelf_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RecordingError, match="cannot be read .*: name another folder"):
        Shelf(tmp_path / "file").entries()


# --- where it is ---


def test_the_variable_names_the_folder_and_an_argument_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PPO_EXPLORER_RUNS", str(tmp_path / "by-variable"))
    assert Shelf().root == tmp_path / "by-variable"
    assert Shelf(tmp_path / "given").root == tmp_path / "given"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PPO_EXPLORER_RUNS", "~/runs")
    assert Shelf().root == tmp_path / "home" / "runs"
    monkeypatch.delenv("PPO_EXPLORER_RUNS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert Shelf().root.parts[-2:] == ("ppo-explorer", "runs")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep_every": 0}, "keep_every is 0, but must be a whole number from 1"),
        ({"keep_every": True}, "keep_every is True"),
        ({"checkpoint_every": 2.5}, "checkpoint_every is 2.5"),
        ({"checkpoint_megabytes": 0}, "must be above 0"),
        ({"checkpoint_megabytes": float("nan")}, "must be above 0"),
        ({"checkpoint_megabytes": float("inf")}, "must be above 0"),
    ],
)
def test_numbers_out_of_range_are_refused(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Shelf(tmp_path, **arguments)


def test_the_environment_says_how_much_is_kept_and_an_argument_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = ("keep_every", "checkpoint_every", "checkpoint_megabytes")
    assert [getattr(Shelf(tmp_path), name) for name in kept] == [1, 10, 200]
    for name, text in (("KEEP_EVERY", "5"), ("CHECKPOINT_EVERY", " 20 "), ("CHECKPOINT_MEGABYTES", "1.5e2")):
        monkeypatch.setenv(f"PPO_EXPLORER_{name}", text)
    assert [getattr(Shelf(tmp_path), name) for name in kept] == [5, 20, 150.0]
    given = Shelf(tmp_path, keep_every=1, checkpoint_every=2, checkpoint_megabytes=3)
    assert [getattr(given, name) for name in kept] == [1, 2, 3]
    monkeypatch.setenv("PPO_EXPLORER_KEEP_EVERY", "")
    assert Shelf(tmp_path).keep_every == 1
    for name, text in (("KEEP_EVERY", "often"), ("CHECKPOINT_EVERY", "2.5"), ("CHECKPOINT_MEGABYTES", "inf")):
        with monkeypatch.context() as patch:
            patch.setenv(f"PPO_EXPLORER_{name}", text)
            with pytest.raises(ValueError, match=rf"^\$PPO_EXPLORER_{name} is '?{text}'?, but must be "):
                Shelf(tmp_path)


# --- naming ---


def test_a_name_is_kept_as_plain_text_and_taken_away(shelf: Shelf, record: Record) -> None:
    run = record("one", 1)
    for given, kept in (
        ("  my  best\nrun ", "my best run"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("最好的一次 ✓", "最好的一次 ✓"),
        ("x" * 80, "x" * 80),
        ("", ""),
    ):
        shelf.rename(run.id, given)
        assert shelf.find(run.id).name == kept
    assert not (run.folder / "name.txt").exists()
    shelf.rename(run.id, " ")  # there was none
    assert Recording.load(run.folder).updates == [1]


@pytest.mark.parametrize("name", ["x" * 81, "a\x1b[31mb", "a\u202eb", "a\x00b", "\ud800"])
def test_a_name_that_cannot_be_shown_is_refused_and_the_old_one_stays(shelf: Shelf, record: Record, name: str) -> None:
    run = record("one", 1)
    shelf.rename(run.id, "before")
    with pytest.raises(ValueError, match="at most 80 characters, all of them printable"):
        shelf.rename(run.id, name)
    assert shelf.find(run.id).name == "before"


def test_a_full_disk_keeps_the_old_name(shelf: Shelf, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    run = record("one", 1)
    shelf.rename(run.id, "before")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(RecordingError, match="cannot be written .No space left"):
            shelf.rename(run.id, "after")
    assert shelf.find(run.id).name == "before"


def full(*arguments: Any, **more: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# --- deleting ---


def test_a_deleted_run_is_gone_and_nothing_else(shelf: Shelf, record: Record) -> None:
    run, other = record("one", 1), record("two", 1)
    (shelf.root / "mine.txt").write_text("mine")
    before = everything(other.folder)
    shelf.delete(run.id)
    assert [entry.id for entry in shelf.entries()] == [other.id]
    assert sorted(path.name for path in shelf.root.iterdir()) == ["mine.txt", "two"]
    assert everything(other.folder) == before
    with pytest.raises(RecordingError, match="may have been deleted already"):
        shelf.delete(run.id)


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no such locks")
def test_a_run_that_is_written_to_is_not_deleted(shelf: Shelf, record: Record) -> None:
    run = record("one", 1)
    before = everything(run.folder)
    claim = Claim(run.folder)
    with pytest.raises(RecordingError, match="is open in another page, or being written to"):
        shelf.delete(run.id)
    assert everything(run.folder) == before
    claim.release()
    shelf.delete(run.id)
    assert shelf.entries() == []


def test_a_damaged_run_is_deleted_by_its_folder_s_name_and_a_whole_one_by_its_id_alone(
    shelf: Shelf, record: Record
) -> None:
    run, bad = record("one", 1), record("bad", 1)
    (bad.folder / "run.json").write_text("{")
    for name in ("one", "", ".", "..", "../shelf/one"):
        with pytest.raises(RecordingError, match="There is no run"):
            shelf.delete(name)
    shelf.delete("bad")
    assert [entry.id for entry in shelf.entries()] == [run.id]


def test_what_a_run_links_to_outlasts_it(shelf: Shelf, record: Record, tmp_path: Path) -> None:
    run = record("one", 1)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "mine.txt").write_text("mine")
    (run.folder / "link").symlink_to(tmp_path / "outside")
    shelf.delete(run.id)
    assert (tmp_path / "outside" / "mine.txt").read_text() == "mine"


def test_a_deletion_that_is_cut_short_leaves_no_run(
    shelf: Shelf, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = record("one", 1)
    monkeypatch.setattr(shelf_module.shutil, "rmtree", full)
    with pytest.raises(RecordingError, match="cannot be deleted"):
        shelf.delete(run.id)
    assert shelf.entries() == []
    Claim(run.folder).release()  # it was let go of


# --- saving ---


def test_a_saved_run_is_the_same_and_resumes(
    shelf: Shelf, record: Record, tmp_path: Path, make_tiny_policy: Callable[[], Policy]
) -> None:
    run, longer = record("one", 2), record("longer", 4)
    shelf.rename(run.id, "mine")
    (run.folder / "tokens" / ".000009.parquet.part").write_bytes(b"unfinished")
    (run.folder / "tokens" / "link").symlink_to(tmp_path)
    target = shelf.save(run.id, tmp_path / "a" / "copy")
    assert target == tmp_path / "a" / "copy"
    assert [path.name for path in target.parent.iterdir()] == ["copy"]
    kept = everything(run.folder)
    del kept["tokens/.000009.parquet.part"]
    assert everything(target) == kept
    trainer = Trainer.resume(target, policy=make_tiny_policy())
    assert learned(list(trainer.train(2, out=target))) == learned(list(Recording.load(longer.folder)))
    assert len(Recording.load(run.folder)) == 2


def test_an_empty_folder_may_take_a_run_and_another_not(shelf: Shelf, record: Record, tmp_path: Path) -> None:
    run = record("one", 1)
    (tmp_path / "empty").mkdir()
    shelf.save(run.id, tmp_path / "empty")
    assert everything(tmp_path / "empty") == everything(run.folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(RecordingError, match="is not empty"):
        shelf.save(run.id, tmp_path / "mine")
    with pytest.raises(RecordingError, match="is a file"):
        shelf.save(run.id, tmp_path / "mine" / "notes.txt")
    with pytest.raises(RecordingError, match="Say where to save"):
        shelf.save(run.id, " ")
    assert everything(tmp_path / "mine") == {"notes.txt": b"mine"}


def test_a_run_is_saved_neither_into_itself_nor_among_the_others(shelf: Shelf, record: Record, tmp_path: Path) -> None:
    run = record("one", 1)
    before = everything(shelf.root)
    (tmp_path / "link").symlink_to(run.folder)
    for target in (run.folder, run.folder / "copy", tmp_path / "link" / "copy", shelf.root / "copy"):
        with pytest.raises(RecordingError, match="lies among the runs of this page"):
            shelf.save(run.id, target)
    assert everything(shelf.root) == before


def test_a_full_disk_leaves_nothing_that_looks_like_a_run(
    shelf: Shelf, record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = record("one", 2)
    copyfile, left = shutil.copyfile, [0]

    def filling(source: Path, target: Path) -> None:
        if left[0] == 0:
            full()
        left[0] -= 1
        copyfile(source, target)

    files = len(everything(run.folder))
    monkeypatch.setattr(shelf_module.shutil, "copyfile", filling)
    for copied in (0, 1, files - 1):
        left[0] = copied
        with pytest.raises(RecordingError, match="cannot be written to .No space left"):
            shelf.save(run.id, tmp_path / "copies" / "copy")
        assert not list((tmp_path / "copies").iterdir())
    left[0] = files
    shelf.save(run.id, tmp_path / "copies" / "copy")
    assert len(Recording.load(tmp_path / "copies" / "copy")) == 2


def test_a_run_is_saved_while_it_goes_on(
    shelf: Shelf,
    tmp_path: Path,
    make_tiny_policy: Callable[[], Policy],
    tiny_config: Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the n-th file is copied two updates are added, and older states go: the copy is whole all the same."""
    whole = Trainer(make_tiny_policy(), tiny_config, prompts=TINY_PROMPTS).train(8)
    copyfile = shutil.copyfile
    for moment in range(12):
        trainer = Trainer(make_tiny_policy(), tiny_config, prompts=TINY_PROMPTS)
        folder = shelf.new_folder(f"run{moment:02d}")
        steps = trainer.record(4, folder, checkpoint_every=1, checkpoint_megabytes=0.3)
        next(steps), next(steps)
        run = next(entry for entry in shelf.entries() if entry.folder == folder)
        left = [moment]

        def growing(source: Path, target: Path, left: list[int] = left, steps: Any = steps) -> None:
            if left[0] == 0:
                next(steps), next(steps)
                steps.close()
            left[0] -= 1
            copyfile(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(shelf_module.shutil, "copyfile", growing)
            saved = shelf.save(run.id, tmp_path / "copies" / str(moment))
        steps.close()
        copy = Recording.load(saved)
        assert copy.updates == copy.metrics.column("update").to_pylist()
        assert learned(list(copy)) == learned(list(whole))[: len(copy)]
        resumed = Trainer.resume(saved, policy=make_tiny_policy())
        again = resumed.train(8 - resumed.updates, out=saved)
        assert learned(list(again)) == learned(list(whole))


def test_a_saved_branch_takes_its_past_along(
    shelf: Shelf, record: Record, make_tiny_policy: Callable[[], Policy], tmp_path: Path
) -> None:
    first = record("first", 4)
    second = record("second", 2, (first, 3), clip_range=0.3)
    third = record("third", 2, (second, 4), seed=7)
    (third.folder / "name.txt").write_text("mine\n")
    for run, update, word in ((first, 4, "later"), (first, 2, "seen"), (second, 4, "here"), (third, 6, "end")):
        shelf.add_label(run.id, update, word)
    line = line_of(shelf, shelf.find(third.id)).recording
    assert line.metrics.column("update").to_pylist() == [1, 2, 3, 4, 5, 6]
    saved = Recording.load(shelf.save(third.id, tmp_path / "copies" / "copy"))
    assert learned(list(saved)) == learned(list(line))
    assert (saved.info["id"], saved.info["parent"]) == (third.id, dict(third.parent or {}))
    assert (tmp_path / "copies" / "copy" / "name.txt").read_text() == "mine\n"
    assert [(label.update, label.label) for label in saved.labels] == [(2, "seen"), (4, "here"), (6, "end")]
    # On another shelf, without its parents, it is the whole run; its own states are there.
    other = Shelf(tmp_path / "copies")
    alone = line_of(other, other.find(third.id))
    assert learned(list(alone.recording)) == learned(list(line))
    assert list(alone.states) == [4, 5, 6]
    again = Trainer.resume(tmp_path / "copies" / "copy", 5, policy=make_tiny_policy())
    assert learned([again.update()]) == learned([line[5]])
    shelf.delete(first.id)  # then there is no more than this
    begins = Recording.load(shelf.save(third.id, tmp_path / "less"))
    assert begins.metrics.column("update").to_pylist() == [4, 5, 6]


# --- a recording that saves itself ---


def test_a_recording_of_a_branch_says_what_it_lacks(shelf: Shelf, record: Record, tmp_path: Path) -> None:
    first = record("first", 3)
    second = record("second", 1, (first, 2), clip_range=0.3)
    with pytest.warns(UserWarning, match=f"updates 1 to 2 lie with its parent, the run {first.id[:8]} in 'first'"):
        Recording.load(second.folder).save(tmp_path / "copy")
    assert learned(list(Recording.load(tmp_path / "copy"))) == learned(list(Recording.load(second.folder)))


@pytest.mark.parametrize("at", [1, 4, 9])
def test_a_recording_that_is_cut_off_as_it_is_saved_leaves_nothing_that_looks_like_one(
    shelf: Shelf, record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    run = Recording.load(record("one", 2).folder)
    replace, calls = os.replace, []

    def failing(source: Any, target: Any) -> None:
        calls.append(target)
        assert not (tmp_path / "copy").exists()  # until it is whole
        if len(calls) == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(folder_module.os, "replace", failing)
        with pytest.raises(RecordingError, match="No space left on device") as refused:
            run.save(tmp_path / "copy")
    assert f"'{tmp_path / 'copy'}'" in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["shelf"]
    run.save(tmp_path / "copy")
    assert learned(list(Recording.load(tmp_path / "copy"))) == learned(list(run))


def test_a_recording_on_disk_saves_its_states_too(
    shelf: Shelf, record: Record, tmp_path: Path, make_tiny_policy: Callable[[], Policy]
) -> None:
    run, longer = record("one", 2), record("longer", 4)
    checkpoint_path(run.folder, 9).write_bytes(b"of an update that has not happened")
    Recording.load(run.folder).save(tmp_path / "copy")
    assert checkpoint_updates(tmp_path / "copy") == [0, 1, 2]
    _, state = find_origin(tmp_path / "copy")
    assert state.updates == 2
    trainer = Trainer.resume(tmp_path / "copy", policy=make_tiny_policy())
    assert learned(list(trainer.train(2, out=tmp_path / "copy"))) == learned(list(Recording.load(longer.folder)))
    loaded = Recording.load(run.folder)
    memory = Recording.in_memory(list(loaded), info=loaded.info)
    memory.save(tmp_path / "from-memory")
    assert checkpoint_updates(tmp_path / "from-memory") == []


def test_a_state_behind_a_link_is_not_copied(shelf: Shelf, record: Record, tmp_path: Path) -> None:
    run = record("one", 1)
    path = checkpoint_path(run.folder, 1)
    path.rename(tmp_path / "secret")
    path.symlink_to(tmp_path / "secret")
    with pytest.raises(RecordingError, match="is not a plain file in its folder"):
        Recording.load(run.folder).save(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
