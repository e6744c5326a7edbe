"""The run's curves: every chart in place from the start, series as the history has them, axes that never jump back."""

from __future__ import annotations

import gzip
import json
import math
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.config import Config
from explorer.ppo.metrics import METRICS
from explorer.recording.history import History
from explorer.text import LANGUAGES, labels
from explorer.views.curves import (
    ADAPTING,
    BUCKETS,
    CHARTS,
    ELSEWHERE,
    Curves,
    Series,
    axis_range,
    chart_lines,
    frontier_dots,
    span,
    thinned,
    told,
)
from explorer.views.curves import plotly_script as packed
from explorer.widgets.board import Board
from explorer.widgets.scripts import script
from tests.node import node

EVERY = (*CHARTS, *ADAPTING.values(), *ELSEWHERE)


def history_of(*metrics: Mapping[str, float]) -> History:
    """A history of updates that are nothing but these metrics; what is not given is 0.1."""
    history = History()
    for number, given_metrics in enumerate(metrics, start=1):
        known = {**dict.fromkeys((*METRICS, "component/sentiment", "component/length"), 0.1)}
        known |= {"policy/approx_kl_final": 0.01, "coef/penalty": 1.0}
        shown = SimpleNamespace(update=number, nbytes=1, config=Config(), metrics={**known, **given_metrics})
        history.append(shown)  # type: ignore[arg-type]
    return history


def rising(updates: int) -> History:
    return history_of(*({"objective/score": n / 8} for n in range(1, updates + 1)))


@pytest.fixture
def series() -> Series:
    return Series(["sentiment", "length"])


def updates(picture: Mapping[str, Any], metric: str) -> list[int]:
    return list(np.frombuffer(picture["lines"][metric]["updates"], np.int32))


def values(picture: Mapping[str, Any], metric: str) -> list[float]:
    return list(np.frombuffer(picture["lines"][metric]["values"], np.float32))


def test_every_chart_draws_known_metrics_and_has_words() -> None:
    for chart in EVERY:
        assert chart.floor < chart.ceiling
        assert set(told(chart)) <= set(METRICS)
    for chart in (*CHARTS, *ADAPTING.values()):
        for language in LANGUAGES:
            assert labels(language)["ui"]["charts"][chart.key]
            assert all(labels(language)["metrics"][key]["look_for"] for key in told(chart))


def test_what_the_run_needs_is_charted() -> None:
    drawn = {metric for chart in CHARTS for metric in chart.metrics}
    assert {"objective/score", "component/NAME", "objective/ref_kl", "policy/entropy", "value/loss"} <= drawn
    assert {"policy/clipfrac_final", "policy/outside_range_final"} <= drawn  # both definitions
    # The norm against its limit, and what the limit has left of it.
    assert {"optim/grad_norm", "optim/grad_norm_clipped", "optim/max_grad_norm"} <= drawn
    beside = {chart.metrics[0]: chart.beside for chart in CHARTS if chart.beside}
    assert beside == {"value/loss": "value/explained_variance"}
    assert not set(beside.values()) & drawn  # another unit, and so on no axis


def test_a_coefficient_that_adapts_takes_the_place_of_one_chart() -> None:
    assert set(ADAPTING) <= {chart.key for chart in CHARTS}
    assert {chart.metrics for chart in ADAPTING.values()} == {
        ("coef/kl",),
        ("coef/penalty",),
        ("response/length",),
    }


def test_the_coefficients_in_force_are_lines_of_the_picture(series: Series) -> None:
    picture = series.picture(
        history_of({"coef/kl": 0.15, "coef/penalty": 1.0}, {"coef/kl": 0.153, "coef/penalty": 2.0}), 2
    )
    assert values(picture, "coef/kl") == [np.float32(0.15), np.float32(0.153)]
    assert values(picture, "coef/penalty") == [1.0, 2.0]
    assert picture["ranges"]["kl_coef"][1] >= 0.153 and picture["ranges"]["penalty_coef"] == [0.125, 8.0]


