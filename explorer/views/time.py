"""The picture of time: how ratios spread over the epochs of an update, the updates beside it, a prompt's answers.

Pure functions of what is shown and of glances at other updates (``explorer.session.glances``).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from explorer.config import Config
from explorer.session.glances import Glance, sampled_in
from explorer.views.quantities import QUANTITIES, Array

#: Bars of a histogram: an odd number, so that the middle one stands on a ratio of 1.
BINS = 31

#: At most so many stretches of the run, from each of which one answer is shown; and how many updates of a stretch are
#: looked at for the prompt.
STRETCHES, LOOKS = 6, 8

#: How many kept updates before the one on screen, and after it, are drawn beside it.
BESIDE = 2

Notes = Mapping[int, Glance | None]


def time_picture(shown: Any, epoch: int = -1) -> dict[str, Any]:
    """The ratios of every token of the batch by epoch, under the settings on screen.

    Args:
        shown: a Snapshot, or an Unfinished update with as much as there is.
        epoch: which of its epochs is on screen; -1 is the policy after the last step.

    Returns:
        ``update`` and ``epoch`` as in ``batch_picture``; ``low`` and ``high``, the ratios at the ends of the
        logarithmic axis, and ``band``, those of the clip range; ``rows``, ``[[update, responses], …]``: when the rows
        of the batch were sampled, newest first; and ``epochs``, one before the first step of each and one after the
        last: ``fresh`` and ``replayed`` (uint32 ``[BINS]``; tokens beyond the axis are in the outermost), ``tokens``
        and ``outside`` (how many, of both), ``below`` and ``above`` (how many are beyond the axis).
    """
    scale = QUANTITIES["ratio"]
    rows = len(shown.rollout.stopped)
    edges = np.linspace(np.log(scale.low), np.log(scale.high), BINS + 1)
    band = shown.config.clip_band
    return {
        "update": shown.update,
        "epoch": epoch % len(shown.epochs) + 1 if shown.epochs else 0,
        "low": scale.low,
        "high": scale.high,
        "band": list(band),
        "rows": [list(pair) for pair in sampled_in(shown.update, shown.epochs[-1].ages).items()]
        if shown.epochs
        else [[shown.update, rows]],
        "epochs": [_spread(seen_ratios(shown.config, record), rows, edges, band) for record in shown.epochs],
    }


def seen_ratios(config: Config, record: Any) -> Array:
    """``[rows, T]`` the ratio that the objective looks at: GSPO's is the whole response's. 0 outside the mask."""
    ratios: Array = record.ratios
    if config.objective != "gspo":
        return ratios
    mask = ratios > 0
    logs = np.log(np.where(mask, ratios, 1.0)).sum(1) / np.maximum(mask.sum(1), 1)
    return np.where(mask, np.exp(logs)[:, None].astype(ratios.dtype), 0)


def _spread(ratios: Array, rows: int, edges: Array, band: tuple[float, float]) -> dict[str, Any]:
    mask = ratios > 0
    logs = np.log(np.where(mask, ratios, 1.0))
    inside = np.clip(logs, edges[0], edges[-1])

    def counted(part: slice) -> bytes:
        return np.histogram(inside[part][mask[part]], edges)[0].astype(np.uint32).tobytes()

    return {
        "fresh": counted(slice(0, rows)),
        "replayed": counted(slice(rows, None)),
        "tokens": int(mask.sum()),
        "outside": int((mask & ((ratios < band[0]) | (ratios > band[1]))).sum()),
        "below": int((mask & (logs < edges[0])).sum()),
        "above": int((mask & (logs > edges[-1])).sum()),
    }


def beside(kept: Sequence[int], update: int) -> list[int]:
    """The update on screen and the kept ones next to it, oldest first."""
    place = bisect_left(kept, update)
    after = kept[place : place + BESIDE + 1]
    return [*kept[max(place - BESIDE, 0) : place], *(after if update in after else [update, *after[:BESIDE]])]


def stretches(kept: Sequence[int]) -> list[list[int]]:
    """The kept updates in at most ``STRETCHES`` parts of the run, each newest first; the last part comes first.

    A part ends at a whole number of updates that grows only by steps of 1, 2, 5, 10, 20, …, so that the parts stay
    where they are while a run goes on. The run's first kept update is a part of its own.
    """
    if not kept:
        return []
    size = next(s for power in range(12) for digit in (1, 2, 5) if (s := digit * 10**power) * STRETCHES >= kept[-1])
    parts: dict[int, list[int]] = {}
    for update in reversed(kept[1:]):
        parts.setdefault(-(-update // size), []).append(update)
    return [*parts.values(), [kept[0]]]


def next_to_read(kept: Sequence[int], update: int, prompt: str | None, notes: Notes) -> int | None:
    """Which update is still to be looked at for the pictures beside the one on screen; None when all is there."""
    for near in beside(kept, update):
        if near not in notes and near in kept:
            return near
    if prompt is None:
        return None
    for part in stretches(kept):
        for candidate in part[:LOOKS]:
            if candidate not in notes:
                return candidate
            if _has(notes, candidate, prompt):
                break
    return None


def _has(notes: Notes, update: int, prompt: str) -> bool:
    found = notes.get(update)
    return found is not None and prompt in found.answers


def steps_picture(kept: Sequence[int], update: int, notes: Notes) -> list[dict[str, Any]]:
    """How far the policy has moved at each epoch of the update on screen and of those next to it, oldest first.

    ``[{update, kls}]``, as far as they are known; see ``explorer.session.glances.Glance``.
    """
    near = [notes.get(number) for number in beside(kept, update)]
    return [{"update": found.update, "kls": list(found.kls)} for found in near if found is not None]


def answers_picture(kept: Sequence[int], update: int, prompt: str, place: int, notes: Notes) -> list[dict[str, Any]]:
    """One answer to a prompt from each stretch of the run, and that of the update on screen; newest first.

    Args:
        kept: the updates that are kept, oldest first.
        update: the one on screen.
        prompt: whose answers.
        notes: what is known of the updates.
        place: which of a group's answers is shown, the first in the order of sampling being 0; the last where there
            are fewer.

    Returns:
        ``[{update, score, text, mean, count}]``: the answer's score and text, the mean score of the prompt's answers in
        that update, and how many those were.
    """
    chosen = {update}
    for part in stretches(kept):
        chosen.update([n for n in part[:LOOKS] if _has(notes, n, prompt)][:1])
    lines = []
    for number in sorted(chosen, reverse=True):
        found = notes.get(number)
        if found is None or prompt not in found.answers:
            continue
        answers = found.answers[prompt]
        score, text = answers[min(place, len(answers) - 1)]
        mean = sum(each for each, _ in answers) / len(answers)
        lines.append({"update": number, "score": score, "text": text, "mean": mean, "count": len(answers)})
    return lines
