"""A session inline: commands go in, snapshots come out, and what goes wrong changes nothing but the error."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from explorer.config import Config, effect_of
from explorer.presets import PRESETS, RECIPES
from explorer.recording.snapshot import Snapshot
from explorer.recording.what_if import what_if
from explorer.session.progress import Unfinished
from explorer.session.session import ResetNeeded, Session

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer
    from tests.session.conftest import MakeSession


def arrays_of(snapshot: Snapshot) -> dict[str, bytes]:
    """Every array of a snapshot by name, bit for bit."""
    found = {}
    for i, record in enumerate((snapshot.rollout, snapshot.credit, snapshot.curve, *snapshot.epochs)):
        for field in dataclasses.fields(record):
            value = getattr(record, field.name)
            parts = value.items() if hasattr(value, "items") else [("", value)]
            found |= {f"{i} {field.name} {n}": np.asarray(part).tobytes() for n, part in parts}
    return found


def weights_of(session: Session) -> dict[str, bytes]:
    """The policy's weights, bit for bit."""
    return {n: t.detach().numpy().tobytes() for n, t in session.engine.trainer.policy.state_dict().items()}


def updates_of(session: Session) -> list[int]:
    return [snapshot.update for snapshot in session.history]


# --- settings ---


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clip_range": 1.5}, "clip_range is 1.5, but must be from 0 to 1"),
        ({"clip_range": 0.3, "kl_coef": math.nan}, "kl_coef is nan, but must be from 0 to 2"),
        ({"weight_sentiment": math.nan}, "the weight of 'sentiment' is nan"),
        ({"clip_rnge": 0.3}, "no field 'clip_rnge': did you mean 'clip_range'"),
        ({"response_length": 40}, "exceeds the 32 that the policy can attend to"),
        ({"minibatches": 64}, "minibatches is 64, more than the batch_size of 8"),
        ({"epochs": "many"}, "epochs is 'many', but must be a number"),
    ],
)
def test_a_refused_change_changes_nothing(session: Session, changes: dict[str, Any], message: str) -> None:
    session.train(1)
    before = (session.config, session.shown, session.recorded, session.updates, weights_of(session))
    with pytest.raises((TypeError, ValueError), match=message):
        session.set(reset=True, **changes)
    assert (session.config, session.engine.config) == (before[0], before[0])
    assert session.shown is before[1] and session.recorded is before[2]
    assert (session.updates, weights_of(session)) == before[3:]


def test_a_re_scoring_change_is_shown_at_once_and_what_was_recorded_stays(session: Session) -> None:
    session.train(2)
    recorded = session.recorded
    kept = arrays_of(recorded)
    session.set(clip_range=0.01, kl_coef=1.0, weight_length=0.5)
    assert session.recorded is recorded
    assert arrays_of(recorded) == kept
    assert arrays_of(session.shown) == arrays_of(what_if(recorded, session.config, epoch=-1)) != kept
    assert session.shown.config.clip_range == 0.01
    assert session.shown.final.outside_range.sum() > recorded.final.outside_range.sum()
    assert np.array_equal(session.shown.final.ratios, recorded.final.ratios)


def test_each_epoch_on_screen_is_re_scored_when_it_is_looked_at(session: Session) -> None:
    session.train(1)
    session.set(clip_range=0.01, weight_length=0.5)
    whole = what_if(session.recorded, session.config)
    for epoch, scored in enumerate(whole.epochs):
        session.cursor.epoch = epoch
        shown = session.shown.epochs[epoch]
        for name in ("advantages", "outside_range", "zero_gradient", "gradient_shares", "policy_terms"):
            assert np.array_equal(getattr(shown, name), getattr(scored, name)), name


def test_a_change_back_shows_what_was_recorded(session: Session) -> None:
    session.train(1)
    before = session.config.clip_range
    session.set(clip_range=0.5)
    session.set(clip_range=before)
    assert session.shown is session.recorded


def test_a_change_that_waits_for_the_next_update_leaves_the_screen(session: Session) -> None:
    session.train(1)
    shown = session.shown
    session.set(learning_rate=3e-3, epochs=3, temperature=0.7)
    assert session.shown is shown
    session.train(1)
    assert len(session.shown.trained) == 3
    assert [s.config.learning_rate for s in session.history] == [1e-3, 3e-3]


