"""Who deserves what: from reward components to one reward a token, and from rewards to advantages."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from explorer.config import Config
from explorer.ppo.advantages import ADVANTAGES, WITH_CRITIC, monte_carlo, td_errors, value_targets, whitens
from explorer.ppo.kl import reference_kl
from explorer.ppo.masked import whiten
from explorer.ppo.records import Credit, Rollout
from explorer.ppo.rewards.score import weighted
from explorer.ppo.rewards.shaping import shape


def assign_credit(
    config: Config,
    rollout: Rollout,
    components: Mapping[str, Tensor],
    scores: Tensor,
    greedy_components: Mapping[str, Tensor] | None = None,
) -> Credit:
    """Steps 3 and 4: rewards per token and advantages, from a rollout and its scores.

    The what-if calls this very function with another config on a recorded rollout.

    Args:
        config: kl_coef, kl_estimator, kl_in, gamma, gae_lambda, estimator, whiten and weights are read.
        rollout: the responses.
        components: ``{name: [B]}``, kept in the record.
        scores: ``[B]``.
        greedy_components: ``{name: [groups]}`` of the greedy answer to each group's prompt, kept in the record; ReMax
            needs them.

    Raises:
        ValueError: the estimator compares the responses of a group and there is one only, or it is ReMax and there are
            no greedy answers; or the exact KL is asked for and the rollout has none.
    """
    mask, values = rollout.response_mask, rollout.old_values
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
    )
    advantages = ADVANTAGES[config.estimator](
        rewards,
        values,
        mask,
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
        groups=rollout.groups,
        greedy_scores=weighted(greedy_components, config.weights) if greedy_components else None,
    )
    with_critic = config.estimator in WITH_CRITIC
    learnt = advantages if with_critic else monte_carlo(rewards, values, mask, gamma=config.gamma)
    return Credit(
        reward_components=dict(components),
        scores=scores,
        ref_kl=torch.where(mask, ref_kl, 0.0),
        rewards=rewards,
        deltas=td_errors(rewards, values, mask, gamma=config.gamma),
        advantages=advantages,
        whitened_advantages=whiten(advantages, mask) if whitens(config) else advantages,
        returns=value_targets(learnt, values, mask, config.estimator),
        greedy_components=dict(greedy_components or {}),
    )
