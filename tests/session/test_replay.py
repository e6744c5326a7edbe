"""A Replay: a recorded run on screen, its settings those of the update that is shown, scored anew when asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from explorer.config import Config
from explorer.recording import what_if as scoring
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording, RecordingError
from explorer.recording.what_if import what_if
from explorer.session.replay import Replay
from explorer.views.run import run_picture

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer


@pytest.fixture(scope="module")
def snapshots(make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot], tiny_config: Config) -> list[Snapshot]:
    """Three updates, the second of which ran under another clip range and rate."""
    trainer = make_trainer()
    second = tiny_config.replace(clip_range=0.05, learning_rate=0.005)
    return [snapshot_of(trainer, config) for config in (tiny_config, second, tiny_config)]


@pytest.fixture
def run(tmp_path: Path, snapshots: list[Snapshot]) -> Path:
    """Their folder."""
    Recording.in_memory(snapshots, info={"prompts": ["The cat", "One day"]}).save(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def replay(run: Path) -> Replay:
    """The run on screen; scoring is imported in the caller."""
    return Replay(Recording.load(run), threaded=False)


def test_the_last_update_is_on_screen_as_it_was_trained(replay: Replay, snapshots: list[Snapshot]) -> None:
    assert (replay.phase, replay.live, replay.mode, replay.updates, replay.cursor.update) == (
        "replay", False, "paused", 3, 3,
    )  # fmt: skip
    assert replay.shown is replay.recorded
    assert np.array_equal(replay.shown.final.ratios, snapshots[2].final.ratios)
    assert replay.prompts == ("The cat", "One day")
    picture = run_picture(replay)
    assert (picture["phase"], picture["newest"], picture["edited"], picture["weights_kept"]) == ("replay", 3, False, [])


def test_the_settings_are_those_of_the_update_on_screen(replay: Replay) -> None:
    seen = {}
    for update in (1, 2, 3):
        replay.cursor.update = update
        seen[update] = (replay.config.clip_range, replay.config.learning_rate)
        assert replay.compared == replay.config
    assert seen == {1: (0.2, 1e-3), 2: (0.05, 0.005), 3: (0.2, 1e-3)}
    assert replay.phase == "replay"  # nothing had to be scored


def test_an_edit_scores_the_batch_anew_at_every_update(replay: Replay, snapshots: list[Snapshot]) -> None:
    replay.set(kl_coef=0.4)
    assert replay.phase == "ready"
    for update in (3, 1, 2):
        replay.cursor.update = update
        expected = what_if(snapshots[update - 1], snapshots[update - 1].config.replace(kl_coef=0.4))
        np.testing.assert_array_equal(replay.shown.credit.rewards, expected.credit.rewards)
        assert replay.recorded.config.kl_coef == 0.05
        assert replay.config.clip_range == replay.recorded.config.clip_range  # what was not edited goes along
    replay.set(kl_coef=0.05)
    assert replay.shown is replay.recorded


def test_an_edit_that_does_not_fit_another_update_is_let_go_there(
    make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot], tiny_config: Config
) -> None:
    wide = tiny_config.replace(clip_range=0.8)
    trainer = make_trainer()
    replay = Replay(Recording.in_memory([snapshot_of(trainer, c) for c in (tiny_config, wide)], info={}), False)
    replay.cursor.update = 1
    replay.set(objective="two_sided")
    replay.set(delta=1.5)
    replay.cursor.update = 2
    assert "delta is 1.5" in replay.error["message"]
    assert (replay.config, replay.shown) == (replay.compared, replay.recorded)


def test_what_only_training_would_take_is_refused(replay: Replay) -> None:
    before = replay.config
    with pytest.raises(ValueError, match="learning_rate would act on training only"):
        replay.set(learning_rate=0.5, clip_range=0.1)
    with pytest.raises(ValueError, match="clip_range is 7"):
        replay.set(clip_range=7)
    assert (replay.config, replay.phase) == (before, "replay")


def test_scoring_is_imported_beside_and_shown_when_it_is_there(run: Path) -> None:
    async def story() -> tuple[list[str], bool, bool]:
        replay, ready = Replay(Recording.load(run)), asyncio.Event()
        phases: list[str] = []
        replay.observe(lambda change: phases.append(change["new"]), "phase")
        replay.observe(lambda change: change["new"] == "ready" and ready.set(), "phase")
        replay.set(clip_range=0.01)
        waited = replay.shown is replay.recorded
        await asyncio.wait_for(ready.wait(), 60)
        await asyncio.sleep(0)
        return phases, waited, replay.shown.config.clip_range == 0.01

    assert asyncio.run(story()) == (["loading", "ready"], True, True)


def test_without_scoring_the_recorded_settings_come_back(replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*arguments: object, **named: object) -> None:
        raise ImportError("No module named 'torch'")

    monkeypatch.setattr(scoring, "what_if", missing)
    replay.set(clip_range=0.01)
    assert "No module named 'torch'" in replay.error["message"]
    assert (replay.phase, replay.config) == ("replay", replay.compared)
    assert replay.shown is replay.recorded


def test_every_recorded_component_has_a_weight(replay: Replay, snapshots: list[Snapshot]) -> None:
    assert set(replay.config.weights) == set(snapshots[0].credit.reward_components)


def test_a_run_without_updates_is_an_empty_screen(tmp_path: Path) -> None:
    Recording.in_memory([], info={"prompts": 7}).save(tmp_path / "empty")
    replay = Replay(Recording.load(tmp_path / "empty"))
    assert (replay.shown, replay.updates, replay.prompts, replay.phase) == (None, 0, (), "replay")


def test_a_damaged_update_is_refused_and_the_others_stay(run: Path) -> None:
    (run / "tokens" / "000002.parquet").write_bytes(b"")
    replay = Replay(Recording.load(run))
    with pytest.raises(RecordingError, match="damaged"):
        replay.cursor.update = 2
    replay.cursor.update = 1
    assert replay.shown.update == 1
    replay.close()
    assert len(replay.history) == 0


def test_a_what_if_is_undone_in_one_go(replay: Replay) -> None:
    replay.set(clip_range=0.05, gae_lambda=0.3)
    assert replay.shown is not replay.recorded
    replay.back_to_own()
    assert replay.shown is replay.recorded
    assert replay.config.differences(replay.compared) == {}