def test_a_setting_changed_in_the_middle_of_an_update_waits_for_the_next(
    make_session: MakeSession, make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot], tiny_config: Config
) -> None:
    session, undisturbed = make_session(), make_session()
    undisturbed.train(1)
    for stage in range(4 + tiny_config.epochs + 1):
        session.step_stage()
        session.set(clip_range=0.5 - 0.01 * stage, learning_rate=1e-2, epochs=1, kl_coef=1.0)
    assert session.updates == 1
    assert arrays_of(session.recorded) == arrays_of(undisturbed.recorded)
    assert session.recorded.config == tiny_config
    session.step()
    assert session.recorded.config == session.config
    assert len(session.recorded.trained) == 1


def test_what_starts_the_run_anew_asks_first(session: Session) -> None:
    session.train(2)
    before = session.config
    with pytest.raises(ResetNeeded, match="batch_size, seed starts the run anew") as asked:
        session.set(batch_size=4, seed=5, clip_range=0.3)
    assert asked.value.changes == {"batch_size": 4, "seed": 5}
    assert (session.config, session.updates) == (before, 2)
    session.set(reset=True, **{"clip_range": 0.3, **asked.value.changes})
    assert (session.updates, session.config.seed, session.config.clip_range) == (0, 5, 0.3)
    assert session.shown is None
    session.train(1)
    assert session.shown.rollout.response_ids.shape[0] == 4


def test_another_critic_is_taken_by_a_reset(session: Session) -> None:
    session.train(1)
    with pytest.raises(ResetNeeded, match="critic starts the run anew"):
        session.set(critic="separate")
    size = session.policy["parameters"]
    session.set(critic="separate", reset=True)
    assert session.policy["parameters"] > size
    session.train(2)
    assert session.error == {}
    assert (session.updates, session.shown.config.critic) == (2, "separate")
    assert session.shown.rollout.old_values.any()


def test_a_batch_that_no_longer_divides_says_what_to_do(session: Session) -> None:
    before = session.config
    with pytest.raises(ValueError, match=r"not a multiple of the group_size of 2.*choose a batch_size of 6 or 8"):
        session.set(batch_size=7)
    assert session.config == before
    with pytest.raises(ValueError, match="choose a group_size of at least 2, or another estimator"):
        session.set(group_size=1, estimator="grpo", reset=True)
    assert session.config == before


def test_remax_takes_effect_from_the_next_update(session: Session) -> None:
    session.train(1)
    recorded = session.recorded
    session.set(estimator="remax")
    assert session.error == {}
    assert session.shown.config.estimator == "gae"
    assert arrays_of(session.shown) == arrays_of(recorded)
    session.train(1)
    assert session.shown.config.estimator == "remax"
    assert set(session.shown.credit.greedy_components) == set(session.shown.credit.reward_components)
    session.set(estimator="rloo")  # a batch with greedy answers can be re-scored without them, and back
    assert session.shown.config.estimator == "rloo"
    session.set(estimator="remax")
    assert arrays_of(session.shown) == arrays_of(session.recorded)


def test_before_the_first_update_nothing_needs_to_be_asked(session: Session) -> None:
    session.set(seed=3, response_length=4)
    session.train(1)
    assert session.shown.rollout.response_ids.shape == (8, 4)
    assert session.shown.config.seed == 3


def test_a_preset_changes_all_but_seed_and_batch(session: Session, tiny_config: Config) -> None:
    session.set(seed=7)
    session.use_preset("balanced")
    preset = PRESETS["balanced"]
    assert session.preset == "balanced"
    assert dict(session.config.weights) == dict(preset.weights)
    assert (session.config.kl_coef, session.config.learning_rate) == (preset.kl_coef, preset.learning_rate)
    assert (session.config.seed, session.config.batch_size, session.config.response_length) == (7, 8, 6)


def test_an_unknown_preset_is_named(session: Session) -> None:
    with pytest.raises(ValueError, match="no preset 'lern': choose one of learn, see_the_clip"):
        session.use_preset("lern")
    assert session.preset == "learn"


