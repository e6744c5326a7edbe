"""One update from its first token to its last step: the order of its stages, and what a config does to it."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import pytest
import torch

from explorer.config import Config
from explorer.ppo.policy import Policy
from explorer.ppo.trainer import Trainer
from tests.ppo.comparing import same, weights

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer, RunUpdate


# --- the order of things ---


def test_stages_come_in_the_order_of_the_paper(make_trainer: MakeTrainer, tiny_config: Config) -> None:
    stages = list(make_trainer(tiny_config.replace(epochs=3)).stages())
    names = [(stage.name, stage.epoch) for stage in stages]
    assert names == [
        *[("sample", 0), ("score", 0), ("shape", 0), ("advantage", 0)],
        *[("epoch", 1), ("epoch", 2), ("epoch", 3), ("done", 3)],
    ]
    assert {stage.epochs for stage in stages} == {3}
    assert [stage.components is not None for stage in stages] == [False] + [True] * 7
    assert [stage.credit is not None for stage in stages] == [False] * 2 + [True] * 6
    assert [len(stage.trained) for stage in stages] == [0, 0, 0, 0, 1, 2, 3, 3]
    assert [stage.update is not None for stage in stages] == [False] * 7 + [True]


def test_nothing_is_learnt_before_the_first_epoch(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    before = weights(trainer.policy)
    for stage in trainer.stages():
        if stage.name == "epoch":
            break
        assert same(weights(trainer.policy), before), stage.name
    assert [stage.name for stage in trainer.stages()][-1] == "done"
    assert not same(weights(trainer.policy), before)


def test_an_update_holds_its_epochs_and_final(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    trainer = make_trainer()
    for number in (1, 2):
        update = run_update(trainer)
        assert update.update == trainer.updates == number
        assert len(update.epochs) == 3  # two epochs, and what the policy has become
        assert [math.isnan(epoch.grad_norm) for epoch in update.epochs] == [False, False, True]
        assert list(update.seconds) == [
            "sample",
            "old",
            "reference",
            "score",
            "advantage",
            "epoch 1",
            "epoch 2",
            "record",
        ]
        assert update.metrics["throughput/seconds"] == pytest.approx(sum(update.seconds.values()), rel=1e-6)


def test_final_is_the_policy_after_the_last_step(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    trainer = make_trainer()
    update = run_update(trainer)
    r = update.rollout
    with torch.no_grad():
        now = trainer.policy.score_tokens(r.prompt_ids, r.prompt_mask, r.response_ids, r.response_mask, 1.0)
    assert torch.equal(update.final.new_logprobs, now.logprobs)
    assert not torch.equal(update.final.new_logprobs, update.epochs[-2].new_logprobs)


def test_the_policy_that_sampled_is_the_one_that_was(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    before = copy.deepcopy(trainer.policy)
    r = [stage.rollout for stage in trainer.stages()][-1]
    with torch.no_grad():
        old = before.score_tokens(r.prompt_ids, r.prompt_mask, r.response_ids, r.response_mask, 1.0)
    assert torch.equal(r.old_logprobs, old.logprobs)
    assert torch.equal(r.old_values, old.values)
    assert r.top_logprobs.exp().sum(-1).max() <= 1 + 1e-5
    likeliest = old.all_logprobs.max(-1).values
    assert torch.equal(r.top_logprobs[..., 0], likeliest)
    assert (r.top_logprobs.diff(dim=-1) <= 0).all()


# --- what a config does ---


def test_the_config_of_an_update_is_fixed_at_its_start(make_trainer: MakeTrainer, tiny_config: Config) -> None:
    trainer = make_trainer(tiny_config)
    stages = trainer.stages()
    next(stages)
    trainer.config = tiny_config.replace(epochs=9, clip_range=0.9)
    assert [stage.epochs for stage in stages] == [2] * 6


def test_minibatches_split_every_epoch(make_trainer: MakeTrainer, run_update: RunUpdate, tiny_config: Config) -> None:
    for minibatches, steps in ((1, 2), (3, 6), (8, 16)):
        update = run_update(make_trainer(tiny_config.replace(minibatches=minibatches)))
        assert update.metrics["optim/steps"] == steps
        assert update.checks["optimiser_steps"] == (True, steps)


def test_the_gradient_limit_bounds_the_recorded_norm(
    make_trainer: MakeTrainer, run_update: RunUpdate, tiny_config: Config
) -> None:
    free = run_update(make_trainer(tiny_config.replace(max_grad_norm=None)))
    held = run_update(make_trainer(tiny_config.replace(max_grad_norm=0.01)))
    # Recorded before clipping: in the first epoch both saw the same gradient.
    assert held.epochs[0].grad_norm == pytest.approx(free.epochs[0].grad_norm, rel=1e-5)
    assert held.epochs[0].grad_scale == pytest.approx(0.01 / free.epochs[0].grad_norm, rel=1e-4)
    assert free.epochs[0].grad_scale == 1.0
    assert held.metrics["optim/grad_norm_clipped"] == 0.01
    assert free.metrics["optim/grad_norm_clipped"] == free.metrics["optim/grad_norm"] > 0.01


def test_the_share_of_steps_that_were_shortened_is_a_metric(
    make_trainer: MakeTrainer, run_update: RunUpdate, tiny_config: Config
) -> None:
    trainer, config = make_trainer(tiny_config), tiny_config.replace(epochs=4)
    free = run_update(trainer, config.replace(max_grad_norm=None))
    norms = sorted(epoch.grad_norm for epoch in free.epochs[:-1])  # one minibatch: one norm an epoch
    between = (norms[1] + norms[2]) / 2
    shares = []
    for limit in (None, norms[0] / 100, between, norms[-1] * 100):
        twin = make_trainer(tiny_config)
        update = run_update(twin, config.replace(max_grad_norm=limit))
        shares.append(update.metrics["optim/steps_clipped"])
        over = [epoch.grad_norm > (limit or math.inf) for epoch in update.epochs[:-1]]
        assert shares[-1] == sum(over) / 4
        later = run_update(twin, config.replace(max_grad_norm=1000.0)).metrics
        assert later["optim/steps_clipped"] == 0.0  # each update counts its own
    assert shares[0] == shares[3] == 0.0 and shares[1] == 1.0 and 0.0 < shares[2] < 1.0


def test_components_are_recorded_before_their_weights(
    make_trainer: MakeTrainer, run_update: RunUpdate, tiny_config: Config
) -> None:
    def ones(prompts: list[str], responses: list[str]) -> list[float]:
        return [1.0] * len(responses)

    config = tiny_config.replace(weight_sentiment=0.5, weight_ones=-1.0)
    update = run_update(make_trainer(config, rewards={"ones": ones}))
    found = update.credit.reward_components
    assert set(found) == {"sentiment", "coherence", "diversity", "unbiasedness", "length", "ones"}
    assert found["ones"].tolist() == [1.0] * 8
    expected = [s / 2 - 1.0 for s in found["sentiment"].tolist()]
    assert update.credit.scores.tolist() == pytest.approx(expected, abs=1e-6)


def test_a_custom_reward_sees_prompts_and_the_responses_text(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    seen: list[tuple[list[str], list[str]]] = []

    def watch(prompts: list[str], responses: list[str]) -> list[float]:
        seen.append((prompts, responses))
        return [0.0] * len(prompts)

    trainer = make_trainer(rewards={"watch": watch})
    update = run_update(trainer)
    prompts, responses = seen[0]
    assert sorted(set(prompts)) == sorted(trainer.prompts)
    for row, text in enumerate(responses):
        kept = update.rollout.response_ids[row][update.rollout.response_mask[row]]
        assert text == "".join(t for t in trainer.policy.token_texts(kept.tolist()) if t != "<|endoftext|>")
        prompt = update.rollout.prompt_ids[row][update.rollout.prompt_mask[row]][1:]
        assert prompts[row] == "".join(trainer.policy.token_texts(prompt.tolist()))


def test_a_custom_reward_cannot_take_a_built_in_name(make_trainer: MakeTrainer) -> None:
    with pytest.raises(ValueError, match="a reward named 'length' is built in"):
        make_trainer(rewards={"length": lambda prompts, responses: [0.0] * len(prompts)})
    with pytest.raises(TypeError, match="'mine' is not a function"):
        make_trainer(rewards={"mine": 3})


def test_prompts_and_response_must_fit_into_the_positions(make_trainer: MakeTrainer, tiny_config: Config) -> None:
    with pytest.raises(ValueError, match="response_length"):
        make_trainer(tiny_config.replace(response_length=32))
    trainer = make_trainer(tiny_config)
    with pytest.raises(ValueError, match="response_length"):
        trainer.check(tiny_config.replace(response_length=32))
    kept = trainer.prompts
    with pytest.raises(ValueError, match="response_length"):
        trainer.set_prompts(["The" + " cat" * 50])
    assert trainer.prompts == kept


@pytest.mark.parametrize("prompts", [[], [""], ["The cat", "  "]], ids=str)
def test_a_batch_without_prompts_is_refused(prompts: list[str], make_trainer: MakeTrainer) -> None:
    with pytest.raises(ValueError, match=r"[Pp]rompt"):
        make_trainer(prompts=prompts)


def test_the_first_ratio_is_1_to_the_last_bit_where_responses_end_early(policy: Policy, run_update: RunUpdate) -> None:
    """Every minibatch is read as far as the rollout was, whoever is in it."""
    trainer = Trainer(policy, Config(stop_sentences=1, minibatches=4, batch_size=16, epochs=1, learning_rate=0.0))
    for _ in range(2):
        update = run_update(trainer)
        mask = update.rollout.response_mask
        assert mask.sum(1).max() < mask.shape[1]  # there was something to leave out
        assert len(set(mask.sum(1).tolist())) > 3
        assert set(update.epochs[0].ratios[mask].tolist()) == {1.0}
