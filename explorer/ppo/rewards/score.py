"""Runs the reward components, checks what they return, and adds them up."""

from __future__ import annotations

import contextlib
import itertools
import numbers
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from explorer.ppo.records import Array
from explorer.ppo.rewards.responses import Responses

_quote = reprlib.Repr()
_quote.maxstring = _quote.maxother = 80


class RewardError(RuntimeError):
    """A reward component failed; the message names it, shows the text it failed on, and says what to do.

    Attributes:
        component: its name.
    """

    def __init__(self, message: str, component: str = "") -> None:
        super().__init__(message)
        self.component = component


@dataclass(frozen=True)
class TextReward:
    """A component made of a function of texts alone; see ``from_texts``."""

    fn: Callable[[list[str], list[str]], Sequence[float]]

    def __call__(self, responses: Responses) -> Tensor:
        """``[B]`` scores. Raises RewardError under the function's own name."""
        return run_component(getattr(self.fn, "__name__", "reward"), self, responses)

    def values(self, responses: Responses) -> Any:
        """What the function returns, unchecked. It gets copies, so it cannot change the batch."""
        return self.fn(list(responses.prompts), list(responses.texts))

    def first_failing(self, responses: Responses) -> str | None:
        """The first response on which the function raises even alone, or None: at most ``B`` calls."""
        for prompt, text in zip(responses.prompts, responses.texts, strict=True):
            with contextlib.suppress(Exception):
                self.fn([prompt], [text])
                continue
            return text
        return None


def from_texts(fn: Callable[[list[str], list[str]], Sequence[float]]) -> Callable[[Responses], Tensor]:
    """A component from a function of texts.

    Args:
        fn: takes ``B`` prompts and ``B`` responses, returns ``B`` numbers: a list, a tuple, an array or a tensor.
    """
    return TextReward(fn)


def score(components: Mapping[str, Callable[[Responses], Tensor]], responses: Responses) -> dict[str, Tensor]:
    """Every component's value of every response.

    Args:
        components: by name.
        responses: ``B`` responses.

    Returns:
        ``{name: [B]}`` float32, all finite.

    Raises:
        RewardError: a component raised, or did not return ``B`` finite numbers.
    """
    return {name: run_component(name, component, responses) for name, component in components.items()}


def weighted(components: Mapping[str, Array], weights: Mapping[str, float]) -> Array:
    """Scores ``[B]``: each component ``[B]`` times its weight, added up. A component without a weight counts 0.

    Raises:
        ValueError: there are no components.
    """
    if not components:
        raise ValueError("There are no reward components: give at least one.")
    return sum(weights.get(name, 0.0) * values for name, values in components.items())


def run_component(name: str, component: Callable[[Responses], Tensor], responses: Responses) -> Tensor:
    """One component's values ``[B]``, checked; raises RewardError under ``name``."""
    try:
        values = component.values(responses) if isinstance(component, TextReward) else component(responses)
        found = _as_list(values, len(responses.texts))
        return _checked(name, found, values, responses.texts)
    except RewardError as error:
        error.component = name  # one that is made of another fails by its own name
        raise
    except Exception as error:
        raise RewardError(_why_it_raised(name, component, responses, error), name) from error


def _as_list(values: Any, count: int) -> list[Any] | None:
    """The values one by one as plain Python, at most one more than there should be; None where there is no sequence."""
    if hasattr(values, "tolist"):  # numpy, torch, pandas
        values = values.tolist()
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        return None
    return [
        value.item() if getattr(value, "ndim", None) == 0 else value for value in itertools.islice(values, count + 1)
    ]


def _checked(name: str, found: list[Any] | None, values: Any, texts: list[str]) -> Tensor:
    wanted = f"return one number for each of the {len(texts)} responses"
    if found is None:
        raise RewardError(
            f"The reward '{name}' returned {_quote.repr(values)}, of type {type(values).__name__}, for a batch that "
            f"begins with {_quote.repr(texts[0])}: {wanted}."
        )
    if len(found) != len(texts):
        many = f"more than {len(texts)}" if len(found) > len(texts) else f"only {len(found)} of {len(texts)}"
        raise RewardError(
            f"The reward '{name}' returned {many} numbers for a batch that begins with {_quote.repr(texts[0])}: "
            f"{wanted}."
        )
    for value, text in zip(found, texts, strict=True):
        if not isinstance(value, numbers.Real):
            raise RewardError(
                f"The reward '{name}' returned {_quote.repr(value)}, which is no number, for the response "
                f"{_quote.repr(text)}: {wanted}."
            )
    scores = torch.tensor([_float(value) for value in found])
    for value, text, finite in zip(found, texts, scores.isfinite().tolist(), strict=True):
        if not finite:
            raise RewardError(
                f"The reward '{name}' returned {_quote.repr(_float(value))} for the response {_quote.repr(text)}: "
                "return a finite number for every text."
            )
    return scores


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond any float
        return float("inf")


def _why_it_raised(name: str, component: Any, responses: Responses, error: Exception) -> str:
    failing = component.first_failing(responses) if isinstance(component, TextReward) else None
    where = "on the response" if failing is not None else "on a batch that begins with the response"
    lines = str(error).strip().splitlines()
    reason = f"{type(error).__name__}: {_shortened(lines[0])}" if lines else type(error).__name__
    shown = _quote.repr(responses.texts[0] if failing is None else failing)
    return (
        f"The reward '{name}' raised {reason} {where} {shown}: change it so that it gives a number for every text, "
        "the empty one included."
    )


def _shortened(line: str) -> str:
    return line if len(line) <= 120 else line[:119] + "…"
