"""The live invariants: what must hold in every update of a correct PPO, measured on the update itself.

Each is one of the places where published implementations have gone wrong; the page shows them as check-lights.
"""

from __future__ import annotations

import math

from torch import Tensor

from explorer.config import Config
from explorer.ppo.masked import masked_mean, masked_var, row_sums
from explorer.ppo.metrics import KL_ESTIMATORS
from explorer.ppo.records import Credit, Rollout

#: What each check claims. The bound on its measured number is beside it in ``check_update``.
CHECKS: dict[str, str] = {
    "first_ratio": "max |ρ − 1| over the first minibatch, before any step",
    "first_kl": "|log π_old − log π_ref| in the run's first update",
    "whitened": "distance of the advantages' mean and standard deviation from 0 and 1",
    "reward_sum": "max_i |Σ_t r_t − (s_i − β Σ_t KL_t)|",
    "monte_carlo": "max |R_t − Σ_{u≥t} r_u| where γ = λ = 1",
    "kl_positive": "smallest k2 and k3 of a token",
    "stop_counts": "responses shorter than the limit whose stop token is outside the mask",
    "optimiser_steps": "optimiser steps beside epochs × minibatches",
}


def check_update(
    config: Config, rollout: Rollout, credit: Credit, first_ratios: Tensor, *, update: int, steps: int, expected: int
) -> dict[str, tuple[bool, float]]:
    """Every check that applies to this update, as ``{name: (holds, measured)}``.

    Args:
        config: the configuration in force.
        rollout: the fresh responses.
        credit: their rewards and advantages.
        first_ratios: the fresh rows' ratios in the first minibatch, flat, before any step.
        update: the update's number; the reference equals the policy in update 1 only.
        steps: optimiser steps taken.
        expected: ``epochs * minibatches``.
    """
    mask, log_ratios = rollout.response_mask, rollout.old_logprobs - rollout.ref_logprobs
    found: dict[str, tuple[bool, float]] = {}

    def largest(tokens: Tensor) -> float:
        return float(tokens.abs().max()) if tokens.numel() else 0.0

    ratio_error = largest(first_ratios - 1)
    found["first_ratio"] = (ratio_error < 1e-5, ratio_error)
    if update == 1:
        found["first_kl"] = (largest(log_ratios) < 1e-5, largest(log_ratios))
    if config.whiten:
        mean = float(masked_mean(credit.whitened_advantages, mask))
        deviation = math.sqrt(float(masked_var(credit.whitened_advantages, mask)))
        error = max(abs(mean), abs(deviation - 1))
        found["whitened"] = (error < 1e-3, error)
    scores = credit.scores - config.kl_coef * row_sums(credit.ref_kl, mask)
    sum_error = largest(row_sums(credit.rewards, mask) - scores)
    found["reward_sum"] = (sum_error < 1e-4, sum_error)
    if config.estimator == "gae" and config.gamma == 1.0 and config.gae_lambda == 1.0:
        to_go = credit.rewards.flip(1).cumsum(1).flip(1)
        error = largest((credit.returns - to_go)[mask])
        found["monte_carlo"] = (error < 1e-4, error)
    lowest = min(float(KL_ESTIMATORS[name](log_ratios)[mask].min()) for name in ("k2", "k3"))
    found["kl_positive"] = (lowest > -1e-6, lowest)
    lengths = mask.sum(1)
    missed = float(((lengths == 0) | (~rollout.stopped & (lengths < mask.shape[1]))).sum())
    found["stop_counts"] = (missed == 0, missed)
    found["optimiser_steps"] = (steps == expected, float(steps))
    return found


def first_minibatch(epoch_ratios: Tensor, rows: Tensor, mask: Tensor, fresh: int) -> Tensor:
    """The ratios that the very first minibatch saw: its fresh rows' tokens that count, flat."""
    rows = rows[rows < fresh]
    return epoch_ratios[rows][mask[rows]]
