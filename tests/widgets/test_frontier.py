"""The frontier as the browser draws it: where dots lie, which one a pointer means, and how strong the line is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.widgets.test_inspector import run


def frontier(tmp_path: Path, exported: str, program: str) -> Any:
    return run(tmp_path, "curves", exported, program)


def test_four_times_the_kl_is_twice_as_far_and_below_0_is_at_0(tmp_path: Path) -> None:
    program = """
      const { x, y } = frontierScale({ width: 450, height: 152 }, 16, [0, 1]);
      console.log(JSON.stringify([x(-2), x(0), x(1), x(4), x(16), y(0), y(0.5), y(1)]));
    """
    below, none, one, four, end, low, middle, top = frontier(tmp_path, "frontierScale", program)
    assert (below, none, one, four, end) == (38, 38, 138, 238, 438)
    assert (low, middle, top) == (122, 72, 22)


def test_the_dot_that_is_near_is_meant_and_none_that_is_far(tmp_path: Path) -> None:
    program = """
      const dots = { updates: [1, 2, 3], kl: [0, 1, 4], score: [0, 0.5, 1] };
      const scale = frontierScale({ width: 450, height: 152 }, 16, [0, 1]);
      const meant = [[138, 72], [144, 78], [234, 24], [304, 106]].map((place) => nearestDot(dots, scale, place));
      console.log(JSON.stringify(meant));
    """
    assert frontier(tmp_path, "frontierScale, nearestDot", program) == [1, 1, 2, -1]


@pytest.mark.parametrize("count", [0, 1, 2, 9, 10, 11, 40, 803])
def test_every_dot_has_one_strength_and_it_never_fades_towards_the_new(tmp_path: Path, count: int) -> None:
    parts = frontier(tmp_path, "agesOf", f"console.log(JSON.stringify(agesOf({count})))")
    assert [i for part in parts for i in range(part["from"], part["to"])] == list(range(count))
    ages = [part["age"] for part in parts]
    assert ages == sorted(ages) and (not parts or ages[-1] == 10)


@pytest.mark.parametrize("high", [5, 10, 20, 80, 640, 0.5])
def test_the_axis_has_a_few_whole_steps(tmp_path: Path, high: float) -> None:
    ticks = frontier(tmp_path, "rootTicks", f"console.log(JSON.stringify(rootTicks({high})))")
    assert ticks[0] == 0 and 3 <= len(ticks) <= 6
    assert ticks[-1] ** 2 <= high * (1 + 1e-9) < (ticks[-1] + ticks[1]) ** 2 * (1 + 1e-9)


def test_the_words_beside_the_dot_lie_where_the_fewest_others_are_and_inside_the_picture(tmp_path: Path) -> None:
    program = """
      const frame = [38, 12, 438, 148];
      const crowd = [[230, 70], [240, 72], [250, 66]]; // right of (200, 75), above it
      const told = ({ x, y, side }) => [Math.sign(x - 200), Math.sign(y - 75), side];
      console.log(JSON.stringify([
        told(clearest([], [200, 75], frame)), told(clearest(crowd, [200, 75], frame)),
        told(clearest([...crowd, [230, 88]], [200, 75], frame)), clearest([], [430, 75], frame).side,
        clearest([], [430, 146], frame).y < 146,
      ]));
    """
    alone, beside, under, edge, lifted = frontier(tmp_path, "clearest", program)
    assert (alone, beside, under) == ([1, -1, 1], [1, 1, 1], [-1, -1, -1])
    assert edge == -1 and lifted
