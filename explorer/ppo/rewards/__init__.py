"""The reward: a weighted sum of components, one file each, and the KL penalty that turns scores into rewards.

Adding a component: a function ``(Responses) -> [B]`` in a file of its own and a line in ``REWARDS``, with its label in
``text/labels.toml``; one that takes something to describe it is a kind of recipe, with a line in ``MAKERS`` and in
``explorer.recipes.KINDS``. A function of texts alone, ``(prompts, responses) -> B floats``, comes in by ``from_texts``.
"""

from explorer.ppo.rewards.making import REWARDS, from_recipe, judge_name, judge_of, recipes_made
from explorer.ppo.rewards.responses import Responses
from explorer.ppo.rewards.score import RewardError, from_texts, score
from explorer.ppo.rewards.shaping import shape

__all__ = [
    "REWARDS",
    "Responses",
    "RewardError",
    "from_recipe",
    "from_texts",
    "judge_name",
    "judge_of",
    "recipes_made",
    "score",
    "shape",
]
