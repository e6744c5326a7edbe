"""From a file of labels to a component, without a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from explorer.config import Config
from explorer.ppo.policy import Policy
from explorer.ppo.preferences.comparisons import Comparison, PreferenceError
from explorer.ppo.preferences.label_file import BadLine, read_labels
from explorer.ppo.preferences.learned import recipe_of
from explorer.ppo.preferences.pool import Pool, draw_pool
from explorer.ppo.preferences.reward_model import fit_reward_model
from explorer.ppo.preferences.splitting import FEWEST
from explorer.ppo.preferences.standardise import Features

#: Responses of the reference by which features and scores are measured, at least.
SAMPLES = 256

#: Bad lines that a message names; it counts the rest.
NAMED = 5


def draw_samples(reference: Policy, prompts: Sequence[str], config: Config) -> Pool:
    """The reference's own responses by which features and scores are measured: at least 256.

    Raises:
        ValueError: a prompt is blank or too long.
    """
    return draw_pool(reference, prompts, config, -(-SAMPLES // config.batch_size))


def check_enough(labels: Sequence[Comparison]) -> None:
    """Raises PreferenceError where too few labels are decided to train on what they teach."""
    decided = sum(label.decided for label in labels)
    if decided < FEWEST:
        raise PreferenceError(
            f"A reward model takes at least {FEWEST} labels that prefer one response to the other, and there "
            f"{'is' if decided == 1 else 'are'} {decided}: label some more."
        )


def named(bad: Sequence[BadLine]) -> str:
    """Bad lines in one sentence: each of the first few by its number, and how many more there are."""
    more = f"; and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    return "; ".join(str(line).rstrip(".") for line in bad[:NAMED]) + more + "."


def recipe_from_labels(
    path: str | Path, policy: Policy, prompts: Sequence[str] = "stories", config: Config | None = None
) -> dict[str, Any]:
    """The recipe of a component that is learnt from a JSONL file of labels.

        config.replace(component_learned=recipe_from_labels("pairs.jsonl", load_policy()))

    The same file, policy, prompts and config give the same recipe.

    Args:
        path: lines of ``prompt``, ``chosen`` and ``rejected``.
        policy: the policy that a run begins with: its hidden states are read as they are now.
        prompts: texts, or the name of a bundled set; what its samples answer.
        config: batch_size, response_length, temperature and seed are read; None is the default.

    Raises:
        PreferenceError: the file cannot be read, has bad lines, which are named, or too few labels.
    """
    labels = read_labels(path)
    if labels.bad:
        many = "a line that is no label" if len(labels.bad) == 1 else f"{len(labels.bad)} lines that are no labels"
        raise PreferenceError(f"'{path}' has {many}; mend or delete: {named(labels.bad)}")
    check_enough(labels.comparisons)
    reference = policy.frozen_copy()
    features = Features(reference, draw_samples(reference, prompts, config or Config()))
    return recipe_of(fit_reward_model(features, labels.comparisons), reference, labels.comparisons)
