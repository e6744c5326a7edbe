"""What a few labels of a simulated annotator teach a policy's reward model, as the recipe of a component or a judge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from explorer.config import Config
from explorer.ppo.policy import Policy
from explorer.ppo.preferences.annotator import SimulatedAnnotator
from explorer.ppo.preferences.learned import recipe_of
from explorer.ppo.preferences.pool import asked_pairs, draw_pool
from explorer.ppo.preferences.reward_model import fit_reward_model
from explorer.ppo.preferences.shifts import shifted, shifts_of, tuned_parameters
from explorer.ppo.preferences.standardise import Features


def taught(
    policy: Policy, config: Config, prompts: Sequence[str], seed: int = 0, *, tuned: bool = False
) -> dict[str, Any]:
    """Eight labels of an annotator who likes short words.

    ``tuned`` reads a trunk whose biases and gains have been moved, as labels would move them: whither is all the same
    to a run.
    """
    reference = policy.frozen_copy()
    pool = draw_pool(reference, prompts, config.replace(seed=seed), 4)
    labels = SimulatedAnnotator(rule="short_words").label(asked_pairs(pool, seed), decided=8)
    trunk = shifted(reference, shifts_of(moved(reference, 0.1), reference)) if tuned else reference
    features = Features(trunk, pool)
    return recipe_of(fit_reward_model(features, labels, members=0), reference, labels)


def moved(policy: Policy, by: float) -> Policy:
    """A frozen copy with every bias and gain moved by up to so much."""
    made = policy.frozen_copy()
    drawing = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in tuned_parameters(made):
            parameter.add_(by * (2 * torch.rand(parameter.shape, generator=drawing) - 1))
    return made
