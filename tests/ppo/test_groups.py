"""Grouped advantages against groups worked out by hand, and what must not change them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from explorer.config import GROUPED, Config
from explorer.ppo.advantages import ADVANTAGES, whitens
from explorer.ppo.credit import assign_credit
from explorer.ppo.groups import by_group, group_mean, grpo, rloo
from explorer.ppo.records import Rollout

# Two groups of three responses to be compared: totals 1, 2, 6 and 4, 4, 4.
TOTALS = torch.tensor([1.0, 2.0, 6.0, 4.0, 4.0, 4.0])
GROUPS = torch.tensor([0, 0, 0, 1, 1, 1])

#: What each says of the first group. Its mean is 3; its squared distances 4, 1, 9 give an unbiased variance of 7.
BY_HAND: dict[str, tuple[Callable[..., Tensor], list[float]]] = {
    "group_mean": (group_mean, [-2.0, -1.0, 3.0]),
    "grpo": (grpo, [-2 / 2.6458513, -1 / 2.6458513, 3 / 2.6458513]),  # the root of 7, and 0.0001
    "rloo": (rloo, [-3.0, -1.5, 4.5]),  # 1 - 8/2;  2 - 7/2;  6 - 3/2
}


def spread_out(totals: Tensor, length: int = 3) -> tuple[Tensor, Tensor]:
    """Rewards ``[B, length]`` whose rows add up to the totals, and a mask under which rows have 1 to length tokens."""
    mask = torch.arange(length) < (torch.arange(len(totals)) % length + 1)[:, None]
    rewards = torch.where(mask, -0.25, 99.0).to(totals.dtype)
    last = mask.sum(1) - 1
    rewards[torch.arange(len(totals)), last] = totals + 0.25 * last
    return rewards, mask


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name: str) -> None:
    estimate, expected = BY_HAND[name]
    rewards, mask = spread_out(TOTALS)
    found = estimate(rewards, torch.zeros_like(rewards), mask, groups=GROUPS)
    for row, value in enumerate([*expected, 0.0, 0.0, 0.0]):  # equals have no advantage over each other
        assert found[row][mask[row]].tolist() == pytest.approx([value] * int(mask[row].sum()), abs=1e-5)
    assert (found[~mask] == 0).all()


def test_reinforce_pp_by_hand() -> None:
    # Two responses: scores 3 and 0, KLs 1, 1 and 2 with a coefficient of 0.5. Returns from each token on:
    # 2, 2.5 and -1, with mean 7/6 and unbiased variance (0.694 + 1.778 + 4.694) / 2 = 43/12.
    rollout = Rollout(
        prompt_ids=torch.zeros(2, 1),
        prompt_mask=torch.ones(2, 1, dtype=torch.bool),
        response_ids=torch.zeros(2, 2, dtype=torch.long),
        response_mask=torch.tensor([[True, True], [True, False]]),
        stopped=torch.tensor([True, True]),
        old_logprobs=torch.tensor([[-1.0, -1.0], [-1.0, 0.0]]),
        ref_logprobs=torch.tensor([[-2.0, -2.0], [-3.0, 0.0]]),
        old_values=torch.full((2, 2), 7.0),
        entropies=torch.zeros(2, 2),
        groups=torch.tensor([0, 1]),
        top_ids=torch.zeros(2, 2, 1),
        top_logprobs=torch.zeros(2, 2, 1),
    )
    config = Config(estimator="reinforce_pp", kl_coef=0.5, whiten=False, group_size=1)
    assert whitens(config)
    scores = torch.tensor([3.0, 0.0])
    credit = assign_credit(config, rollout, {"a": scores}, scores)
    assert credit.advantages.tolist() == [[2.0, 2.5], [-1.0, 0.0]]
    assert credit.whitened_advantages[0].tolist() == pytest.approx([0.4402, 0.7044], abs=1e-4)
    assert credit.whitened_advantages[1].tolist() == pytest.approx([-1.1446, 0.0], abs=1e-4)
    # The value head learns the returns all the same, and the KL in the loss leaves the scores alone.
    assert credit.returns.tolist() == credit.advantages.tolist()
    in_loss = assign_credit(config.replace(kl_in="loss"), rollout, {"a": scores}, scores)
    assert in_loss.advantages.tolist() == [[3.0, 3.0], [0.0, 0.0]]
    assert in_loss.ref_kl.tolist() == credit.ref_kl.tolist()  # measured all the same


def test_the_kl_is_in_what_is_compared_only_where_it_is_in_the_reward() -> None:
    rewards, mask = spread_out(TOTALS)
    dearer = rewards - torch.where(mask, 0.5, 0.0)  # a penalty of half a nat's worth for each token
    found = group_mean(dearer, rewards, mask, groups=GROUPS)
    # Rows have 1, 2 and 3 tokens, so totals 0.5, 1 and 4.5 with a mean of 2; and 3.5, 3 and 2.5 with one of 3.
    assert found[:, 0].tolist() == pytest.approx([-1.5, -1.0, 2.5, 0.5, 0.0, -0.5])


totals = st.lists(st.floats(-5, 5), min_size=6, max_size=6).map(lambda found: torch.tensor(found, dtype=torch.float64))


@pytest.mark.parametrize("name", sorted(GROUPED))
@given(values=totals, order=st.permutations(range(6)), shift=st.floats(-3, 3))
def test_neither_order_nor_numbering_nor_level_matters(
    name: str, values: Tensor, order: list[int], shift: float
) -> None:
    rewards, mask = spread_out(values)
    groups = torch.tensor([0, 0, 1, 1, 1, 1])
    expected = ADVANTAGES[name](rewards, rewards, mask, groups=groups)
    shuffled = ADVANTAGES[name](rewards[order], rewards, mask[order], groups=groups[order])
    torch.testing.assert_close(shuffled, expected[order], rtol=1e-6, atol=1e-6)
    renamed = ADVANTAGES[name](rewards, rewards, mask, groups=torch.tensor([5, 5, 2, 2, 2, 2]))
    torch.testing.assert_close(renamed, expected, rtol=1e-6, atol=1e-6)
    # A prompt that pays more for every answer gives nobody an advantage.
    raised, _ = spread_out(values + shift * torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0, 0.0]))
    torch.testing.assert_close(ADVANTAGES[name](raised, raised, mask, groups=groups), expected, rtol=1e-3, atol=1e-6)


@given(values=totals)
def test_the_three_are_multiples_of_each_other_within_a_group(values: Tensor) -> None:
    rewards, mask = spread_out(values)
    plain, others = (estimate(rewards, rewards, mask, groups=GROUPS) for estimate in (group_mean, rloo))
    torch.testing.assert_close(others * 2 / 3, plain, rtol=1e-9, atol=1e-9)
    sums = [sum(plain[row, 0].item() for row in rows) for rows in ([0, 1, 2], [3, 4, 5])]
    assert sums == pytest.approx([0.0, 0.0], abs=1e-9)


def test_leave_one_out_is_unbiased_and_the_mean_is_not() -> None:
    """Every pair of two answers with rewards 0 and 1: what a sampled 1 is worth beyond the average of 0.5."""
    worth = dict.fromkeys(("rloo", "group_mean"), 0.0)
    for pair in itertools.product([0.0, 1.0], repeat=2):
        rewards = torch.tensor(pair, dtype=torch.float64)[:, None]
        mask = torch.ones(2, 1, dtype=torch.bool)
        for name in worth:
            found = ADVANTAGES[name](rewards, rewards, mask, groups=torch.tensor([0, 0]))
            worth[name] += float((rewards * found).sum()) / 8  # four pairs, two answers each
    # E[R (R - E R)] = 0.25; the mean of a group of two keeps half of it.
    assert worth == {"rloo": 0.25, "group_mean": 0.125}


@pytest.mark.parametrize("name", sorted(GROUPED))
def test_a_group_of_one_is_refused(name: str) -> None:
    rewards, mask = spread_out(TOTALS)
    with pytest.raises(ValueError, match=r"one response only.*choose a group_size of at least 2") as refused:
        ADVANTAGES[name](rewards, rewards, mask, groups=torch.tensor([0, 0, 0, 1, 1, 2]))
    assert "\n" not in str(refused.value)


def test_size_mean_and_deviation_of_groups_of_different_sizes() -> None:
    found = by_group(torch.tensor([1.0, 10.0, 3.0, 2.0]), torch.tensor([0, 1, 0, 0]))
    assert found.sizes.tolist() == [3, 1, 3, 3]
    assert found.means.tolist() == [2.0, 10.0, 2.0, 2.0]
    assert found.stds[[0, 2, 3]].tolist() == [1.0, 1.0, 1.0]