def test_a_number_beside_a_title_comes_with_the_picture_and_stretches_no_axis(series: Series) -> None:
    plain = series.picture(history_of({}), 1)["ranges"]
    picture = series.picture(history_of({"value/explained_variance": -7.5}), 1)
    assert values(picture, "value/explained_variance") == [-7.5]
    assert picture["ranges"] == plain


def test_components_are_lines_of_the_scores_chart() -> None:
    score, *others = chart_lines(["a", "b"])
    assert [line["metric"] for line in score["lines"]] == [
        "objective/score",
        "component/a",
        "component/b",
        "objective/judge",
    ]
    assert [chart["key"] for chart in (score, *others)] == [chart.key for chart in CHARTS]
    assert chart_lines([])[1:] == others


def test_the_lines_are_the_historys_series(series: Series) -> None:
    history = history_of({"objective/score": 0.25, "component/length": -0.5}, {"objective/score": 0.5})
    picture = series.picture(history, 2)
    assert all(updates(picture, metric) == [1, 2] for metric in picture["lines"])
    assert values(picture, "objective/score") == [0.25, 0.5]
    assert values(picture, "component/length") == [-0.5, np.float32(0.1)]
    assert {metric for chart in ELSEWHERE for metric in chart.metrics} <= set(picture["lines"])
    assert set(picture["ranges"]) == {chart.key for chart in EVERY}


def test_a_component_that_the_run_lacks_is_a_gap() -> None:
    picture = Series(["unheard"]).picture(rising(2), 2)
    assert all(math.isnan(value) for value in values(picture, "component/unheard"))


def test_the_same_history_gives_the_same_picture(series: Series) -> None:
    assert series.picture(rising(3), 3) == series.picture(rising(3), 1)  # so that scrubbing sends no curves


def test_before_the_first_update_there_is_nothing(series: Series) -> None:
    picture = series.picture(History(), 0)
    assert updates(picture, "objective/score") == values(picture, "objective/score") == []
    assert picture["ranges"] == {chart.key: [chart.floor, chart.ceiling] for chart in EVERY}


# --- a long run ---


@given(st.integers(0, 4000), st.integers(0, 2**32 - 1))
def test_few_points_of_a_long_line_are_drawn_and_its_ends_are_among_them(count: int, seed: int) -> None:
    line = np.random.default_rng(seed).normal(size=count)
    kept = thinned(line)
    assert len(kept) <= 2 * BUCKETS + 2
    assert list(kept) == sorted(set(kept))
    if count <= 2 * BUCKETS:
        assert len(kept) == count
    else:
        assert (kept[0], kept[-1]) == (0, count - 1)
        assert {line.argmin(), line.argmax()} <= set(kept)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("peak", [0, 7, 400, 801])
def test_a_lone_peak_stays_drawn_however_long_the_run_gets(peak: int, sign: int) -> None:
    line = np.random.default_rng(peak).normal(size=3500)
    line[peak] = sign * 50
    assert [count for count in range(peak + 1, 3500) if peak not in thinned(line[:count])] == []


def test_the_past_is_drawn_anew_only_when_the_buckets_double() -> None:
    line = np.random.default_rng(5).normal(size=3500)
    changes = []
    for count in range(401, 3500):
        before, after = set(thinned(line[: count - 1])), set(thinned(line[:count]))
        past = count - 1 - 32  # the last bucket is still filling
        if {i for i in before ^ after if 0 < i < past}:
            changes.append(count)
    assert changes == [401, 801, 1601, 3201]


def test_gaps_and_infinities_hide_no_peak() -> None:
    line = np.full(2000, np.nan)
    line[1000:1010] = [0.5, np.inf, 3.0, np.nan, 0.5, -np.inf, -2.0, 0.5, 0.5, 0.5]
    kept = set(thinned(line))
    assert {1002, 1006} <= kept
    assert len(kept) <= 2 * BUCKETS + 2