def test_a_preset_in_the_middle_of_a_run_does_not_start_it_anew(session: Session) -> None:
    session.train(1)
    session.use_preset("hack_the_reward")
    session.train(1)
    assert updates_of(session) == [1, 2]
    assert session.recorded.config.kl_coef == 0.0


# --- running ---


def test_step_a_stage_shows_what_there_is_so_far(session: Session) -> None:
    seen = []
    for _ in range(6):
        session.step_stage()
        assert session.mode == "paused"
        assert isinstance(session.shown, Unfinished)
        unfinished = session.shown
        seen.append((session.progress.finished, unfinished.credit is not None, len(unfinished.epochs)))
    assert seen == [
        ("sample", False, 0),
        ("score", False, 0),
        ("shape", True, 0),
        ("advantage", True, 0),
        ("epoch", True, 1),
        ("epoch", True, 2),
    ]
    assert (session.updates, unfinished.update) == (0, 1)
    session.step_stage()
    assert isinstance(session.shown, Snapshot)
    assert (session.progress.finished, session.progress.running, session.updates) == ("done", "repeat", 1)


def test_the_progress_says_what_is_running_and_how_far_it_is(session: Session) -> None:
    seen: list[tuple[Any, ...]] = []
    session.observe(lambda change: seen.append(dataclasses.astuple(change["new"])[:6]), "progress")
    session.step()
    assert [(finished, running, epoch) for _, finished, running, epoch, _, _ in seen] == [
        ("", "sample", 0),
        ("sample", "score", 0),
        ("score", "shape", 0),
        ("shape", "advantage", 0),
        ("advantage", "epoch", 1),
        ("epoch", "epoch", 2),
        ("epoch", "done", 2),
        ("done", "repeat", 0),
    ]
    assert {(update, epochs) for update, _, _, _, epochs, _ in seen} == {(1, 2)}
    fractions = [fraction for *_, fraction in seen]
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert all(a < b for a, b in pairwise(fractions))


def test_an_unfinished_update_becomes_the_recorded_one(session: Session) -> None:
    for _ in range(6):
        session.step_stage()
    unfinished = session.shown
    session.step()
    assert session.recorded.rollout.response_ids.tobytes() == unfinished.rollout.response_ids.tobytes()
    assert session.recorded.credit.advantages.tobytes() == unfinished.credit.advantages.tobytes()
    assert session.recorded.epochs[1].ratios.tobytes() == unfinished.epochs[1].ratios.tobytes()


def test_training_at_full_speed_shows_whole_updates_only(session: Session) -> None:
    session.step_stage()
    kinds: list[str] = []
    session.observe(lambda change: kinds.append(type(change["new"]).__name__), "shown")
    session.train(3)  # stages are for stepping and for slow motion: eight draws an update would slow it down
    assert kinds == ["Snapshot"] * 3


def test_slow_motion_shows_every_stage(session: Session) -> None:
    kinds: list[str] = []
    session.observe(lambda change: kinds.append(type(change["new"]).__name__), "shown")
    session.set_slow(0.001)
    session.train(1)
    assert kinds == ["Unfinished"] * 6 + ["Snapshot"]
    session.set_slow(0.0)
    session.train(1)
    assert kinds[7:] == ["Snapshot"]


@pytest.mark.parametrize("updates", [0, -3])
def test_a_number_of_updates_below_one_is_refused(session: Session, updates: int) -> None:
    with pytest.raises(ValueError, match=f"'{updates}' updates cannot be trained: give a whole number of at least 1"):
        session.train(updates)


def test_reset_goes_back_to_the_untouched_policy_bit_for_bit(session: Session) -> None:
    untouched = weights_of(session)
    session.train(2)
    first, trained = [arrays_of(s) for s in session.history], weights_of(session)
    assert trained != untouched
    session.reset()
    assert weights_of(session) == untouched
    assert (session.updates, session.shown, session.recorded, session.cursor.update) == (0, None, None, 0)
    assert session.history.updates == []
    assert session.engine.checkpoints.updates == [0]
    session.train(2)
    assert [arrays_of(s) for s in session.history] == first
    assert weights_of(session) == trained


