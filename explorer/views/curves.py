"""The run's curves: small multiples with one scale each, drawn by plotly in the browser (``widgets/curves.js``)."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any
from weakref import ref

import numpy as np
from traitlets import Dict, List

from explorer.ppo.metrics import METRICS, UNITS
from explorer.recording.history import History
from explorer.widgets.on_loop import BoardView
from explorer.widgets.scripts import script, style


@dataclass(frozen=True)
class Chart:
    """One small chart: its metrics share a unit and so an axis.

    Attributes:
        key: names it in the picture's ranges and in labels (``ui.charts.KEY``).
        metrics: what it draws, the first one strongest; ``component/NAME`` stands for every component.
        floor, ceiling: the axis to begin with; it grows in steps and never shrinks while a run goes on.
        beside: a metric of another unit, whose number stands in the title and which no axis has.
        digits: of the number in the title.
        log: whether the axis is logarithmic, for what doubles and halves; it then grows downwards by halving.
    """

    key: str
    metrics: tuple[str, ...]
    floor: float
    ceiling: float
    beside: str | None = None
    digits: int = 2
    log: bool = False


CHARTS: tuple[Chart, ...] = (
    Chart("score", ("objective/score", "component/NAME", "objective/judge"), -1.0, 1.0),
    Chart("ref_kl", ("objective/ref_kl",), 0.0, 5.0),
    Chart("clip", ("policy/clipfrac_final", "policy/outside_range_final"), 0.0, 0.5),
    Chart("entropy", ("policy/entropy",), 0.0, 3.0),
    Chart("value_loss", ("value/loss",), 0.0, 0.2, beside="value/explained_variance"),
    Chart("grad_norm", ("optim/grad_norm", "optim/grad_norm_clipped", "optim/max_grad_norm"), 0.0, 1.5),
)

#: What takes a chart's place while its coefficient adapts, by the key of that chart: the KL is drawn in the KL panel
#: too, beside its target (where that panel is folded away the KL's chart stays), and PPO-penalty clips nothing.
#: Likewise the length of responses, while it is the policy's own choice.
ADAPTING: dict[str, Chart] = {
    "ref_kl": Chart("kl_coef", ("coef/kl",), 0.0, 0.1, digits=3),
    "clip": Chart("penalty_coef", ("coef/penalty",), 0.125, 8.0, digits=3, log=True),
    "value_loss": Chart("length", ("response/length",), 0.0, 24.0, digits=1),
}

#: Drawn by the KL panel, from the same picture, as is the chart "ref_kl"; and the frontier's axis of scores.
ELSEWHERE: tuple[Chart, ...] = (
    Chart("approx_kl", ("policy/approx_kl_final",), 0.0, 0.02),
    Chart("frontier", ("objective/score",), 0.0, 1.0),
)

#: A line is drawn in at most so many buckets of updates, each by its lowest and its highest point.
BUCKETS = 200


class Curves(BoardView):
    """Score and components, KL, clip fraction, entropy, value loss and gradient norm over the run.

    A coefficient that adapts is drawn in the place of the chart that ``ADAPTING`` names.

    Args:
        board: holds the series that are drawn.
        components: names of the reward components, each a line of the score's chart; ``follow`` takes others.

    Attributes:
        series: makes the picture that is drawn.
    """

    _esm = script("curves")
    _css = style()

    charts = List(help="[{key, lines: [{metric, key}], beside, digits, log}].").tag(sync=True)
    adapting = Dict(help="{key of a chart: the chart in its place while a coefficient adapts}.").tag(sync=True)
    expressions = Dict(help="{key: how the metric is computed}.").tag(sync=True)

    def __init__(self, board: Any, components: Sequence[str]) -> None:
        expressions = {key: METRICS[key] for chart in (*CHARTS, *ADAPTING.values()) for key in told(chart)}
        adapting = dict(zip(ADAPTING, chart_lines((), tuple(ADAPTING.values())), strict=True))
        charts = chart_lines(components)
        super().__init__(board=board, charts=charts, adapting=adapting, expressions=expressions)
        self.series = Series(components)
        self.on_msg(lambda widget, content, buffers: self._asked(content))
        threading.Thread(target=plotly_script, name="ppo-explorer-plotly", daemon=True).start()

    def follow(self, components: Sequence[str]) -> bool:
        """Draw a line for each of these components; whether that are others than before."""
        charts = chart_lines(components)
        if charts == self.charts:
            return False
        self.charts = charts
        self.series.follow(components)
        return True

    def _asked(self, message: Mapping[str, Any]) -> None:
        if message.get("kind") == "plotly":
            self.send({"kind": "plotly"}, buffers=[plotly_script()])


@cache
def plotly_script() -> bytes:
    """Plotly's own script as its package ships it, gzipped: 1.5 MB instead of 4.8."""
    from plotly.offline import get_plotlyjs

    return gzip.compress(get_plotlyjs().encode(), 6)


