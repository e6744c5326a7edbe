"""From scores to advantages: the parts are proven where they live, here that they are put together rightly."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
import torch

from explorer.config import Config
from explorer.ppo.advantages import ADVANTAGES
from explorer.ppo.credit import assign_credit, scores_after_kl
from explorer.ppo.records import Rollout

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer

CONFIG = Config(kl_coef=0.1, gamma=0.5, gae_lambda=0.5, whiten=False)


@pytest.fixture
def rollout(make_trainer: MakeTrainer) -> Rollout:
    """The second update's responses: the policy is no longer the reference, the values are no longer 0."""
    trainer = make_trainer()
    for _ in trainer.stages():
        pass
    return trainer.sample(trainer.config, 2)[0]


def test_by_hand() -> None:
    mask = torch.tensor([[True, True, False]])
    rollout = Rollout(
        prompt_ids=torch.zeros(1, 1),
        prompt_mask=torch.ones(1, 1, dtype=torch.bool),
        response_ids=torch.zeros(1, 3, dtype=torch.long),
        response_mask=mask,
        stopped=torch.tensor([True]),
        groups=torch.tensor([0]),
        old_logprobs=torch.tensor([[-1.0, -2.0, 0.0]]),
        ref_logprobs=torch.tensor([[-3.0, -1.0, 0.0]]),
        old_values=torch.tensor([[0.5, 1.0, 0.0]]),
        entropies=torch.zeros(1, 3),
        top_ids=torch.zeros(1, 3, 1),
        top_logprobs=torch.zeros(1, 3, 1),
    )
    credit = assign_credit(CONFIG, rollout, {"a": torch.tensor([3.0])}, torch.tensor([3.0]))
    assert credit.ref_kl.tolist() == [[2.0, -1.0, 0.0]]
    assert credit.rewards[0].tolist() == pytest.approx([-0.2, 3.1, 0.0])
    assert credit.deltas[0].tolist() == pytest.approx([-0.2, 2.1, 0.0])  # -0.2 + 0.5 - 0.5;  3.1 - 1
    assert credit.advantages[0].tolist() == pytest.approx([0.325, 2.1, 0.0])  # -0.2 + 2.1 / 4
    assert credit.returns[0].tolist() == pytest.approx([0.825, 3.1, 0.0])
    assert torch.equal(credit.whitened_advantages, credit.advantages)


@pytest.mark.parametrize("whiten_rewards", [False, True])
@pytest.mark.parametrize("estimator", ADVANTAGES)
def test_the_order_of_the_rows_changes_nobodys_credit(estimator: str, whiten_rewards: bool, rollout: Rollout) -> None:
    if estimator == "remax" and whiten_rewards:
        return  # which the config refuses
    order = torch.tensor([5, 2, 7, 0, 3, 6, 1, 4])  # the rows of a group are no longer next to each other
    assert rollout.groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    config = CONFIG.replace(estimator=estimator, whiten=True, whiten_rewards=whiten_rewards, weights={"a": 1.0})
    scores, greedy = torch.randn(8, generator=torch.Generator().manual_seed(3)), {"a": torch.tensor([0.1, 0.5, 0.2, 0])}
    credit = assign_credit(config, rollout, {"a": scores}, scores, greedy)
    other = assign_credit(config, rollout.map(lambda rows: rows[order]), {"a": scores[order]}, scores[order], greedy)
    for name in ("rewards", "ref_kl", "deltas", "advantages", "whitened_advantages", "returns"):
        torch.testing.assert_close(getattr(other, name), getattr(credit, name)[order], rtol=0, atol=1e-5)
    assert not torch.allclose(other.whitened_advantages, credit.whitened_advantages, atol=0.1)


def test_whitened_rewards_by_hand(rollout: Rollout) -> None:
    # Two tokens of one response earn 1 and 5: mean 3, unbiased variance 8, so 3 -+ 2/sqrt(8). The padding stays 0.
    mask = torch.tensor([[True, True, False]])
    alone = dataclasses.replace(
        rollout.map(lambda a: a[:1, :3] if a.ndim > 1 else a[:1]),
        response_mask=mask,
        old_logprobs=torch.tensor([[-20.0, -2.0, 0.0]]),
        ref_logprobs=torch.tensor([[-10.0, -2.0, 0.0]]),  # a KL of -10 nats, for a reward of 1
        old_values=torch.tensor([[0.5, 1.0, 0.0]]),
    )
    scores = torch.tensor([5.0])
    credit = assign_credit(CONFIG.replace(whiten_rewards=True), alone, {"a": scores}, scores)
    assert credit.rewards[0].tolist() == pytest.approx([2.292893, 3.707107, 0.0])
    assert credit.deltas[0].tolist() == pytest.approx([2.292893, 2.707107, 0.0])  # 2.29 + 0.5 - 0.5;  3.71 - 1
    assert credit.advantages[0].tolist() == pytest.approx([2.96967, 2.707107, 0.0])  # 2.29 + 2.71 / 4
    assert credit.returns[0].tolist() == pytest.approx([3.46967, 3.707107, 0.0])
    assert scores_after_kl(CONFIG, credit, mask).tolist() == pytest.approx([6.0])  # what was earned stays what it was
    assert credit.scores.tolist() == [5.0]


