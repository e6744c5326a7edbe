"""The same seed gives the same updates, whatever happens around them; replayed rows keep their own past."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from explorer.config import Config
from tests.ppo.comparing import assert_equal, same, weights

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer, RunUpdate


# --- randomness belongs to seed and update ---


def test_the_same_seed_gives_identical_updates(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    config = Config(batch_size=8, response_length=6, epochs=2, minibatches=3, stop_sentences=1, replay_rollouts=2)
    one, other = make_trainer(config), make_trainer(config)
    for _ in range(3):
        first = run_update(one)
        torch.rand(7)  # somebody else draws numbers in between
        assert_equal(first, run_update(other))
    assert same(weights(one.policy), weights(other.policy))


def test_another_seed_gives_other_updates(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    one, other = (run_update(make_trainer(Config(batch_size=8, response_length=6, seed=seed))) for seed in (0, 1))
    assert not torch.equal(one.rollout.response_ids, other.rollout.response_ids)


def test_each_update_draws_its_own_numbers(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    frozen = Config(batch_size=8, response_length=6, learning_rate=0.0, value_learning_rate=0.0)
    trainer = make_trainer(frozen)
    one, other = run_update(trainer), run_update(trainer)
    assert not torch.equal(one.rollout.response_ids, other.rollout.response_ids)


def test_training_leaves_the_global_generator_alone(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    trainer = make_trainer()
    before = torch.get_rng_state()
    run_update(trainer)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_reference_never_moves(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    trainer = make_trainer(Config(batch_size=8, response_length=6, learning_rate=1e-2))
    before = weights(trainer.reference)
    start = weights(trainer.policy)
    first = run_update(trainer)
    assert first.metrics["objective/ref_kl"] == 0.0
    for _ in range(2):
        later = run_update(trainer)
    assert same(weights(trainer.reference), before)
    assert same(before, start)
    assert (
        later.rollout.ref_logprobs[later.rollout.response_mask]
        .sub(later.rollout.old_logprobs[later.rollout.response_mask])
        .abs()
        .max()
        > 1e-3
    )


def test_reset_goes_back_to_the_beginning(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    trainer = make_trainer(Config(batch_size=8, response_length=6, epochs=2, replay_rollouts=3))
    first = [run_update(trainer) for _ in range(2)]
    trainer.reset()
    assert trainer.updates == 0
    for update in first:
        assert_equal(run_update(trainer), update)


def test_a_reset_outlives_an_update_that_was_under_way(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    trainer = make_trainer()
    run_update(trainer)
    stages = trainer.stages()
    next(stages)
    trainer.reset()
    stages.close()  # type: ignore[attr-defined]  # gives up what it began, and must not bring the old weights back
    assert same(weights(trainer.policy), weights(trainer.reference))


# --- replay ---


def test_replayed_rows_keep_their_age_their_old_logprobs_and_their_advantages(
    make_trainer: MakeTrainer, run_update: RunUpdate
) -> None:
    config = Config(batch_size=8, response_length=6, epochs=2, learning_rate=1e-2, replay_rollouts=3, stop_sentences=1)
    trainer = make_trainer(config)
    updates = [run_update(trainer) for _ in range(4)]
    assert [update.final.ages.tolist() for update in updates] == [
        [0] * 8,
        [0] * 8 + [1] * 8,
        [0] * 8 + [1] * 8 + [2] * 8,
        [0] * 8 + [1] * 8 + [2] * 8,
    ]
    last = updates[3]
    for age, born in ((0, updates[3]), (1, updates[2]), (2, updates[1])):
        rows = slice(8 * age, 8 * age + 8)
        mask = born.rollout.response_mask
        assert torch.equal(last.final.advantages[rows], born.credit.whitened_advantages)
        for epoch in last.epochs:
            expected = (epoch.new_logprobs[rows] - born.rollout.old_logprobs)[mask].exp()
            torch.testing.assert_close(epoch.ratios[rows][mask], expected)
            assert (epoch.ratios[rows][~mask] == 0).all()
    # The policy has moved on since, so replayed ratios do not begin at 1.
    assert (last.epochs[0].ratios[8:16][updates[2].rollout.response_mask] - 1).abs().max() > 1e-3


def test_replay_of_one_is_plain_ppo(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    trainer = make_trainer()
    assert [run_update(trainer).final.ratios.shape[0] for _ in range(3)] == [8, 8, 8]


def test_more_replay_than_there_has_been_takes_what_there_is(
    make_trainer: MakeTrainer, run_update: RunUpdate, tiny_config: Config
) -> None:
    trainer = make_trainer(tiny_config.replace(epochs=1))
    for _ in range(17):
        run_update(trainer)
    update = run_update(trainer, tiny_config.replace(replay_rollouts=16, epochs=1))
    assert update.final.ages.max() == 15
    assert update.final.ratios.shape[0] == 16 * 8
