"""Going on in a run's folder: what came later is dropped, and a cut while dropping does no harm."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from explorer.ppo.trainer import Trainer
from explorer.recording import continuing, folder, writer
from explorer.recording.checkpoints import checkpoint_updates
from explorer.recording.continuing import drop_after
from explorer.recording.folder import RecordingError, part_numbers
from explorer.recording.snapshot import Snapshot, take_snapshot
from explorer.recording.storage import Recording, RunWriter
from explorer.recording.tables import Tables
from tests.learned import learned

INFO = {"id": "0123", "prompts": ["The cat"]}


@pytest.fixture
def snapshots(make_trainer: Callable[..., Trainer]) -> list[Snapshot]:
    """Seven updates, of which the fourth changes a knob."""
    trainer = make_trainer()
    found = []
    for number in range(1, 8):
        config = trainer.config.replace(clip_range=0.3) if number >= 4 else trainer.config
        update = [stage.update for stage in trainer.stages(config)][-1]
        assert update is not None
        found.append(take_snapshot(update, config, trainer.policy))
    return found


@pytest.fixture(params=[64, 3])
def recorded(
    request: pytest.FixtureRequest,
    make_trainer: Callable[..., Trainer],
    snapshots: list[Snapshot],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Them in a folder with checkpoints of 0, 2, 4 and 6, the metrics in one part, or in parts of three."""
    monkeypatch.setattr(writer, "METRICS_ROWS", request.param)
    monkeypatch.setattr(continuing, "METRICS_ROWS", request.param)
    trainer = make_trainer()
    with RunWriter(tmp_path / "run", INFO, start=trainer.state()) as run:
        for snapshot in snapshots:
            run.append(snapshot)
            trainer.updates = snapshot.update
            if snapshot.update % 2 == 0:
                run.checkpoint(trainer.state())
    return tmp_path / "run"


@pytest.mark.parametrize("update", [0, 1, 3, 4, 6, 7])
def test_what_is_left_is_the_run_until_then_and_can_be_written_on(
    recorded: Path, snapshots: list[Snapshot], update: int
) -> None:
    run = RunWriter.go_on(recorded, update)
    left = Recording.load(recorded)
    assert learned(list(left)) == learned(snapshots[:update])
    assert left.info == {**INFO, "schema_version": left.info["schema_version"]}
    assert all(number <= update for name in Tables._fields for number in part_numbers(recorded, name))
    assert checkpoint_updates(recorded) == [n for n in (0, 2, 4, 6) if n <= update]
    for snapshot in snapshots[update:]:
        run.append(snapshot)
    run.close()
    whole = Recording.load(recorded)
    assert learned(list(whole)) == learned(snapshots)
    assert whole.metrics.column("update").to_pylist() == [1, 2, 3, 4, 5, 6, 7]
    configs = json.loads((recorded / "run.json").read_text())["configs"]
    assert [entry["from_update"] for entry in configs] == [1, 4]


@pytest.mark.parametrize("at", range(12))
def test_a_cut_at_any_step_of_dropping_leaves_a_folder_that_opens_and_drops_again(
    recorded: Path, snapshots: list[Snapshot], monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    class Cut(BaseException):
        pass

    left = [at]

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def act(*arguments: Any, **more: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Cut
            return real(*arguments, **more)

        return act

    with monkeypatch.context() as patch:
        patch.setattr(folder.os, "replace", counted(os.replace))
        patch.setattr(Path, "unlink", counted(Path.unlink))
        with pytest.raises(Cut):
            drop_after(recorded, 2)
    opened = Recording.load(recorded)
    assert 2 <= len(opened) <= 7
    assert learned(list(opened)) == learned(snapshots[: len(opened)])
    drop_after(recorded, 2)
    assert learned(list(Recording.load(recorded))) == learned(snapshots[:2])
    assert not list(recorded.rglob("*.part"))


def test_a_disk_that_is_full_as_a_run_goes_on_is_told_with_what_is_there(
    recorded: Path, snapshots: list[Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Any, target: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(folder.os, "replace", full)
        with pytest.raises(
            RecordingError, match=r"No space left on device\); it holds every update up to 7: make room"
        ):
            RunWriter.go_on(recorded, 2)
    assert learned(list(Recording.load(recorded)))[:2] == learned(snapshots[:2])


def test_nothing_behind_a_link_is_dropped(
    recorded: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "tokens"
    (recorded / "tokens").rename(outside)
    (recorded / "tokens").symlink_to(outside)
    before = sorted(path.name for path in outside.iterdir())
    with pytest.raises(RecordingError, match="is a link and no folder of the run"):
        RunWriter.go_on(recorded, 2)
    assert sorted(path.name for path in outside.iterdir()) == before
    assert Recording.load(recorded).metrics.num_rows == 7


def test_damaged_metrics_are_told_before_anything_is_dropped(recorded: Path) -> None:
    number = part_numbers(recorded, "metrics")[0]
    (recorded / "metrics" / f"{number:06d}.parquet").write_bytes(b"no")
    before = sorted(path for path in recorded.rglob("*"))
    with pytest.raises(RecordingError, match="is damaged"):
        RunWriter.go_on(recorded, 2)
    assert sorted(path for path in recorded.rglob("*")) == before


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="There is no folder"):
        RunWriter.go_on(tmp_path / "none", 0)


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no such locks")
def test_a_folder_has_one_writer_at_a_time(recorded: Path, snapshots: list[Snapshot]) -> None:
    before = sorted(path for path in recorded.rglob("*"))
    with RunWriter.go_on(recorded, 7):
        with pytest.raises(RecordingError, match="is being written to by another run"):
            RunWriter.go_on(recorded, 2)
        assert len(Recording.load(recorded)) == 7  # reading is free
    assert sorted(path for path in recorded.rglob("*")) == before
    with RunWriter.go_on(recorded, 6) as run:
        run.append(snapshots[6])
    assert learned(list(Recording.load(recorded))) == learned(snapshots)


def test_a_writer_that_could_not_begin_holds_nothing(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda path, **more: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(RecordingError, match="full") as kept:
            RunWriter.go_on(recorded, 2)
    RunWriter.go_on(recorded, 2).close()
    assert kept.value is not None
