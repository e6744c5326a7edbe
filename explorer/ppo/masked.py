"""Reductions over the tokens that count. The one place where a ``[B, T]`` tensor is reduced; True counts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

#: Added to the variance that whitening divides by.
WHITENING_FLOOR = 1e-8


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


def aggregate(terms: Tensor, mask: Tensor, how: str, *, length: int) -> Tensor:
    """One number out of the terms ``[B, T]`` of all tokens that count: what each of the losses is made of.

    Args:
        terms: ``[B, T]``. What is masked may be NaN.
        mask: ``[B, T]`` bool.
        how: ``token_mean``, every token counts alike, so a long response counts more than a short one;
            ``sequence_mean``, the mean over responses of each one's mean, so the tokens of a long one count less;
            ``fixed_length``, the sum over ``B * length``, so a token counts alike in every batch.
        length: the most tokens that a response may have; read by ``fixed_length``.

    A batch cut into parts of equally many rows has, under ``sequence_mean`` and ``fixed_length``, the mean of its
    parts' aggregates and so of their gradients: 8 parts of 1 row give what 1 part of 8 gives. Under ``token_mean`` the
    parts have to be weighted by their tokens; minibatches are not, each being a step of its own.

    Source:
        ``token_mean`` DAPO (arXiv 2503.14476, equation 8); ``sequence_mean`` GRPO (arXiv 2402.03300, equation 3);
        ``fixed_length`` Dr. GRPO (arXiv 2503.20783).
    """
    if how == "sequence_mean":
        return row_means(terms, mask).mean()
    if how == "fixed_length":
        return masked_sum(terms, mask) / (len(mask) * length)
    return masked_mean(terms, mask)


def aggregate_parts(terms: Tensor, mask: Tensor, how: str, *, length: int, parts: Sequence[Tensor] | None) -> Tensor:
    """One number out of the terms of a batch that is optimised in parts: the mean over the parts of their aggregates.

    So a token weighs as it does in the step of its own minibatch. In a mean over tokens that is more in a minibatch of
    short responses than in one of long ones.

    Args:
        terms: ``[B, T]``.
        mask: ``[B, T]`` bool.
        how: as for ``aggregate``, and so is ``length``.
        length: the most tokens that a response may have.
        parts: the rows of each part; None for a batch in one.
    """
    if parts is None or len(parts) == 1:
        return aggregate(terms, mask, how, length=length)
    return torch.stack([aggregate(terms[rows], mask[rows], how, length=length) for rows in parts]).mean()


def masked_var(values: Tensor, mask: Tensor) -> Tensor:
    """Unbiased variance (divisor n - 1) of ``values [B, T]`` over ``mask [B, T]``, a scalar; 0 where n < 2.

    Source: numerics of TRL 1.12 and verl; OpenAI's 2019 code divides by n instead.
    """
    squares = (values - masked_mean(values, mask)) ** 2
    return masked_sum(squares, mask) / (mask.sum() - 1).clamp(min=1)


def whiten(values: Tensor, mask: Tensor, *, keep_mean: bool = False) -> Tensor:
    """``values [B, T]`` shifted and scaled to mean 0 and unbiased variance 1 over ``mask``; 0 outside it.

    ``WHITENING_FLOOR`` under the root keeps a batch of equal values finite (Huang et al. 2023, "The N implementation
    details of RLHF with PPO", detail on whitening).

    Args:
        values: ``[B, T]``.
        mask: ``[B, T]`` bool.
        keep_mean: scale only, around a mean that stays where it is: how OpenAI (2019) whitens rewards, whose mean
            says how good the responses are.
    """
    mean = masked_mean(values, mask)
    whitened = (values - mean) * torch.rsqrt(masked_var(values, mask) + WHITENING_FLOOR)
    return torch.where(mask, whitened + mean if keep_mean else whitened, 0.0)


def last_true(mask: Tensor) -> Tensor:
    """``[B, T]`` bool, True at each row's last True of ``mask``; a row without any stays False."""
    later = mask.flip(1).cumsum(1).flip(1)
    return mask & (later == 1)
