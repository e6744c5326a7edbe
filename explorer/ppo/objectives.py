"""The objectives: one term per token, to be maximised, as a function of the log-ratio and the advantage.

PPO does not keep the ratio inside (1 - eps, 1 + eps). It stops *rewarding* movement beyond it: where the clipped
branch wins, the term is flat and the token gets no gradient. Real ratios leave the band, and a token on the wrong side
of it (its advantage pulls it back) keeps its full gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from explorer.config import RATIO_GRAINS, Config
from explorer.ppo import surrogates
from explorer.ppo.kl import reference_kl
from explorer.ppo.masked import aggregate_parts
from explorer.ppo.records import Curve


def clip(log_ratios: Tensor, advantages: Tensor, config: Config, mask: Tensor | None = None) -> Tensor:
    """The clipped surrogate of PPO.

    ``L_t = min(rho A, clamp(rho, 1 - eps, 1 + eps) A)``: the smaller of what the step has earned and of what it could
    have earned inside the band.

    Args:
        log_ratios: ``[B, T]`` log pi_new - log pi_old.
        advantages: ``[B, T]``, constants.
        config: ``clip_range`` is eps.
        mask: not needed here; for objectives that look at whole sequences.

    Returns:
        ``[B, T]`` terms to maximise, not masked.

    Source:
        Schulman et al. 2017 (arXiv 1707.06347), equation 7.
    """
    ratios = log_ratios.exp()
    clipped = ratios.clamp(1 - config.clip_range, 1 + config.clip_range)
    return torch.minimum(ratios * advantages, clipped * advantages)


def unclipped(log_ratios: Tensor, advantages: Tensor, config: Config, mask: Tensor | None = None) -> Tensor:
    """The surrogate before clipping, ``rho A``: what PPO would chase if nothing stopped it.

    Arguments and result as for ``clip``.

    Source:
        Schulman et al. 2017 (arXiv 1707.06347), equation 6 (conservative policy iteration).
    """
    return log_ratios.exp() * advantages


#: Every objective by name. ``Config.objective`` chooses; the trainer, the what-if and the pictures all look it up here.
OBJECTIVES: dict[str, Callable[..., Tensor]] = {
    "clip": clip,
    "unclipped": unclipped,
    "policy_gradient": surrogates.policy_gradient,
    "clip_higher": surrogates.clip_higher,
    "dual_clip": surrogates.dual_clip,
    "two_sided": surrogates.two_sided,
    "kl_penalty": surrogates.kl_penalty,
    "gspo": surrogates.gspo,
    "cispo": surrogates.cispo,
    "sapo": surrogates.sapo,
}

#: How far the curve is drawn, where it is not up to a ratio of 4: there a second edge lies further out.
CURVE_ENDS = {"dual_clip": 8.0, "two_sided": 8.0}


def optimised_terms(
    log_ratios: Tensor, advantages: Tensor, mask: Tensor, config: Config, ref_log_ratios: Tensor | None = None
) -> Tensor:
    """The objective's terms, less ``kl_coef * KL_t`` where the KL to the reference is in the loss: ``[rows, T]``.

    With the KL in the loss the reward has none, and the penalty is differentiated as it stands. Then the estimator
    matters: k1 and k3 have the right value and the wrong gradient. At the first step on a batch, when the policy is
    still the one that sampled it, that of k1 is 0 on average, noise alone; that of k3 is on average the gradient of
    KL(reference, policy), the other way round; k2's is that of KL(policy, reference). From the second step on the
    tokens are another policy's, and none of the three holds exactly.

    Args:
        log_ratios: ``[rows, T]`` log pi_new - log pi_old.
        advantages: ``[rows, T]``, constants.
        mask: ``[rows, T]`` bool.
        config: the objective, ``kl_in``, ``kl_coef`` and ``kl_estimator``.
        ref_log_ratios: ``[rows, T]`` log pi_new - log pi_ref, with the gradient of log_ratios; None leaves the
            penalty out.

    Source:
        GRPO (arXiv 2402.03300, equation 3) puts k3 there; on the gradients, verl's ``kl_penalty``.
    """
    terms = OBJECTIVES[config.objective](log_ratios, advantages, config, mask)
    if config.kl_in == "reward" or ref_log_ratios is None:
        return terms
    return terms - config.kl_coef * reference_kl(config.kl_estimator, ref_log_ratios)


class TokenObjective(NamedTuple):
    """The objective at every token, ``[rows, T]`` each, 0 outside the mask; and as one number."""

    terms: Tensor  # to be maximised
    outside_range: Tensor  # bool: the ratio that the objective looks at is outside the clip range
    zero_gradient: Tensor  # bool: d total / d log pi is exactly 0 though the advantage is not
    gradient_shares: Tensor  # |d total / d log pi| over its sum
    total: Tensor  # scalar: the mean over the minibatches of the aggregates of their terms


def judge_tokens(
    log_ratios: Tensor,
    advantages: Tensor,
    mask: Tensor,
    config: Config,
    ref_log_ratios: Tensor | None = None,
    minibatches: Sequence[Tensor] | None = None,
) -> TokenObjective:
    """The objective's term at every token, and who gets a gradient: by autograd, not by a rule beside the formula.

    Where two branches of a min or max tie with different slopes, at the very edge of a clip, autograd takes half of
    each: such a token counts as having a gradient.

    Args:
        log_ratios: ``[rows, T]``.
        advantages: ``[rows, T]`` as the objective sees them.
        mask: ``[rows, T]`` bool.
        config: names the objective and its clip range, and how its terms are aggregated.
        ref_log_ratios: ``[rows, T]`` log pi_new - log pi_ref, read where the KL is in the loss.
        minibatches: the rows of each, since a token pulls in the step of its own minibatch, as large as it is there
            before the gradient's norm is limited; None where one step is made of all rows.
    """
    with torch.enable_grad():
        leaf = log_ratios.detach().requires_grad_(True)
        # The same log pi_new is in both ratios, so what moves one moves the other.
        to_ref = None if ref_log_ratios is None else ref_log_ratios.detach() + (leaf - leaf.detach())
        terms = optimised_terms(leaf, advantages.detach(), mask, config, to_ref)
        total = aggregate_parts(terms, mask, config.aggregation, length=config.response_length, parts=minibatches)
        (gradients,) = torch.autograd.grad(total, leaf)
    size = gradients.abs()
    low, high = config.clip_band
    ratios = (surrogates.response_log_ratios(log_ratios, mask) if config.objective == "gspo" else log_ratios).exp()
    return TokenObjective(
        terms=torch.where(mask, terms.detach(), 0.0),
        outside_range=mask & ((ratios < low) | (ratios > high)),
        zero_gradient=mask & (gradients == 0) & (advantages != 0),
        gradient_shares=size / size.sum().clamp(min=torch.finfo(size.dtype).tiny),
        total=total.detach(),
    )


def value_terms(values: Tensor, old_values: Tensor, returns: Tensor, value_clip_range: float | None) -> Tensor:
    """Half the squared error of the value head, clipped around the old value where a range is given: ``[B, T]``.

    Source:
        OpenAI baselines ppo2 (2017); ``max((V - R)^2, (clip(V, V_old +- range) - R)^2) / 2``.
    """
    errors = (values - returns) ** 2
    if value_clip_range is None:
        return errors / 2
    clipped = old_values + (values - old_values).clamp(-value_clip_range, value_clip_range)
    return torch.maximum(errors, (clipped - returns) ** 2) / 2


def total_loss(policy_loss: Tensor, value_loss: Tensor, entropy: Tensor | None, config: Config) -> Tensor:
    """What one optimiser step goes down: ``policy_loss + vf_coef * value_loss - ent_coef * entropy``, a scalar.

    Args:
        policy_loss: minus the objective's terms as one number (``masked.aggregate``), a scalar.
        value_loss: ``value_terms`` likewise, a scalar.
        entropy: likewise, entropy of the next-token distributions in nats, a scalar; None leaves the bonus out.
        config: ``vf_coef`` and ``ent_coef``.

    Source:
        Schulman et al. 2017 (arXiv 1707.06347), equation 9, with the sign turned.
    """
    loss = policy_loss + config.vf_coef * value_loss
    return loss if entropy is None else loss - config.ent_coef * entropy


def curve(config: Config, low: float = 0.25, high: float | None = None, count: int = 161) -> Curve:
    """The objective against the ratio for advantages of +1 and -1: ``[N]`` each, ratios evenly spaced in the log.

    For GSPO the ratio is that of a whole response, with as many points again that crowd about 1 (``RATIO_GRAINS``).
    """
    high = CURVE_ENDS.get(config.objective, 4.0) if high is None else high
    first, last = (torch.tensor(end).log() for end in (low, high))
    log_ratios = torch.linspace(first, last, count)
    if grain := RATIO_GRAINS.get(config.objective):
        finer = grain * torch.linspace((first / grain).asinh(), (last / grain).asinh(), count).sinh()[1:-1]
        log_ratios = torch.cat([log_ratios, finer]).unique()
    log_ratios = log_ratios[:, None]
    ones, objective = torch.ones_like(log_ratios), OBJECTIVES[config.objective]
    everywhere = torch.ones_like(log_ratios, dtype=torch.bool)
    return Curve(
        ratios=log_ratios.exp()[:, 0],
        positive=objective(log_ratios, ones, config, everywhere)[:, 0],
        negative=objective(log_ratios, -ones, config, everywhere)[:, 0],
    )
