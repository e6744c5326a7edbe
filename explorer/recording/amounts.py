"""How much of each run a page keeps: as it was told, else as the environment says, else as usual."""

from __future__ import annotations

import math
import os
from typing import NamedTuple

#: What ``ppo-explorer serve`` tells the kernels of its pages, which inherit its environment.
VARIABLES = {
    "keep_every": "PPO_EXPLORER_KEEP_EVERY",
    "checkpoint_every": "PPO_EXPLORER_CHECKPOINT_EVERY",
    "checkpoint_megabytes": "PPO_EXPLORER_CHECKPOINT_MEGABYTES",
}


class Amounts(NamedTuple):
    """How much of a run is kept.

    Attributes:
        keep_every: the tokens of every n-th update, and of the first and last; metrics of all.
        checkpoint_every: the state after every n-th update; a pause keeps one as well.
        checkpoint_megabytes: what the states may weigh together, in millions of bytes.
    """

    keep_every: int = 1
    checkpoint_every: int = 10
    checkpoint_megabytes: float = 200.0


def find_amounts(**given: float | None) -> Amounts:
    """The amounts; those that are None or left out are the environment's or else the usual ones.

    Raises:
        ValueError: one is not in its range; the message names it, or the variable that it stands in.
    """
    found: dict[str, float] = {}
    for name, usual in Amounts()._asdict().items():
        text, told = os.environ.get(VARIABLES[name], "").strip(), given.get(name)
        called = name if told is not None or not text else f"${VARIABLES[name]}"
        value: float | str = told if told is not None else _number(text) if text else usual
        if type(usual) is int and not (type(value) is int and value >= 1):
            raise ValueError(f"{called} is {value!r}, but must be a whole number from 1.")
        if isinstance(value, str) or not 0 < value < math.inf:
            raise ValueError(f"{called} is {value!r}, but must be above 0.")
        found[name] = value
    return Amounts(**found)  # type: ignore[arg-type]  # whole where they must be


def _number(text: str) -> float | str:
    """The number that a text is; the text itself where it is none."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
