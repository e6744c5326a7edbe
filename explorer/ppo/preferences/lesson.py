"""The labels behind the preset "Exploit your own labels": a few, by an annotator who goes by a rule that is not told.

The recipe that is learnt from them ships as ``assets/own_labels.json``, so that the preset needs no fitting. It belongs
to the bundled policy: make it anew whenever that changes.

    python -m explorer.ppo.preferences.lesson
"""

from __future__ import annotations

import json
from typing import Any

from explorer.bundled import asset_path
from explorer.config import Config
from explorer.ppo.loading import load_policy
from explorer.ppo.policy import Policy
from explorer.ppo.preferences.annotator import SimulatedAnnotator
from explorer.ppo.preferences.fitting import draw_samples
from explorer.ppo.preferences.learned import recipe_of
from explorer.ppo.preferences.pool import asked_pairs
from explorer.ppo.preferences.reward_model import fit_reward_model
from explorer.ppo.preferences.standardise import Features
from explorer.prompt_sets import prompt_sets

#: The annotator's rule, and how many pairs are decided.
RULE, PAIRS = "mentions_animal", 20


def lesson_recipe(reference: Policy) -> dict[str, Any]:
    """What is learnt from the labels, as the recipe of a component.

    Args:
        reference: the frozen bundled policy, whose responses are compared and whose hidden states are read.
    """
    pool = draw_samples(reference, prompt_sets()["stories"], Config())
    labels = SimulatedAnnotator(rule=RULE).label(asked_pairs(pool, 0), decided=PAIRS)
    return recipe_of(fit_reward_model(Features(reference, pool), labels, members=0), reference, labels)


if __name__ == "__main__":
    recipe = json.dumps(lesson_recipe(load_policy().frozen_copy()), sort_keys=True)
    asset_path("own_labels.json").write_text(recipe + "\n", encoding="utf-8")
