"""From scores to advantages: the parts are proven where they live, here that they are put together rightly."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
import torch

from explorer.config import Config
from explorer.ppo.credit import assign_credit
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
