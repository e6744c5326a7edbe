"""The learning rates over a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from explorer.config import Config
from explorer.ppo.schedule import learning_rate_scale, scheduled
from explorer.presets import RECIPES
from tests.ppo.comparing import same, weights

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer, RunUpdate

LINEAR = Config(lr_schedule="linear", lr_decay_updates=4, learning_rate=0.01, value_learning_rate=0.1)


def test_a_straight_line_to_0() -> None:
    assert [learning_rate_scale(LINEAR, update) for update in range(1, 8)] == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0, 0.0]
    once = LINEAR.replace(lr_decay_updates=1)
    assert [learning_rate_scale(once, update) for update in (1, 2, 3)] == [1.0, 0.0, 0.0]


def test_constant_stays_constant() -> None:
    assert {learning_rate_scale(Config(), update) for update in (1, 2, 99, 100_000)} == {1.0}
    assert scheduled(Config(), 50) == Config()


def test_both_rates_fall_together() -> None:
    third = scheduled(LINEAR, 3)
    assert (third.learning_rate, third.value_learning_rate) == (0.005, 0.05)
    assert third.replace(learning_rate=0.01, value_learning_rate=0.1) == LINEAR


def test_a_run_records_the_rate_in_force_and_learns_with_it(
    make_trainer: MakeTrainer, run_update: RunUpdate, tiny_config: Config
) -> None:
    config = tiny_config.replace(lr_schedule="linear", lr_decay_updates=2, learning_rate=0.002)
    trainer, plain = make_trainer(config), make_trainer(tiny_config.replace(learning_rate=0.002))
    rates = []
    for number in (1, 2, 3):
        before = weights(trainer.policy)
        rates.append(run_update(trainer).metrics["optim/learning_rate"])
        run_update(plain)
        if number == 1:  # the first update has the whole rate
            assert same(weights(trainer.policy), weights(plain.policy))
        assert same(weights(trainer.policy), before) == (number == 3)
    assert rates == [0.002, pytest.approx(0.001), 0.0]
    assert not same(weights(trainer.policy), weights(plain.policy))


def test_openais_recipe_learns_less_and_less_and_stops(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    """As their run did, whose last update is here the hundredth."""
    recipe = RECIPES["ppo_openai_2019"]
    full = recipe.learning_rate
    assert [scheduled(recipe, update).learning_rate for update in (1, 51, 100)] == [
        full,
        pytest.approx(full / 2),
        pytest.approx(full / 100),
    ]
    trainer = make_trainer(recipe.replace(batch_size=8, response_length=6, lr_decay_updates=1))
    run_update(trainer)
    before = weights(trainer.policy)
    assert run_update(trainer).metrics["optim/learning_rate"] == 0.0
    assert same(weights(trainer.policy), before)
