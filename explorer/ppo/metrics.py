"""Every logged number, each with the exact expression it stands for.

No torch is imported here: the functions use the tensors' own methods, and the page reads the names and expressions
before anything heavy has loaded. The KL estimators also take the numpy arrays of a recording.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from explorer.config import Config
    from explorer.ppo.records import Credit, Epoch, Rollout


def _expm1(x: Any) -> Any:
    """``e^x - 1`` of a tensor or a numpy array, precise near 0, where the difference itself would be all rounding."""
    return x.expm1() if hasattr(x, "expm1") else np.expm1(x)


#: Per-token estimators of KL(p, q) from one sample of p, given the log-ratio log p - log q (Schulman 2020,
#: "Approximating KL divergence"). k1 and k3 are unbiased, k2 and k3 are never negative.
KL_ESTIMATORS: dict[str, Callable[[Any], Any]] = {
    "k1": lambda log_ratios: log_ratios,
    "k2": lambda log_ratios: log_ratios**2 / 2,
    "k3": lambda log_ratios: _expm1(-log_ratios) + log_ratios,
}

#: Every metric by name, with its expression. ``mean`` runs over the tokens that count, ``mean_i`` over responses,
#: ``mean_k`` over epochs; ``component/NAME`` stands for one metric a reward component. The upper ε is the objective's
#: own where it has one, and with GSPO ρ is the response's.
METRICS: dict[str, str] = {
    "objective/score": "mean_i s_i,  s_i = Σ_c w_c · c_i",
    "component/NAME": "mean_i c_i",
    "objective/judge": "mean_i j_i of the held-out judge; no number where there is none",
    "objective/reward": "mean_i (s_i − β Σ_t KL_t); s_i alone where the KL is in the loss",
    "objective/ref_kl": "mean_i Σ_t (log π_old − log π_ref)",
    "objective/ref_kl_token": "mean (log π_old − log π_ref)",
    "coef/kl": "β in force",
    "coef/penalty": "b in force",
    "policy/entropy": "mean (−Σ_v π_old(v) log π_old(v))",
    "policy/approx_kl": "mean_k mean ½ (log π_new − log π_old)²",
    "policy/approx_kl_final": "mean ½ (log π_final − log π_old)²",
    "policy/clipfrac": "mean_k mean [∂L/∂log π = 0 and A ≠ 0]",
    "policy/clipfrac_final": "mean [∂L/∂log π = 0 and A ≠ 0] at π_final",
    "policy/outside_range": "mean_k mean [ρ < 1 − ε or ρ > 1 + ε]",
    "policy/outside_range_final": "mean [ρ < 1 − ε or ρ > 1 + ε] at π_final",
    "policy/ratio_max": "max ρ at π_final",
    "policy/ratio_min": "min ρ at π_final",
    "policy/loss": "mean_k mean_m −mean L_t over minibatch m; the inner mean is the aggregation",
    "value/loss": "mean_k mean ½ (V − R)²",
    "value/explained_variance": "1 − Var(R − V_old) / Var(R)",
    "optim/grad_norm": "max_k ‖g‖ before clipping",
    "optim/grad_norm_clipped": "max_k min(‖g‖, max_grad_norm)",
    "optim/max_grad_norm": "max_grad_norm in force; no number where there is no limit",
    "optim/epochs_run": "epochs, up to the first whose mean ½ (log π_new − log π_old)² exceeds target_kl",
    "optim/steps": "epochs run × minibatches",
    "optim/steps_clipped": "share of the steps with ‖g‖ > max_grad_norm",
    "optim/learning_rate": "learning_rate in force",
    "response/length": "mean_i Σ_t mask",
    "response/stopped": "mean_i [the response ended by itself]",
    "throughput/seconds": "Σ wall seconds of the update's stages",
}


#: What a metric is measured in, where it has a unit other than the score's own.
UNITS: dict[str, str] = {
    "objective/ref_kl": "nats a response",
    "objective/ref_kl_token": "nats a token",
    "coef/kl": "score a nat",
    "coef/penalty": "score a nat",
    "policy/entropy": "nats a token",
    "policy/approx_kl": "nats a token",
    "policy/approx_kl_final": "nats a token",
    "policy/clipfrac": "share of tokens",
    "policy/clipfrac_final": "share of tokens",
    "policy/outside_range": "share of tokens",
    "policy/outside_range_final": "share of tokens",
    "value/loss": "score²",
    "value/explained_variance": "share of variance",
    "optim/epochs_run": "epochs",
    "optim/steps": "steps",
    "optim/steps_clipped": "share of steps",
    "response/length": "tokens",
    "response/stopped": "share of responses",
    "throughput/seconds": "seconds",
}


def approx_kl(rollout: Rollout, epoch: Epoch) -> float:
    """How far an epoch has seen the policy move, in nats a token: ``mean (log pi_new - log pi_old)^2 / 2``.

    Over the fresh rows. It measures KL(old, new) and not the KL to the reference; ``target_kl`` is compared with it.
    """
    from explorer.ppo.masked import masked_mean

    rows = rollout.response_mask.shape[0]
    moved = epoch.new_logprobs[:rows] - rollout.old_logprobs
    return float(masked_mean(moved**2 / 2, rollout.response_mask))


def explained_variance(returns: Tensor, values: Tensor, mask: Tensor) -> float:
    """How much of the returns' variance the values account for: ``1 - Var(R - V) / Var(R)`` over the tokens that count.

    1 is a perfect critic, 0 one that is no better than a constant, less than 0 one that is worse. All ``[B, T]``; 0
    where the returns do not vary.
    """
    from explorer.ppo.masked import masked_var

    residual, spread = masked_var(returns - values, mask), masked_var(returns, mask)
    return 1.0 - float(residual / spread) if float(spread) > 0 else 0.0


def measure(
    config: Config, rollout: Rollout, credit: Credit, epochs: tuple[Epoch, ...], steps: int
) -> dict[str, float]:
    """Every metric of one update that its records say, by the expressions of ``METRICS``; the trainer adds the rest.

    Args:
        config: the configuration in force, with the coefficients that were.
        rollout: the fresh responses.
        credit: their scores, rewards and advantages.
        epochs: one record an epoch, then ``final``; replayed rows are left out of every ratio metric.
        steps: optimiser steps taken.
    """
    from explorer.ppo.credit import scores_after_kl
    from explorer.ppo.masked import masked_mean, row_sums

    mask, rows = rollout.response_mask, rollout.response_mask.shape[0]
    trained, final = epochs[:-1], epochs[-1]
    log_ratios = rollout.old_logprobs - rollout.ref_logprobs
    limit = float("inf") if config.max_grad_norm is None else config.max_grad_norm

    def mean(tokens: Tensor) -> float:
        return float(masked_mean(tokens.float(), mask))

    def over_epochs(values: list[float]) -> float:
        return sum(values) / len(values)

    final_ratios = final.ratios[:rows][mask]
    return {
        "objective/score": float(credit.scores.mean()),
        **{f"component/{name}": float(values.mean()) for name, values in credit.reward_components.items()},
        **({} if credit.judge is None else {"objective/judge": float(credit.judge.mean())}),
        "objective/reward": float(scores_after_kl(config, credit, mask).mean()),
        "objective/ref_kl": float(row_sums(log_ratios, mask).mean()),
        "objective/ref_kl_token": mean(log_ratios),
        "coef/kl": config.kl_coef,
        "coef/penalty": config.penalty_coef,
        "policy/entropy": mean(rollout.entropies),
        "policy/approx_kl": over_epochs([approx_kl(rollout, e) for e in trained]),
        "policy/approx_kl_final": approx_kl(rollout, final),
        "policy/clipfrac": over_epochs([mean(e.zero_gradient[:rows]) for e in trained]),
        "policy/clipfrac_final": mean(final.zero_gradient[:rows]),
        "policy/outside_range": over_epochs([mean(e.outside_range[:rows]) for e in trained]),
        "policy/outside_range_final": mean(final.outside_range[:rows]),
        "policy/ratio_max": float(final_ratios.max()),
        "policy/ratio_min": float(final_ratios.min()),
        "policy/loss": over_epochs([e.policy_loss for e in trained]),
        "value/loss": over_epochs([e.value_loss for e in trained]),
        "value/explained_variance": explained_variance(credit.returns, rollout.old_values, mask),
        "optim/grad_norm": max(e.grad_norm for e in trained),
        "optim/grad_norm_clipped": max(min(e.grad_norm, limit) for e in trained),
        "optim/max_grad_norm": float("nan") if config.max_grad_norm is None else config.max_grad_norm,
        "optim/epochs_run": float(len(trained)),
        "optim/steps": float(steps),
        "optim/learning_rate": config.learning_rate,
        "response/length": float(mask.sum(1).float().mean()),
        "response/stopped": float(rollout.stopped.float().mean()),
    }
