"""The page's run is recorded as it goes: what is written is what was trained, and writing changes nothing."""

from __future__ import annotations

import errno
import os
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
from explorer.recording.shelf import Entry, Shelf
from explorer.recording.storage import Recording
from explorer.session.recorder import Recorder
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


@pytest.mark.parametrize("at", [1, 2, 4, 9, 15])
def test_a_full_disk_is_told_once_and_training_goes_on_and_the_next_train_records_a_branch(
    make_session: MakeSession, shelf: Shelf, unbroken: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    session = make_session(shelf=shelf)
    errors: list[str] = []
    session.observe(lambda change: errors.append(change["new"].get("message", "")), "error")
    replace, calls = os.replace, []

    def filling(source: Any, target: Any) -> None:
        calls.append(target)
        if len(calls) >= at:
            full()
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(folder_module.os, "replace", filling)
        session.train(5)
        session.pause()
    said = [message for message in errors if message]
    assert len(said) == 1
    assert said[0].startswith("The run goes on, but is not recorded: ")
    assert "No space left on device" in said[0]
    assert (session.updates, session.mode, session.runs.broken) == (5, "paused", True)
    begun = shelf.entries()
    if begun:
        Claim(begun[0].folder).release()  # it was let go of
    session.train(3)
    assert (session.error, session.runs.broken) == ({}, False)
    assert shown(session) == unbroken(8)
    newest = shelf.find(session.runs.run)
    if begun:
        assert newest.parent is not None
        assert (newest.parent["id"], newest.parent["update"]) == (begun[0].id, 5)
    own = Recording.load(newest.folder)
    assert learned(list(own)) == unbroken(8)[5:]
    assert checkpoint_updates(newest.folder) == [5, 6, 8]


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
