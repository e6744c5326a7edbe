"""Reductions over the tokens that count. The one place where a ``[B, T]`` tensor is reduced; True counts."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values [B, T]`` over ``mask [B, T]``, a scalar; 0 where nothing counts."""
    return masked_sum(values, mask) / mask.sum().clamp(min=1)


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sum of ``values [B, T]`` over ``mask [B, T]``, a scalar. What is masked may be NaN."""
    return torch.where(mask, values, 0.0).sum()


def row_sums(values: Tensor, mask: Tensor) -> Tensor:
    """Sum of each row of ``values [B, T]`` over ``mask [B, T]``: ``[B]``."""
    return torch.where(mask, values, 0.0).sum(dim=1)


def row_means(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of each row of ``values [B, T]`` over ``mask [B, T]``: ``[B]``; 0 for a row in which nothing counts."""
    return row_sums(values, mask) / mask.sum(dim=1).clamp(min=1)


def masked_var(values: Tensor, mask: Tensor) -> Tensor:
    """Unbiased variance (divisor n - 1) of ``values [B, T]`` over ``mask [B, T]``, a scalar; 0 where n < 2.

    Source: numerics of TRL 1.12 and verl; OpenAI's 2019 code divides by n instead.
    """
    squares = (values - masked_mean(values, mask)) ** 2
    return masked_sum(squares, mask) / (mask.sum() - 1).clamp(min=1)


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """``values [B, T]`` shifted and scaled to mean 0 and unbiased variance 1 over ``mask``; 0 outside it.

    The 1e-8 under the root keeps a batch of equal values finite (Huang et al. 2023, "The N implementation details
    of RLHF with PPO", detail on whitening).
    """
    whitened = (values - masked_mean(values, mask)) * torch.rsqrt(masked_var(values, mask) + 1e-8)
    return torch.where(mask, whitened, 0.0)


def last_true(mask: Tensor) -> Tensor:
    """``[B, T]`` bool, True at each row's last True of ``mask``; a row without any stays False."""
    later = mask.flip(1).cumsum(1).flip(1)
    return mask & (later == 1)
