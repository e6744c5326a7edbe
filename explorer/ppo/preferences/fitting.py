"""From a file of labels to a component, without a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from explorer.config import Config
from explorer.ppo.policy import Policy
from explorer.ppo.preferences.comparisons import Comparison, PreferenceError
from explorer.ppo.preferences.label_file import BadLine, read_labels
from explorer.ppo.preferences.learned import recipe_of
from explorer.ppo.preferences.pool import Pool, draw_pool
from explorer.ppo.preferences.reward_model import fit_reward_model
from explorer.ppo.preferences.splitting import FEWEST
from explorer.ppo.preferences.standardise import Features
from explorer.ppo.preferences.tuned_trunk import Tuned, tune

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


class Learnt(NamedTuple):
    """What a file of labels taught."""

    recipe: dict[str, Any]  # of a component
    tuned: Tuned | None  # beside the frozen trunk, on the same held-out labels; None where it stayed frozen unasked


def learn(
    path: str | Path,
    policy: Policy,
    prompts: Sequence[str] = "stories",
    config: Config | None = None,
    *,
    tuned: bool = False,
) -> Learnt:
    """The reward model that a JSONL file of labels teaches.

    The same file, policy, prompts and config give the same one.

    Args:
        path: lines of ``prompt``, ``chosen`` and ``rejected``.
        policy: the policy that a run begins with: its hidden states are read as they are now.
        prompts: texts, or the name of a bundled set; what its samples answer.
        config: batch_size, response_length, temperature and seed are read; None is the default.
        tuned: whether a copy of the policy's trunk is tuned to the labels, which takes seconds. It stays as it is where
            that makes the held-out labels no likelier.

    Raises:
        PreferenceError: the file cannot be read, has bad lines, which are named, or too few labels.
    """
    labels = read_labels(path)
    if labels.bad:
        many = "a line that is no label" if len(labels.bad) == 1 else f"{len(labels.bad)} lines that are no labels"
        raise PreferenceError(f"'{path}' has {many}; mend or delete: {named(labels.bad)}")
    check_enough(labels.comparisons)
    reference = policy.frozen_copy()
    samples = draw_samples(reference, prompts, config or Config())
    model = fit_reward_model(Features(reference, samples), labels.comparisons)
    found = tune(model, samples, labels.comparisons) if tuned else None
    return Learnt(recipe_of(found.model if found else model, reference, labels.comparisons), found)


def recipe_from_labels(
    path: str | Path,
    policy: Policy,
    prompts: Sequence[str] = "stories",
    config: Config | None = None,
    *,
    tuned: bool = False,
) -> dict[str, Any]:
    """The recipe of a component that is learnt from a JSONL file of labels; arguments and errors as ``learn``.

    config.replace(component_learned=recipe_from_labels("pairs.jsonl", load_policy()))
    """
    return learn(path, policy, prompts, config, tuned=tuned).recipe
