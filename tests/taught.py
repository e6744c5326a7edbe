"""What a few labels of a simulated annotator teach a policy's reward model, as the recipe of a component or a judge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from explorer.config import Config
from explorer.ppo.policy import Policy
from explorer.ppo.preferences.annotator import SimulatedAnnotator
from explorer.ppo.preferences.learned import recipe_of
from explorer.ppo.preferences.pool import asked_pairs, draw_pool
from explorer.ppo.preferences.reward_model import fit_reward_model
from explorer.ppo.preferences.standardise import Features


def taught(policy: Policy, config: Config, prompts: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """Eight labels of an annotator who likes short words."""
    reference = policy.frozen_copy()
    pool = draw_pool(reference, prompts, config.replace(seed=seed), 4)
    labels = SimulatedAnnotator(rule="short_words").label(asked_pairs(pool, seed), decided=8)
    return recipe_of(fit_reward_model(Features(reference, pool), labels, members=0), reference, labels)
