"""Where a run may begin: a new folder, an empty one, and what a killed run left before it had begun; nowhere else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from explorer.ppo.trainer import Trainer
from explorer.recording import folder as folder_module
from explorer.recording.beginning import check_free
from explorer.recording.checkpoints import checkpoint_updates
from explorer.recording.claim import Claim
from explorer.recording.folder import RecordingError
from explorer.recording.storage import Recording, RunWriter

INFO = {"id": "0123"}


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def kill(
    make_trainer: Callable[..., Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int, int], Path]:
    """``kill(files, updates)``: what is left of a run that began after so many updates, killed after so many files."""

    def make(files: int, updates: int = 0) -> Path:
        trainer, replace, calls = make_trainer(), os.replace, []
        trainer.updates = updates

        def die(source: Path, target: Path) -> None:
            calls.append(target)
            if len(calls) > files:
                Path(target).with_name(f".{Path(target).name}.part").write_bytes(b"half")
                raise Killed
            replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(folder_module.os, "replace", die)
            # What tidies up in a living process does not run in a killed one.
            patch.setattr(Path, "unlink", lambda path, **more: None)
            with pytest.raises(Killed):
                RunWriter(tmp_path / "run", INFO, start=trainer.state())
        return tmp_path / "run"

    return make


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("updates", [0, 20])
@pytest.mark.parametrize("files", [0, 1])
def test_what_a_run_that_had_not_begun_left_is_taken_over(
    kill: Callable[..., Path], make_trainer: Callable[..., Trainer], files: int, updates: int
) -> None:
    root = kill(files, updates)
    assert not (root / "run.json").exists()
    left = files_of(root)
    assert len(left) == files + 1  # the state from which it was to start, and one without its name
    check_free(root)
    assert files_of(root) == left  # asking changes nothing
    RunWriter(root, INFO, start=make_trainer().state()).close()
    assert Recording.load(root).info["id"] == "0123"
    assert checkpoint_updates(root) == [0]
    assert not list(root.rglob("*.part"))


@pytest.mark.parametrize(
    "mine",
    [
        *("notes.txt", "metrics/000001.parquet", "tokens/notes.txt", "checkpoints/000020.safetensors"),
        *("checkpoints/mine.safetensors", "mine/.000001.parquet.part", ".config"),
    ],
)
def test_a_folder_with_anything_else_is_refused_and_left_as_it_is(kill: Callable[..., Path], mine: str) -> None:
    root = kill(1)
    (root / mine).parent.mkdir(exist_ok=True)
    (root / mine).write_bytes(b"mine")
    left = files_of(root)
    for begin in (lambda: check_free(root), lambda: RunWriter(root, INFO)):
        with pytest.raises(RecordingError, match="is not empty: give another folder"):
            begin()
    assert files_of(root) == left


def test_nothing_behind_a_link_is_taken_over(kill: Callable[..., Path], tmp_path: Path) -> None:
    root = kill(1)
    (root / "tokens").rmdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / ".mine.part").write_bytes(b"mine")
    (root / "tokens").symlink_to(tmp_path / "outside")
    with pytest.raises(RecordingError, match="is not empty"):
        RunWriter(root, INFO)
    assert (tmp_path / "outside" / ".mine.part").read_bytes() == b"mine"


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no such locks")
def test_what_another_run_is_just_beginning_is_not_taken_from_it(kill: Callable[..., Path]) -> None:
    root = kill(1)
    left, other = files_of(root), Claim(root)
    with pytest.raises(RecordingError, match="is being written to by another run"):
        RunWriter(root, INFO)
    assert files_of(root) == left
    other.release()
    RunWriter(root, INFO).close()


@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk_at_the_very_start_leaves_nothing_behind(
    make_trainer: Callable[..., Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    root = tmp_path / "run"
    if there:
        root.mkdir()

    def full(*arguments: Any) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(folder_module.os, "replace", full)
        with pytest.raises(RecordingError, match="No space left on device"):
            RunWriter(root, INFO, start=make_trainer().state())
    assert list(tmp_path.rglob("*")) == ([root] if there else [])
