"""Advantages: how much better than expected each token turned out.

Three estimators, and where they meet: GAE with lambda = 1 is the Monte-Carlo return minus the value, with lambda = 0
it is the one-step TD error; ``monte_carlo`` is the return alone, without a critic. Each takes and gives ``[B, T]`` and
reads nothing outside the mask.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def td_errors(rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float) -> Tensor:
    """One-step TD errors ``delta_t = r_t + gamma * V_{t+1} - V_t``, with V = 0 past the last token that counts.

    Args:
        rewards: ``[B, T]``.
        values: ``[B, T]``, before each token.
        mask: ``[B, T]`` bool.
        gamma: discount in [0, 1].

    Returns:
        ``[B, T]``, 0 outside the mask.

    Source:
        Schulman et al. 2015 (arXiv 1506.02438), equation 10.
    """
    values = torch.where(mask, values, 0.0)
    next_values = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    return torch.where(mask, rewards + gamma * next_values - values, 0.0)


def gae(rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, gae_lambda: float) -> Tensor:
    """Generalised advantage estimation, ``A_t = sum_l (gamma * lambda)^l delta_{t+l}``; not whitened.

    Args:
        rewards: ``[B, T]``.
        values: ``[B, T]``, before each token.
        mask: ``[B, T]`` bool.
        gamma: discount in [0, 1].
        gae_lambda: 0 trusts the critic one step ahead, 1 trusts the rewards that came.

    Returns:
        ``[B, T]``, 0 outside the mask.

    Source:
        Schulman et al. 2015 (arXiv 1506.02438), equation 16; computed backwards, A_t = delta_t + gamma lambda A_{t+1}.
    """
    return _discounted_sums(td_errors(rewards, values, mask, gamma=gamma), gamma * gae_lambda)


def one_step_td(rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, gae_lambda: float) -> Tensor:
    """The TD error itself: GAE with lambda = 0, whatever ``gae_lambda`` says. ``[B, T]`` to ``[B, T]``."""
    return td_errors(rewards, values, mask, gamma=gamma)


def monte_carlo(rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, gae_lambda: float) -> Tensor:
    """The discounted return from each token on, ``sum_l gamma^l r_{t+l}``: no critic, so ``values`` is not read.

    Source:
        Williams 1992 (REINFORCE), as reward-to-go. ``[B, T]`` to ``[B, T]``.
    """
    return _discounted_sums(torch.where(mask, rewards, 0.0), gamma)


def _discounted_sums(terms: Tensor, factor: float) -> Tensor:
    """``sum_l factor^l terms_{t+l}`` for every t, from the last token backwards."""
    sums = torch.zeros_like(terms)
    carried = torch.zeros_like(terms[:, 0])
    for t in reversed(range(terms.shape[1])):
        carried = terms[:, t] + factor * carried
        sums[:, t] = carried
    return sums


ADVANTAGES: dict[str, Callable[..., Tensor]] = {"gae": gae, "one_step_td": one_step_td, "monte_carlo": monte_carlo}

#: The estimators that subtract a value: their targets for the value head are advantage + value.
WITH_CRITIC = frozenset({"gae", "one_step_td"})


def value_targets(advantages: Tensor, values: Tensor, mask: Tensor, estimator: str) -> Tensor:
    """What the value head is fitted to, ``R_t = A_t + V_t``, from advantages before whitening; ``[B, T]``.

    An estimator without a critic is its own target: the head learns the plain return and can be compared with it.
    """
    targets = advantages + values if estimator in WITH_CRITIC else advantages
    return torch.where(mask, targets, 0.0)
