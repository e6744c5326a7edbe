"""The Goodhart gauge: what is optimised and what is held out, against √KL, and where the two part.

Score and judge have one scale: both are counted in spreads (standard deviations) of the untouched policy's answers,
from the mean of those. Best-of-n for the same score is a choice among those answers; it stands beside.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from explorer.ppo.best_of_n import best_of_n, best_of_n_kl
from explorer.recording.snapshot import Snapshot
from explorer.views.curves import thinned
from explorer.views.proxy import answers_of_first, answers_of_sample, judge_series, score_series

#: How many updates a mean is over, and how many spreads the judge has to fall from its best one to have parted.
SMOOTHED, FALLEN = 5, 0.5

#: The n of best-of-n.
BEST_OF = (1, 2, 4, 8, 16, 32)

#: The axis to begin with, in spreads; it is doubled until all is on it.
FLOOR, CEILING = -2.0, 2.0


class Unit(NamedTuple):
    """The untouched policy's answers: mean and standard deviation of the score and of the judge, and how many."""

    score: tuple[float, float]
    judge: tuple[float, float]
    answers: int


class Parting(NamedTuple):
    """Where score and judge part, in spreads: what the judge has lost since, and what the score has gained."""

    update: int
    lost: float
    gained: float


class Reunion(NamedTuple):
    """Where score and judge had parted, and since which update they are together again."""

    update: int
    again: int


def gauge_picture(session: Any) -> dict[str, Any]:
    """What the browser draws.

    Args:
        session: a Session or a Replay; its settings say which judge is meant.

    Returns:
        ``{judge, why}``: ``why`` is empty, or says what is missing: ``judge`` (none is chosen), ``values`` (nothing has
        been measured by it), ``unit`` (nothing is known of the untouched policy's answers), ``flat`` (they are all the
        same to score or judge). Where nothing is missing also ``updates`` int32, ``kl``, ``score`` and ``judged``
        float32 as bytes, ``total`` updates; ``means`` likewise of the last five; ``part`` as ``Parting`` or None;
        ``reunion`` as ``Reunion`` or None; ``edge`` as ``parting_edge``;
        ``best`` ``[[n, kl, score, judge]]``, as many as there are answers to a prompt, empty where that is one;
        ``unit``; ``range`` of the axis and ``reach``, the KL at its end. Score and judge are in spreads, KL is in nats
        a response. The score is that by the weights of the update at the cursor, in all updates that can be so scored.
    """
    judge = session.config.judge
    if not judge:
        return {"judge": "", "why": "judge"}
    history, recorded = session.history, session.recorded
    paid = recorded.config if isinstance(recorded, Snapshot) else session.config
    updates, judged = judge_series(history, session.config)
    score, kl = score_series(history, paid), history.series("objective/ref_kl")[1]
    known = np.isfinite(judged) & np.isfinite(score) & np.isfinite(kl)
    updates, judged, score, kl = updates[known], judged[known], score[known], kl[known]
    if not len(updates):
        return {"judge": judge, "why": "values"}
    sample = getattr(getattr(session, "untouched", None), "sample", None)
    answers = answers_of_sample(sample, paid, session.config) or answers_of_first(history, paid, session.config)
    if answers is None:
        return {"judge": judge, "why": "unit"}
    unit = spread_of(*answers)
    if min(unit.score[1], unit.judge[1]) < 1e-6:
        return {"judge": judge, "why": "flat"}
    score, judged = counted(score, unit.score), counted(judged, unit.judge)
    best = best_picture(*answers, unit) if answers.scores.shape[1] > 1 else []
    means = smoothed(score), smoothed(judged)
    parted = parting(updates, score, judged)
    cursor = 0 if recorded is None else recorded.update
    also = np.flatnonzero((updates == cursor) | (updates == (0 if parted is None else parted.update)))
    keep = np.union1d(thinned(score, also), np.union1d(thinned(judged), thinned(kl))).astype(int)
    values = np.concatenate([score, judged, *(np.array(row[2:]) for row in best)])
    return {
        "judge": judge,
        "why": "",
        "updates": updates[keep].astype(np.int32).tobytes(),
        **{name: part[keep].astype(np.float32).tobytes() for name, part in (("kl", kl), ("score", score))},
        "judged": judged[keep].astype(np.float32).tobytes(),
        "means": [part[keep].astype(np.float32).tobytes() for part in means],
        "total": len(updates),
        "part": None if parted is None else parted._asdict(),
        "reunion": None if (together := reunion(updates, score, judged)) is None else together._asdict(),
        "edge": parting_edge(kl, judged),
        "best": best,
        "unit": unit._asdict(),
        "range": axis(values),
        "reach": reach(np.concatenate([kl, [row[1] for row in best]])),
    }


