"""Shaping: where the score lands, what the KL penalty costs, and that nothing is lost or made up on the way."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from explorer.ppo.metrics import KL_ESTIMATORS
from explorer.ppo.rewards import shape

MASK = torch.tensor([[True, True, True, False], [True, False, False, False], [True, True, True, True]])


def logprobs(rows: int, length: int) -> st.SearchStrategy[Tensor]:
    numbers = st.lists(st.floats(-8, 0), min_size=rows * length, max_size=rows * length)
    return numbers.map(lambda flat: torch.tensor(flat, dtype=torch.float64).view(rows, length))


def test_by_hand() -> None:
    old = torch.tensor([[-1.0, -2.0, -1.0, 0.0], [-3.0, 0.0, 0.0, 0.0]])
    ref = torch.tensor([[-1.5, -2.0, -0.5, 0.0], [-1.0, 0.0, 0.0, 0.0]])
    rewards = shape(torch.tensor([2.0, -1.0]), old, ref, MASK[:2], kl_coef=0.1)
    # The first token got likelier than under the reference and pays; the third got less likely and is paid.
    # The score comes with the last token that counts: the third, and the first and only one.
    assert rewards[0].tolist() == pytest.approx([-0.05, 0.0, 2.05, 0.0])
    assert rewards[1].tolist() == pytest.approx([-0.8, 0.0, 0.0, 0.0])


def test_without_a_penalty_only_the_score_is_left() -> None:
    old, ref = torch.full((3, 4), -1.0), torch.full((3, 4), -5.0)
    rewards = shape(torch.tensor([1.0, 2.0, 3.0]), old, ref, MASK, kl_coef=0.0)
    assert rewards.tolist() == [[0, 0, 1, 0], [2, 0, 0, 0], [0, 0, 0, 3]]


def test_the_score_can_come_one_past_the_stop() -> None:
    old, ref = torch.full((3, 4), -1.0), torch.full((3, 4), -1.5)
    one_more = torch.tensor([[True] * 4, [True, True, False, False], [True] * 4])
    rewards = shape(torch.tensor([1.0, 2.0, 3.0]), old, ref, MASK, kl_coef=0.2, score_mask=one_more)
    # Half a nat costs 0.1 at each token of the mask, and nothing at the position after it.
    expected = [[-0.1, -0.1, -0.1, 1.0], [-0.1, 2.0, 0.0, 0.0], [-0.1, -0.1, -0.1, 2.9]]
    torch.testing.assert_close(rewards, torch.tensor(expected))


def test_where_the_policy_is_the_reference_there_is_no_penalty() -> None:
    same = torch.full((3, 4), -1.0)
    assert shape(torch.zeros(3), same, same, MASK, kl_coef=2.0).abs().max() == 0


@pytest.mark.parametrize("name", KL_ESTIMATORS)
@given(
    scores=st.lists(st.floats(-2, 2), min_size=3, max_size=3),
    old=logprobs(3, 4),
    ref=logprobs(3, 4),
    kl_coef=st.floats(0, 2),
)
def test_a_responses_rewards_add_up_to_its_score_minus_its_penalty(
    name: str, scores: list[float], old: Tensor, ref: Tensor, kl_coef: float
) -> None:
    rewards = shape(torch.tensor(scores, dtype=torch.float64), old, ref, MASK, kl_coef=kl_coef, kl_estimator=name)
    assert (rewards[~MASK] == 0).all()
    for row, score in enumerate(scores):
        kept = [t for t in range(4) if MASK[row, t]]
        divergence = sum(float(KL_ESTIMATORS[name](old[row, t] - ref[row, t])) for t in kept)
        assert rewards[row].sum().item() == pytest.approx(score - kl_coef * divergence, abs=1e-9, rel=1e-9)


@pytest.mark.parametrize("name", ["k2", "k3"])
@given(old=logprobs(3, 4), ref=logprobs(3, 4))
def test_k2_and_k3_only_ever_cost(name: str, old: Tensor, ref: Tensor) -> None:
    assert shape(torch.zeros(3), old, ref, MASK, kl_coef=1.0, kl_estimator=name).max() <= 1e-12


def test_what_is_masked_is_not_read() -> None:
    old, ref = torch.full((3, 4), -1.0), torch.full((3, 4), -1.5)
    expected = shape(torch.ones(3), old, ref, MASK, kl_coef=0.2)
    broken = [tokens.masked_fill(~MASK, math.nan) for tokens in (old, ref)]
    assert torch.equal(shape(torch.ones(3), *broken, MASK, kl_coef=0.2), expected)
