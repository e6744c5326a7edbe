"""The objectives beside PPO's own: what came before the clip, and what others have put in its place.

Each takes ``log_ratios [B, T]`` (log pi_new - log pi_old), ``advantages [B, T]`` (constants), the Config, and
``mask [B, T]`` where it looks at whole responses, and gives ``[B, T]`` terms to maximise, not masked. Which tokens get
no gradient is nobody's rule: ``objectives.judge_tokens`` asks autograd.
"""

from __future__ import annotations

import torch
from torch import Tensor

from explorer.config import SAPO_TEMPERATURES, Config
from explorer.ppo.masked import row_means


def policy_gradient(log_ratios: Tensor, advantages: Tensor, config: Config, mask: Tensor | None = None) -> Tensor:
    """The vanilla policy gradient, ``A log pi_new`` less a constant: every token keeps its pull A, whatever rho.

    It knows nothing of the old policy, so it is right for the first step on a batch only.

    Source:
        Williams 1992 (REINFORCE); Sutton et al. 1999, theorem 1.
    """
    return log_ratios * advantages


def clip_higher(log_ratios: Tensor, advantages: Tensor, config: Config, mask: Tensor | None = None) -> Tensor:
    """PPO's clip with more room above than below, ``clip(rho, 1 - eps, 1 + eps_high)``: rare tokens may grow.

    Source:
        Yu et al. 2025 (DAPO, arXiv 2503.14476), equation 10; eps_high is ``clip_range_high``.
    """
    return _pessimistic(log_ratios.exp(), advantages, *config.clip_band)


def dual_clip(log_ratios: Tensor, advantages: Tensor, config: Config, mask: Tensor | None = None) -> Tensor:
    """PPO's clip with a floor of ``c A`` for A < 0: a ratio that has exploded stops pulling.

    Source:
        Ye et al. 2020 (arXiv 1912.09729), equation 5; c is ``dual_clip``.
    """
    pessimistic = _pessimistic(log_ratios.exp(), advantages, *config.clip_band)
    return torch.where(advantages < 0, torch.maximum(pessimistic, config.dual_clip * advantages), pessimistic)


def two_sided(log_ratios: Tensor, advantages: Tensor, config: Config, mask: Tensor | None = None) -> Tensor:
    """PPO's clip with the ratio of the unclipped branch bounded, ``min(min(rho, delta) A, clip(rho) A)``.

    Since delta lies above ``1 + eps`` it is felt for A < 0 only, and is then the very function that ``dual_clip`` with
    c = delta is: two papers, one remedy.

    Source:
        INTELLECT-2 (arXiv 2505.07291), "Two-sided GRPO clipping".
    """
    ratios = log_ratios.exp()
    clipped = ratios.clamp(*config.clip_band)
    return torch.minimum(ratios.clamp(max=config.delta) * advantages, clipped * advantages)


def kl_penalty(log_ratios: Tensor, advantages: Tensor, config: Config, mask: Tensor | None = None) -> Tensor:
    """The other PPO: no clip, but a price on the step, ``rho A - b KL(old, new)``.

    The KL of a token is ``step_kl``. It draws every ratio back to 1, also that of a token whose advantage is 0.

    Source:
        Schulman et al. 2017 (arXiv 1707.06347), equation 8; b is ``penalty_coef``.
    """
    return log_ratios.exp() * advantages - config.penalty_coef * step_kl(log_ratios)


def step_kl(log_ratios: Tensor) -> Tensor:
    """KL(old, new) of each token ``[B, T]`` in nats, from its one sample of the old policy: ``rho - 1 - log rho``.

    It is k3 with the policies changed over: never negative, right on average, and so is its gradient, because the old
    policy that sampled stays where it is.

    Source:
        Schulman 2020, "Approximating KL divergence".
    """
    return log_ratios.exp() - 1 - log_ratios


def gspo(log_ratios: Tensor, advantages: Tensor, config: Config, mask: Tensor | None = None) -> Tensor:
    """One ratio a response, ``s = exp(mean_t log rho_t)``, clipped to ``[1 - eps, 1 + eps_high]``, for all its tokens.

    A token's pull is the mean of its response's flowing terms. Where a response has one advantage, as in the paper, it
    is clipped as a whole; with an advantage a token (GAE) all its tokens are pulled alike nevertheless.

    Source:
        Zheng et al. 2025 (arXiv 2507.18071), equations 5 to 7. The mean over a response's tokens moves far less than
        they do, so its clip range is small: 3e-4 below (``clip_range``) and 4e-4 above (``clip_range_high``).
    """
    return _pessimistic(response_log_ratios(log_ratios, mask).exp(), advantages, *config.clip_band)


def response_log_ratios(log_ratios: Tensor, mask: Tensor | None = None) -> Tensor:
    """The mean of each response's log-ratios over ``mask [B, T]``, at each of its tokens: ``[B, T]``, not masked."""
    counted = torch.ones_like(log_ratios, dtype=torch.bool) if mask is None else mask
    return row_means(log_ratios, counted)[:, None].expand_as(log_ratios)


def cispo(log_ratios: Tensor, advantages: Tensor, config: Config, mask: Tensor | None = None) -> Tensor:
    """The clipped ratio as a constant weight on the policy gradient: no token ever loses its pull.

    ``sg(clip(rho, 1 - eps, 1 + eps_high)) A log pi_new`` less a constant, where sg lets no gradient through. So the
    pull is weight times A, and not the slope of the term against rho.

    Source:
        MiniMax-M1 (arXiv 2506.13585), equations 4 and 5; its authors ran it without a lower bound, which here is a
        ``clip_range`` of 1.
    """
    weights = log_ratios.exp().clamp(*config.clip_band).detach()
    return weights * advantages * log_ratios


def sapo(log_ratios: Tensor, advantages: Tensor, config: Config, mask: Tensor | None = None) -> Tensor:
    """A soft gate in place of the clip, ``(4 / tau) sigmoid(tau (rho - 1)) A``: the pull fades and has no edge.

    In single precision the gate is 1 and the pull 0 from a ratio of about 18 on.

    Source:
        Gao et al. 2025 (arXiv 2511.20347), equations 5 and 6.
    """
    positive, negative = SAPO_TEMPERATURES
    tau = torch.where(advantages > 0, torch.full_like(advantages, positive), negative)
    return 4 / tau * torch.sigmoid(tau * (log_ratios.exp() - 1)) * advantages


def _pessimistic(ratios: Tensor, advantages: Tensor, low: float, high: float) -> Tensor:
    """The smaller of what the step has earned and of what it could have earned between ``low`` and ``high``."""
    return torch.minimum(ratios * advantages, ratios.clamp(low, high) * advantages)
