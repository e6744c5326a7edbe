"""Advantages out of groups: each response compared with the others that answer the same prompt. No critic.

Each estimator first makes one number ``R`` of a response: the sum of its rewards, which is its score, minus
``kl_coef * sum_t KL_t`` where the KL is in the reward (as RLOO has it, Ahmadian et al. 2024, arXiv 2402.14740)
and the score alone where it is in the loss (as GRPO has it, Shao et al. 2024, arXiv 2402.03300, equation 3). What
comes out is the same at every token of the response; ``gamma`` is not read.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from explorer.ppo.masked import row_sums

#: Added to the standard deviation, so that a group of equals gives 0 and not a division by 0 (as TRL has it).
STD_FLOOR = 1e-4


class Groups(NamedTuple):
    """What each response is compared with: ``[B]`` each, and the same for all responses of a group."""

    sizes: Tensor  # responses in the group
    means: Tensor  # of the group
    stds: Tensor  # unbiased (divisor n - 1) standard deviation within the group; NaN for a group of one


def by_group(values: Tensor, groups: Tensor) -> Groups:
    """Size, mean and standard deviation of each row's group.

    Args:
        values: ``[B]``, one number a response.
        groups: ``[B]`` int64, equal for the rows that answer the same prompt together; in any order.
    """
    _, inverse, counts = torch.unique(groups, return_inverse=True, return_counts=True)

    def sums(numbers: Tensor) -> Tensor:
        return numbers.new_zeros(len(counts)).index_add_(0, inverse, numbers)

    means = (sums(values) / counts)[inverse]
    stds = (sums((values - means) ** 2) / (counts - 1)).sqrt()[inverse]
    return Groups(sizes=counts[inverse], means=means, stds=stds)


def group_mean(rewards: Tensor, values: Tensor, mask: Tensor, *, groups: Tensor, **_: object) -> Tensor:
    """``A = R - mean(R of the group)``.

    The response is part of its own baseline, so the advantage is (G - 1) / G of that of ``rloo``.

    Args:
        rewards: ``[B, T]``.
        values: not read.
        mask: ``[B, T]`` bool.
        groups: ``[B]`` int64.

    Returns:
        ``[B, T]``, 0 outside the mask.

    Raises:
        ValueError: a group has one response only.

    Source:
        Dr. GRPO, Liu et al. 2025 (arXiv 2503.20783).
    """
    totals, compared = _compared(rewards, mask, groups)
    return _spread(totals - compared.means, mask)


def grpo(rewards: Tensor, values: Tensor, mask: Tensor, *, groups: Tensor, **_: object) -> Tensor:
    """``A = (R - mean) / (std + 1e-4)`` over the group, with the unbiased standard deviation.

    Easy and hopeless prompts, whose responses score nearly alike, count as much as the others. Arguments, result and
    errors as for ``group_mean``.

    Source:
        Shao et al. 2024 (arXiv 2402.03300), section 4.1.2; the 1e-4 and the divisor n - 1 are TRL's.
    """
    totals, compared = _compared(rewards, mask, groups)
    return _spread((totals - compared.means) / (compared.stds + STD_FLOOR), mask)


def rloo(rewards: Tensor, values: Tensor, mask: Tensor, *, groups: Tensor, **_: object) -> Tensor:
    """``A_i = R_i - mean_{j != i} R_j``: the other responses of the group are the baseline, so it is unbiased.

    Arguments, result and errors as for ``group_mean``.

    Source:
        Ahmadian et al. 2024 (arXiv 2402.14740); Kool et al. 2019, "Buy 4 REINFORCE samples, get a baseline for free!".
    """
    totals, compared = _compared(rewards, mask, groups)
    others = (compared.means * compared.sizes - totals) / (compared.sizes - 1)
    return _spread(totals - others, mask)


def _compared(rewards: Tensor, mask: Tensor, groups: Tensor) -> tuple[Tensor, Groups]:
    """Each response's total ``[B]`` and what it is compared with."""
    totals = row_sums(rewards, mask)
    compared = by_group(totals, groups)
    if bool((compared.sizes < 2).any()):
        raise ValueError(
            "A group has one response only, and nothing to compare it with: choose a group_size of at least 2, or an "
            "estimator without groups."
        )
    return totals, compared


def _spread(advantages: Tensor, mask: Tensor) -> Tensor:
    """One number a response ``[B]`` at each of its tokens ``[B, T]``."""
    return torch.where(mask, advantages[:, None], 0.0)
