"""Other runs behind the curves: as recorded, whatever their lengths, and on axes that take them in."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.config import Config
from explorer.ppo.policy import Policy
from explorer.recording.grid import seed_folder
from explorer.recording.history import History
from explorer.seed_grid import SeedGrid
from explorer.session.behind import Behind, grid_behind, run_behind, seeds_behind
from explorer.text import LANGUAGES, text
from explorer.views.behind import LEADING, band_of, behind_picture
from explorer.views.curves import ADAPTING, BUCKETS, CHARTS, Series
from explorer.widgets.scripts import script
from tests.conftest import TINY_PROMPTS
from tests.node import node

SCORE = "objective/score"


def history(values: list[float], first: int = 1, metric: str = SCORE) -> History:
    """A run that is nothing but a metric."""
    made = History()
    for update, value in enumerate(values, start=first):
        made.append(SimpleNamespace(update=update, nbytes=1, metrics={metric: value}, config=Config()))  # type: ignore[arg-type]
    return made


def numbers(data: Mapping[str, bytes], name: str) -> list[float]:
    return np.frombuffer(data[name], np.int32 if name == "updates" else np.float32).tolist()


def points(data: Mapping[str, bytes], name: str = "values") -> dict[int, float]:
    return dict(zip(map(int, numbers(data, "updates")), numbers(data, name), strict=True))


def test_the_leading_metric_of_every_chart_is_drawn() -> None:
    assert set(LEADING) == {chart.metrics[0] for chart in (*CHARTS, *ADAPTING.values())}
    assert {SCORE, "objective/ref_kl", "policy/entropy", "value/loss", "optim/grad_norm"} <= set(LEADING)
    assert set(behind_picture(run_behind("a", history([1.0])))["metrics"]) == set(LEADING)


def test_the_band_and_the_lines_are_those_of_the_files(
    make_tiny_policy: Callable[[], Policy], tiny_config: Config, tmp_path: Path
) -> None:
    grid = SeedGrid(tiny_config, range(3), 4, tmp_path / "grid", policy=make_tiny_policy(), prompts=TINY_PROMPTS)
    list(grid.steps())
    longer = SeedGrid(tiny_config, [1, 2], 6, tmp_path / "grid", policy=make_tiny_policy(), prompts=TINY_PROMPTS)
    list(longer.steps())
    picture = behind_picture(grid_behind(tmp_path / "grid"))
    files = {seed: pd.read_parquet(seed_folder(tmp_path / "grid", seed) / "metrics") for seed in range(3)}
    for metric in ("objective/score", "objective/ref_kl", "policy/entropy", "value/loss", "optim/grad_norm"):
        columns = pd.DataFrame({seed: file.set_index("update")[metric] for seed, file in files.items()})
        drawn = picture["metrics"][metric]
        assert points(drawn["band"], "low") == columns.min(axis=1).astype("float32").to_dict()
        assert points(drawn["band"], "high") == columns.max(axis=1).astype("float32").to_dict()
        for seed, line in enumerate(drawn["lines"]):
            assert points(line) == columns[seed].dropna().astype("float32").to_dict()
        assert picture["reach"][metric] == [columns.min().min(), columns.max().max()]
    assert columns.shape == (6, 3) and columns[0].isna().sum() == 2  # one of them is shorter
    assert picture["last"] == 6
    assert [text("en", name["key"], **name["values"]) for name in picture["names"]] == ["seed 0", "seed 1", "seed 2"]


def test_the_band_by_hand() -> None:
    one, two, three = history([1.0, 5.0, 2.0]), history([3.0, 4.0], first=2), history([9.0, np.nan, 7.0, 8.0], first=3)
    found = band_of([run.series(SCORE) for run in (one, two, three)])
    assert found is not None
    updates, low, high = (array.tolist() for array in found)
    # Update 1 and update 6 have one run each; in update 4 there is none at all, in 5 one.
    assert (updates, low, high) == ([2, 3], [3.0, 2.0], [5.0, 9.0])


def test_a_gap_in_the_band_stays_a_gap() -> None:
    one, two = history([1.0, np.nan, np.inf, 2.0]), history([2.0, 3.0, 4.0, 1.0])
    found = band_of([run.series(SCORE) for run in (one, two)])
    assert found is not None
    updates, low, high = found
    assert updates.tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(low, [1.0, np.nan, np.nan, 1.0])
    np.testing.assert_array_equal(high, [2.0, np.nan, np.nan, 2.0])


@pytest.mark.parametrize("runs", [[], [[1.0, 2.0]], [[], []], [[np.nan], [1.0]]])
def test_fewer_than_two_runs_have_no_band(runs: list[list[float]]) -> None:
    assert band_of([history(values).series(SCORE) for values in runs]) is None


@given(st.lists(st.tuples(st.integers(1, 9), st.lists(st.floats(-9, 9), max_size=12)), min_size=1, max_size=5))
def test_the_band_holds_every_line_where_two_run(drawn: list[tuple[int, list[float]]]) -> None:
    lines = [history(values, first).series(SCORE) for first, values in drawn]
    at = [dict(zip(updates.tolist(), values.tolist(), strict=True)) for updates, values in lines]
    shared = {n: [run[n] for run in at if n in run] for run in at for n in run}
    expected = {n: (min(values), max(values)) for n, values in shared.items() if len(values) > 1}
    found = band_of(lines)
    if found is None:
        assert expected == {}
        return
    updates, low, high = found
    assert {n: pair for n, *pair in zip(updates.tolist(), low, high, strict=True) if not np.isnan(pair[0])} == {
        n: list(pair) for n, pair in expected.items()
    }


def test_long_runs_are_thinned_and_keep_their_peaks() -> None:
    rng = np.random.default_rng(3)
    runs = [rng.normal(size=size) for size in (5000, 4000)]
    runs[0][1234], runs[1][77] = 50.0, -60.0
    picture = behind_picture(seeds_behind({seed: history(run.tolist()) for seed, run in enumerate(runs)}))
    drawn = picture["metrics"][SCORE]
    assert all(len(numbers(line, "updates")) <= 2 * BUCKETS + 2 for line in drawn["lines"])
    band = drawn["band"]
    assert len(numbers(band, "updates")) <= 4 * (BUCKETS + 1)
    assert points(band, "high")[1235] == 50.0 and points(band, "low")[78] == -60.0
    for update, low in points(band, "low").items():
        assert low == np.float32(min(run[update - 1] for run in runs))


def test_a_line_without_a_band_has_its_name() -> None:
    picture = behind_picture(run_behind("my <run>", history([1.0, 2.0], first=21)))
    assert (picture["names"], picture["last"]) == ([{"text": "my <run>"}], 22)
    assert picture["label"] == {"key": "ui.behind.run", "values": {"name": "my <run>"}}
    drawn = picture["metrics"][SCORE]
    assert drawn["band"] is None and points(drawn["lines"][0]) == {21: 1.0, 22: 2.0}


def test_every_label_has_its_words_in_every_language() -> None:
    for behind in (
        run_behind("x", history([1.0])),
        *(seeds_behind({n: history([1.0]) for n in range(k)}) for k in (1, 2)),
    ):
        picture = behind_picture(behind)
        for words in (picture["label"], *picture["names"]):
            for language in LANGUAGES:
                assert words.get("text") or text(language, words["key"], **words["values"])


def test_nothing_behind_is_nothing() -> None:
    assert behind_picture(None) == behind_picture(Behind(label="none", runs=())) == {}


# --- the axes ---


def test_the_axes_take_in_what_lies_behind_and_never_shrink() -> None:
    series, own = Series(["sentiment"]), history([0.1, 0.2])
    plain = series.picture(own, 2)
    behind = behind_picture(seeds_behind({0: history([0.5, -6.5]), 1: history([0.5] * 70)}))
    wide = series.picture(own, 2, behind)
    assert wide["lines"] == plain["lines"]
    assert wide["ranges"]["score"][0] <= -6.5 and plain["ranges"]["score"] == [-1.0, 1.0]
    assert (plain["span"], wide["span"]) == ([0, 20], [0, 100])
    assert wide["ranges"]["frontier"][0] <= -6.5 and plain["ranges"]["frontier"] == [0.0, 1.0]
    scores = {"score", "frontier"}
    assert {key: r for key, r in wide["ranges"].items() if key not in scores} == {
        key: r for key, r in plain["ranges"].items() if key not in scores
    }
    again = series.picture(own, 2)
    assert again["ranges"] == wide["ranges"]  # what was behind is gone, the scale stays
    series.picture(History(), 0)
    assert series.picture(own, 2)["ranges"] == plain["ranges"]  # until there is another run


def test_what_is_no_number_stretches_no_axis() -> None:
    behind = behind_picture(run_behind("x", history([np.nan, np.inf, -np.inf])))
    assert SCORE not in behind["reach"]
    assert Series([]).picture(history([0.1]), 1, behind)["ranges"]["score"] == [-1.0, 1.0]


# --- in the browser ---

PROGRAM = """
import { outline, tracesBehind } from "./curves.mjs";
const bytes = (Type, values) => new DataView(Type.from(values, (value) => value ?? NaN).buffer);
const pairs = Object.entries;
const mapped = (object, fn) => Object.fromEntries(pairs(object).map(([name, value]) => [name, fn(value, name)]));
const given = JSON.parse(process.argv[2]);
const kind = (name) => (name === "updates" ? Int32Array : Float32Array);
const line = (arrays) => mapped(arrays, (values, name) => bytes(kind(name), values));
const metrics = mapped(given.metrics, ({ lines, band }) => ({ lines: lines.map(line), band: band && line(band) }));
const behind = given.none ? {} : { names: given.names, metrics };
const state = { behind, words: { ui: { update: "update {update}" } } };
const colours = { of: (name) => ({ "--ex-blue-rgb": "1 2 3", "--ex-muted": "#888" })[name] };
const charts = [{ key: "score", lines: [{ metric: "objective/score" }] }];
console.log(JSON.stringify(tracesBehind({ get: (name) => state[name] }, charts, colours)));
"""


def traces(tmp_path: Path, **given: Any) -> list[dict[str, Any]]:
    (tmp_path / "curves.mjs").write_text(f"{script('curves')}\nexport {{ outline, tracesBehind }};", encoding="utf-8")
    (tmp_path / "ask.mjs").write_text(PROGRAM, encoding="utf-8")
    command = [node(), "ask.mjs", json.dumps(given)]
    found: list[dict[str, Any]] = json.loads(
        subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True).stdout
    )
    return found


def test_all_lines_are_one_trace_with_gaps_and_the_band_an_outline_parted_at_its_gaps(tmp_path: Path) -> None:
    band = {"updates": [1, 2, 3, 4, 5], "low": [1, 2, None, 3, 4], "high": [5, 6, None, 7, 8]}
    lines = [{"updates": [1, 2], "values": [1, 6]}, {"updates": [2], "values": [2]}]
    drawn = traces(
        tmp_path, names=[{"text": "a <b>%{y}"}, {"text": "c"}], metrics={SCORE: {"lines": lines, "band": band}}
    )
    outline, all_lines = drawn
    assert outline["x"] == [1, 2, 2, 1, None, 4, 5, 5, 4, None]
    assert outline["y"] == [5, 6, 2, 1, None, 7, 8, 4, 3, None]
    assert (outline["fill"], outline["line"]["width"], outline["hoverinfo"]) == ("toself", 0, "skip")
    assert outline["fillcolor"].startswith("rgba(1,2,3,0.")
    assert (all_lines["x"], all_lines["y"]) == ([1, 2, None, 2, None], [1, 6, None, 2, None])
    assert all_lines["text"] == ["a &lt;b&gt;&#37;{y}"] * 3 + ["c"] * 2


def test_a_chart_has_as_many_traces_without_a_band_and_none_with_nothing_behind(tmp_path: Path) -> None:
    lines = [{"updates": [1], "values": [1]}]
    drawn = traces(tmp_path, names=[{"text": "a"}], metrics={SCORE: {"lines": lines, "band": None}})
    assert [trace["x"] for trace in drawn] == [[], [1, None]]
    assert traces(tmp_path, none=True, metrics={}) == []


def test_every_run_behind_has_its_frontier() -> None:
    run = History()
    for update, (score, kl) in enumerate([(0.25, 1.0), (0.5, 4.0)], start=1):
        metrics = {SCORE: score, "objective/ref_kl": kl}
        run.append(SimpleNamespace(update=update, nbytes=1, metrics=metrics, config=Config()))  # type: ignore[arg-type]
    one, other = behind_picture(seeds_behind({0: run, 1: history([1.0])}))["frontiers"]
    assert (points(one, "kl"), points(one, "score")) == ({1: 1.0, 2: 4.0}, {1: 0.25, 2: 0.5})
    assert points(other, "kl") == {}  # that one has no KL
