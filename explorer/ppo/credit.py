"""Who deserves what: from reward components to one reward a token, and from rewards to advantages."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from explorer.config import Config
from explorer.ppo.advantages import ADVANTAGES, WITH_CRITIC, monte_carlo, td_errors, value_targets, whitens
from explorer.ppo.kl import reference_kl
from explorer.ppo.masked import row_sums, whiten
from explorer.ppo.records import Credit, Rollout
from explorer.ppo.rewards.score import weighted
from explorer.ppo.rewards.shaping import shape


def assign_credit(
    config: Config,
    rollout: Rollout,
    components: Mapping[str, Tensor],
    scores: Tensor,
    greedy_components: Mapping[str, Tensor] | None = None,
    *,
    value_mask: Tensor | None = None,
) -> Credit:
    """Steps 3 and 4: rewards per token and advantages, from a rollout and its scores.

    The what-if calls this very function with another config on a recorded rollout.

    With ``whiten_rewards`` the rewards are scaled to variance 1 over the tokens that count, around their mean, which
    stays: it says how good the responses are. All that follows is made of the whitened ones: TD errors, returns and
    the targets of the value head. The estimators that compare the responses of a group compare their sums; with
    a token's mean reward of m and a scale of k each token then adds (1 - k) m, so the longer response is paid or
    charged for its length.

    Args:
        config: kl_coef, kl_estimator, kl_in, whiten_rewards, gamma, gae_lambda, estimator, whiten and weights are
            read.
        rollout: the responses.
        components: ``{name: [B]}``, kept in the record.
        scores: ``[B]``.
        greedy_components: ``{name: [groups]}`` of the greedy answer to each group's prompt, kept in the record; ReMax
            needs them.
        value_mask: ``[B, T]`` bool, where rewards and values count and at whose last True the score comes; None is
            ``response_mask``. TRL has one position more, the one past the stop. KL and whitened advantages are of the
            tokens of ``response_mask`` either way.

    Raises:
        ValueError: the estimator compares the responses of a group and there is one only, or it is ReMax and there are
            no greedy answers; or the exact KL is asked for and the rollout has none.

    Source:
        For the whitened rewards Ziegler et al. 2019 (arXiv 1909.08593), in their code, lm-human-preferences: rewards
        are whitened with the mean kept (``shift_mean=False``); TRL 1.12's ``whiten_rewards`` does the same.
    """
    mask, values = rollout.response_mask, rollout.old_values
    counted = mask if value_mask is None else value_mask
    log_ratios = rollout.old_logprobs - rollout.ref_logprobs
    ref_kl = reference_kl(config.kl_estimator, log_ratios, rollout.exact_ref_kl)
    rewards = shape(
        scores,
        rollout.old_logprobs,
        rollout.ref_logprobs,
        mask,
        kl_coef=config.kl_coef if config.kl_in == "reward" else 0.0,
        kl_estimator=config.kl_estimator,
        exact_ref_kl=rollout.exact_ref_kl,
        score_mask=counted,
    )
    if config.whiten_rewards:
        rewards = whiten(rewards, counted, keep_mean=True)
    advantages = ADVANTAGES[config.estimator](
        rewards,
        values,
        counted,
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
        groups=rollout.groups,
        greedy_scores=weighted(greedy_components, config.weights) if greedy_components else None,
    )
    with_critic = config.estimator in WITH_CRITIC
    learnt = advantages if with_critic else monte_carlo(rewards, values, counted, gamma=config.gamma)
    return Credit(
        reward_components=dict(components),
        scores=scores,
        ref_kl=torch.where(mask, ref_kl, 0.0),
        rewards=rewards,
        deltas=td_errors(rewards, values, counted, gamma=config.gamma),
        advantages=advantages,
        whitened_advantages=whiten(advantages, mask) if whitens(config) else advantages,
        returns=value_targets(learnt, values, counted, config.estimator),
        greedy_components=dict(greedy_components or {}),
    )


def scores_after_kl(config: Config, credit: Credit, mask: Tensor) -> Tensor:
    """``[B]`` each response's score less what its tokens pay for the KL: its rewards' sum before any whitening."""
    paid = config.kl_coef * row_sums(credit.ref_kl, mask) if config.kl_in == "reward" else 0.0
    earned: Tensor = credit.scores - paid
    return earned
