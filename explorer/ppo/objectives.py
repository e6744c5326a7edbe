"""The objectives: one term per token, to be maximised, as a function of the log-ratio and the advantage.

PPO does not keep the ratio inside (1 - eps, 1 + eps). It stops *rewarding* movement beyond it: where the clipped
branch wins, the term is flat and the token gets no gradient. Real ratios leave the band, and a token on the wrong side
of it (its advantage pulls it back) keeps its full gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from explorer.config import Config
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
OBJECTIVES: dict[str, Callable[..., Tensor]] = {"clip": clip, "unclipped": unclipped}


class TokenObjective(NamedTuple):
    """The objective at every token, ``[rows, T]`` each, 0 outside the mask."""

    terms: Tensor  # to be maximised
    outside_range: Tensor  # bool: |rho - 1| > eps
    zero_gradient: Tensor  # bool: d term / d log pi is exactly 0 though the advantage is not
    gradient_shares: Tensor  # |d term / d log pi| over its sum


def judge_tokens(log_ratios: Tensor, advantages: Tensor, mask: Tensor, config: Config) -> TokenObjective:
    """The objective's term at every token, and who gets a gradient: by autograd, not by a rule beside the formula.

    Args:
        log_ratios: ``[rows, T]``.
        advantages: ``[rows, T]`` as the objective sees them.
        mask: ``[rows, T]`` bool.
        config: names the objective and its clip range.
    """
    with torch.enable_grad():
        leaf = log_ratios.detach().requires_grad_(True)
        terms = OBJECTIVES[config.objective](leaf, advantages.detach(), config, mask)
        (gradients,) = torch.autograd.grad(torch.where(mask, terms, 0.0).sum(), leaf)
    size = gradients.abs()
    return TokenObjective(
        terms=torch.where(mask, terms.detach(), 0.0),
        outside_range=mask & ((log_ratios.exp() - 1).abs() > config.clip_range),
        zero_gradient=mask & (gradients == 0) & (advantages != 0),
        gradient_shares=size / size.sum().clamp(min=torch.finfo(size.dtype).tiny),
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


def curve(config: Config, low: float = 0.25, high: float = 4.0, count: int = 161) -> Curve:
    """The objective against the ratio for advantages of +1 and -1: ``[N]`` each, ratios evenly spaced in the log."""
    log_ratios = torch.linspace(torch.tensor(low).log(), torch.tensor(high).log(), count)[:, None]
    ones, objective = torch.ones_like(log_ratios), OBJECTIVES[config.objective]
    everywhere = torch.ones_like(log_ratios, dtype=torch.bool)
    return Curve(
        ratios=log_ratios.exp()[:, 0],
        positive=objective(log_ratios, ones, config, everywhere)[:, 0],
        negative=objective(log_ratios, -ones, config, everywhere)[:, 0],
    )
