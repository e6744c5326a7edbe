"""The line from the pinned token into the clip picture: worked out in node, around words that stand in its way."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from tests.widgets.test_inspector import run

PANEL = {"left": 100, "right": 500, "top": 0, "bottom": 300}
MARK = {"left": 200, "right": 216, "top": 142, "bottom": 158}


def way(folder: Path, trunk: int, *words: tuple[int, int, int, int]) -> list[list[float]]:
    """The points from the trunk to the mark around words ``(left, right, top, bottom)``."""
    boxes = [dict(zip(("left", "right", "top", "bottom"), word, strict=True)) for word in words]
    given = ", ".join(json.dumps(value) for value in (trunk, MARK, PANEL, boxes))
    found: list[list[float]] = run(folder, "tokens", "wayIn", f"console.log(JSON.stringify(wayIn({given})));")
    return found


def crossed(points: list[list[float]], word: tuple[int, int, int, int]) -> bool:
    """Whether any of the straight stretches runs through the word."""
    left, right, top, bottom = word
    return any(
        min(x1, x2) < right and left < max(x1, x2) and min(y1, y2) < bottom and top < max(y1, y2)
        for (x1, y1), (x2, y2) in itertools.pairwise(points)
    )


def test_where_nothing_is_in_the_way_it_is_straight(tmp_path: Path) -> None:
    assert way(tmp_path, 95) == [[95, 150], [199, 150]]
    assert way(tmp_path, 505) == [[505, 150], [217, 150]]  # from the other side
    assert way(tmp_path, 95, (120, 180, 170, 190)) == [[95, 150], [199, 150]]


def test_it_goes_around_words_by_the_shorter_way(tmp_path: Path) -> None:
    word = (120, 180, 135, 175)
    points: Any = way(tmp_path, 95, word)
    assert not crossed(points, word)
    assert points[-1] == [208, 141]  # above the mark, which is the nearer end of the word
    assert 120 < points[0][1] < 135
    below = way(tmp_path, 95, (120, 180, 60, 160))
    assert below[-1] == [208, 159] and 160 < below[0][1] < 175


def test_no_word_on_the_way_down_either(tmp_path: Path) -> None:
    words = ((120, 180, 135, 165), (190, 240, 110, 134))  # the second one right above the mark
    points = way(tmp_path, 95, *words)
    assert not any(crossed(points, word) for word in words)
    assert points[-1] == [208, 159]


def test_where_words_are_everywhere_it_is_straight(tmp_path: Path) -> None:
    assert way(tmp_path, 95, (101, 199, 0, 300)) == [[95, 150], [199, 150]]
