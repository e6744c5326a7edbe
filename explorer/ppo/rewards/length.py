"""Length: how close the response comes to a number of tokens."""

from __future__ import annotations

from torch import Tensor

from explorer.ppo.rewards.responses import Responses


def length(responses: Responses) -> Tensor:
    """1 where the tokens that count number ``config.length_target``, -1 at none, at twice the target and beyond.

    Linear in between on both sides; the stop token counts.

    Returns:
        ``[B]`` in [-1, 1].
    """
    target = responses.config.length_target
    misses = (responses.mask.sum(1) - target).abs() / target
    return (1 - 2 * misses).clamp(-1, 1)
