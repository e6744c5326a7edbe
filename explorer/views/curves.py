"""The run's curves: one plotly figure of small multiples, one scale each, with the update on screen marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from explorer.recording.history import History
from explorer.widgets.on_loop import OnLoop

#: Blue, orange and inks that can be told apart without colour vision, by theme.
PALETTES: Mapping[str, Mapping[str, Any]] = {
    "light": {
        "card": "#ffffff",
        "ink": "#1c2430",
        "muted": "#5b6572",
        "grid": "#e3e7ec",
        "lines": ["#2166ac", "#b5500f", "#5b6572"],
    },
    "dark": {
        "card": "#242b34",
        "ink": "#e6e9ee",
        "muted": "#a3adba",
        "grid": "#2c343f",
        "lines": ["#6aaee8", "#f0924a", "#a3adba"],
    },
}
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


@dataclass(frozen=True)
class Chart:
    """One small chart: its metrics share a unit and so an axis.

    Attributes:
        key: names it in labels (``ui.charts.KEY``).
        metrics: what it draws, the first one strongest; ``component/*`` stands for every component.
        floor, ceiling: the axis to begin with; it grows in steps and never shrinks while a run goes on.
    """

    key: str
    metrics: tuple[str, ...]
    floor: float
    ceiling: float


CHARTS: tuple[Chart, ...] = (
    Chart("score", ("objective/score", "component/*"), -1.0, 1.0),
    Chart("ref_kl", ("objective/ref_kl",), 0.0, 5.0),
    Chart("clip", ("policy/clipfrac_final", "policy/outside_range_final"), 0.0, 0.5),
    Chart("entropy", ("policy/entropy",), 0.0, 3.0),
    Chart("value_loss", ("value/loss",), 0.0, 0.2),
    Chart("grad_norm", ("optim/grad_norm", "optim/grad_norm_clipped"), 0.0, 1.5),
)
COLUMNS = 3


def chart_lines(components: Sequence[str]) -> list[tuple[int, str]]:
    """Every line as (chart, metric), with the components filled in."""
    lines = []
    for i, chart in enumerate(CHARTS):
        for metric in chart.metrics:
            names = [f"component/{name}" for name in components] if metric == "component/*" else [metric]
            lines += [(i, name) for name in names]
    return lines


def axis_range(chart: Chart, values: Sequence[float], present: Sequence[float] | None) -> list[float]:
    """The chart's axis: at least its own range, at least the present one, doubled until everything fits."""
    low, high = present or (chart.floor, chart.ceiling)
    finite = [v for v in values if np.isfinite(v)]
    while finite and max(finite) > high:
        high *= 2
    while finite and min(finite) < low:
        low = low * 2 if low < 0 else -abs(high) / 4
    return [low, high]


def figure(components: Sequence[str], *, live: bool = True) -> Any:
    """An empty FigureWidget with every trace and axis in place, so that live updates add none.

    Args:
        components: names of the reward components.
        live: False makes a plain figure, which no browser is told of.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    rows = -(-len(CHARTS) // COLUMNS)
    grid = make_subplots(
        rows=rows, cols=COLUMNS, subplot_titles=[c.key for c in CHARTS], horizontal_spacing=0.085, vertical_spacing=0.26
    )
    widget = _live_figure()(grid) if live else grid
    for i, metric in chart_lines(components):
        place = {"row": i // COLUMNS + 1, "col": i % COLUMNS + 1}
        widget.add_trace(go.Scatter(x=[], y=[], mode="lines", name=metric, showlegend=False), **place)
    for i in range(len(CHARTS)):
        place = {"row": i // COLUMNS + 1, "col": i % COLUMNS + 1}
        widget.add_trace(
            go.Scatter(x=[], y=[], mode="markers", marker={"size": 6}, showlegend=False, hoverinfo="skip"), **place
        )
    for i, title in enumerate(widget.layout.annotations):
        title.update(x=widget.layout["xaxis" if i == 0 else f"xaxis{i + 1}"].domain[0], xanchor="left")
    widget.update_layout(
        autosize=False,
        title={"x": 0, "xref": "container", "y": 1, "yref": "container", "yanchor": "top", "pad": {"l": 12, "t": 9}},
        margin={"l": 34, "r": 10, "t": 50, "b": 20},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        uirevision="keep",
        hovermode="x",
        font={"size": 10, "family": "system-ui, 'Noto Sans', 'DejaVu Sans', sans-serif"},
    )
    if live:
        widget._config = {**widget._config, "displayModeBar": False}  # it would cover the small charts
    widget.update_xaxes(nticks=3, zeroline=False, fixedrange=False)
    widget.update_yaxes(nticks=4, zeroline=False)
    return widget


@cache
def _live_figure() -> Any:
    """Plotly's FigureWidget, kept to the loop: its browser side answers redraws with messages that set traits."""
    import plotly.graph_objects as go

    return type("LiveFigure", (OnLoop, go.FigureWidget), {})


class Curves:
    """Keeps a figure in step with a history. ``widget`` is what goes on the page.

    Args:
        components: names of the reward components, each a line of the score's chart.
    """

    def __init__(self, components: Sequence[str]) -> None:
        self.components = list(components)
        self.lines = chart_lines(self.components)
        self.widget = figure(self.components)
        self._ranges: list[list[float] | None] = [None] * len(CHARTS)

    def style(self, theme: str, words: Mapping[str, Any]) -> None:
        """Theme and words: titles with what each chart shows, hover texts with expression and what to look for."""
        palette = PALETTES[theme]
        seen: dict[int, int] = {}
        with self.widget.batch_update():
            self.widget.layout.font.color = palette["muted"]
            self.widget.layout.hoverlabel = {"font": {"size": 11}}
            panel = words["ui"]["panels"]["curves"]
            self.widget.layout.title.text = (
                f"<b><span style='color:{palette['ink']}'>{panel['title']}</span></b>   {panel['look_for']}"
            )
            self.widget.layout.title.font = {"size": 12, "color": palette["muted"]}
            for trace, (i, metric) in zip(self.widget.data, self.lines, strict=False):
                nth = seen[i] = seen.get(i, -1) + 1
                trace.line = {
                    "color": palette["lines"][min(nth, 2)],
                    "width": 2 if nth == 0 else 1.3,
                    "dash": DASHES[nth % len(DASHES)],
                }
                trace.name = metric_label(metric, words)
                trace.hovertemplate = "%{y:.3f} " + trace.name + "<extra></extra>"
            for i, title in enumerate(self.widget.layout.annotations):
                title.font = {"size": 11, "color": palette["ink"]}
                title.hovertext = hover_text(CHARTS[i], words)
                label = {"bgcolor": palette["card"], "bordercolor": palette["muted"], "font": {"color": palette["ink"]}}
                title.hoverlabel = label
                title.text = words["ui"]["charts"][CHARTS[i].key]
            for trace in self.widget.data[len(self.lines) :]:
                trace.marker.color = palette["ink"]
            self.widget.update_xaxes(gridcolor=palette["grid"], linecolor=palette["muted"])
            self.widget.update_yaxes(gridcolor=palette["grid"])

    def resize(self, width: int, height: int) -> None:
        """Fill a place of so many pixels."""
        self.widget.update_layout(width=width, height=height)

    def show(self, history: History, cursor: int, words: Mapping[str, Any]) -> None:
        """Draw the whole history, with the update on screen marked and its numbers in the titles."""
        series = {metric: history.series(metric) for _, metric in self.lines}
        updates = np.asarray(history.updates)
        at = int(np.abs(updates - cursor).argmin()) if len(updates) else None
        with self.widget.batch_update():
            for trace, (_, metric) in zip(self.widget.data, self.lines, strict=False):
                trace.x, trace.y = series[metric]
            for i, chart in enumerate(CHARTS):
                mine = [metric for j, metric in self.lines if j == i]
                values = [v for metric in mine for v in series[metric][1]]
                self._ranges[i] = axis_range(chart, values, self._ranges[i])
                axis = self.widget.layout["yaxis" if i == 0 else f"yaxis{i + 1}"]
                axis.range = self._ranges[i]
                marker = self.widget.data[len(self.lines) + i]
                main = series[mine[0]][1]
                marker.x, marker.y = ([], []) if at is None else ([updates[at]], [main[at]])
                now = "" if at is None else f"  <b>{main[at]:.2f}</b>"
                self.widget.layout.annotations[i].text = words["ui"]["charts"][chart.key] + now

    def reset(self) -> None:
        """Let the axes start again with a new run."""
        self._ranges = [None] * len(CHARTS)


def metric_label(metric: str, words: Mapping[str, Any]) -> str:
    """A metric's name in words; a component's own label for ``component/NAME``."""
    if metric.startswith("component/"):
        name = metric.removeprefix("component/")
        return str(words["components"].get(name, {}).get("label", name))
    return str(words["metrics"][metric]["label"])


def hover_text(chart: Chart, words: Mapping[str, Any]) -> str:
    """What the chart's lines are, by expression, and what to look for."""
    from explorer.ppo.metrics import METRICS

    parts = []
    for metric in chart.metrics:
        key = "component/NAME" if metric == "component/*" else metric
        label = str(words["metrics"][key]["label"]).replace("{name}", "…")
        parts.append(f"<b>{label}</b> = {METRICS[key]}<br>{words['metrics'][key]['look_for'].replace('{name}', '…')}")
    return "<br>".join(parts)
