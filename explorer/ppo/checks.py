"""The live invariants: what must hold in every update of a correct PPO, measured on the update itself.

Each is one of the places where published implementations have gone wrong; the page shows them as check-lights.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from explorer.config import Config
from explorer.ppo.advantages import whitens
from explorer.ppo.credit import scores_after_kl
from explorer.ppo.masked import WHITENING_FLOOR, last_true, masked_mean, masked_var, row_sums
from explorer.ppo.metrics import KL_ESTIMATORS
from explorer.ppo.records import Credit, Epoch, Rollout

#: How far from 1 a ratio may lie in the first minibatch. Both its log-probabilities come from the same weights, so all
#: that can differ is rounding, and that only where the two forwards have other shapes and so add up in another order.
FIRST_RATIO = 1e-5

#: The same where the transformer computes in bfloat16, which keeps 8 bits. Measured with the bundled policy, as the
#: largest among 768 tokens, over four seeds: 0.024 with wider padding, 0.057 with another attention kernel (0.004 on
#: average), where float32 has 1e-5. Half the default clip range, so that a ratio that is really off still shows.
FIRST_RATIO_BF16 = 0.1


def first_ratio_bound(bf16: bool) -> float:
    """How far from 1 a ratio may lie before any step, where the transformer computes in bfloat16 or not."""
    return FIRST_RATIO_BF16 if bf16 else FIRST_RATIO


#: What each check claims. The bound on its measured number is beside it in ``check_update``.
CHECKS: dict[str, str] = {
    "first_ratio": "max |ρ − 1| before any step: of the first minibatch, or of one response where all make one step",
    "first_kl": "|log π_old − log π_ref| in the run's first update",
    "whitened": "distance of the advantages' mean from 0, and of their standard deviation from 1, or sd/√(sd² + 10⁻⁸)",
    "reward_sum": "max_i |Σ_t r_t − (s_i − β Σ_t KL_t)|; whitened: up to one scale around the mean of a token",
    "monte_carlo": "max |R_t − Σ_{u≥t} r_u| where γ = λ = 1",
    "kl_positive": "smallest k2 and k3 of a token",
    "zero_gradient": "tokens where autograd and the rule (A > 0 and ρ > 1 + ε, or A < 0 and ρ < 1 − ε) differ",
    "stop_counts": "responses that ended by themselves but whose last token that counts is no stop",
    "optimiser_steps": "optimiser steps beside epochs × minibatches",
}


def check_update(
    config: Config,
    rollout: Rollout,
    credit: Credit,
    first_ratios: Tensor,
    *,
    update: int,
    steps: int,
    expected: int,
    final: Epoch | None = None,
    stops: Tensor | None = None,
    bf16: bool = False,
) -> dict[str, tuple[bool, float]]:
    """Every check that applies to this update, as ``{name: (holds, measured)}``.

    Args:
        config: the configuration in force.
        rollout: the fresh responses.
        credit: their rewards and advantages.
        first_ratios: the ratios before any step, flat, by a forward of their own: the fresh rows' of the first
            minibatch, or one row's where that minibatch went back through the old policy's own forward.
        update: the update's number; the reference equals the policy in update 1 only.
        steps: optimiser steps taken.
        expected: ``epochs * minibatches``, of the epochs that were to run.
        final: the policy after the last step, for the check of who gets no gradient.
        stops: ``[V]`` bool, the tokens that may end a response; for the check that the stop counts.
        bf16: whether the forwards were in bfloat16: then ``FIRST_RATIO_BF16`` is the bound.
    """
    mask, log_ratios = rollout.response_mask, rollout.old_logprobs - rollout.ref_logprobs
    found: dict[str, tuple[bool, float]] = {}

    def largest(tokens: Tensor) -> float:
        return float(tokens.abs().max()) if tokens.numel() else 0.0

    ratio_error = largest(first_ratios - 1)
    bound = first_ratio_bound(bf16)
    found["first_ratio"] = (ratio_error < bound, ratio_error)
    if update == 1:
        found["first_kl"] = (largest(log_ratios) < bound, largest(log_ratios))
    if whitens(config):
        mean = float(masked_mean(credit.whitened_advantages, mask))
        deviation = math.sqrt(float(masked_var(credit.whitened_advantages, mask)))
        before = float(masked_var(credit.advantages, mask))
        left = math.sqrt(before / (before + WHITENING_FLOOR))  # of 1: advantages nearly all alike stay small
        error = max(abs(mean), abs(deviation - left))
        found["whitened"] = (error < 1e-3, error)
    sums, expected_sums = row_sums(credit.rewards, mask), scores_after_kl(config, credit, mask)
    if config.whiten_rewards:
        sum_error = largest(rescaled_sums_differ(sums, expected_sums, mask.sum(1)))
        found["reward_sum"] = (sum_error < 1e-3, sum_error)
    else:
        sum_error = largest(sums - expected_sums)
        found["reward_sum"] = (sum_error < 1e-4, sum_error)
    far_sighted = config.estimator == "monte_carlo_value" or (config.estimator == "gae" and config.gae_lambda == 1.0)
    if far_sighted and config.gamma == 1.0:
        to_go = credit.rewards.flip(1).cumsum(1).flip(1)
        error = largest((credit.returns - to_go)[mask])
        found["monte_carlo"] = (error < 1e-4, error)
    lowest = min(float(KL_ESTIMATORS[name](log_ratios)[mask].min()) for name in ("k2", "k3"))
    found["kl_positive"] = (lowest > -1e-6, lowest)
    if final is not None and config.objective == "clip" and config.kl_in == "reward":
        differing = float(clip_rule_differs(config, final).sum())
        found["zero_gradient"] = (differing == 0, differing)
    lengths = mask.sum(1)
    unfinished = (lengths == 0) | (~rollout.stopped & (lengths < mask.shape[1]))
    if stops is not None:
        last = torch.where(last_true(mask), stops[rollout.response_ids], False).any(dim=1)
        unfinished |= rollout.stopped & ~last
    missed = float(unfinished.sum())
    found["stop_counts"] = (missed == 0, missed)
    found["optimiser_steps"] = (steps == expected, float(steps))
    return found


def clip_rule_differs(config: Config, epoch: Epoch) -> Tensor:
    """``[rows, T]`` bool: where autograd's zero gradients are not those that PPO's clip is meant to have.

    Ratios within rounding of the edge are left out: there either answer is right; and so are those that have become 0,
    which have no gradient whatever the clip does.
    """
    ratios, advantages, eps = epoch.ratios, epoch.advantages, config.clip_range
    rule = ((advantages > 0) & (ratios > 1 + eps)) | ((advantages < 0) & (ratios < 1 - eps))
    at_edge = ((ratios - 1).abs() - eps).abs() < 1e-5
    differs: Tensor = (rule != epoch.zero_gradient) & ~at_edge & (ratios > 0)
    return differs


def rescaled_sums_differ(whitened: Tensor, sums: Tensor, lengths: Tensor) -> Tensor:
    """How far sums of whitened rewards are from what one scale around the mean of a token can make of the sums.

    Whitening that keeps the mean m makes ``n m + k (S - n m)`` of a response of n tokens with the sum S. The scale k is
    that of the whole batch, and is found from the responses themselves by least squares.

    Args:
        whitened: ``[B]`` each response's sum of whitened rewards.
        sums: ``[B]`` what it was before.
        lengths: ``[B]`` tokens that count.

    Returns:
        ``[B]`` differences, 0 where there is one such scale.
    """
    of_mean = lengths * sums.sum() / lengths.sum().clamp(min=1)
    around, scaled = sums - of_mean, whitened - of_mean
    scale = (around @ scaled / (around @ around).clamp(min=1e-12)).clamp(min=0)
    return scaled - scale * around


def first_minibatch(epoch_ratios: Tensor, rows: Tensor, mask: Tensor, fresh: int) -> Tensor:
    """The ratios that the very first minibatch saw: its fresh rows' tokens that count, flat."""
    rows = rows[rows < fresh]
    return epoch_ratios[rows][mask[rows]]