@pytest.mark.parametrize("cursor", [2, 613, 1000])
def test_every_line_has_the_update_on_screen(series: Series, cursor: int) -> None:
    history = history_of(*({"objective/score": math.sin(n), "policy/entropy": n / 500} for n in range(1, 1001)))
    picture = series.picture(history, cursor)
    for metric in picture["lines"]:
        at = updates(picture, metric).index(cursor)
        assert values(picture, metric)[at] == np.float32(history.series(metric)[1][cursor - 1])


def test_a_peak_of_any_line_is_drawn(series: Series) -> None:
    history = history_of(*({} for _ in range(499)), {"component/length": -4.0}, *({} for _ in range(500)))
    picture = series.picture(history, 1000)
    assert values(picture, "component/length")[updates(picture, "component/length").index(500)] == -4.0


# --- axes ---


def test_axes_begin_with_their_own_range_and_never_shrink(series: Series) -> None:
    own = series.picture(rising(3), 3)["ranges"]
    assert all(own[chart.key] == [chart.floor, chart.ceiling] for chart in EVERY)
    run = rising(4)
    run.note(5, {"objective/ref_kl": 30.0, "objective/score": -4.5, "policy/approx_kl_final": 0.3})
    grown = series.picture(run, 5)["ranges"]
    assert grown["ref_kl"][1] >= 30.0 and grown["score"][0] <= -4.5 and grown["approx_kl"][1] >= 0.3
    run.note(5, {"objective/ref_kl": 0.1})  # the peak itself is gone
    run.note(6, {"objective/ref_kl": 0.1})
    assert series.picture(run, 6)["ranges"] == grown


def test_a_longer_run_that_is_another_one_has_axes_of_its_own(series: Series) -> None:
    own = series.picture(rising(3), 3)["ranges"]
    assert series.picture(history_of({"objective/ref_kl": 30.0}), 1)["ranges"] != own
    assert series.picture(rising(7), 7)["ranges"] == own


@pytest.mark.parametrize("between", [None, History()], ids=["at once", "after a reset"])
def test_another_run_begins_with_the_axes_own_ranges(series: Series, between: History | None) -> None:
    own = series.picture(rising(3), 3)["ranges"]
    assert series.picture(history_of({}, {}, {"objective/ref_kl": 30.0}), 3)["ranges"] != own
    if between is not None:
        series.picture(between, 0)
    assert series.picture(rising(1), 1)["ranges"] == own


def test_the_axis_of_the_updates_grows_in_steps() -> None:
    ends = [span(last) for last in range(2001)]
    assert all(low == 0 and high >= last for last, (low, high) in enumerate(ends))
    assert sorted({high for _, high in ends}) == [20, 50, 100, 200, 500, 1000, 2000]
    assert span(0) == span(20) == [0, 20] and span(21) == [0, 50]


def test_scrubbing_moves_no_axis(series: Series) -> None:
    pictures = [series.picture(rising(30), cursor) for cursor in (30, 1, 17)]
    assert [picture["span"] for picture in pictures] == [[0, 50]] * 3
    assert pictures[0]["ranges"] == pictures[1]["ranges"] == pictures[2]["ranges"]


def test_what_is_claimed_is_on_the_axes_for_as_long_as_it_is_claimed(series: Series) -> None:
    def claim(metric: str, least: float | None = None, most: float | None = None) -> dict[str, Any]:
        return {"metric": metric, "first": 26, "last": 30, "least": least, "most": most}

    own = series.picture(rising(3), 3)
    claims = [claim("objective/ref_kl", 20.0), claim("objective/judge", most=-1.0), claim("component/length", 0.9)]
    claims += [claim("policy/entropy", most=0.5), claim("objective/judge")]
    shown = series.picture(rising(3), 3, None, claims)
    # Something of each side is to be seen: more than 20 nats, less than -1. What is on an axis already moves none.
    assert shown["ranges"] == own["ranges"] | {"ref_kl": [0.0, 40.0], "score": [-2.0, 1.0]}
    assert (own["span"], shown["span"]) == ([0, 20], [0, 50])
    assert series.picture(rising(3), 3) == own


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