def test_reset_in_the_middle_of_an_update_drops_it(session: Session, make_session: MakeSession) -> None:
    untouched = weights_of(session)
    for _ in range(6):
        session.step_stage()
    session.reset()
    assert weights_of(session) == untouched
    session.step()
    fresh = make_session()
    fresh.step()
    assert arrays_of(session.recorded) == arrays_of(fresh.recorded)


def test_another_seed_gives_another_run(make_session: MakeSession, tiny_config: Config) -> None:
    one, other = make_session(), make_session(config=tiny_config.replace(seed=1))
    one.step()
    other.step()
    assert arrays_of(one.recorded) != arrays_of(other.recorded)


class Moody:
    """A reward that raises from its n-th call on, until it is mended."""

    def __init__(self, fails_from: int) -> None:
        self.calls, self.fails_from = 0, fails_from

    def __call__(self, prompts: list[str], responses: list[str]) -> list[float]:
        self.calls += 1
        if self.calls >= self.fails_from:
            raise ZeroDivisionError("nothing to divide by")
        return [0.1 * len(text) for text in responses]


def test_the_one_reward_that_counts_stops_the_run_where_it_raises_and_nothing_is_lost(
    make_session: MakeSession, tiny_config: Config
) -> None:
    moody = Moody(fails_from=3)
    session = make_session(config=tiny_config.replace(weights={"moody": 1.0}), rewards={"moody": moody})
    session.train(2)
    kept, shown, weights = [arrays_of(s) for s in session.history], session.shown, weights_of(session)
    session.train(5)
    message = session.error["message"]
    assert "The reward 'moody' raised ZeroDivisionError: nothing to divide by on the response '" in message
    assert "\n" not in message
    assert (session.mode, session.updates, session.shown) == ("paused", 2, shown)
    assert [arrays_of(s) for s in session.history] == kept
    assert weights_of(session) == weights
    assert session.engine.trainer.updates == 2

    moody.fails_from = 10**9  # mended in another cell
    session.components.take_back("moody")
    session.train(1)
    assert session.error == {}
    assert updates_of(session) == [1, 2, 3]


def test_every_error_counts_anew_and_can_be_dismissed(session: Session) -> None:
    for count in (1, 2):
        session.report(ValueError("the same again"))
        assert session.error == {"message": "the same again", "count": count}
    session.dismiss()
    assert session.error == {}
    session.report(IndexError())
    assert session.error["message"].startswith("IndexError")


def test_training_until_the_score_stops_rising_stops(make_session: MakeSession, tiny_config: Config) -> None:
    flat = tiny_config.replace(weights={"even": 1.0}, kl_coef=0.0)
    session = make_session(config=flat, rewards={"even": lambda prompts, responses: [0.5] * len(responses)})
    session.train(60, until_flat=True)
    assert session.updates == 20  # two windows of ten are the least that can tell
    assert session.mode == "paused"
    session.train(2)
    assert session.updates == 22


def test_while_the_score_rises_it_goes_on(make_session: MakeSession, tiny_config: Config) -> None:
    calls = iter(range(1000))
    rising = tiny_config.replace(weights={"rising": 1.0}, kl_coef=0.0)
    session = make_session(
        config=rising, rewards={"rising": lambda prompts, responses: [0.01 * next(calls)] * len(responses)}
    )
    session.train(26, until_flat=True)
    assert session.updates == 26


def test_a_policy_that_does_not_load_says_why(make_session: MakeSession) -> None:
    session = make_session(policy="./nowhere")
    assert session.phase == "failed"
    assert "There is no folder './nowhere'" in session.error["message"]


def test_a_ready_session_says_what_it_trains(session: Session) -> None:
    assert session.phase == "ready"
    assert len(session.prompts) == 3
    assert set(session.policy) == {"name", "parameters"}


def test_the_last_prompt_that_was_tried_and_the_samples_are_there(session: Session) -> None:
    session.train(1)
    session.compare()
    session.try_prompt("The cat")
    assert session.samples["update"] == session.trial["update"] == 1
    assert session.samples["prompts"] == list(session.prompts)
    assert session.trial["prompt"] == "The cat"


