"""The run's curves: everything in place from the start, one batch of messages a draw, axes that never jump back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.config import DEFAULT_WEIGHTS
from explorer.ppo.metrics import METRICS
from explorer.recording.history import History
from explorer.text import LANGUAGES, labels
from explorer.views.curves import CHARTS, PALETTES, Curves, axis_range, chart_lines, figure, hover_text

ENGLISH = labels("en")


def history_of(*metrics: Mapping[str, float]) -> History:
    """A history of updates that are nothing but these metrics; what is not given is 0.1."""
    history = History()
    for number, given_metrics in enumerate(metrics, start=1):
        known = {**dict.fromkeys(METRICS, 0.1), "component/sentiment": 0.1, "component/length": 0.1}
        history.append(SimpleNamespace(update=number, nbytes=1, metrics={**known, **given_metrics}))  # type: ignore[arg-type]
    return history


def rising(updates: int) -> History:
    return history_of(*({"objective/score": n / 10} for n in range(1, updates + 1)))


@pytest.fixture
def curves() -> Curves:
    return Curves(["sentiment", "length"])


def sent_by(curves: Curves, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Collects every state that the figure sends to the browser from now on."""
    states: list[dict[str, Any]] = []
    monkeypatch.setattr(
        curves.widget.comm, "publish_msg", lambda kind, data, **rest: states.append(data.get("state", {}))
    )
    return states


def changes(states: list[dict[str, Any]]) -> list[str]:
    """Names of the messages that make the browser draw."""
    return [name for state in states for name, value in state.items() if name.startswith("_py2js_") and value]


def line(curves: Curves, metric: str) -> Any:
    return curves.widget.data[[name for _, name in curves.lines].index(metric)]


def titles(curves: Curves) -> list[str]:
    return [annotation.text for annotation in curves.widget.layout.annotations]


def test_every_chart_draws_known_metrics_and_has_words() -> None:
    for chart in CHARTS:
        assert chart.floor < chart.ceiling
        for metric in chart.metrics:
            assert metric == "component/*" or metric in METRICS
        for language in LANGUAGES:
            assert labels(language)["ui"]["charts"][chart.key]


def test_what_the_run_needs_is_charted() -> None:
    drawn = {metric for chart in CHARTS for metric in chart.metrics}
    assert {"objective/score", "component/*", "objective/ref_kl", "policy/entropy", "value/loss"} <= drawn
    assert {"policy/clipfrac_final", "policy/outside_range_final"} <= drawn  # both definitions
    assert {"optim/grad_norm", "optim/grad_norm_clipped"} <= drawn  # the norm against its limit


def test_components_are_lines_of_the_scores_chart() -> None:
    assert chart_lines(["a", "b"])[:3] == [(0, "objective/score"), (0, "component/a"), (0, "component/b")]
    assert [i for i, _ in chart_lines([])] == sorted(i for i, _ in chart_lines([]))


def test_all_traces_are_there_from_the_start(curves: Curves) -> None:
    assert len(curves.widget.data) == len(curves.lines) + len(CHARTS)
    assert {trace.type for trace in curves.widget.data} == {"scatter"}  # drawn as SVG
    assert curves.widget.layout.uirevision == "keep"
    before = (len(curves.widget.data), len(curves.widget.layout.annotations), len(curves.widget.layout.shapes))
    for updates in (0, 1, 3, 8):
        curves.show(rising(updates), updates, ENGLISH)
    curves.style("dark", ENGLISH)
    after = (len(curves.widget.data), len(curves.widget.layout.annotations), len(curves.widget.layout.shapes))
    assert after == before


def test_a_draw_is_one_message_that_adds_nothing(curves: Curves, monkeypatch: pytest.MonkeyPatch) -> None:
    states = sent_by(curves, monkeypatch)
    curves.show(rising(5), 5, ENGLISH)
    assert changes(states) == ["_py2js_update"]
    states.clear()
    curves.style("dark", ENGLISH)
    assert changes(states) == ["_py2js_update"]


def test_the_lines_are_the_historys_series(curves: Curves) -> None:
    history = history_of({"objective/score": 0.25, "component/length": -0.5}, {"objective/score": 0.5})
    curves.show(history, 2, ENGLISH)
    assert list(line(curves, "objective/score").x) == [1, 2]
    assert list(line(curves, "objective/score").y) == [0.25, 0.5]
    assert list(line(curves, "component/length").y) == [-0.5, 0.1]


def test_a_component_that_the_run_lacks_is_a_gap() -> None:
    curves = Curves(["unheard"])
    curves.show(rising(2), 2, ENGLISH)
    assert all(math.isnan(value) for value in line(curves, "component/unheard").y)