@pytest.mark.parametrize("estimator", sorted(set(ADVANTAGES) - {"remax"}))
def test_every_other_estimator_reads_the_whitened_rewards(estimator: str, rollout: Rollout) -> None:
    config, scores = CONFIG.replace(estimator=estimator), torch.linspace(1.0, 1.2, len(rollout.stopped))
    plain, white = (
        assign_credit(config.replace(whiten_rewards=w), rollout, {"a": scores}, scores) for w in (False, True)
    )
    tokens, before = white.rewards[rollout.response_mask], plain.rewards[rollout.response_mask]
    assert tokens.mean().item() == pytest.approx(before.mean().item(), abs=1e-6)
    assert tokens.var().item() == pytest.approx(1, abs=1e-4)
    assert (white.rewards[~rollout.response_mask] == 0).all()
    assert not torch.allclose(white.advantages, plain.advantages, atol=1e-3)
    assert torch.equal(white.ref_kl, plain.ref_kl)


def test_whitened_rewards_pay_or_charge_a_group_for_length(rollout: Rollout) -> None:
    # Equal scores, no KL: RLOO sees no difference, unless rewards are whitened and lengths differ.
    config = CONFIG.replace(estimator="rloo", kl_coef=0.0)
    scores = torch.ones(len(rollout.stopped))
    plain, white = (
        assign_credit(config.replace(whiten_rewards=w), rollout, {"a": scores}, scores) for w in (False, True)
    )
    assert plain.advantages.abs().max() < 1e-6
    lengths = rollout.response_mask.sum(1)
    group = rollout.groups == rollout.groups[lengths.argmin()]
    assert lengths[group].min() < lengths[group].max()
    longest, shortest = (white.advantages[group][lengths[group].argmax(), 0], white.advantages[lengths.argmin(), 0])
    assert longest < shortest  # a positive mean, scaled up: each token more costs


def test_the_exact_kl_can_be_what_a_token_pays(rollout: Rollout) -> None:
    scores = torch.zeros(len(rollout.stopped))
    exact = torch.where(rollout.response_mask, 0.5, 0.0)
    known = dataclasses.replace(rollout, exact_ref_kl=exact)
    credit = assign_credit(CONFIG.replace(kl_estimator="exact"), known, {"a": scores}, scores)
    assert torch.equal(credit.ref_kl, exact)
    assert torch.equal(credit.rewards, torch.where(rollout.response_mask, -0.05, 0.0))  # 0.1 a nat
    lacking = dataclasses.replace(rollout, exact_ref_kl=None)
    with pytest.raises(ValueError, match="choose k1, k2 or k3"):
        assign_credit(CONFIG.replace(kl_estimator="exact"), lacking, {"a": scores}, scores)


def test_whitening_leaves_everything_else_alone(rollout: Rollout) -> None:
    scores = torch.linspace(-1, 1, len(rollout.stopped))
    plain, white = (assign_credit(CONFIG.replace(whiten=on), rollout, {"a": scores}, scores) for on in (False, True))
    for name in ("rewards", "deltas", "advantages", "returns", "ref_kl", "scores"):
        assert torch.equal(getattr(plain, name), getattr(white, name)), name
    tokens = white.whitened_advantages[rollout.response_mask]
    assert tokens.mean().item() == pytest.approx(0, abs=1e-6)
    assert tokens.var().item() == pytest.approx(1, abs=1e-5)
    # shifted and scaled, so every token keeps its rank
    before = plain.advantages[rollout.response_mask]
    assert torch.equal(before.argsort(), tokens.argsort())


def test_a_token_is_credited_for_what_comes_after_it_and_not_before(rollout: Rollout) -> None:
    scores = torch.zeros(len(rollout.stopped))
    raised = scores.clone()
    raised[3] = 1.0
    low, high = (assign_credit(CONFIG, rollout, {"a": s}, s).advantages for s in (scores, raised))
    gained = high - low
    last = int(rollout.response_mask[3].sum()) - 1
    # 1 at the last token, then a quarter (gamma times lambda) of it for each token before
    assert gained[3, : last + 1].tolist() == pytest.approx([0.25 ** (last - t) for t in range(last + 1)], abs=1e-5)
    assert (gained[torch.arange(len(scores)) != 3] == 0).all()