def told(chart: Chart) -> tuple[str, ...]:
    """Every metric that a chart tells of: its lines, and what stands beside its title."""
    return chart.metrics if chart.beside is None else (*chart.metrics, chart.beside)


def chart_lines(components: Sequence[str], charts: Sequence[Chart] = CHARTS) -> list[dict[str, Any]]:
    """Every chart with its lines, the components filled in: a line's ``key`` is its name in ``METRICS``."""

    def lines(key: str) -> list[dict[str, str]]:
        metrics = [f"component/{name}" for name in components] if key == "component/NAME" else [key]
        return [{"metric": metric, "key": key} for metric in metrics]

    return [
        {
            "key": chart.key,
            "lines": [line for key in chart.metrics for line in lines(key)],
            "beside": chart.beside,
            "digits": chart.digits,
            "log": chart.log,
        }
        for chart in charts
    ]


class Series:
    """The run's metrics as the browser draws them.

    Args:
        components: names of the reward components.
    """

    def __init__(self, components: Sequence[str]) -> None:
        self.follow(components)
        self._ranges: dict[str, list[float]] = {}
        self._last = 0
        self._of: Callable[[], History | None] = lambda: None

    def follow(self, components: Sequence[str]) -> None:
        """Have these components among the lines; the axes stay."""
        charts = (*CHARTS, *ADAPTING.values(), *ELSEWHERE)
        metrics = [[line["metric"] for line in chart["lines"]] for chart in chart_lines(components, charts)]
        self._metrics = dict(zip(charts, metrics, strict=True))

    def picture(
        self,
        history: History,
        cursor: int,
        behind: Mapping[str, Any] | None = None,
        claims: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        """``{lines: {metric: {updates: int32, values: float32}}, span: [0, last], ranges: {chart: [low, high]}}``.

        And ``units``, ``{metric: what it is measured in}`` of those that have a unit, and ``frontier``: see
        ``frontier_dots``. Arrays ``[N]`` come as bytes, and what an update lacks is NaN. ``span`` is the axis of the
        updates, ``ranges`` are the charts' own. Another history, or one that is shorter than before, is another run:
        its scales begin again.

        Args:
            history: the run.
            cursor: the update on screen, which every line keeps.
            behind: what is drawn behind the lines (``explorer.views.behind``): the axes take it in.
            claims: what is claimed of the run (``explorer.views.run.claims_in_force``): the axes take it in, those of
                values as long as it is claimed.
        """
        reach = (behind or {}).get("reach", {})
        last = history.updates[-1] if len(history) else 0
        if last < self._last or self._of() is not history:
            self._ranges = {}
        self._last, self._of = last, ref(history)
        lines = {}
        for chart, metrics in self._metrics.items():
            series = {metric: history.series(metric) for metric in metrics}
            values = np.concatenate([*(values for _, values in series.values()), reach.get(metrics[0], [])])
            self._ranges[chart.key] = axis_range(chart, values, self._ranges.get(chart.key))
            if chart.beside is not None:
                series[chart.beside] = history.series(chart.beside)
            lines |= {metric: _line(updates, values, cursor) for metric, (updates, values) in series.items()}
        ranges = {
            chart.key: axis_range(chart, edges_of(claims, metrics), self._ranges[chart.key])
            for chart, metrics in self._metrics.items()
        }
        return {
            "lines": lines,
            "units": {metric: UNITS[metric] for metric in lines if metric in UNITS},
            "frontier": frontier_dots(history, cursor),
            "span": span(max(last, (behind or {}).get("last", 0), *(claim["last"] for claim in claims))),
            "ranges": ranges,
        }


def _line(updates: np.ndarray, values: np.ndarray, cursor: int) -> dict[str, bytes]:
    keep = thinned(values, np.flatnonzero(updates == cursor))
    return {"updates": updates[keep].astype(np.int32).tobytes(), "values": values[keep].astype(np.float32).tobytes()}


def frontier_dots(history: History, cursor: int = 0) -> dict[str, Any]:
    """What each update's score cost: ``{updates, kl, score, total}``, the arrays ``[N]`` as bytes, oldest first.

    Updates that have both a score and a KL to the reference, in nats a response; ``total`` of them. A long run is
    thinned as a line is, by the lowest and the highest of either, and keeps the update at the cursor.
    """
    updates, score = history.series("objective/score")
    kl = history.series("objective/ref_kl")[1]
    known = np.isfinite(score) & np.isfinite(kl)
    updates, score, kl = updates[known], score[known], kl[known]
    keep = np.union1d(thinned(score, np.flatnonzero(updates == cursor)), thinned(kl)) if len(updates) else []
    keep = np.asarray(keep, dtype=int)
    return {
        "updates": updates[keep].astype(np.int32).tobytes(),
        "kl": kl[keep].astype(np.float32).tobytes(),
        "score": score[keep].astype(np.float32).tobytes(),
        "total": len(updates),
    }


def edges_of(claims: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> list[float]:
    """Where an axis of these metrics has to reach, so that some of what each claim asks for is on it."""
    own = [claim for claim in claims if claim["metric"] in metrics]
    above = [float(np.nextafter(claim["least"], np.inf)) for claim in own if claim["least"] is not None]
    below = [float(np.nextafter(claim["most"], -np.inf)) for claim in own if claim["most"] is not None]
    return above + below


def axis_range(chart: Chart, values: Any, present: Sequence[float] | None) -> list[float]:
    """The chart's axis: at least its own range, at least the present one, doubled until every finite value fits.

    A logarithmic axis is halved downwards, and has no place for what is not positive.
    """
    low, high = present or (chart.floor, chart.ceiling)
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite) & ((finite > 0) | (not chart.log))]
    most, least = (float(finite.max()), float(finite.min())) if len(finite) else (high, low)
    while most > high:
        high *= 2
    while least < low:
        low = low / 2 if chart.log else low * 2 if low < 0 else -abs(high) / 4
    return [low, high]


