"""From one score a response to one reward a token: the KL penalty everywhere, the score at the end."""

from __future__ import annotations

import torch
from torch import Tensor

from explorer.ppo.kl import reference_kl
from explorer.ppo.masked import last_true


def shape(
    scores: Tensor,
    old_logprobs: Tensor,
    ref_logprobs: Tensor,
    mask: Tensor,
    *,
    kl_coef: float,
    kl_estimator: str = "k1",
    exact_ref_kl: Tensor | None = None,
    score_mask: Tensor | None = None,
) -> Tensor:
    """Per-token rewards ``r_t = -kl_coef * KL_t + [t is the last token that counts] * score``.

    Args:
        scores: ``[B]``.
        old_logprobs: ``[B, T]`` under the policy that sampled, in nats.
        ref_logprobs: ``[B, T]`` under the reference, in nats.
        mask: ``[B, T]`` bool, up to and with the stop token.
        kl_coef: the penalty's weight, in units of score per nat.
        kl_estimator: ``k1``, ``k2``, ``k3`` or ``exact``.
        exact_ref_kl: ``[B, T]`` the exact KL of the next-token distributions; ``exact`` needs it.
        score_mask: ``[B, T]`` bool, whose last True in a row is where the score goes; None is ``mask``, as in every run
            here. With one position more than ``mask`` the score comes one past the stop, as in TRL: it gets there
            through ``assign_credit(value_mask=)``, and from its golden numbers to its rewards, returns and losses.

    Returns:
        ``[B, T]`` rewards, exactly 0 where neither mask is True.

    Raises:
        ValueError: the exact KL is asked for and there is none.

    Source:
        Ziegler et al. 2019 (arXiv 1909.08593), equation 2; Ouyang et al. 2022 (arXiv 2203.02155), equation 2.
    """
    ref_kl = reference_kl(kl_estimator, old_logprobs - ref_logprobs, exact_ref_kl)
    penalties = torch.where(mask, -kl_coef * ref_kl, 0.0)
    return penalties + torch.where(last_true(mask if score_mask is None else score_mask), scores[:, None], 0.0)
