"""Diversity: distinct pairs of neighbouring tokens, within a response and against the rest of the batch."""

from __future__ import annotations

import torch
from torch import Tensor

from explorer.ppo.rewards.responses import Responses

# What each share costs: a quarter of the bigrams repeated costs 4 / 4 = 1. With these weights the bundled policy's own
# samples, in batches of 32, lie around 0.4 with a standard deviation of 0.3, and both costs vary by about the same.
REPEATS_ITSELF = 4.0
REPEATS_OTHERS = 8.0


def diversity(responses: Responses) -> Tensor:
    """1 for a response in which no bigram comes twice and none occurs elsewhere in the batch, down to -1.

    A bigram is a pair of neighbouring tokens that count. Two shares are subtracted from 1, each with its weight: the
    response's bigrams that repeat an earlier one of its own (1 - distinct-2), and how much of the batch says the same
    (the mean, over its distinct bigrams, of the fraction of the other responses that contain it).

    Returns:
        ``[B]`` in [-1, 1]. A response of fewer than two tokens has no bigrams and gets 0, the middle of the range:
        it has repeated nothing but has shown no variety either, and 1 would make stopping at once the best answer.

    Source:
        distinct-n is from Li et al. 2016 (arXiv 1510.03055); the comparison with the batch is this project's.
    """
    own, others = repeated_shares(responses.ids, responses.mask)
    scores = (1 - REPEATS_ITSELF * own - REPEATS_OTHERS * others).clamp(-1, 1)
    return torch.where(responses.mask.sum(1) >= 2, scores, 0.0)


def repeated_shares(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """How much a response repeats itself and how much it repeats the others.

    Args:
        ids: ``[B, T]``.
        mask: ``[B, T]`` bool, True up to the last token that counts.

    Returns:
        Two tensors ``[B]`` in [0, 1]: the share of bigrams that are repeats within the response, and the mean over
        its distinct bigrams of the fraction of other responses that contain it. Both 0 where there is no bigram.
    """
    count = len(ids)
    rows, starts = torch.nonzero(mask[:, :-1] & mask[:, 1:], as_tuple=True)
    pairs = torch.stack([rows, ids[rows, starts], ids[rows, starts + 1]])
    distinct = torch.unique(pairs, dim=1)  # [3, D]: one column for each response and bigram in it
    _, bigrams, containing = torch.unique(distinct[1:], dim=1, return_inverse=True, return_counts=True)
    elsewhere = (containing[bigrams] - 1) / max(1, count - 1)
    total = torch.bincount(rows, minlength=count).clamp(min=1)
    different = torch.bincount(distinct[0], minlength=count)
    own = torch.where(different > 0, 1 - different / total, 0.0)
    others = torch.bincount(distinct[0], weights=elsewhere, minlength=count) / different.clamp(min=1)
    return own, others.to(own.dtype)
