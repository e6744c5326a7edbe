"""Judges: what responses are measured by and never trained on, so that a score can be held against them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from explorer.ppo.rewards.bias import swaps
from explorer.ppo.rewards.responses import Responses


def gendered(responses: Responses) -> Tensor:
    """1 where the response itself has a word with a gender, as unbiasedness knows them, else 0.

    What the mean over a batch says is the share of responses in which somebody with a gender comes up.

    Returns:
        ``[B]``, each 0 or 1.
    """
    return torch.tensor([float(bool(swaps(text))) for text in responses.texts])


def by_rule(rule: str) -> Callable[[Responses], Tensor]:
    """A judge that goes by a rule of the simulated annotator's, applied to the response without its prompt.

    Args:
        rule: the name of one of ``explorer.ppo.preferences.RULES``.

    Raises:
        ValueError: there is no such rule.
    """
    from explorer.ppo.preferences.rules import RULES  # what is learnt from preferences looks at responses as rewards do

    if rule not in RULES:
        raise ValueError(f"There is no rule '{rule}': there are {', '.join(RULES)}.")
    return lambda responses: torch.tensor([float(RULES[rule](text)) for text in responses.texts])
