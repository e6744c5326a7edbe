"""The ladder's stack as the browser makes it, against what the trainer recorded; and its rungs as geometry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from explorer.recording.snapshot import Snapshot
from explorer.recording.what_if import what_if
from explorer.views.batch import batch_picture
from tests.widgets.test_inspector import REVIVE, as_json, run

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer


@pytest.fixture(scope="module")
def snapshot(make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot]) -> Snapshot:
    """A third update, whose critic says something by then."""
    trainer = make_trainer()
    return [snapshot_of(trainer) for _ in range(3)][-1]


def test_a_stack_by_hand(tmp_path: Path) -> None:
    found = run(tmp_path, "ladder", "stackOf", "console.log(JSON.stringify(stackOf([1, -2, 4], 0.5)))")
    assert [rung["weight"] for rung in found["rungs"]] == [1, 0.5, 0.25]
    assert [rung["part"] for rung in found["rungs"]] == [1, -1, 1]
    assert [(rung["from"], rung["to"]) for rung in found["rungs"]] == [(0, 1), (1, 0), (0, 1)]
    assert found["sum"] == 1


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gae_lambda": 0.0},
        {"gae_lambda": 1.0, "gamma": 1.0},
        {"gae_lambda": 0.37, "gamma": 0.81},
        {"estimator": "monte_carlo_value", "gamma": 0.9},
        {"estimator": "one_step_td", "gamma": 0.7},
        {"whiten_rewards": True, "gae_lambda": 0.6},
        {"estimator": "grpo"},
    ],
    ids=str,
)
def test_every_tokens_stack_is_its_stored_advantage(
    snapshot: Snapshot, tmp_path: Path, changes: dict[str, Any]
) -> None:
    scored = what_if(snapshot, snapshot.config.replace(**changes))
    tokens = np.argwhere(scored.rollout.response_mask).tolist()
    (tmp_path / "batch.json").write_text(as_json(batch_picture(scored)))
    program = f"""
      import {{ readFileSync }} from "node:fs";
      const batch = JSON.parse(readFileSync("batch.json"), {REVIVE});
      const all = {tokens}.map((token) => stackAt(batch, token));
      console.log(JSON.stringify({{ stack: isStack(batch), sums: all.map(({{ sum }}) => sum),
        steps: all.map(({{ rungs }}) => rungs.length),
        parts: all.map(({{ rungs }}) => rungs.reduce((sum, {{ part }}) => sum + part, 0)) }}));
    """
    found = run(tmp_path, "ladder", "stackAt, isStack", program)
    mask = scored.rollout.response_mask
    assert found["steps"] == [int(mask[row].sum()) - t for row, t in tokens]
    assert found["parts"] == pytest.approx(found["sums"], abs=1e-12)
    stored = [float(scored.credit.advantages[row, t]) for row, t in tokens]
    agrees = found["sums"] == pytest.approx(stored, abs=1e-5)
    assert found["stack"] is agrees is (changes.get("estimator") != "grpo")


def test_a_sum_that_is_off_is_seen(tmp_path: Path) -> None:
    pairs = "[[0.5, 0.50002], [0.5, 0.500005], [-2000, -2000.01], [0, NaN]]"
    program = f"console.log(JSON.stringify({pairs}.map(([a, b]) => agrees(a, b))))"
    assert run(tmp_path, "ladder", "agrees", program) == [False, True, True, False]


@pytest.mark.parametrize(("start", "end"), [(100, 60), (60, 100), (60, 59), (60, 60), (10, 12)])
def test_a_rung_points_to_its_end(tmp_path: Path, start: int, end: int) -> None:
    path = run(tmp_path, "ladder", "rungShape", f"console.log(JSON.stringify(rungShape(0, 8, {start}, {end})))")
    heights = [
        float(n)
        for n in path.replace("M0 ", "").replace("H8V", " ").replace("L4 ", " ").replace("L0 ", " ").strip("Z").split()
    ]
    base, neck, tip, _ = heights
    assert (base, tip) == (start, end)
    assert min(start, end) <= neck <= max(start, end)
    assert abs(tip - neck) == min(4, abs(end - start))


def test_the_critics_square_keeps_every_mark_inside(tmp_path: Path) -> None:
    program = """
      const at = squareOf({ width: 160, height: 190 }, { low: -1.5, high: 1.5 });
      console.log(JSON.stringify([at.side, at.left, at.x(0), at.y(0), at.x(-9), at.x(9), at.y(9), at.y(-9)]));
    """
    side, left, x0, y0, low, high, top, bottom = run(tmp_path, "ladder", "squareOf", program)
    assert (side, left, x0, y0) == (160, 0, 80, 80)
    assert (low, high, top, bottom) == (0, 160, 0, 160)