def test_the_update_on_screen_is_marked_and_its_number_is_in_the_title(curves: Curves) -> None:
    curves.show(rising(5), 3, ENGLISH)
    marker = curves.widget.data[len(curves.lines)]
    assert ([*marker.x], [*marker.y]) == ([3], [0.3])
    assert titles(curves)[0] == "score  <b>0.30</b>"
    curves.show(rising(5), 99, ENGLISH)  # an update that is not there: the nearest
    assert [*curves.widget.data[len(curves.lines)].x] == [5]


def test_before_the_first_update_nothing_is_marked(curves: Curves) -> None:
    curves.show(History(), 0, ENGLISH)
    assert [*curves.widget.data[len(curves.lines)].x] == []
    assert titles(curves) == [ENGLISH["ui"]["charts"][chart.key] for chart in CHARTS]


# --- axes ---


def axes(curves: Curves) -> list[tuple[float, float]]:
    layout = curves.widget.layout
    return [tuple(layout["yaxis" if i == 0 else f"yaxis{i + 1}"].range) for i in range(len(CHARTS))]


def test_axes_begin_with_their_own_range_and_never_shrink(curves: Curves) -> None:
    own = [(chart.floor, chart.ceiling) for chart in CHARTS]
    curves.show(rising(3), 3, ENGLISH)
    assert axes(curves) == own
    curves.show(history_of({"objective/ref_kl": 30.0, "objective/score": -4.5}), 1, ENGLISH)
    grown = axes(curves)
    assert grown[1][1] >= 30.0 and grown[0][0] <= -4.5
    curves.show(rising(3), 3, ENGLISH)
    assert axes(curves) == grown
    curves.reset()
    curves.show(rising(3), 3, ENGLISH)
    assert axes(curves) == own


@given(st.lists(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=5), max_size=6))
def test_an_axis_only_grows_and_holds_every_finite_value(draws: list[list[float]]) -> None:
    for chart in CHARTS:
        present = None
        for values in draws:
            low, high = axis_range(chart, values, present)
            before = present or [chart.floor, chart.ceiling]
            assert low <= before[0] and high >= before[1]
            finite = [v for v in values if math.isfinite(v)]
            assert all(low <= v <= high for v in finite)
            present = [low, high]


def test_an_axis_grows_in_steps() -> None:
    chart = CHARTS[1]
    ranges = {tuple(axis_range(chart, [value], None)) for value in np.linspace(0, 40, 200)}
    assert len(ranges) <= 4  # a rescaled axis at every update would jump


# --- words and looks ---


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("theme", sorted(PALETTES))
def test_words_and_theme(curves: Curves, language: str, theme: str) -> None:
    words = labels(language)
    curves.style(theme, words)
    curves.show(rising(2), 2, words)
    assert [title.split("  <b>")[0] for title in titles(curves)] == [words["ui"]["charts"][c.key] for c in CHARTS]
    assert line(curves, "objective/score").name == words["metrics"]["objective/score"]["label"]
    assert line(curves, "component/length").name == words["components"]["length"]["label"]
    assert words["ui"]["panels"]["curves"]["title"] in curves.widget.layout.title.text
    assert curves.widget.layout.font.color == PALETTES[theme]["muted"]


def test_the_language_can_be_changed_while_it_runs(curves: Curves) -> None:
    curves.show(rising(2), 2, ENGLISH)
    chinese = labels("zh")
    curves.style("light", chinese)
    curves.show(rising(2), 2, chinese)
    assert titles(curves)[0] == f"{chinese['ui']['charts']['score']}  <b>0.20</b>"


def test_lines_of_a_chart_can_be_told_apart_without_colour() -> None:
    curves = Curves(list(DEFAULT_WEIGHTS))
    curves.style("light", ENGLISH)
    for i in range(len(CHARTS)):
        dashes = [line(curves, metric).line.dash for j, metric in curves.lines if j == i]
        assert len(set(dashes)) == len(dashes)


def test_a_reward_of_the_users_own_goes_by_its_name() -> None:
    curves = Curves(["exclamations"])
    curves.style("light", ENGLISH)
    assert line(curves, "component/exclamations").name == "exclamations"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_title_explains_its_lines(language: str) -> None:
    words = labels(language)
    for chart in CHARTS:
        text = hover_text(chart, words)
        for metric in chart.metrics:
            key = "component/NAME" if metric == "component/*" else metric
            assert METRICS[key] in text
        assert "{" not in text


def test_it_fills_the_place_that_it_is_given(curves: Curves) -> None:
    curves.resize(640, 210)
    assert (curves.widget.layout.width, curves.widget.layout.height) == (640, 210)
    assert curves.widget.layout.autosize is False


def test_a_plain_figure_can_be_made_ahead() -> None:
    assert len(figure(["a"], live=False).data) == len(figure(["a"]).data)
    assert not hasattr(figure([], live=False), "comm")
