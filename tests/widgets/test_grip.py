"""What is told of a control that a pointer holds, and how it is let go: run in node, on a window of the test's own."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from explorer.widgets.scripts import script
from tests.node import node

#: Two pointers, 1 and 2, on a window and a page where nothing else happens.
PROGRAM = """
  globalThis.window = new EventTarget();
  globalThis.document = new EventTarget();
  const { gripOf } = await import("./controls.mjs");
  const told = [];
  const grip = gripOf((name, value, held) => told.push([name, value, held]));
  const fire = (target, name, values = {}) => target.dispatchEvent(Object.assign(new Event(name), values));
  const down = (name, pointerId = 1, button = 0) => grip.take(name, { button, pointerId });
  const up = (pointerId = 1, name = "pointerup") => fire(window, name, { pointerId });
"""


def told(program: str, folder: Path) -> list[list[Any]]:
    """``[field, value, held]`` of each edit that a program has told the kernel of."""
    (folder / "controls.mjs").write_text(f"{script('controls')}\nexport {{ gripOf }};", encoding="utf-8")
    (folder / "ask.mjs").write_text(f"{PROGRAM}\n{program}\nconsole.log(JSON.stringify(told));", encoding="utf-8")
    done = subprocess.run([node(), "ask.mjs"], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    found: list[list[Any]] = json.loads(done.stdout)
    return found


PASSING = [["a", 1, True], ["a", 2, True]]
LET_GO = [["a", 2, False]]


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("up();", LET_GO),
        ("up(1, 'pointercancel');", LET_GO),
        ("up(1, 'lostpointercapture');", LET_GO),
        ("fire(window, 'pointermove', { pointerId: 1, buttons: 0 });", LET_GO),  # let go outside of the window
        ("fire(window, 'pointermove', { pointerId: 1, buttons: 1 });", []),
        ("fire(window, 'blur');", LET_GO),
        ("fire(window, 'pagehide');", LET_GO),
        ("fire(document, 'visibilitychange');", LET_GO),
        ("grip.drop('a');", LET_GO),
        ("grip.leave();", LET_GO),
        ("up(2);", []),  # another finger
        ("grip.drop('b');", []),
    ],
)
def test_a_drag_ends_with_its_last_value_let_go(end: str, expected: list[Any], tmp_path: Path) -> None:
    assert told(f"down('a'); grip.move('a', 1); grip.move('a', 2); {end}", tmp_path) == PASSING + expected


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("grip.move('a', 1);", [["a", 1, False]]),  # a key
        ("down('a', 1, 2); grip.move('a', 1);", [["a", 1, False]]),  # the other button drags nothing
        ("down('a'); up(); up(1, 'lostpointercapture'); grip.drop('a');", []),  # held, and not moved
        ("down('a'); up(); grip.move('a', 1);", [["a", 1, False]]),
        # Back in the window with the pointer still down, the drag goes on.
        (
            "down('a'); grip.move('a', 1); fire(window, 'blur'); grip.move('a', 2); up();",
            [["a", 1, True], ["a", 1, False], ["a", 2, True], ["a", 2, False]],
        ),
        (
            "down('a', 1); down('b', 2); grip.move('a', 1); grip.move('b', 3); up(2); grip.move('a', 2); up(1);",
            [["a", 1, True], ["b", 3, True], ["b", 3, False], ["a", 2, True], ["a", 2, False]],
        ),
        ("grip.leave(); down('a'); grip.move('a', 1); up();", [["a", 1, True]]),  # the view is gone, and hears nothing
    ],
)
def test_what_is_told_of_a_control(program: str, expected: list[Any], tmp_path: Path) -> None:
    assert told(program, tmp_path) == expected


def test_whatever_happens_nothing_stays_held_once_no_pointer_is_down(tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    draw = random.Random(seed)
    does = [f"down({name!r}, {pointer});" for name in "ab" for pointer in (1, 2)]
    does += [f"grip.move({name!r}, {value});" for name in "ab" for value in range(1, 9)]
    does += [f"up({pointer}, {how!r});" for pointer in (1, 2) for how in ("pointerup", "pointercancel")]
    does += ["fire(window, 'blur');", "grip.drop('a');"]
    last: dict[str, list[Any]] = {}
    for edit in told("".join(draw.choices(does, k=400)) + "up(1); up(2);", tmp_path):
        last[edit[0]] = edit
    assert len(last) == 2
    assert not any(held for _, _, held in last.values())