def test_other_prompts_are_taken_from_the_next_update_on(session: Session) -> None:
    session.train(1)
    session.step_stage()
    session.set_prompts(["Tim saw a big dog", "The cat was happy"])
    assert session.prompts == ("Tim saw a big dog", "The cat was happy")
    session.step()
    assert set(session.recorded.tokens.prompts) == {"The cat", "One day, a little boy", "Lily went to the"}
    session.step()
    assert set(session.recorded.tokens.prompts) == {"Tim saw a big dog", "The cat was happy"}
    assert session.samples["prompts"] == ["Tim saw a big dog", "The cat was happy"]


def test_bad_prompts_are_reported_and_change_nothing(session: Session) -> None:
    before = session.prompts
    for bad in ([], ["The cat", " "], ["The cat " * 40]):
        session.set_prompts(bad)
        assert session.error["message"]
        session.dismiss()
    assert session.prompts == before
    session.train(1)
    assert set(session.recorded.tokens.prompts) == set(before)


# --- what is on screen ---


def test_the_newest_update_is_followed(session: Session) -> None:
    session.train(3)
    assert session.cursor.follow
    assert (session.cursor.update, session.shown.update) == (3, 3)


def test_scrubbing_goes_back_and_new_updates_do_not_interfere(session: Session) -> None:
    session.train(3)
    session.cursor.follow = False
    session.cursor.update = 1
    assert session.shown is session.history.at(1)
    session.set(clip_range=0.01)
    assert arrays_of(session.shown) == arrays_of(what_if(session.history.at(1), session.config, epoch=-1))
    session.worker.run(2)  # Train follows again; here the run goes on in the background
    assert (session.updates, session.cursor.update, session.shown.update) == (5, 1, 1)
    session.cursor.follow = True
    assert (session.cursor.update, session.shown.update) == (5, 5)


def test_train_follows_again(session: Session) -> None:
    session.train(2)
    session.cursor.follow = False
    session.cursor.update = 1
    session.train(1)
    assert session.cursor.follow
    assert session.shown.update == 3


def test_following_goes_back_to_what_the_update_ended_with(session: Session) -> None:
    session.train(2)
    session.cursor.epoch = 0
    session.train(1)
    assert (session.cursor.update, session.cursor.epoch) == (3, -1)


def test_an_update_that_is_no_longer_kept_shows_the_nearest_earlier_one(session: Session) -> None:
    session.history.limit = 6
    session.train(20)
    kept = updates_of(session)
    assert len(kept) <= 6
    assert session.history.updates == list(range(1, 21))
    session.cursor.follow = False
    gone = next(n for n in range(2, 20) if n not in kept)
    session.cursor.update = gone
    assert session.shown.update == max(n for n in kept if n < gone)


@pytest.fixture
def recorded(make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot]) -> list[Snapshot]:
    """Three updates of another run."""
    trainer = make_trainer(Config(batch_size=4, response_length=5, epochs=1, seed=9))
    return [snapshot_of(trainer) for _ in range(3)]


def test_a_recorded_run_is_on_screen_at_once(make_session: MakeSession, recorded: list[Snapshot]) -> None:
    session = make_session(recorded=recorded)
    assert (session.shown.update, session.updates, session.live) == (3, 3, False)
    session.cursor.follow = False
    session.cursor.update = 1
    assert session.recorded is recorded[0]


def test_a_recorded_run_is_re_scored_too(make_session: MakeSession, recorded: list[Snapshot]) -> None:
    session = make_session(recorded=recorded)
    session.set(clip_range=0.001)
    assert session.recorded is recorded[-1]
    assert session.shown.config.clip_range == 0.001


def test_a_recorded_run_stays_until_the_first_live_update(make_session: MakeSession, recorded: list[Snapshot]) -> None:
    session = make_session(recorded=recorded)
    session.step()
    assert (session.live, session.waiting, session.updates) == (True, False, 1)
    assert session.history.updates == [1]
    assert session.shown.rollout.response_ids.shape == (8, 6)


def test_the_first_live_update_of_a_slow_run_is_waited_for(make_session: MakeSession, recorded: list[Snapshot]) -> None:
    seen: list[tuple[bool, list[int]]] = []
    session = make_session(
        recorded=recorded,
        rewards={"spy": lambda p, r: seen.append((session.waiting, session.history.updates)) or [0.0] * len(r)},
    )
    session.train(2)
    assert seen == [(True, [1, 2, 3]), (False, [1])]


