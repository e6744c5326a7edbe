"""Who deserves what: from reward components to one reward a token, and from rewards to advantages."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from explorer.config import Config
from explorer.ppo.advantages import ADVANTAGES, td_errors, value_targets
from explorer.ppo.masked import whiten
from explorer.ppo.metrics import KL_ESTIMATORS
from explorer.ppo.records import Credit, Rollout
from explorer.ppo.rewards.shaping import shape


def assign_credit(config: Config, rollout: Rollout, components: Mapping[str, Tensor], scores: Tensor) -> Credit:
    """Steps 3 and 4: rewards per token and advantages, from a rollout and its scores.

    The what-if calls this very function with another config on a recorded rollout.

    Args:
        config: kl_coef, kl_estimator, gamma, gae_lambda, estimator and whiten are read.
        rollout: the responses.
        components: ``{name: [B]}``, kept in the record.
        scores: ``[B]``.
    """
    mask, values = rollout.response_mask, rollout.old_values
    ref_kl = KL_ESTIMATORS[config.kl_estimator](rollout.old_logprobs - rollout.ref_logprobs)
    rewards = shape(
        scores,
        rollout.old_logprobs,
        rollout.ref_logprobs,
        mask,
        kl_coef=config.kl_coef,
        kl_estimator=config.kl_estimator,
    )
    estimate = ADVANTAGES[config.estimator]
    advantages = estimate(rewards, values, mask, gamma=config.gamma, gae_lambda=config.gae_lambda)
    return Credit(
        reward_components=dict(components),
        scores=scores,
        ref_kl=torch.where(mask, ref_kl, 0.0),
        rewards=rewards,
        deltas=td_errors(rewards, values, mask, gamma=config.gamma),
        advantages=advantages,
        whitened_advantages=whiten(advantages, mask) if config.whiten else advantages,
        returns=value_targets(advantages, values, mask, config.estimator),
    )
