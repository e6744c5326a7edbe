"""The run's curves: small multiples with one scale each, drawn by plotly in the browser (``widgets/curves.js``)."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from traitlets import Dict, List

from explorer.recording.history import History
from explorer.widgets.on_loop import BoardView
from explorer.widgets.scripts import script, style


@dataclass(frozen=True)
class Chart:
    """One small chart: its metrics share a unit and so an axis.

    Attributes:
        key: names it in labels (``ui.charts.KEY``).
        metrics: what it draws, the first one strongest; ``component/NAME`` stands for every component.
        floor, ceiling: the axis to begin with; it grows in steps and never shrinks while a run goes on.
    """

    key: str
    metrics: tuple[str, ...]
    floor: float
    ceiling: float


CHARTS: tuple[Chart, ...] = (
    Chart("score", ("objective/score", "component/NAME"), -1.0, 1.0),
    Chart("ref_kl", ("objective/ref_kl",), 0.0, 5.0),
    Chart("clip", ("policy/clipfrac_final", "policy/outside_range_final"), 0.0, 0.5),
    Chart("entropy", ("policy/entropy",), 0.0, 3.0),
    Chart("value_loss", ("value/loss",), 0.0, 0.2),
    Chart("grad_norm", ("optim/grad_norm", "optim/grad_norm_clipped"), 0.0, 1.5),
)

#: Drawn by the KL panel, from the same series.
ELSEWHERE = ("policy/approx_kl_final",)

#: The most points a line gets; more updates are thinned evenly, the ends kept.
MOST_POINTS = 400


class Curves(BoardView):
    """Score and components, KL, clip fraction, entropy, value loss and gradient norm over the run.

    Args:
        board: holds the series that are drawn.
        components: names of the reward components, each a line of the score's chart.
    """

    _esm = script("curves")
    _css = style()

    charts = List(help="[{key, lines: [{metric, key}]}].").tag(sync=True)
    expressions = Dict(help="{key: how the metric is computed}.").tag(sync=True)

    def __init__(self, board: Any, components: Sequence[str]) -> None:
        super().__init__(board=board, charts=chart_lines(components))
        self.on_msg(lambda widget, content, buffers: self._asked(content))
        threading.Thread(target=plotly_script, name="ppo-explorer-plotly", daemon=True).start()

    def explain(self) -> None:
        """Give every line its expression; these lie with the code that computes them, which needs torch."""
        from explorer.ppo.metrics import METRICS

        self.expressions = {key: METRICS[key] for chart in CHARTS for key in chart.metrics}

    def _asked(self, message: Mapping[str, Any]) -> None:
        if message.get("kind") == "plotly":
            self.send({"kind": "plotly"}, buffers=[plotly_script()])


@cache
def plotly_script() -> bytes:
    """Plotly's own script as its package ships it, gzipped: 1.5 MB instead of 4.8."""
    from plotly.offline import get_plotlyjs

    return gzip.compress(get_plotlyjs().encode(), 6)


def chart_lines(components: Sequence[str]) -> list[dict[str, Any]]:
    """Every chart with its lines, the components filled in: ``key`` is the line's name in ``METRICS``."""

    def lines(key: str) -> list[dict[str, str]]:
        metrics = [f"component/{name}" for name in components] if key == "component/NAME" else [key]
        return [{"metric": metric, "key": key} for metric in metrics]

    return [{"key": chart.key, "lines": [line for key in chart.metrics for line in lines(key)]} for chart in CHARTS]


class Series:
    """The run's metrics as the browser draws them.

    Args:
        components: names of the reward components.
    """

    def __init__(self, components: Sequence[str]) -> None:
        self._charts = [[line["metric"] for line in chart["lines"]] for chart in chart_lines(components)]
        self._ranges: list[list[float] | None] = [None] * len(CHARTS)

    def picture(self, history: History) -> dict[str, Any]:
        """``{updates: int32 [N], values: {metric: float32 [N]}, ranges: [[low, high] per chart]}``, arrays as bytes.

        What an update lacks is NaN. An empty history lets the scales begin again.
        """
        updates = np.asarray(history.updates, dtype=np.int32)
        if not len(updates):
            self._ranges = [None] * len(CHARTS)
        series = {name: history.series(name)[1] for name in [*(m for chart in self._charts for m in chart), *ELSEWHERE]}
        for i, chart in enumerate(CHARTS):
            values = [value for metric in self._charts[i] for value in series[metric]]
            self._ranges[i] = axis_range(chart, values, self._ranges[i])
        keep = thinned(len(updates))
        return {
            "updates": updates[keep].tobytes(),
            "values": {name: np.asarray(values, dtype=np.float32)[keep].tobytes() for name, values in series.items()},
            "ranges": list(self._ranges),
        }


def axis_range(chart: Chart, values: Sequence[float], present: Sequence[float] | None) -> list[float]:
    """The chart's axis: at least its own range, at least the present one, doubled until everything fits."""
    low, high = present or (chart.floor, chart.ceiling)
    finite = [v for v in values if np.isfinite(v)]
    while finite and max(finite) > high:
        high *= 2
    while finite and min(finite) < low:
        low = low * 2 if low < 0 else -abs(high) / 4
    return [low, high]


def thinned(count: int) -> Any:
    """Which of so many points are drawn: all, or ``MOST_POINTS`` of them, evenly spread, first and last kept."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST_POINTS)).astype(int))