def test_a_first_update_that_fails_leaves_the_recorded_run_on_screen(
    make_session: MakeSession, recorded: list[Snapshot], tiny_config: Config
) -> None:
    alone = tiny_config.replace(weights={"moody": 1.0})
    session = make_session(config=alone, recorded=recorded, rewards={"moody": Moody(fails_from=1)})
    shown = session.shown
    session.train(1)
    assert "moody" in session.error["message"]
    assert session.shown is shown
    assert session.history.updates == [1, 2, 3]


def test_a_recorded_run_needs_no_question_before_a_reset_field_changes(
    make_session: MakeSession, recorded: list[Snapshot]
) -> None:
    session = make_session(recorded=recorded)
    session.set(seed=4)
    assert session.config.seed == 4
    session.use_preset("ppo_instructgpt")  # it has a critic of its own
    assert session.engine.trainer.policy.critic is not None
    assert session.recorded is recorded[-1]  # and the recorded run is still there to be looked at
    assert session.shown.config.objective == session.config.objective
    session.train(1)
    assert (session.history.updates, session.recorded.config.critic) == ([1], "separate")


def test_a_recipe_with_another_critic_asks_before_it_starts_the_run_anew(session: Session) -> None:
    session.train(1)
    with pytest.raises(ResetNeeded, match="critic"):
        session.use_preset("ppo_instructgpt")
    assert (session.preset, session.config.critic, session.updates) == ("learn", "shared", 1)
    session.use_preset("ppo_instructgpt", reset=True)
    assert (session.preset, session.config.critic, session.updates) == ("ppo_instructgpt", "separate", 0)
    session.train(1)
    assert session.engine.trainer.policy.critic is not None


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_and_every_one_can_be_re_scored_as_another(session: Session, name: str) -> None:
    session.use_preset(name)
    session.train(1)
    assert session.error == {}
    for other in RECIPES:
        session.set(**{f: v for f, v in PRESETS[other].flat().items() if effect_of(f) == "what_if"})
        assert session.error == {}
        assert np.isfinite(session.shown.final.policy_terms).all()


LEFT_TRAINING = """
import asyncio
from explorer.presets import PRESETS
from explorer.session.session import Session

async def main():
    session = Session(config=PRESETS["learn"].replace(batch_size=4, response_length=4))
    while session.phase != "ready":
        await asyncio.sleep(0.02)
    session.train()
    while not session.updates:
        await asyncio.sleep(0.02)

asyncio.run(main())
"""


def test_a_program_that_ends_while_it_trains_ends_cleanly() -> None:
    ended = subprocess.run([sys.executable, "-c", LEFT_TRAINING], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (0, "")  # torch aborts where tensors outlive the interpreter


def test_a_what_if_is_undone_in_one_go(session: Session) -> None:
    session.train(1)
    own = session.config
    session.set(clip_range=0.05, gae_lambda=0.3, weight_length=0.5, estimator="remax", learning_rate=5e-4)
    assert session.shown is not session.recorded
    session.back_to_own()
    assert session.shown is session.recorded
    # What does not re-score stays as it was set.
    assert session.config.differences(own) == {"learning_rate": (5e-4, own.learning_rate)}


def test_undoing_where_there_is_nothing_to_undo_changes_nothing(session: Session) -> None:
    before = session.config
    session.back_to_own()
    session.step_stage()
    session.set(clip_range=0.05)
    session.back_to_own()  # in the middle of an update nothing is re-scored
    assert session.config.differences(before) == {"clip_range": (0.05, before.clip_range)}


def test_the_component_that_a_preset_brought_goes_with_it_and_ones_own_stays(session: Session) -> None:
    session.components.put("loud", {"kind": "expression", "expression": 'count("!")'}, 0.5)
    session.use_preset("length_exploit")
    assert set(session.config.components) == {"loud", "words"} and session.config.judge == "coherence"
    session.use_preset("learn")
    assert set(session.config.components) == {"loud"} and session.config.judge == ""
    assert session.config.weights["loud"] == 0 and "words" not in session.config.weights
