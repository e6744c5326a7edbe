"""Where the run stands, in plain values that can be sent."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from explorer.config import Config
from explorer.ppo.policy import Policy
from explorer.presets import CLAIMS, PRESETS
from explorer.session.session import Session
from explorer.text import labels
from explorer.views.run import run_picture, step_seconds

if TYPE_CHECKING:
    from explorer.recording.snapshot import Snapshot
    from tests.conftest import MakeTrainer


@pytest.fixture
def make(make_tiny_policy: Callable[[], Policy], tiny_config: Config) -> Callable[..., Session]:
    """``make(**arguments)``: an inline session of a tiny policy."""

    def session(**arguments: Any) -> Session:
        settings = {"policy": make_tiny_policy(), "config": tiny_config, "prompts": ["The cat"], "threaded": False}
        return Session(**{**settings, **arguments})

    return session


def test_before_the_first_update(make: Callable[..., Session]) -> None:
    picture = run_picture(make())
    assert picture["phase"] == "ready"
    assert (picture["updates"], picture["newest"], picture["cursor"], picture["stage"]) == (0, 0, 0, "")
    assert (picture["mode"], picture["live"], picture["error"], picture["fraction"]) == ("paused", False, {}, 0.0)
    assert (picture["preset"], picture["prompts"], picture["epochs"]) == ("learn", ["The cat"], 2)
    assert picture["weights_kept"] == [0]


def test_after_some_updates(make: Callable[..., Session]) -> None:
    session = make()
    session.train(3)
    picture = run_picture(session)
    assert (picture["updates"], picture["newest"], picture["cursor"], picture["live"]) == (3, 3, 3, True)
    assert (picture["finished"], picture["stage"], picture["fraction"]) == ("done", "repeat", 1.0)
    assert picture["weights_kept"] == [0, 1, 2, 3]
    assert picture["rate"] > 0


def test_the_times_of_the_update_on_screen_by_the_loops_steps(make: Callable[..., Session]) -> None:
    session = make()
    assert run_picture(session)["seconds"] == {}
    session.train(2)
    seconds = session.recorded.seconds
    found = run_picture(session)["seconds"]
    assert {step: list(stages) for step, stages in found.items()} == {
        "collect": ["sample", "old", "reference", "score"],
        "advantage": ["advantage"],
        "epoch": ["epoch"],
        "repeat": ["record"],
    }
    assert found["epoch"]["epoch"] == pytest.approx(seconds["epoch 1"] + seconds["epoch 2"])
    assert sum(sum(stages.values()) for stages in found.values()) == pytest.approx(sum(seconds.values()))
    named = {stage for stages in found.values() for stage in stages}
    assert set(labels("en")["ui"]["seconds"]) == {"update", *named}


def test_an_older_recordings_stages_are_those_that_it_has(make: Callable[..., Session]) -> None:
    session = make()
    session.train(1)
    older = dataclasses.replace(session.recorded, seconds={"sample": 2.0, "epoch 1": 1.0, "epoch 2": 3.0, "other": 9.0})
    assert step_seconds(older) == {"collect": {"sample": 2.0}, "epoch": {"epoch": 4.0}}
    assert step_seconds(None) == {}


def test_what_the_batch_on_screen_has_to_wait_with(make: Callable[..., Session]) -> None:
    session = make()
    assert run_picture(session)["later"] == {}
    session.train(1)
    session.set(estimator="grpo", clip_range=0.1, learning_rate=0.5)  # re-scored, and nothing to re-score
    assert run_picture(session)["later"] == {}
    session.set(estimator="remax")
    assert run_picture(session)["later"] == {"estimator": "greedy"}
    session.train(1)
    assert run_picture(session)["later"] == {}


def test_in_the_middle_of_an_update(make: Callable[..., Session]) -> None:
    session = make()
    for _ in range(5):
        session.step_stage()
    picture = run_picture(session)
    assert (picture["finished"], picture["stage"], picture["stage_epoch"], picture["stage_update"]) == (
        "epoch",
        "epoch",
        2,
        1,
    )
    assert 0 < picture["fraction"] < 1


def test_scrubbed_back(make: Callable[..., Session]) -> None:
    session = make()
    session.train(3)
    session.cursor.follow = False
    session.cursor.update, session.cursor.epoch = 2, 0
    picture = run_picture(session)
    assert (picture["cursor"], picture["epoch"], picture["newest"], picture["follow"]) == (2, 0, 3, False)


def test_a_recorded_run_is_what_is_on_screen_until_there_is_something_live(
    make: Callable[..., Session], make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot]
) -> None:
    seen: list[dict[str, Any]] = []

    def spy(prompts: list[str], responses: list[str]) -> list[float]:
        seen.append(run_picture(session))
        return [0.0] * len(responses)

    trainer = make_trainer()
    session = make(recorded=[snapshot_of(trainer) for _ in range(3)], rewards={"spy": spy})
    session.train(2)
    seen.append(run_picture(session))
    assert [(p["live"], p["newest"], p["cursor"]) for p in seen] == [(False, 3, 3), (True, 1, 1), (True, 2, 2)]


def test_the_first_live_stage_takes_the_place_of_a_recorded_run(
    make: Callable[..., Session], make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot]
) -> None:
    trainer = make_trainer()
    session = make(recorded=[snapshot_of(trainer) for _ in range(3)])
    session.step_stage()
    picture = run_picture(session)
    assert (picture["live"], picture["newest"], picture["cursor"], picture["updates"]) == (True, 0, 1, 0)


def test_an_error_is_in_it(make: Callable[..., Session]) -> None:
    session = make()
    session.report(ValueError("no such thing"))
    assert run_picture(session)["error"] == {"message": "no such thing", "count": 1}


def test_all_of_it_is_plain(make: Callable[..., Session]) -> None:
    session = make()
    session.train(2)
    json.dumps(run_picture(session), allow_nan=False)


#: What a preset leaves as it is, as "hack_the_reward" has it.
SHAPE = {name: getattr(PRESETS["hack_the_reward"], name) for name in ("batch_size", "group_size", "response_length")}


def test_what_a_preset_claims_is_shown_while_the_settings_are_its_own(make: Callable[..., Session]) -> None:
    session = make()
    assert run_picture(session)["claims"] == []  # "learn" claims nothing
    session.set(**SHAPE)
    session.use_preset("hack_the_reward")
    session.set(seed=7)
    *edges, parting = run_picture(session)["claims"]
    assert [claim["metric"] for claim in edges] == [claim.metric for claim in CLAIMS["hack_the_reward"]]
    assert {claim["of"] for claim in edges} == {""}
    assert (parting["metric"], parting["last"], parting["of"]) == ("objective/judge", 20, "parted")
    session.components.put("loud", {"kind": "expression", "expression": 'count("!")'}, 0)
    assert run_picture(session)["claims"]  # it counts nothing
    session.set(weight_loud=0.5)
    assert run_picture(session)["claims"] == []
    session.use_preset("leash")
    together = run_picture(session)["claims"][-1]
    assert (together["metric"], together["last"], together["of"]) == ("objective/judge", 30, "together")


def told(session: Session) -> tuple[bool, bool]:
    """Whether claims are drawn, and whether the page says that they take a run of their own."""
    picture = run_picture(session)
    return bool(picture["claims"]), picture["unclaimed"]


def test_a_claim_is_drawn_over_no_run_but_the_presets_own(make: Callable[..., Session]) -> None:
    session = make()
    session.set(**SHAPE)
    session.train(1)
    assert told(session) == (False, False)
    session.use_preset("hack_the_reward")
    assert told(session) == (False, True)  # its first update was made by "learn"
    session.train(1)
    assert told(session) == (False, True)
    session.reset()
    assert told(session) == (True, False)
    session.train(2)
    assert told(session) == (True, False)
    session.set(kl_coef=0.1)
    assert told(session) == (False, False)  # nothing is claimed of these settings at all
    session.train(1)
    session.set(kl_coef=0.0)
    assert told(session) == (False, True)


def test_a_recorded_run_of_the_preset_is_one_that_it_claims_something_of(
    make: Callable[..., Session], make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot]
) -> None:
    preset = PRESETS["hack_the_reward"]
    trainer = make_trainer()
    recorded = [snapshot_of(trainer, preset.replace(seed=seed)) for seed in (5, 5)]
    for snapshots, drawn in ((recorded, True), (recorded[1:], False)):  # what the first update was is not known
        session = make(recorded=snapshots, config=preset)
        session.use_preset("hack_the_reward")
        assert told(session) == (drawn, not drawn)
