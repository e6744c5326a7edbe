"""Other runs behind the run's own curves: a thin line each, and the band from the lowest to the highest of them.

Only the metric that leads a chart has them, so that six small charts stay readable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from explorer.session.behind import Behind, Words
from explorer.views.curves import ADAPTING, CHARTS, frontier_dots, thinned

#: The metrics that are drawn: those that lead a chart.
LEADING = tuple(chart.metrics[0] for chart in (*CHARTS, *ADAPTING.values()))

#: Updates ``[N]``, rising, and values ``[N]``, NaN where an update lacks it.
Line: TypeAlias = tuple[np.ndarray, np.ndarray]


def behind_picture(behind: Behind | None) -> dict[str, Any]:
    """What the browser draws behind the run's own lines; empty where there is nothing.

        label     {text} as it stands, or {key, values} of the labels
        names     of the lines, likewise
        metrics   {metric: {lines: [{updates, values}], band: {updates, low, high} or None}}
        frontiers of each run, see ``explorer.views.curves.frontier_dots``
        reach     {metric: [lowest, highest]}, of those that have a finite value
        last      the last update of any

    Arrays ``[N]`` are bytes: int32 updates, float32 numbers, gaps NaN. Long lines are thinned as the run's own are.
    """
    if behind is None or not behind.runs:
        return {}
    metrics, reach, last = {}, {}, 0
    for metric in LEADING:
        lines = [run.series(metric) for _, run in behind.runs]
        band = band_of(lines) if behind.band else None
        metrics[metric] = {"lines": [_line(*line) for line in lines], "band": band and _band(*band)}
        values = np.concatenate([values for _, values in lines])
        finite = values[np.isfinite(values)]
        if len(finite):
            reach[metric] = [float(finite.min()), float(finite.max())]
        last = max([last, *(int(updates[-1]) for updates, _ in lines if len(updates))])
    names = [_words(name) for name, _ in behind.runs]
    frontiers = [frontier_dots(run) for _, run in behind.runs]
    return {
        "label": _words(behind.label),
        "names": names,
        "metrics": metrics,
        "frontiers": frontiers,
        "reach": reach,
        "last": last,
    }


def band_of(lines: Sequence[Line]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The lowest and the highest of several lines at every update, NaN where fewer than two have a finite value.

    Lines may begin and end where they like, as those of forks and of runs that are still going do.

    Returns:
        ``updates, low, high``, each ``[N]``, from the first to the last update that two lines have; None without any.
    """
    updates = np.unique(np.concatenate([np.zeros(0, np.int64), *(updates for updates, _ in lines)]))
    values = np.full((len(lines), len(updates)), np.nan)
    for row, (own, numbers) in zip(values, lines, strict=True):
        row[np.searchsorted(updates, own)] = np.where(np.isfinite(numbers), numbers, np.nan)
    shared = np.flatnonzero(np.isfinite(values).sum(0) >= 2)
    if not len(shared):
        return None
    kept = slice(shared[0], shared[-1] + 1)
    alone = np.isfinite(values[:, kept]).sum(0) < 2
    low = np.where(np.isnan(values[:, kept]), np.inf, values[:, kept]).min(0)
    high = np.where(np.isnan(values[:, kept]), -np.inf, values[:, kept]).max(0)
    return updates[kept], np.where(alone, np.nan, low), np.where(alone, np.nan, high)


def _line(updates: np.ndarray, values: np.ndarray) -> dict[str, bytes]:
    keep = thinned(values)
    return {"updates": _whole(updates[keep]), "values": _real(values[keep])}


def _band(updates: np.ndarray, low: np.ndarray, high: np.ndarray) -> dict[str, bytes]:
    keep = np.union1d(thinned(low), thinned(high))
    return {"updates": _whole(updates[keep]), "low": _real(low[keep]), "high": _real(high[keep])}


def _whole(numbers: np.ndarray) -> bytes:
    return numbers.astype(np.int32).tobytes()


def _real(numbers: np.ndarray) -> bytes:
    return numbers.astype(np.float32).tobytes()


def _words(words: Words) -> dict[str, Any]:
    return {"text": words} if isinstance(words, str) else {"key": words[0], "values": dict(words[1])}
