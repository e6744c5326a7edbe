"""What the gauge compares, by one reward and one judge: the run's updates, and answers of the untouched policy.

A reward may change within a run. Its score is rebuilt here from the components that each update measured, so that every
update is scored by the same weights and the same recipes, or left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from explorer.config import Config
from explorer.recording.history import History
from explorer.session.untouched import Sample


class Answers(NamedTuple):
    """Answers of the untouched policy, m to each of P prompts: score and judge, ``[P, m]`` each."""

    scores: np.ndarray
    judged: np.ndarray


def score_series(history: History, config: Config) -> np.ndarray:
    """``[N]`` the score that a Config's weights give the run's updates.

    NaN where an update lacks a component that counts, or measured another of the same name.
    """
    weights = counting(config)
    found = np.where(_made_with(history, lambda theirs: alike(theirs, config, weights)), 0.0, np.nan)
    for name, weight in weights.items():
        found = found + weight * history.series(f"component/{name}")[1]
    return found


def judge_series(history: History, config: Config) -> tuple[np.ndarray, np.ndarray]:
    """A Config's judge over the run: updates ``[N]`` and values ``[N]``, NaN where an update was not measured by it.

    A judge that is a component was measured wherever the component was, which has the same numbers.
    """
    judge = config.judge
    updates, values = history.series("objective/judge")
    values = np.where(_made_with(history, lambda theirs: theirs.judge == judge), values, np.nan)
    component = history.series(f"component/{judge}")[1]
    same = _made_with(history, lambda theirs: alike(theirs, config, [judge]))
    return updates, np.where(same, np.where(np.isfinite(component), component, values), np.nan)


def answers_of_sample(sample: Sample | None, paid: Config, config: Config) -> Answers | None:
    """What has been measured of the untouched policy; None where that is not all that a score and a judge need.

    Args:
        sample: measured by the recipes and by the judge of ``config``, if there is one.
        paid: whose weights make the score.
        config: whose judge is meant.
    """
    weights = counting(paid)
    if sample is None or sample.judge != config.judge or sample.judged is None:
        return None
    if not alike(paid, config, weights) or not weights.keys() <= sample.components.keys():
        return None
    return Answers(_total(weights, sample.components, sample.judged), sample.judged)


def answers_of_first(history: History, paid: Config, config: Config) -> Answers | None:
    """The same of a run's own first update, whose responses are the untouched policy's, by group; None likewise."""
    first = history.at(1) if history.kept[:1] == [1] else None
    weights, judge = counting(paid), config.judge
    if first is None or not alike(first.config, paid, weights) or not alike(first.config, config, [judge]):
        return None
    components = first.credit.reward_components
    judged = components.get(judge)
    if judged is None and first.config.judge == judge:
        judged = first.credit.judge
    if judged is None or not weights.keys() <= components.keys():
        return None
    grouped = np.reshape(judged, (-1, first.config.group_size))
    return Answers(_total(weights, components, judged).reshape(grouped.shape), grouped)


def counting(config: Config) -> dict[str, float]:
    """The weights of the components that count."""
    return {name: weight for name, weight in config.weights.items() if weight and name not in config.set_aside}


def alike(one: Config, other: Config, names: Iterable[str]) -> bool:
    """Whether components of these names measure the same under two Configs."""
    return all(_meaning(one, name) == _meaning(other, name) for name in names)


def _meaning(config: Config, name: str) -> Any:
    recipe = config.components.get(name, {"of": name})
    aims = recipe.get("of") == "length" and "length_target" not in recipe
    return recipe, config.length_target if aims else None


def _made_with(history: History, holds: Callable[[Config], bool]) -> np.ndarray:
    """``[N]`` bool: the updates of whose Config it holds."""
    known: dict[int, bool] = {id(None): False}
    found = []
    for config in history.configs():
        if config is not None and id(config) not in known:
            known[id(config)] = holds(config)
        found.append(known[id(config)])
    return np.array(found, dtype=bool)


def _total(weights: dict[str, float], components: Any, like: Any) -> np.ndarray:
    """The score of each answer, shaped as another number of each."""
    parts = [weight * np.asarray(components[name], dtype=float) for name, weight in weights.items()]
    found: np.ndarray = np.sum([np.zeros(np.shape(like)), *parts], axis=0)
    return found
