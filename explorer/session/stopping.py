"""When to stop by itself: the score has stopped rising."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev


def has_stopped_rising(scores: Sequence[float], window: int = 10) -> bool:
    """Whether the last ``window`` scores are no higher than the ``window`` before them, beyond their own noise.

    Args:
        scores: mean score of every update, oldest first.
        window: updates a side; fewer than two windows are never enough to say.

    Returns:
        True when the rise of the mean is below one standard error of the difference.
    """
    if len(scores) < 2 * window:
        return False
    before, after = scores[-2 * window : -window], scores[-window:]
    standard_error = ((stdev(before) ** 2 + stdev(after) ** 2) / window) ** 0.5
    return bool(fmean(after) - fmean(before) <= standard_error)
