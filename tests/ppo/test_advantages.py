"""Advantages against their definitions, written out in float64, and by hand on three tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from explorer.config import GROUPED, Config
from explorer.ppo.advantages import (
    ADVANTAGES,
    WITH_CRITIC,
    gae,
    monte_carlo,
    monte_carlo_value,
    one_step_td,
    reinforce_pp,
    remax,
    td_errors,
    total_return,
    value_targets,
    whitens,
)

Float64 = NDArray[np.float64]


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor]:
    """Rewards and values [B, T] in float64, and a mask; outside it both hold numbers that must not matter."""
    rows, length = draw(st.integers(1, 4)), draw(st.integers(1, 7))
    numbers = st.lists(st.floats(-3, 3), min_size=rows * length, max_size=rows * length)
    rewards, values = (torch.tensor(draw(numbers), dtype=torch.float64).view(rows, length) for _ in range(2))
    lengths = torch.tensor(draw(st.lists(st.integers(1, length), min_size=rows, max_size=rows)))
    return rewards, values, torch.arange(length) < lengths[:, None]


discounts = st.sampled_from([0.0, 0.5, 0.9, 0.95, 1.0])


def by_definition(rewards: Float64, values: Float64, mask: NDArray[np.bool_], gamma: float, lam: float) -> Float64:
    """GAE as its double sum: for each token, every later TD error of its own row, each with its own discount."""
    found = np.zeros_like(rewards)
    for row in range(len(rewards)):
        end = int(mask[row].sum())
        for t in range(end):
            for later in range(t, end):
                following = values[row, later + 1] if later + 1 < end else 0.0
                error = rewards[row, later] + gamma * following - values[row, later]
                found[row, t] += (gamma * lam) ** (later - t) * error
    return found


@given(batches(), discounts, discounts)
def test_gae_is_its_definition(batch: tuple[Tensor, Tensor, Tensor], gamma: float, lam: float) -> None:
    rewards, values, mask = batch
    expected = by_definition(rewards.numpy(), values.numpy(), mask.numpy(), gamma, lam)
    np.testing.assert_allclose(gae(rewards, values, mask, gamma=gamma, gae_lambda=lam).numpy(), expected, atol=1e-10)


def test_by_hand_on_three_tokens() -> None:
    # Rewards 1, 0, 2 and values 0.5, 1, -1 with gamma 0.5 and lambda 0.5; a fourth token does not count.
    rewards = torch.tensor([[1.0, 0.0, 2.0, 99.0]])
    values = torch.tensor([[0.5, 1.0, -1.0, 99.0]])
    mask = torch.tensor([[True, True, True, False]])
    # deltas: 1 + 0.5 - 0.5 = 1;  0 - 0.5 - 1 = -1.5;  2 + 0 + 1 = 3
    assert td_errors(rewards, values, mask, gamma=0.5)[0].tolist() == [1.0, -1.5, 3.0, 0.0]
    # backwards with factor 0.25: 3;  -1.5 + 0.75 = -0.75;  1 - 0.1875 = 0.8125
    advantages = gae(rewards, values, mask, gamma=0.5, gae_lambda=0.5)
    assert advantages[0].tolist() == [0.8125, -0.75, 3.0, 0.0]
    # returns to go: 2;  0 + 1 = 1;  1 + 0.5 = 1.5
    assert monte_carlo(rewards, values, mask, gamma=0.5, gae_lambda=0.5)[0].tolist() == [1.5, 1.0, 2.0, 0.0]
    # the critic's targets: advantage + value, and without a critic the return itself
    assert value_targets(advantages, values, mask, "gae")[0].tolist() == [1.3125, 0.25, 2.0, 0.0]
    returns = monte_carlo(rewards, values, mask, gamma=0.5, gae_lambda=0.5)
    assert value_targets(returns, values, mask, "monte_carlo")[0].tolist() == [1.5, 1.0, 2.0, 0.0]


@given(batches(), discounts)
def test_lambda_1_is_the_return_minus_the_value(batch: tuple[Tensor, Tensor, Tensor], gamma: float) -> None:
    rewards, values, mask = batch
    advantages = gae(rewards, values, mask, gamma=gamma, gae_lambda=1.0)
    for row in range(len(rewards)):
        end = int(mask[row].sum())
        for t in range(end):
            to_go = np.polyval(rewards[row, t:end].flip(0).numpy(), gamma)  # r_t + gamma r_{t+1} + ...
            assert advantages[row, t].item() == pytest.approx(to_go - values[row, t].item(), abs=1e-9)


@given(batches(), discounts, discounts)
def test_lambda_0_is_the_one_step_error(batch: tuple[Tensor, Tensor, Tensor], gamma: float, lam: float) -> None:
    rewards, values, mask = batch
    expected = td_errors(rewards, values, mask, gamma=gamma)
    assert torch.equal(gae(rewards, values, mask, gamma=gamma, gae_lambda=0.0), expected)
    assert torch.equal(one_step_td(rewards, values, mask, gamma=gamma, gae_lambda=lam), expected)


@given(batches(), discounts)
def test_without_values_gae_and_monte_carlo_meet(batch: tuple[Tensor, Tensor, Tensor], gamma: float) -> None:
    rewards, values, mask = batch
    returns = monte_carlo(rewards, values, mask, gamma=gamma, gae_lambda=0.3)
    zero = torch.zeros_like(values)
    torch.testing.assert_close(gae(rewards, zero, mask, gamma=gamma, gae_lambda=1.0), returns)
    # and the critic is not read at all
    nothing = torch.full_like(values, torch.nan)
    assert torch.equal(monte_carlo(rewards, nothing, mask, gamma=gamma, gae_lambda=1.0), returns)


def test_the_returns_by_hand() -> None:
    # Rewards 1, 0, 2 and values 0.5, 1, -1 with gamma 0.5; a fourth token does not count.
    rewards = torch.tensor([[1.0, 0.0, 2.0, 99.0]])
    values = torch.tensor([[0.5, 1.0, -1.0, 99.0]])
    mask = torch.tensor([[True, True, True, False]])
    # from each token on: 1 + 0 + 0.5 = 1.5;  0 + 1 = 1;  2
    assert monte_carlo_value(rewards, values, mask, gamma=0.5)[0].tolist() == [1.0, 0.0, 3.0, 0.0]
    assert total_return(rewards, values, mask, gamma=0.5)[0].tolist() == [1.5, 1.5, 1.5, 0.0]
    assert reinforce_pp(rewards, values, mask, gamma=0.5)[0].tolist() == [1.5, 1.0, 2.0, 0.0]
    targets = value_targets(torch.tensor([[1.0, 0.0, 3.0, 0.0]]), values, mask, "monte_carlo_value")
    assert targets[0].tolist() == [1.5, 1.0, 2.0, 0.0]


def test_remax_takes_the_greedy_score_of_its_own_group_away() -> None:
    # KL penalties of 0.1 a token and scores of 2, 1 and -1 at the end; the greedy answers scored 0.5 and -2.
    rewards = torch.tensor([[-0.1, -0.1, 1.9], [-0.1, 0.9, 99.0], [-1.1, 99.0, 99.0]])
    mask = torch.tensor([[True] * 3, [True, True, False], [True, False, False]])
    found = remax(
        rewards, rewards, mask, gamma=1.0, groups=torch.tensor([0, 0, 1]), greedy_scores=torch.tensor([0.5, -2.0])
    )
    expected = torch.tensor([[1.2, 1.3, 1.4], [0.3, 0.4, 0.0], [0.9, 0.0, 0.0]])
    torch.testing.assert_close(found, expected)


def test_remax_without_greedy_answers_is_refused() -> None:
    one, mask = torch.ones(1, 1), torch.ones(1, 1, dtype=torch.bool)
    with pytest.raises(ValueError, match="this batch has none: sample one under the estimator 'remax'"):
        remax(one, one, mask, gamma=1.0, groups=torch.tensor([0]), greedy_scores=None)


@given(batches(), discounts)
def test_the_value_as_baseline_is_gae_that_looks_to_the_end(batch: tuple[Tensor, Tensor, Tensor], gamma: float) -> None:
    rewards, values, mask = batch
    expected = gae(rewards, values, mask, gamma=gamma, gae_lambda=1.0)
    torch.testing.assert_close(monte_carlo_value(rewards, values, mask, gamma=gamma), expected)


@given(batches())
def test_the_total_return_is_reward_to_go_and_what_came_before(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    rewards, values, mask = batch
    found = total_return(rewards, values, mask, gamma=1.0) - monte_carlo(rewards, values, mask, gamma=1.0)
    for row in range(len(rewards)):
        for t in range(int(mask[row].sum())):
            assert found[row, t].item() == pytest.approx(sum(rewards[row, :t].tolist()), abs=1e-9)


def test_only_reinforce_pp_is_whitened_without_being_asked() -> None:
    assert {name for name in ADVANTAGES if whitens(Config(estimator=name, whiten=False))} == {"reinforce_pp"}
    assert all(whitens(Config(estimator=name, whiten=True)) for name in ADVANTAGES)


def knobs_for(rows: int) -> dict[str, Any]:
    """Everything that an estimator may read, the rows in groups of two."""
    greedy_scores = torch.linspace(-1, 1, rows, dtype=torch.float64)
    return {"gamma": 0.9, "gae_lambda": 0.8, "groups": torch.arange(rows) // 2, "greedy_scores": greedy_scores}


@pytest.mark.parametrize("name", ADVANTAGES)
@given(batch=batches())
def test_an_estimator_reads_the_values_only_where_it_says_so(name: str, batch: tuple[Tensor, Tensor, Tensor]) -> None:
    rewards, values, mask = (torch.cat([tokens, tokens]) for tokens in batch)  # an even number of rows
    found = ADVANTAGES[name](rewards, torch.full_like(values, torch.nan), mask, **knobs_for(len(rewards)))
    assert bool(found.isnan().any()) == (name in WITH_CRITIC)


@pytest.mark.parametrize("name", ADVANTAGES)
@given(batch=batches(), extra=st.integers(1, 4))
def test_padding_changes_nothing(name: str, batch: tuple[Tensor, Tensor, Tensor], extra: int) -> None:
    rewards, values, mask = (torch.cat([tokens, tokens]) for tokens in batch)
    knobs = knobs_for(len(rewards))
    expected = ADVANTAGES[name](rewards, values, mask, **knobs)
    assert (expected[~mask] == 0).all()

    def padded(tokens: Tensor) -> Tensor:
        tokens = tokens.masked_fill(~mask, torch.nan)
        return torch.cat([tokens, torch.full((len(tokens), extra), torch.nan, dtype=tokens.dtype)], dim=1)

    wider = torch.cat([mask, torch.zeros(len(mask), extra, dtype=torch.bool)], dim=1)
    found = ADVANTAGES[name](padded(rewards), padded(values), wider, **knobs)
    torch.testing.assert_close(found[:, : mask.shape[1]], expected, rtol=1e-9, atol=1e-9)
    assert (found[:, mask.shape[1] :] == 0).all()
    targets = value_targets(found, padded(values), wider, name)
    assert (targets[~wider] == 0).all()


@pytest.mark.parametrize("name", sorted(set(ADVANTAGES) - GROUPED))
@given(batch=batches())
def test_rows_do_not_see_each_other(name: str, batch: tuple[Tensor, Tensor, Tensor]) -> None:
    rewards, values, mask = batch
    knobs = knobs_for(len(rewards))
    whole = ADVANTAGES[name](rewards, values, mask, **knobs)
    for row in range(len(rewards)):
        one = slice(row, row + 1)
        alone = knobs | {"groups": knobs["groups"][one]}
        assert torch.equal(ADVANTAGES[name](rewards[one], values[one], mask[one], **alone), whole[one])
