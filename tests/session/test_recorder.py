"""The page's run is recorded as it goes: what is written is what was trained, and writing changes nothing."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from explorer.config import Config
from explorer.headless import Trainer
from explorer.ppo.policy import Policy
from explorer.recording import folder as folder_module
from explorer.recording import writer as writer_module
from explorer.recording.checkpoints import checkpoint_updates
from explorer.recording.claim import Claim
from explorer.recording.folder import RecordingError
from explorer.recording.lineage import line_of
from explorer.recording.shelf import Entry, Shelf
from explorer.recording.storage import Recording
from explorer.session.recorder import Recorder
from explorer.session.session import Session
from tests.learned import learned
from tests.session.shelved import recorded, shown, unbroken_run

if TYPE_CHECKING:
    from tests.session.conftest import MakeSession


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "shelf", checkpoint_every=3)


@pytest.fixture
def unbroken(make_tiny_policy: Callable[[], Policy], tiny_config: Config) -> Callable[[int], list[dict[str, Any]]]:
    """``unbroken(updates)``: the same run without a page."""
    return lambda updates: unbroken_run(make_tiny_policy(), tiny_config, updates)


def only(shelf: Shelf) -> Entry:
    (entry,) = shelf.entries()
    return entry


def full(*arguments: Any, **more: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_page_s_run_is_the_headless_one_recorded_or_not(
    make_session: MakeSession, shelf: Shelf, unbroken: Callable[[int], Any]
) -> None:
    kept, unkept = make_session(shelf=shelf), make_session()
    for session in (kept, unkept):
        session.train(3)
        session.step_stage()  # a pause in the middle of an update keeps the state of the one before
        session.train(2)
    assert kept.error == {}
    assert shown(kept) == shown(unkept) == unbroken(5)
    assert recorded(shelf.root, kept.runs.run) == unbroken(5)


@pytest.mark.parametrize("stages", range(1, 7))
def test_a_pause_in_the_middle_of_an_update_keeps_the_state_before_it(
    make_session: MakeSession,
    shelf: Shelf,
    unbroken: Callable[[int], Any],
    make_tiny_policy: Callable[[], Policy],
    stages: int,
) -> None:
    """Which nothing else holds any more: with the first epoch the weights are half way."""
    session = make_session(shelf=shelf)
    session.train(1)
    for _ in range(stages):
        session.step_stage()
    assert session.updates == 1
    assert checkpoint_updates(only(shelf).folder) == [0, 1]
    again = Trainer.resume(only(shelf).folder, 1, policy=make_tiny_policy())
    assert learned([again.update()]) == unbroken(2)[1:]


def test_a_page_that_never_trains_leaves_nothing_behind(make_session: MakeSession, shelf: Shelf) -> None:
    session = make_session(shelf=shelf)
    session.step_stage()
    session.reset()
    session.close()
    assert not shelf.root.exists()


def test_without_a_shelf_nothing_is_written_and_commands_say_so(
    make_session: MakeSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PPO_EXPLORER_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    session = make_session()
    session.train(2)
    session.library.refresh()
    assert (session.runs.run, session.runs.states, session.library.entries, session.library.kept) == ("", (), (), False)
    for command in (
        lambda: session.runs.open("0123456789"),
        lambda: session.library.rename("0123456789", "mine"),
        lambda: session.library.delete("0123456789"),
        lambda: session.library.save("0123456789", tmp_path / "copy"),
        lambda: session.library.compare("0123456789"),
        lambda: session.library.start_seeds(1, 1),
    ):
        with pytest.raises(ValueError, match="This explorer keeps no runs"):
            command()
    with pytest.raises(ValueError, match="is not kept"):
        session.runs.rewind(1)
    session.close()
    assert list(tmp_path.iterdir()) == []


def test_what_is_known_of_the_run_is_written_with_it(make_session: MakeSession, shelf: Shelf) -> None:
    session = make_session(shelf=shelf)
    session.use_preset("balanced", reset=True)
    session.train(1)
    entry = only(shelf)
    assert (entry.id, entry.preset, entry.seed, entry.parent) == (session.runs.run, "balanced", 0, None)
    assert entry.folder.name.endswith(f"_{entry.id[:8]}")
    assert [run.id for run in session.library.entries] == [entry.id]


@pytest.mark.parametrize("end", ["pause", "reset", "close", "error"])
def test_the_newest_state_is_kept_wherever_the_run_stops(make_session: MakeSession, shelf: Shelf, end: str) -> None:
    broken: list[bool] = []

    def mine(prompts: list[str], responses: list[str]) -> list[float]:
        return ["no"] if broken else [0.0] * len(responses)  # type: ignore[list-item]

    session = make_session(shelf=shelf, rewards={"mine": mine})
    session.set(weight_sentiment=0.0)  # where nothing else counts, a failing component stops the run
    session.worker._on_pause = lambda: None  # a pause while a job runs, or in slow motion, is told by nobody
    session.train(4)
    assert 4 not in checkpoint_updates(only(shelf).folder)
    if end == "error":
        broken.append(True)
        session.train(1)
        assert "The reward 'mine'" in session.error["message"]
    else:
        getattr(session, end)()
    assert checkpoint_updates(only(shelf).folder) == [0, 3, 4]
    if end in ("reset", "close"):
        Claim(only(shelf).folder).release()  # it was let go of


def test_the_states_that_the_page_offers_are_those_that_are_kept(make_session: MakeSession, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shelf", checkpoint_every=1, checkpoint_megabytes=0.5)
    session = make_session(shelf=shelf)
    session.train(12)
    session.pause()
    session.train(1)
    kept = checkpoint_updates(only(shelf).folder)
    assert 0 < len(kept) < 13  # older ones have been thinned out
    assert set(session.runs.states) >= set(kept)
    assert len(session.runs.states) <= len(kept) + 8
    assert max(session.runs.states) == max(kept) == 13


def test_after_a_reset_another_run_begins(
    make_session: MakeSession, shelf: Shelf, unbroken: Callable[..., Any]
) -> None:
    session = make_session(shelf=shelf)
    session.train(2)
    first = session.runs.run
    session.reset()
    assert (session.runs.run, session.runs.states, session.updates) == ("", (), 0)
    session.train(3)
    assert session.runs.run not in ("", first)
    assert recorded(shelf.root, first) == unbroken(2)
    assert recorded(shelf.root, session.runs.run) == unbroken(3)
    assert {entry.parent for entry in shelf.entries()} == {None}


def test_settings_that_change_are_recorded_and_the_start_has_those_of_the_first_update(
    make_session: MakeSession, shelf: Shelf, make_tiny_policy: Callable[[], Policy]
) -> None:
    broken = [True]

    def mine(prompts: list[str], responses: list[str]) -> list[float]:
        return ["no"] if broken else [0.0] * len(responses)  # type: ignore[list-item]

    session = make_session(shelf=shelf, rewards={"mine": mine})
    session.set(weight_sentiment=0.0)
    session.train(1)  # fails, after the state had been taken
    broken.clear()
    session.set(clip_range=0.1)
    session.set_prompts(["The cat", "Lily went"])
    session.train(1)
    session.set(clip_range=0.3)
    session.train(1)
    session.close()
    run = Recording.load(only(shelf).folder)
    assert [run.config_at(n).clip_range for n in (1, 2)] == [0.1, 0.3]
    assert run.info["prompts"] == ["The cat", "Lily went"]
    again = Trainer.resume(only(shelf).folder, 0, policy=make_tiny_policy(), rewards={"mine": mine})
    assert learned([again.update()]) == learned([run[0]])


def test_other_prompts_stand_in_the_state_from_which_they_act(
    make_session: MakeSession, shelf: Shelf, make_tiny_policy: Callable[[], Policy]
) -> None:
    session = make_session(shelf=shelf)
    session.train(3)  # and its state is kept
    session.set_prompts(["The cat", "Lily went"])
    session.train(2)
    again = Trainer.resume(only(shelf).folder, 3, policy=make_tiny_policy())
    assert again.prompts == ["The cat", "Lily went"]
    assert learned(list(again.train(2))) == shown(session)[3:]


# --- a folder that takes no more ---


class Disk:
    """Is full from some file on, until there is room."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files, self.full_at = 0, 10**9
        replace = os.replace

        def filling(source: Any, target: Any) -> None:
            self.files += 1
            if self.files >= self.full_at:
                full()
            replace(source, target)

        monkeypatch.setattr(folder_module.os, "replace", filling)

    def fill(self, at: int = 0) -> None:
        self.full_at = at

    def make_room(self) -> None:
        self.full_at = 10**9


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def told(session: Session) -> list[str]:
    """Every error that the page says from here on."""
    errors: list[str] = []
    session.dismiss()
    session.observe(lambda change: errors.append(change["new"].get("message", "")), "error")
    return errors


