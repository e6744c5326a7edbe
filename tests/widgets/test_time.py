"""The panel of time as geometry: bars by hand, and the steps of neighbouring updates with their boundaries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.widgets.test_inspector import REVIVE, as_json, run


def bars(tmp_path: Path, fresh: list[int], replayed: list[int], band: tuple[float, float] = (0.8, 1.25)) -> Any:
    """The bars of a histogram between ¼ and 4."""
    epoch = {
        "fresh": np.array(fresh, np.uint32).tobytes(),
        "replayed": np.array(replayed, np.uint32).tobytes(),
        "tokens": sum(fresh) + sum(replayed),
    }
    both = json.dumps(as_json([epoch, {"low": 0.25, "high": 4.0, "band": band}]))
    program = f"""
      const [epoch, seen] = JSON.parse({both}, {REVIVE});
      console.log(JSON.stringify(barsOf(epoch, seen)));
    """
    return run(tmp_path, "time", "barsOf", program)


def test_a_bars_height_is_the_root_of_its_share_and_replayed_tokens_stand_on_the_fresh(tmp_path: Path) -> None:
    drawn = bars(tmp_path, [0, 25, 0], [0, 24, 51])
    assert [bar["fresh"] for bar in drawn] == [0, 0.5, 0]
    assert [bar["all"] for bar in drawn] == pytest.approx([0, 0.7, 0.51**0.5])


def test_bars_outside_the_band_are_told_apart_by_their_middle(tmp_path: Path) -> None:
    # Four bars of a factor of two each: their middles are the roots of ⅛, ½, 2 and 8.
    assert [bar["side"] for bar in bars(tmp_path, [1, 1, 1, 1], [0] * 4)] == ["low", "low", "high", "high"]
    wide = bars(tmp_path, [1, 1, 1, 1], [0] * 4, (0.7, 1.5))
    assert [bar["side"] for bar in wide] == ["low", "inside", "inside", "high"]


def test_one_is_in_the_middle_of_the_axis_and_what_is_beyond_at_its_ends(tmp_path: Path) -> None:
    program = "console.log(JSON.stringify([0.1, 0.5, 1, 2, 9].map((r) => acrossOf({ low: 0.5, high: 2 }, r))))"
    assert run(tmp_path, "time", "acrossOf", program) == [0, 0, 0.5, 1, 1]


def test_steps_begin_anew_with_every_update_and_a_left_out_one_is_told(tmp_path: Path) -> None:
    program = """
      const steps = [{ update: 3, kls: [0, 0.01] }, { update: 4, kls: [0, 0.01, 0.04] }, { update: 6, kls: [0] }];
      const places = stepPlaces(steps, { width: 342, height: 117 }, 0.04);
      const near = [[0, 84], [268, 0], [341, 0]].map(([x]) => nearestStep(places, x));
      console.log(JSON.stringify({ ...places, near }));
    """
    found = run(tmp_path, "time", "stepPlaces, nearestStep", program)
    assert [(b["update"], b["x"], b["skipped"]) for b in found["boundaries"]] == [(3, 42, 0), (4, 142, 0), (6, 242, 1)]
    dots = [(dot["update"], dot["epoch"], dot["last"]) for dot in found["dots"]]
    assert dots == [(3, 1, False), (3, 2, True), (4, 1, False), (4, 2, False), (4, 3, True), (6, 1, True)]
    heights = [dot["y"] for dot in found["dots"]]
    assert heights == pytest.approx([114, 64, 114, 64, 14, 114])  # a quarter of the KL is half as high
    xs = [dot["x"] for dot in found["dots"]]
    assert xs == sorted(xs) and xs[0] == 67
    assert [(dot["update"], dot["epoch"]) for dot in found["near"]] == [(3, 1), (6, 1), (6, 1)]
