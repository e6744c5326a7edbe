"""How good a reward model is: how often it agrees with the labels, and whether it knows how sure to be.

All of it is about decided comparisons, and follows from their margins d = r_a − r_b and from who won. Swapping the two
responses of a comparison changes nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Bin(NamedTuple):
    """Comparisons of which the model was about equally sure."""

    low: float
    high: float
    pairs: int
    predicted: float  # mean probability that the model gave its favourite; NaN where the bin is empty
    observed: float  # share of them in which the favourite was chosen; NaN where the bin is empty


class Evaluation(NamedTuple):
    """Agreement of a reward model with so many decided comparisons."""

    pairs: int
    accuracy: float  # share in which the chosen one has the higher reward, equal ones half; NaN without comparisons
    log_loss: float  # mean of −log P(the chosen one wins), in nats; 0.693 is what a coin has
    calibration: tuple[Bin, ...]
    margins: tuple[float, ...]  # reward of the chosen one minus that of the other, in the order of the comparisons

    def plain(self) -> dict[str, Any]:
        """The evaluation as JSON takes it, with None for what is not defined."""

        def known(number: float) -> float | None:
            return None if number != number else number

        bins = [[b.low, b.high, b.pairs, known(b.predicted), known(b.observed)] for b in self.calibration]
        return {
            "pairs": self.pairs,
            "accuracy": known(self.accuracy),
            "log_loss": known(self.log_loss),
            "calibration": bins,
            "margins": list(self.margins),
        }

    @classmethod
    def from_plain(cls, found: dict[str, Any]) -> Evaluation:
        """What ``plain`` made. Raises KeyError, TypeError or ValueError where it is no evaluation."""

        def number(value: float | None) -> float:
            return float("nan") if value is None else float(value)

        bins = tuple(Bin(float(a), float(b), int(n), number(p), number(o)) for a, b, n, p, o in found["calibration"])
        margins = tuple(float(margin) for margin in found["margins"])
        return cls(int(found["pairs"]), number(found["accuracy"]), number(found["log_loss"]), bins, margins)


def evaluate(won_by: Tensor, bins: int = 5) -> Evaluation:
    """Judge margins.

    Args:
        won_by: ``[n]`` reward of the chosen response minus reward of the other, in logits.
        bins: how many bins the model's sureness, from 0.5 to 1, is cut into.
    """
    won_by = won_by.double()
    count = len(won_by)
    if not count:
        return Evaluation(0, torch.nan, torch.nan, _bins(won_by, bins), ())
    accuracy = float(((won_by > 0).double() + 0.5 * (won_by == 0)).mean())
    log_loss = float(torch.nn.functional.softplus(-won_by).mean())
    return Evaluation(count, accuracy, log_loss, _bins(won_by, bins), tuple(won_by.tolist()))


def _bins(won_by: Tensor, bins: int) -> tuple[Bin, ...]:
    sureness = won_by.abs().sigmoid()
    right = (won_by > 0).double() + 0.5 * (won_by == 0)
    place = ((sureness - 0.5) * 2 * bins).floor().long().clamp(max=bins - 1)
    found = []
    for number in range(bins):
        inside = place == number
        low, high = 0.5 + number / (2 * bins), 0.5 + (number + 1) / (2 * bins)
        # The mean of nothing is NaN, which is what an empty bin has.
        found.append(Bin(low, high, int(inside.sum()), float(sureness[inside].mean()), float(right[inside].mean())))
    return tuple(found)