def make_room_at(session: Session, disk: Disk, update: int) -> None:
    """There is room as soon as an update is on screen, which is before it is written."""
    session.observe(lambda change: change["new"] == update and disk.make_room(), "updates")


@pytest.mark.parametrize("at", [1, 2, 3, 4, 9, 13, 15])
def test_a_full_disk_is_told_once_and_what_is_missing_is_written_as_soon_as_there_is_room(
    make_session: MakeSession, shelf: Shelf, unbroken: Callable[..., Any], disk: Disk, at: int
) -> None:
    session = make_session(shelf=shelf)
    errors, broken = told(session), []
    session.runs.observe(lambda change: broken.append(change["new"]), "broken")
    make_room_at(session, disk, 6)
    disk.fill(at)
    session.train(8)
    session.pause()
    assert len(errors) == 2
    assert errors[0].startswith("The run goes on, but is not recorded: ")
    assert "No space left on device" in errors[0]
    assert "Each update tries again" in errors[0]
    if at > 2:  # before, there is no folder yet
        assert "; it holds " in errors[0]
        assert "What comes after waits in memory, and is lost with this page: make room there." in errors[0]
    assert errors[1] == ""  # taken off the screen again
    assert (broken, session.note, session.mode) == ([True, False], "recorded_again", "paused")
    assert shown(session) == recorded(shelf.root, session.runs.run) == unbroken(8)
    entry = only(shelf)  # no branch, and nothing of a folder that could not be begun
    assert [path.name for path in shelf.root.iterdir()] == [entry.folder.name]
    assert (entry.parent, entry.id) == (None, session.runs.run)
    assert {0, 6, 8} <= set(checkpoint_updates(entry.folder))
    assert set(session.runs.states) == set(checkpoint_updates(entry.folder))
    assert not list(entry.folder.rglob("*.part"))