def test_an_axis_for_what_halves_is_halved_until_it_fits_and_has_no_place_for_0() -> None:
    chart = ADAPTING["clip"]
    assert axis_range(chart, [1.0, 0.05, 20.0], None) == [0.03125, 32.0]
    assert axis_range(chart, [0.0, -1.0, math.nan], None) == [0.125, 8.0]
    assert axis_range(chart, [1.0], [0.03125, 32.0]) == [0.03125, 32.0]


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
    charts = (*curves.charts, *curves.adapting.values())
    keys = {line["key"] for chart in charts for line in chart["lines"]}
    keys |= {chart["beside"] for chart in charts if chart["beside"]}
    assert keys >= {"objective/score", "component/NAME", "coef/kl", "value/explained_variance"}
    assert curves.expressions == {key: METRICS[key] for key in keys}


def test_no_two_lines_of_a_chart_are_drawn_alike(tmp_path: Path) -> None:
    (tmp_path / "curves.mjs").write_text(f"{script('curves')}\nexport {{ strokeOf }};", encoding="utf-8")
    program = """import { strokeOf } from "./curves.mjs";
        console.log(JSON.stringify(Array.from({ length: 20 }, (_, nth) => strokeOf(nth))));"""
    (tmp_path / "ask.mjs").write_text(program, encoding="utf-8")
    done = subprocess.run([node(), "ask.mjs"], capture_output=True, text=True, cwd=tmp_path, check=True)
    strokes = json.loads(done.stdout)
    assert len({(stroke["colour"], stroke["dash"]) for stroke in strokes}) == 20
    assert len({stroke["dash"] for stroke in strokes[:10]}) == 10  # without colour: the score, 5 components, 4 more


# --- the frontier ---


def dots(picture: Mapping[str, Any]) -> list[tuple[int, float, float]]:
    """``(update, kl, score)`` of each."""
    columns = (np.frombuffer(picture[name], kind) for name, kind in FRONTIER)
    return list(zip(*(column.tolist() for column in columns), strict=True))


FRONTIER = (("updates", np.int32), ("kl", np.float32), ("score", np.float32))


def test_the_frontier_has_a_dot_for_every_update_that_has_both(series: Series) -> None:
    nan = float("nan")
    run = history_of(
        {"objective/score": 0.25, "objective/ref_kl": -0.5},
        {"objective/score": nan, "objective/ref_kl": 1.0},
        {"objective/score": 0.5, "objective/ref_kl": nan},
        {"objective/score": 0.75, "objective/ref_kl": 4.0},
    )
    picture = series.picture(run, 4)["frontier"]
    assert dots(picture) == [(1, -0.5, 0.25), (4, 4.0, 0.75)]
    assert picture["total"] == 2
    assert dots(frontier_dots(History())) == []


def test_a_long_frontier_keeps_its_peaks_its_ends_and_the_update_on_screen() -> None:
    rng = np.random.default_rng(5)
    columns = rng.normal(size=(3000, 2))
    columns[1234, 0], columns[77, 1] = 50.0, 60.0
    run = history_of(*({"objective/score": score, "objective/ref_kl": kl} for score, kl in columns))
    picture = frontier_dots(run, 1700)
    drawn = dots(picture)
    assert len(drawn) <= 4 * BUCKETS + 5 and picture["total"] == 3000
    assert {1, 78, 1235, 1700, 3000} <= {update for update, _, _ in drawn}
    for update, kl, score in drawn:
        assert (score, kl) == tuple(np.float32(columns[update - 1]))


def test_the_frontiers_scores_have_an_axis_of_their_own(series: Series) -> None:
    assert series.picture(rising(3), 3)["ranges"]["frontier"] == [0.0, 1.0]
    low, high = series.picture(history_of({"objective/score": -0.3}, {"objective/score": 1.5}), 2)["ranges"]["frontier"]
    assert low <= -0.3 and high >= 1.5
