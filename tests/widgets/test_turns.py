"""Who draws when: run in node, with a clock and frames of the test's own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import explorer.widgets
from tests.node import node

TURNS = (Path(explorer.widgets.__file__).parent / "turns.js").read_text(encoding="utf-8")

#: A page whose clock moves only as frames and timers come; ``until(t)`` lets it run to a time, in milliseconds.
PAGE = """
let now = 0;
const [drawn, faults] = [[], []];
let due = [];
globalThis.performance = { now: () => now };
globalThis.reportError = (error) => faults.push(error.message);
globalThis.requestAnimationFrame = (go) => due.push([now + 16, go]);
globalThis.setTimeout = (go, after) => due.push([now + after, go]);
const until = (time) => {
  for (;;) {
    due.sort(([a], [b]) => a - b);
    if (!due.length || due[0][0] > time) break;
    const [at, go] = due.shift();
    now = at;
    go();
  }
  now = time;
};
const turns = turnsOf({});
const view = (key, cost = 1) => turns.ask(key, () => { drawn.push([key, now]); now += cost; }, key);
const names = () => drawn.map(([key]) => key);
"""


def run(program: str) -> dict[str, list[object]]:
    """What the page has drawn after ``program``: ``[[view, milliseconds], …]``, and the faults it has met."""
    source = f"{TURNS}{PAGE}{program}\nconsole.log(JSON.stringify({{ drawn, faults }}));"
    done = subprocess.run([node(), "-e", source], capture_output=True, text=True, check=True)
    answer: dict[str, list[object]] = json.loads(done.stdout)
    return answer


def names(drawn: list[object]) -> list[object]:
    """The views in the order in which they were drawn."""
    return [view[0] for view in drawn if isinstance(view, list)]


def test_the_clip_picture_comes_first_and_a_full_frame_leaves_the_rest_to_the_next() -> None:
    drawn = run("view('curves'); view('tokens', 9); view('objective'); until(100);")["drawn"]
    assert drawn == [["objective", 16], ["tokens", 17], ["curves", 42]]


def test_a_view_asked_twice_draws_once() -> None:
    assert names(run("view('kl'); view('kl'); until(100);")["drawn"]) == ["kl"]


def test_a_view_that_fails_is_reported_and_harms_no_other() -> None:
    program = "turns.ask('kl', () => { throw new Error('broken') }, 'kl'); view('curves'); until(100);"
    assert run(program) == {"drawn": [["curves", 16]], "faults": ["broken"]}


def test_a_slider_that_is_moved_is_answered_before_an_update_is_drawn() -> None:
    program = "turns.hold(); view('tokens'); until(50); view('objective'); until(400);"
    drawn = run(program)["drawn"]
    assert names(drawn) == ["objective", "tokens"]
    assert drawn[1][1] >= 120  # type: ignore[index]


def test_a_slider_that_never_rests_keeps_no_view_waiting_for_long() -> None:
    program = "view('tokens'); for (let t = 5; t < 1000; t += 5) { turns.hold(); view('tokens'); until(t); }"
    drawn = run(f"until(1); turns.hold(); {program}")["drawn"]
    times = [view[1] for view in drawn]  # type: ignore[index]
    assert 2 <= len(times) <= 4
    assert all(later - earlier <= 340 for earlier, later in zip([1, *times], times, strict=False))


def test_a_view_that_goes_is_not_drawn() -> None:
    assert run("view('kl'); turns.drop('kl'); until(100);")["drawn"] == []