@pytest.mark.parametrize("then", ["train", "pause", "close"])
def test_a_disk_that_stays_full_is_told_again_and_whatever_comes_next_writes_what_is_missing(
    make_session: MakeSession, shelf: Shelf, unbroken: Callable[..., Any], disk: Disk, then: str
) -> None:
    session = make_session(shelf=shelf)
    session.train(2)
    errors = told(session)
    disk.fill()
    session.train(3)
    session.train(2)
    session.pause()
    assert [bool(message) for message in errors] == [True, False, True]  # with each Train
    assert (session.updates, session.runs.broken) == (7, True)
    assert recorded(shelf.root, session.runs.run) == unbroken(2)
    with pytest.raises(RecordingError, match="being written to"):
        Claim(only(shelf).folder)  # nobody else goes on with it meanwhile
    disk.make_room()
    if then == "train":
        session.train(1)
    else:
        getattr(session, then)()
    run = session.runs.run
    assert recorded(shelf.root, run) == unbroken(8 if then == "train" else 7)
    session.close()
    Claim(only(shelf).folder).release()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on a file's size")
def test_a_disk_that_takes_no_more_bytes_and_then_does(
    make_session: MakeSession, shelf: Shelf, unbroken: Callable[..., Any]
) -> None:
    import resource

    session, limits = make_session(shelf=shelf), resource.getrlimit(resource.RLIMIT_FSIZE)
    session.train(2)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))  # the system cuts every file off here
        session.train(3)
        session.pause()
        assert session.runs.broken
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert recorded(shelf.root, session.runs.run) == unbroken(2)
    session.train(1)
    assert (session.runs.broken, session.error) == (False, {})
    assert recorded(shelf.root, session.runs.run) == unbroken(6)