def span(last: int) -> list[int]:
    """The axis of the updates, from 0 up to a step of 20, 50, 100, 200, 500, … that only ever grows with a run."""
    steps = (digit * 10**power for power in count(1) for digit in (2, 5, 10))
    return [0, next(step for step in steps if step >= last)]


def thinned(values: np.ndarray, also: Sequence[int] | np.ndarray = ()) -> np.ndarray:
    """Which points of a line are drawn: the lowest and the highest of every bucket, the ends, and ``also``.

    A bucket's width is a power of 2 and grows only by doubling. So what is drawn of the past stays while a run goes on,
    and the peaks that remain after a doubling are some of those before it.

    Args:
        values: the line, ``[N]``.
        also: points to keep besides.

    Returns:
        Rising places in the line: at most ``2 * BUCKETS + 2`` and ``also``.
    """
    size = len(values)
    width = 1
    while size > width * BUCKETS:
        width *= 2
    if width <= 2:  # the lowest and the highest of two are both
        return np.arange(size)
    buckets = np.full((-(-size // width), width), np.nan)
    buckets.flat[:size] = np.where(np.isfinite(values), values, np.nan)
    starts = np.arange(len(buckets)) * width
    low = starts + np.where(np.isnan(buckets), np.inf, buckets).argmin(1)  # the bucket's first where it is a gap
    high = starts + np.where(np.isnan(buckets), -np.inf, buckets).argmax(1)
    return np.unique(np.concatenate([[0, size - 1], np.asarray(also, dtype=int), low, high]))
