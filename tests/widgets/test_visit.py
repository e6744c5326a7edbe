"""Which update a place in the run's charts belongs to, and what a key asks for: run in node."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from explorer.widgets.scripts import script
from tests.node import node

#: Six charts in two rows, 100 by 100 pixels each: the axes of the first reach from 32 to 87 and from 19 to 83.
SIZE = "{ width: 300, height: 200 }"


def ask(expression: str, folder: Path) -> Any:
    """What an expression of the script's functions comes to."""
    source = f"{script('curves')}\nexport {{ goTo, plotBox, updateAt }};"
    (folder / "curves.mjs").write_text(source, encoding="utf-8")
    program = f'import {{ goTo, plotBox, updateAt }} from "./curves.mjs";\nconsole.log(JSON.stringify({expression}));'
    (folder / "ask.mjs").write_text(program, encoding="utf-8")
    done = subprocess.run([node(), "ask.mjs"], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_place_in_a_chart_is_the_nearest_update_of_its_line(tmp_path: Path) -> None:
    # From 0 at x = 32 to 55 at x = 87: a pixel an update. The fourth chart, below the first, has a line of its own.
    places = [[32, 50], [29, 50], [52.4, 19], [60, 83], [87, 50], [232, 50], [42, 150]]
    updates = "(i) => Int32Array.from(i === 3 ? [9, 11] : [1, 10, 20, 30])"
    found = ask(f"{json.dumps(places)}.map(([x, y]) => updateAt({{ x, y }}, {SIZE}, 6, [0, 55], {updates}))", tmp_path)
    assert found == [1, 1, 20, 30, 30, 1, 9]


def test_beside_the_charts_and_in_a_chart_without_updates_there_is_none(tmp_path: Path) -> None:
    places = [[20, 50], [95, 50], [50, 10], [50, 90], [50, 115], [260, 150]]
    updates = "(i) => (i === 5 ? [] : [1, 2])"
    found = ask(f"{json.dumps(places)}.map(([x, y]) => updateAt({{ x, y }}, {SIZE}, 6, [0, 55], {updates}))", tmp_path)
    assert found == [None] * 6


@pytest.mark.parametrize(
    ("key", "asked"),
    [
        ("ArrowRight", {"kind": "walk", "updates": 1}),
        ("ArrowDown", {"kind": "walk", "updates": -1}),
        ("PageUp", {"kind": "walk", "updates": 10}),
        ("Home", {"kind": "scrub", "update": 3}),
        ("End", {"kind": "scrub", "update": 8}),
        ("Enter", None),
        (" ", None),
    ],
)
def test_its_keys_are_those_of_any_slider(key: str, asked: Any, tmp_path: Path) -> None:
    assert ask(f"goTo({json.dumps(key)}, [3, 5, 8])", tmp_path) == asked
