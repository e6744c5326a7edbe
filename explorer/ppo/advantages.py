"""Advantages: how much better than expected each token turned out.

Every estimator is called as ``estimate(rewards, values, mask, *, gamma, gae_lambda, groups, greedy_scores)`` and names
only what it reads; it takes and gives ``[B, T]`` and reads nothing outside the mask. Where they meet: GAE with
lambda = 1 is ``monte_carlo_value``, the return minus the value; with lambda = 0 it is the one-step TD error;
``monte_carlo`` is the return from the token on, also called reward-to-go, without a critic; ``total_return`` gives
every token the whole response's return. Those that compare the responses of a group are in ``explorer.ppo.groups``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from explorer.config import Config
from explorer.ppo.groups import group_mean, grpo, rloo


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


def gae(rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, gae_lambda: float, **_: object) -> Tensor:
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


def one_step_td(rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, **_: object) -> Tensor:
    """The TD error itself: GAE with lambda = 0, whatever ``gae_lambda`` says. ``[B, T]`` to ``[B, T]``."""
    return td_errors(rewards, values, mask, gamma=gamma)


def monte_carlo(rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, **_: object) -> Tensor:
    """The discounted return from each token on, ``sum_l gamma^l r_{t+l}``: no critic, so ``values`` is not read.

    Source:
        Williams 1992 (REINFORCE), as reward-to-go. ``[B, T]`` to ``[B, T]``.
    """
    return _discounted_sums(torch.where(mask, rewards, 0.0), gamma)


def monte_carlo_value(rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, **_: object) -> Tensor:
    """The discounted return from each token on minus the value before it: ``[B, T]`` to ``[B, T]``.

    Source:
        Mnih et al. 2016 (arXiv 1602.01783), section 4, with the return run to the end of the response.
    """
    return torch.where(mask, monte_carlo(rewards, values, mask, gamma=gamma) - values, 0.0)


def total_return(rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, **_: object) -> Tensor:
    """The whole response's return at every token, what came before the token included: ``[B, T]`` to ``[B, T]``.

    ``sum_u gamma^u r_u`` from the first token on. It differs from reward-to-go by the rewards before the token, here
    its KL penalties: they add noise and, on average, nothing else.

    Source:
        Williams 1992, episodic REINFORCE.
    """
    return torch.where(mask, monte_carlo(rewards, values, mask, gamma=gamma)[:, :1], 0.0)


def reinforce_pp(rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, **_: object) -> Tensor:
    """REINFORCE++: the return from each token on, ``s - kl_coef * sum_{u >= t} KL_u`` where gamma is 1.

    The formula is that of ``monte_carlo``. What makes it REINFORCE++ is the whitening over the whole batch in place of
    a baseline: it is part of the estimator, so ``whitens`` is True for it whatever ``Config.whiten`` says. The KL is in
    the return only where it is in the reward. ``[B, T]`` to ``[B, T]``, before whitening.

    Source:
        Hu et al. 2025 (arXiv 2501.03262): KL a token in the reward, advantages normalised over the global batch.
    """
    return monte_carlo(rewards, values, mask, gamma=gamma)


def remax(
    rewards: Tensor,
    values: Tensor,
    mask: Tensor,
    *,
    gamma: float,
    groups: Tensor,
    greedy_scores: Tensor | None,
    **_: object,
) -> Tensor:
    """ReMax: the return from each token on, minus the score of the greedy answer to the same prompt.

    The baseline is the greedy answer's score alone: the KL penalties, where they are in the reward, stay with the
    tokens that caused them, as in verl. A group of one is enough.

    Args:
        rewards: ``[B, T]``.
        values: not read.
        mask: ``[B, T]`` bool.
        gamma: discount in [0, 1].
        groups: ``[B]`` int64, which group each row belongs to, from 0.
        greedy_scores: ``[groups]`` the score of each group's greedy answer.

    Returns:
        ``[B, T]``, 0 outside the mask.

    Raises:
        ValueError: greedy_scores is None.

    Source:
        Li et al. 2023 (arXiv 2310.10505), algorithm 1.
    """
    if greedy_scores is None:
        raise ValueError(
            "ReMax compares with a greedy answer to each prompt, and this batch has none: sample one under the "
            "estimator 'remax', or choose another estimator."
        )
    returns = monte_carlo(rewards, values, mask, gamma=gamma)
    return torch.where(mask, returns - greedy_scores[groups][:, None], 0.0)


def _discounted_sums(terms: Tensor, factor: float) -> Tensor:
    """``sum_l factor^l terms_{t+l}`` for every t, from the last token backwards."""
    sums = torch.zeros_like(terms)
    carried = torch.zeros_like(terms[:, 0])
    for t in reversed(range(terms.shape[1])):
        carried = terms[:, t] + factor * carried
        sums[:, t] = carried
    return sums


#: Every estimator by name. ``Config.estimator`` chooses.
ADVANTAGES: dict[str, Callable[..., Tensor]] = {
    "gae": gae,
    "one_step_td": one_step_td,
    "monte_carlo": monte_carlo,
    "monte_carlo_value": monte_carlo_value,
    "total_return": total_return,
    "group_mean": group_mean,
    "grpo": grpo,
    "rloo": rloo,
    "reinforce_pp": reinforce_pp,
    "remax": remax,
}

#: The estimators that subtract a value: their targets for the value head are advantage + value.
WITH_CRITIC = frozenset({"gae", "one_step_td", "monte_carlo_value"})


def whitens(config: Config) -> bool:
    """Whether the objective sees whitened advantages: where asked for, and always for REINFORCE++."""
    return config.whiten or config.estimator == "reinforce_pp"


def value_targets(advantages: Tensor, values: Tensor, mask: Tensor, estimator: str) -> Tensor:
    """What the value head is fitted to, ``R_t = A_t + V_t``, from advantages before whitening; ``[B, T]``.

    Without a critic in the estimator, ``advantages`` are to be the plain returns (``monte_carlo``), and the targets
    too: the head learns them all the same, and can be compared with them.
    """
    targets = advantages + values if estimator in WITH_CRITIC else advantages
    return torch.where(mask, targets, 0.0)
