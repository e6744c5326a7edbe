"""From a recipe in the Config to the component: see ``explorer.recipes``."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from explorer.ppo.rewards.bias import unbiasedness
from explorer.ppo.rewards.coherence import coherence
from explorer.ppo.rewards.diversity import diversity
from explorer.ppo.rewards.expression import expression
from explorer.ppo.rewards.judging import by_rule, gendered
from explorer.ppo.rewards.keywords import ENOUGH, keywords
from explorer.ppo.rewards.length import length
from explorer.ppo.rewards.matching import matching
from explorer.ppo.rewards.reading_ease import reading_ease
from explorer.ppo.rewards.repetition import repetition
from explorer.ppo.rewards.responses import Responses
from explorer.ppo.rewards.score import weighted
from explorer.ppo.rewards.sentiment import sentiment
from explorer.recipes import JUDGES, Recipe, as_text

Component = Callable[[Responses], Tensor]

#: Every built-in component by name, in the order in which they are shown.
REWARDS: dict[str, Component] = {
    "sentiment": sentiment,
    "coherence": coherence,
    "diversity": diversity,
    "unbiasedness": unbiasedness,
    "length": length,
}


def from_recipe(name: str, recipe: Recipe) -> Component:
    """The component that a recipe describes.

    Args:
        name: its name, for the message of an error.
        recipe: checked by ``explorer.recipes.checked_recipes``.

    Raises:
        ValueError: an expression or a pattern cannot be read, or there is nothing to copy; the message names the
            component and says what is wrong.
    """
    try:
        return _made(as_text(recipe))
    except ValueError as error:
        raise ValueError(f"The component '{name}' cannot be made. {error}") from error


def recipes_made(components: Mapping[str, Recipe]) -> dict[str, Component]:
    """Every component of a Config that is not built in. Raises as ``from_recipe``."""
    return {name: from_recipe(name, recipe) for name, recipe in components.items()}


@functools.lru_cache(maxsize=64)  # an update asks for each of them; a compiled pattern is kept
def _made(text: str) -> Component:
    recipe: dict[str, Any] = json.loads(text)
    return MAKERS[recipe.pop("kind")](**recipe)


def judge_name(judge: str) -> str:
    """What a judge is called, as ``Config.judge`` has it: a recipe has no name of its own."""
    return "judge" if judge.startswith("{") else judge


def judge_of(judge: str, components: Mapping[str, Component]) -> Component:
    """The held-out judge that ``Config.judge`` asks for.

    Args:
        judge: the name of a component or of one of ``explorer.recipes.JUDGES``, or a recipe as JSON.
        components: those that there are, by name.

    Raises:
        ValueError: there is no such judge, or its recipe's component cannot be made.
    """
    if judge.startswith("{"):
        return from_recipe("judge", json.loads(judge))
    if judge in components:
        return components[judge]
    if judge not in JUDGES:
        known = ", ".join([*components, *JUDGES])
        raise ValueError(f"There is no judge '{judge}': choose one of {known}, or give a recipe as JSON.")
    return from_recipe(judge, JUDGES[judge])


def _copy(of: str, length_target: int | None = None) -> Component:
    if of not in REWARDS:
        raise ValueError(f"There is no built-in component '{of}' to copy: there are {', '.join(REWARDS)}.")
    if length_target is not None and of != "length":
        raise ValueError(f"length_target belongs to a copy of length, and this is one of {of}.")
    if length_target is None:
        return REWARDS[of]
    return lambda responses: length(_aiming_at(responses, length_target))


def _sum(weights: Mapping[str, float]) -> Component:
    for name in weights:
        if name not in REWARDS:
            raise ValueError(f"There is no built-in component '{name}' to add up: there are {', '.join(REWARDS)}.")
    return lambda responses: weighted({name: REWARDS[name](responses) for name in weights}, weights)


def _aiming_at(responses: Responses, length_target: int) -> Responses:
    return dataclasses.replace(responses, config=responses.config.replace(length_target=length_target))


def _learned(**parts: Any) -> Component:
    from explorer.ppo.preferences.learned import learned  # what learns a component looks at responses as one does

    return learned(parts)


#: How each kind of recipe is made.
MAKERS: dict[str, Callable[..., Component]] = {
    "expression": lambda **parts: expression(parts["expression"]),
    "keywords": lambda words, enough=ENOUGH: keywords(words, enough),
    "format": lambda pattern: matching(pattern),
    "reading_ease": lambda: reading_ease,
    "repetition": lambda: repetition,
    "copy": _copy,
    "rule": lambda rule: by_rule(rule),
    "gendered": lambda: gendered,
    "sum": _sum,
    "learned": _learned,
}