def spread_of(scores: Any, judged: Any) -> Unit:
    """The unit that some answers of the untouched policy make."""
    pairs = [(float(np.mean(values)), float(np.std(values, ddof=1))) for values in (scores, judged)]
    return Unit(pairs[0], pairs[1], int(np.size(scores)))


def counted(values: np.ndarray, unit: tuple[float, float]) -> np.ndarray:
    """In spreads from the untouched policy's mean."""
    mean, spread = unit
    return (values - mean) / spread


def smoothed(values: np.ndarray) -> np.ndarray:
    """``[N]`` the mean of each value and the four before it, of as many as there are at the beginning."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - SMOOTHED, 0)
    means: np.ndarray = (sums[ends] - sums[starts]) / (ends - starts)
    return means


def parting(updates: np.ndarray, score: np.ndarray, judged: np.ndarray) -> Parting | None:
    """Where the score leaves its judge behind; None while it has not, or where they are together again.

    Means of five updates are looked at. They part at the judge's best mean, once its newest one is ``FALLEN`` spreads
    or more below that and the score's newest is not below the score's there. All ``[N]``, in spreads.
    """
    if len(updates) < 2 * SMOOTHED:
        return None
    best, lost, gained = (part[-1] for part in _since_best(score, judged))
    return Parting(int(updates[best]), float(lost), float(gained)) if _apart(lost, gained) else None


def reunion(updates: np.ndarray, score: np.ndarray, judged: np.ndarray) -> Reunion | None:
    """Where they parted last, if they are together now: as ``parting`` would have said on the way. All ``[N]``."""
    if len(updates) < 2 * SMOOTHED:
        return None
    best, lost, gained = _since_best(score, judged)
    apart = np.flatnonzero(_apart(lost, gained))
    if not len(apart) or apart[-1] == len(lost) - 1:
        return None
    return Reunion(int(updates[best[apart[-1]]]), int(updates[-len(lost) :][apart[-1] + 1]))


def _since_best(score: np.ndarray, judged: np.ndarray) -> list[np.ndarray]:
    """Where the judge's best mean of five is, what it has lost since and the score has gained: ``[N - 9]`` each.

    From the tenth update on, after which two means of five have no update in common.
    """
    means, scores = smoothed(judged), smoothed(score)
    known = np.arange(len(means)) >= SMOOTHED - 1
    highest = np.maximum.accumulate(np.where(known, means, -np.inf))
    rises = known & (highest > np.concatenate([[-np.inf], highest[:-1]]))
    best = np.maximum.accumulate(np.where(rises, np.arange(len(means)), 0))
    return [part[2 * SMOOTHED - 1 :] for part in (best, means[best] - means, scores - scores[best])]


def _apart(lost: Any, gained: Any) -> Any:
    return (lost >= FALLEN) & (gained >= 0)


def parting_edge(kl: np.ndarray, judged: np.ndarray) -> list[float] | None:
    """``[kl, judge]``: where the judge's best mean is, and how low its mean has to fall for them to have parted.

    Both ``[N]``; None before there is a mean of five updates.
    """
    if len(judged) < SMOOTHED:
        return None
    means = smoothed(judged)[SMOOTHED - 1 :]
    best = int(means.argmax())
    return [float(kl[best + SMOOTHED - 1]), float(means[best]) - FALLEN]


def best_picture(scores: np.ndarray, judged: np.ndarray, unit: Unit) -> list[list[float]]:
    """``[[n, kl, score, judge]]`` of best-of-n among the untouched policy's answers, in spreads."""
    found = []
    for n in BEST_OF:
        if n <= scores.shape[1]:
            score, judge = best_of_n(scores, judged, n)
            both = (score - unit.score[0]) / unit.score[1], (judge - unit.judge[0]) / unit.judge[1]
            found.append([float(n), best_of_n_kl(n), *both])
    return found


def axis(values: np.ndarray) -> list[float]:
    """``[low, high]`` of the axis of spreads: each end is doubled until every value is on it."""
    low, high = FLOOR, CEILING
    while values.max() > high:
        high *= 2
    while values.min() < low:
        low *= 2
    return [low, high]


def reach(kl: np.ndarray) -> float:
    """The KL at the end of the axis, doubled from 5 nats until all is on it, as the frontier's."""
    most = 5.0
    while kl.max() > most:
        most *= 2
    return most
