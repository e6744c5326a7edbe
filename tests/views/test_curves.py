"""The run's curves: every chart in place from the start, series as the history has them, axes that never jump back."""

from __future__ import annotations

import gzip
import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.ppo.metrics import METRICS
from explorer.recording.history import History
from explorer.text import LANGUAGES, labels
from explorer.views.curves import CHARTS, ELSEWHERE, MOST_POINTS, Curves, Series, axis_range, chart_lines, thinned
from explorer.views.curves import plotly_script as packed
from explorer.widgets.board import Board


def history_of(*metrics: Mapping[str, float]) -> History:
    """A history of updates that are nothing but these metrics; what is not given is 0.1."""
    history = History()
    for number, given_metrics in enumerate(metrics, start=1):
        known = {**dict.fromkeys(METRICS, 0.1), "component/sentiment": 0.1, "component/length": 0.1}
        history.append(SimpleNamespace(update=number, nbytes=1, metrics={**known, **given_metrics}))  # type: ignore[arg-type]
    return history


def rising(updates: int) -> History:
    return history_of(*({"objective/score": n / 8} for n in range(1, updates + 1)))


@pytest.fixture
def series() -> Series:
    return Series(["sentiment", "length"])


def updates(picture: Mapping[str, Any]) -> list[int]:
    return list(np.frombuffer(picture["updates"], np.int32))


def values(picture: Mapping[str, Any], metric: str) -> list[float]:
    return list(np.frombuffer(picture["values"][metric], np.float32))


def test_every_chart_draws_known_metrics_and_has_words() -> None:
    for chart in CHARTS:
        assert chart.floor < chart.ceiling
        assert set(chart.metrics) <= set(METRICS)
        for language in LANGUAGES:
            assert labels(language)["ui"]["charts"][chart.key]
            assert all(labels(language)["metrics"][key]["look_for"] for key in chart.metrics)


def test_what_the_run_needs_is_charted() -> None:
    drawn = {metric for chart in CHARTS for metric in chart.metrics}
    assert {"objective/score", "component/NAME", "objective/ref_kl", "policy/entropy", "value/loss"} <= drawn
    assert {"policy/clipfrac_final", "policy/outside_range_final"} <= drawn  # both definitions
    assert {"optim/grad_norm", "optim/grad_norm_clipped"} <= drawn  # the norm against its limit


def test_components_are_lines_of_the_scores_chart() -> None:
    score, *others = chart_lines(["a", "b"])
    assert [line["metric"] for line in score["lines"]] == ["objective/score", "component/a", "component/b"]
    assert [chart["key"] for chart in (score, *others)] == [chart.key for chart in CHARTS]
    assert chart_lines([])[1:] == others


def test_the_lines_are_the_historys_series(series: Series) -> None:
    history = history_of({"objective/score": 0.25, "component/length": -0.5}, {"objective/score": 0.5})
    picture = series.picture(history)
    assert updates(picture) == [1, 2]
    assert values(picture, "objective/score") == [0.25, 0.5]
    assert values(picture, "component/length") == [-0.5, np.float32(0.1)]
    assert set(ELSEWHERE) <= set(picture["values"])


def test_a_component_that_the_run_lacks_is_a_gap() -> None:
    picture = Series(["unheard"]).picture(rising(2))
    assert all(math.isnan(value) for value in values(picture, "component/unheard"))


def test_the_same_history_gives_the_same_picture(series: Series) -> None:
    assert series.picture(rising(3)) == series.picture(rising(3))  # so that a moved slider sends no curves


def test_before_the_first_update_there_is_nothing(series: Series) -> None:
    picture = series.picture(History())
    assert updates(picture) == values(picture, "objective/score") == []
    assert picture["ranges"] == [[chart.floor, chart.ceiling] for chart in CHARTS]


@given(st.integers(0, 3000))
def test_a_long_run_is_thinned_evenly_and_keeps_its_ends(count: int) -> None:
    kept = thinned(count)
    assert len(kept) == min(count, MOST_POINTS)
    if count:
        assert (kept[0], kept[-1]) == (0, count - 1)
        gaps = np.diff(kept)
        assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1


# --- axes ---


def test_axes_begin_with_their_own_range_and_never_shrink(series: Series) -> None:
    own = [[chart.floor, chart.ceiling] for chart in CHARTS]
    assert series.picture(rising(3))["ranges"] == own
    grown = series.picture(history_of({"objective/ref_kl": 30.0, "objective/score": -4.5}))["ranges"]
    assert grown[1][1] >= 30.0 and grown[0][0] <= -4.5
    assert series.picture(rising(3))["ranges"] == grown
    series.picture(History())  # a reset
    assert series.picture(rising(3))["ranges"] == own


@given(st.lists(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=5), max_size=6))
def test_an_axis_only_grows_and_holds_every_finite_value(draws: list[list[float]]) -> None:
    for chart in CHARTS:
        present = None
        for drawn in draws:
            low, high = axis_range(chart, drawn, present)
            before = present or [chart.floor, chart.ceiling]
            assert low <= before[0] and high >= before[1]
            assert all(low <= v <= high for v in drawn if math.isfinite(v))
            present = [low, high]


def test_an_axis_grows_in_steps() -> None:
    ranges = {tuple(axis_range(CHARTS[1], [value], None)) for value in np.linspace(0, 40, 200)}
    assert len(ranges) <= 4  # a rescaled axis at every update would jump


# --- the view ---


@pytest.fixture
def curves() -> Curves:
    return Curves(Board(), ["sentiment"])


def test_plotly_comes_whole_and_only_when_asked_for(curves: Curves, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[dict[str, Any], list[bytes]]] = []
    monkeypatch.setattr(curves, "send", lambda content, buffers=(): sent.append((content, list(buffers))))
    curves._handle_msg({"content": {"data": {"method": "custom", "content": {"kind": "other"}}}, "buffers": []})
    assert sent == []
    curves._handle_msg({"content": {"data": {"method": "custom", "content": {"kind": "plotly"}}}, "buffers": []})
    ((content, (script,)),) = sent
    assert content == {"kind": "plotly"}
    assert b"plotly.js v" in gzip.decompress(script)[:200]
    assert len(script) < len(gzip.decompress(script)) / 3
    assert packed() == script


def test_every_line_is_explained_by_its_expression(curves: Curves) -> None:
    assert curves.expressions == {}
    curves.explain()
    keys = {line["key"] for chart in curves.charts for line in chart["lines"]}
    assert set(curves.expressions) >= keys
    assert all(curves.expressions[key] == METRICS[key] for key in keys)
