"""The reward: a weighted sum of components, one file each, and the KL penalty that turns scores into rewards.

Adding a component: a function ``(Responses) -> [B]`` in a file of its own and a line in ``REWARDS``, with its label in
``text/labels.toml``. A function of texts alone, ``(prompts, responses) -> B floats``, comes in by ``from_texts``.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from explorer.ppo.rewards.bias import unbiasedness
from explorer.ppo.rewards.coherence import coherence
from explorer.ppo.rewards.diversity import diversity
from explorer.ppo.rewards.length import length
from explorer.ppo.rewards.responses import Responses
from explorer.ppo.rewards.score import RewardError, from_texts, score
from explorer.ppo.rewards.sentiment import sentiment
from explorer.ppo.rewards.shaping import shape

#: Every built-in component by name, in the order in which they are shown.
REWARDS: dict[str, Callable[[Responses], Tensor]] = {
    "sentiment": sentiment,
    "coherence": coherence,
    "diversity": diversity,
    "unbiasedness": unbiasedness,
    "length": length,
}

__all__ = ["REWARDS", "Responses", "RewardError", "from_texts", "score", "shape"]