def test_of_a_disk_that_is_full_for_long_every_metric_is_written_and_the_tokens_that_fit_into_memory(
    make_session: MakeSession, shelf: Shelf, disk: Disk
) -> None:
    session = make_session(shelf=shelf)
    session.recorder._unwritten.megabytes = 0  # the newest one always fits
    session.train(2)
    disk.fill()
    session.train(6)
    disk.make_room()
    session.set(clip_range=0.3)
    session.train(1)
    run = Recording.load(only(shelf).folder)
    assert run.metrics.column("update").to_pylist() == [*range(1, 10)]
    scores = session.history.series("objective/score")[1]
    assert run.metrics.column("objective/score").to_pylist() == scores.tolist()
    assert (run.updates[:2], run.updates[-1]) == ([1, 2], 9)
    assert [run.config_at(n).clip_range for n in (3, 8, 9)] == [0.2, 0.2, 0.3]
    assert session.runs.broken is False


def test_a_run_whose_folder_is_gone_goes_on_in_another_with_all_that_was_not_written(
    make_session: MakeSession, shelf: Shelf, unbroken: Callable[..., Any]
) -> None:
    session = make_session(shelf=shelf)
    session.train(3)
    session.pause()
    first = session.runs.run
    shutil.rmtree(only(shelf).folder)
    session.train(3)
    session.pause()
    assert session.runs.broken
    assert shelf.entries() == []
    session.train(2)
    assert session.error == {}
    entry = only(shelf)
    assert entry.parent is not None
    assert (entry.parent["id"], entry.parent["update"], entry.parent["changed"]) == (first, 3, {})
    assert learned(list(Recording.load(entry.folder))) == unbroken(8)[3:]


def test_a_run_whose_settings_have_changed_too_often_goes_on_as_a_branch(
    make_session: MakeSession, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make_session(shelf=shelf)
    session.train(1)
    session.pause()
    first = only(shelf)
    monkeypatch.setattr(folder_module, "MAX_JSON_BYTES", (first.folder / "run.json").stat().st_size + 700)
    errors = told(session)
    for update in range(2, 21):
        session.set(clip_range=update / 50)
        session.train(1)
    session.pause()
    assert errors[0].startswith("The run goes on as a branch: the settings of ")
    assert not session.runs.broken
    entries = {entry.id: entry for entry in shelf.entries()}
    branch = entries[session.runs.run]
    assert len(entries) >= 2 and branch.id != first.id
    assert entries[first.id].updates > 5  # so many changes it holds
    parent = branch.parent or {}
    assert parent["id"] in entries and parent["changed"] == {}
    assert shown(session) == recorded(shelf.root, branch.id)
    line = line_of(shelf, branch).recording
    assert [line.config_at(n).clip_range for n in range(2, 21)] == [n / 50 for n in range(2, 21)]
    assert line.metrics.column("update").to_pylist() == [*range(1, 21)]


def test_whatever_a_writer_raises_ends_the_recording_alone(
    make_session: MakeSession, shelf: Shelf, unbroken: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(*arguments: Any) -> None:
        raise ArithmeticError("odd")

    session = make_session(shelf=shelf)
    monkeypatch.setattr(writer_module, "to_tables", odd)
    session.train(4)
    assert "goes on, but is not recorded: odd" in session.error["message"]
    assert shown(session) == unbroken(4)


def test_a_folder_that_cannot_be_closed_is_told(
    make_session: MakeSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make_session(shelf=Shelf(tmp_path / "shelf", keep_every=3))
    session.train(2)
    with monkeypatch.context() as patch:
        patch.setattr(folder_module.os, "replace", full)
        session.reset()  # the second update's tokens were to be written last
    assert "No space left" in session.error["message"]
    assert session.updates == 0


def test_a_recorder_of_its_own_needs_nobody(make_tiny_policy: Callable[[], Policy], tiny_config: Config) -> None:
    trainer, recorder = Trainer(make_tiny_policy(), tiny_config), Recorder()
    recorder.before_update(trainer, tiny_config)
    recorder.after_update(trainer, trainer.update(), tiny_config)
    recorder.keep(), recorder.retry(), recorder.leave()
    assert recorder.run == ""
