"""Adaptive coefficients: both rules by hand, when they start again, and that a live run follows them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from explorer.config import FIELDS, Config
from explorer.ppo.adaptive import Coefficients, next_kl_coef, next_penalty
from explorer.ppo.records import Update
from explorer.ppo.rewards import RewardError
from explorer.recording.snapshot import Snapshot

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer, RunUpdate

SMALL = Config(batch_size=8, response_length=6, epochs=2, learning_rate=1e-2, stop_sentences=1)
ADAPTIVE = SMALL.replace(kl_target=2.0, kl_horizon=16)
PENALTY = SMALL.replace(objective="kl_penalty")


# --- the rules ---


@pytest.mark.parametrize(
    ("kl", "expected"),
    [(3.1, 6.0), (3.0, 3.0), (2.0, 3.0), (1.34, 3.0), (1.33, 1.5), (0.0, 1.5)],
    ids=lambda v: str(v),
)
def test_the_penalty_doubles_above_its_target_and_halves_below_it(kl: float, expected: float) -> None:
    assert next_penalty(3.0, kl, target=2.0) == expected  # between 4/3 and 3 it stays


@pytest.mark.parametrize(
    ("kl", "expected"),
    [
        (6.0, 0.1),
        (6.6, 0.101),  # a tenth above the target, a tenth of the horizon: one hundredth more
        (5.7, 0.0995),
        (12.0, 0.102),  # whatever is further off than a fifth counts as a fifth
        (600.0, 0.102),
        (0.0, 0.098),
        (-1.0, 0.098),  # an estimate from samples may be negative
    ],
)
def test_beta_follows_how_far_the_kl_is_off(kl: float, expected: float) -> None:
    assert next_kl_coef(0.1, kl, target=6.0, horizon=320, episodes=32) == pytest.approx(expected)


def test_with_openais_horizon_beta_hardly_moves() -> None:
    assert next_kl_coef(0.15, 12.0, target=6.0, horizon=10_000, episodes=64) == pytest.approx(0.150192)


def test_the_default_horizon_can_be_seen_to_act_within_a_live_run() -> None:
    config, beta = Config(kl_target=6.0), 0.05
    for _ in range(40):
        beta = next_kl_coef(beta, 12.0, config.kl_target or 0.0, config.kl_horizon, config.batch_size)
    assert beta / 0.05 > 2


# --- what is in force ---


def test_without_a_target_the_configs_own_are_in_force() -> None:
    after = Coefficients.of(SMALL).after(SMALL, ref_kl=50.0, step_kl=50.0)
    assert (after.kl, after.penalty) == (0.05, 1.0)
    moved = SMALL.replace(kl_coef=0.2, penalty_coef=3.0)
    assert after.under(moved) == Coefficients.of(moved)
    assert after.under(SMALL).put_into(SMALL) == SMALL


def test_what_has_adapted_stays_in_force_and_the_config_as_it_was_asked() -> None:
    after = Coefficients.of(ADAPTIVE).after(ADAPTIVE, ref_kl=100.0, step_kl=0.0)
    assert after.kl == pytest.approx(0.055)  # a fifth of half the horizon
    assert after.under(ADAPTIVE) == after
    assert after.put_into(ADAPTIVE) == ADAPTIVE.replace(kl_coef=after.kl)


def test_moving_the_slider_starts_again_from_its_value() -> None:
    after = Coefficients.of(ADAPTIVE).after(ADAPTIVE, ref_kl=100.0, step_kl=0.0)
    moved = ADAPTIVE.replace(kl_coef=0.2)
    assert after.under(moved).kl == 0.2
    on = after.under(moved).after(moved, ref_kl=100.0, step_kl=0.0)
    assert on.under(moved).kl == pytest.approx(0.22)
    assert on.under(ADAPTIVE).kl == 0.05  # back where the slider was, and not where beta was


def test_switching_the_target_off_and_on_starts_again() -> None:
    after = Coefficients.of(ADAPTIVE).after(ADAPTIVE, ref_kl=100.0, step_kl=0.0)
    fixed = ADAPTIVE.replace(kl_target=None)
    assert after.under(fixed).kl == 0.05
    assert after.under(fixed).after(fixed, ref_kl=100.0, step_kl=0.0).under(ADAPTIVE).kl == 0.05
    assert after.under(ADAPTIVE.replace(kl_target=9.0)) == after  # another target goes on from where beta is


def test_the_penalty_adapts_with_its_own_objective_only() -> None:
    after = Coefficients.of(PENALTY).after(PENALTY, ref_kl=0.0, step_kl=1.0)
    assert (after.kl, after.penalty) == (0.05, 2.0)
    assert after.under(PENALTY).penalty == 2.0
    assert after.under(PENALTY.replace(penalty_coef=5.0)).penalty == 5.0
    clipped = PENALTY.replace(objective="clip")
    assert after.under(clipped).penalty == 1.0
    assert Coefficients.of(clipped).after(clipped, ref_kl=0.0, step_kl=1.0).penalty == 1.0


def test_a_coefficient_stays_within_what_a_config_may_hold() -> None:
    config = SMALL.replace(objective="kl_penalty", kl_target=2.0, kl_horizon=8, kl_coef=1.9, penalty_coef=900.0)
    after = Coefficients.of(config).after(config, ref_kl=100.0, step_kl=100.0)
    assert (after.kl, after.penalty) == (FIELDS["kl_coef"].metadata["high"], FIELDS["penalty_coef"].metadata["high"])
    assert after.put_into(config).kl_coef == 2.0


# --- in a live run ---


def run(trainer_updates: int, make: Callable[[], Update]) -> list[dict[str, float]]:
    return [dict(make().metrics) for _ in range(trainer_updates)]


def test_beta_follows_the_kl_of_a_run(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    trainer = make_trainer(ADAPTIVE)
    metrics = run(8, lambda: run_update(trainer))
    betas, kls = [m["coef/kl"] for m in metrics], [m["objective/ref_kl"] for m in metrics]
    # The first update starts from the reference: a KL of 0 is below any target, by more than a fifth.
    assert betas[:2] == [0.05, pytest.approx(0.045)]
    changes = [after / before for before, after in itertools.pairwise(betas)]
    for kl, change in zip(kls, changes, strict=False):
        assert 0.9 - 1e-9 <= change <= 1.1 + 1e-9  # half the horizon an update
        assert (change > 1) is (kl > 2.0)
    assert min(kls) < 2.0 < max(kls), "both directions have to come for this test to say anything"
    assert {m["coef/penalty"] for m in metrics} == {1.0}


def test_the_rewards_pay_the_beta_that_was_in_force(
    make_trainer: MakeTrainer, run_update: RunUpdate, snapshot_of: Callable[..., Snapshot]
) -> None:
    trainer = make_trainer(ADAPTIVE)
    for _ in range(2):
        run_update(trainer)
    snapshot = snapshot_of(trainer)
    beta = snapshot.metrics["coef/kl"]
    assert beta != 0.05
    assert snapshot.config == ADAPTIVE  # as it was asked for
    paid = snapshot.credit.scores.sum() - snapshot.credit.rewards.sum()
    assert paid == pytest.approx(beta * snapshot.credit.ref_kl.sum(), abs=1e-4)
    assert snapshot.checks["reward_sum"][0]


def test_the_penalty_of_a_run_halves_and_doubles(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    timid = make_trainer(PENALTY.replace(learning_rate=0.0, value_learning_rate=0.0))
    assert [m["coef/penalty"] for m in run(3, lambda: run_update(timid))] == [1.0, 0.5, 0.25]
    bold = make_trainer(PENALTY.replace(penalty_target=1e-4))
    metrics = run(3, lambda: run_update(bold))
    assert [m["coef/penalty"] for m in metrics] == [1.0, 2.0, 4.0]
    assert min(m["policy/approx_kl_final"] for m in metrics[:2]) > 1e-3


def test_a_dearer_step_is_a_shorter_one(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    config = PENALTY.replace(epochs=8)
    free, dear = (run_update(make_trainer(config.replace(penalty_coef=b))).metrics for b in (0.0, 100.0))
    assert dear["policy/approx_kl_final"] < free["policy/approx_kl_final"] / 2


def test_moving_the_slider_in_a_run_starts_again(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    trainer = make_trainer(ADAPTIVE)
    for _ in range(2):
        run_update(trainer)
    moved = ADAPTIVE.replace(kl_coef=0.3)
    assert run_update(trainer, moved).metrics["coef/kl"] == 0.3
    assert run_update(trainer, moved).metrics["coef/kl"] in (pytest.approx(0.27), pytest.approx(0.33))


@pytest.mark.parametrize("stage_name", ["sample", "advantage", "epoch"])
def test_an_update_that_is_given_up_leaves_the_coefficients(
    stage_name: str, make_trainer: MakeTrainer, run_update: RunUpdate
) -> None:
    trainer = make_trainer(ADAPTIVE)
    run_update(trainer)
    before = trainer.coefficients
    stages = trainer.stages(ADAPTIVE.replace(kl_coef=0.7))
    while next(stages).name != stage_name:
        pass
    stages.close()  # type: ignore[attr-defined]  # a generator
    assert trainer.coefficients == before
    assert run_update(trainer).metrics["coef/kl"] == pytest.approx(0.045)


def test_an_update_that_fails_leaves_the_coefficients(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    answers = [1.0, math.nan, 1.0]
    config = ADAPTIVE.replace(weights={"mine": 1.0})
    trainer = make_trainer(config, rewards={"mine": lambda prompts, responses: [answers[0]] * len(prompts)})
    run_update(trainer)
    before = trainer.coefficients
    answers.pop(0)
    with pytest.raises(RewardError):
        run_update(trainer)
    assert trainer.coefficients == before


def test_a_reset_starts_again_from_the_config(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    trainer = make_trainer(ADAPTIVE.replace(objective="kl_penalty"))
    first = [m["coef/kl"] for m in run(3, lambda: run_update(trainer))]
    trainer.reset()
    again = run(3, lambda: run_update(trainer))
    assert [m["coef/kl"] for m in again] == first
    assert again[0]["coef/penalty"] == 1.0
