"""The KL to the reference at a token: estimated from the one token that was written, or exact.

Exact is a sum over the whole vocabulary. It needs both models' whole next-token distributions, which a loop that keeps
the log-probabilities of the written tokens only has thrown away: hence the estimators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from explorer.ppo.metrics import KL_ESTIMATORS

if TYPE_CHECKING:
    from torch import Tensor


def exact_kl_tokens(all_logprobs: Tensor, ref_all_logprobs: Tensor, mask: Tensor) -> Tensor:
    """KL(policy, reference) of the two next-token distributions at each position, ``sum_v p(v) ln (p(v) / q(v))``.

    Args:
        all_logprobs: ``[B, T, V]`` the policy's log-probabilities of every token, in nats.
        ref_all_logprobs: ``[B, T, V]`` the reference's.
        mask: ``[B, T]`` bool.

    Returns:
        ``[B, T]`` in nats, never negative, exactly 0 where the mask is False.
    """
    found = all_logprobs.new_zeros(mask.shape)
    for row, (p, q) in enumerate(zip(all_logprobs, ref_all_logprobs, strict=True)):  # no second [B, T, V] is made
        found[row] = (p.exp() * (p - q)).sum(dim=-1)
    # Where the two are all but one, rounding would leave some a hair below 0.
    return found.clamp(min=0.0).masked_fill(~mask, 0.0)


def reference_kl(kl_estimator: str, log_ratios: Tensor, exact_ref_kl: Tensor | None = None) -> Tensor:
    """The KL to the reference of each token as an estimator has it: ``[B, T]`` in nats, not masked.

    Args:
        kl_estimator: a key of ``KL_ESTIMATORS``, or ``exact``.
        log_ratios: ``[B, T]`` log pi - log pi_ref of the tokens that were written.
        exact_ref_kl: ``[B, T]`` as ``exact_kl_tokens`` gives it; only ``exact`` reads it.

    Raises:
        ValueError: the exact KL is asked for and there is none.
    """
    if kl_estimator != "exact":
        estimated: Tensor = KL_ESTIMATORS[kl_estimator](log_ratios)
        return estimated
    if exact_ref_kl is None:
        raise ValueError(
            "kl_estimator is 'exact', and these responses come without the exact KL, as in a recording made before it "
            "was kept: choose k1, k2 or k3."
        )
    return exact_ref_kl
