"""The ghost of a what-if worked out in node: what was elsewhere, and how an old number stands beside a new one."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from explorer.widgets.scripts import script
from tests.node import node

EXPORTED = "ghostOf, otherEdges, otherCurve, turnedTokens, wasAndIs, outlines, sentence, outcome"
PROGRAM = """
  import * as page from "./objective.mjs";
  const view = (values, Type = Float32Array) => new DataView(Type.from(values).buffer);
  const boardOf = (traits) => ({ get: (name) => traits[name] });
  const words = JSON.parse(process.argv[2]);
"""


def work_out(folder: Path, program: str, **given: Any) -> Any:
    """What a program, which has ``given``, puts in ``answer``."""
    (folder / "objective.mjs").write_text(script("objective") + f"\nexport {{ {EXPORTED} }};", encoding="utf-8")
    givens = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in given.items())
    source = f"{PROGRAM}{givens}let answer;\n{program}\nconsole.log(JSON.stringify(answer));"
    (folder / "ask.mjs").write_text(source, encoding="utf-8")
    words = {"ui": {"tokens_outside": {kind: f"{kind}: {{outside}} of {{total}}, {{zero}}" for kind in KINDS}}}
    done = subprocess.run([node(), "ask.mjs", json.dumps(words)], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


KINDS = ("ratio", "was_ratio", "response", "was_response")
CLIP = {"clip": [0.8, 1.2], "objective": "clip", "pull_limit": None}


@pytest.mark.parametrize(
    ("rescored", "update", "there"),
    [({"clip_range": [0.2, 0.1]}, 3, True), ({}, 3, False), ({"gamma": [1, 0.5]}, 4, False)],
)
def test_there_is_a_ghost_only_of_the_update_on_screen_and_only_while_it_is_re_scored(
    tmp_path: Path, rescored: dict[str, Any], update: int, there: bool
) -> None:
    program = "answer = page.ghostOf(boardOf({ ghost: { update: 3 }, batch: { update, rescored } })) !== null;"
    assert work_out(tmp_path, program, rescored=rescored, update=update) is there
    assert work_out(tmp_path, "answer = page.ghostOf(boardOf({ ghost: {}, batch: {} }));") is None


def test_only_edges_that_were_elsewhere_are_drawn(tmp_path: Path) -> None:
    program = "answer = then.map((ghost) => [1, -1].map((sign) => page.otherEdges(now, ghost, sign)));"
    then = [CLIP, CLIP | {"clip": [0.8, 1.3]}, CLIP | {"clip": [0.9, 1.1]}, CLIP | {"pull_limit": 3.0}]
    assert work_out(tmp_path, program, now=CLIP, then=then) == [
        [[], []],
        [[1.3], [1.3]],
        [[0.9, 1.1], [0.9, 1.1]],
        [[], [3.0]],  # for A < 0 alone
    ]


def test_a_curve_is_drawn_only_where_it_was_another(tmp_path: Path) -> None:
    program = """
      const own = (positive) => ({ curve: { positive: view(positive) } });
      answer = [[1, 2], [1, 3]].map((then) => page.otherCurve(own([1, 2]), own(then), "positive"));
    """
    assert work_out(tmp_path, program) == [False, True]


def test_the_tokens_that_have_turned_are_marked_and_counted(tmp_path: Path) -> None:
    program = """
      const states = (values) => ({ states: view(values, Uint8Array) });
      const { turned, count } = page.turnedTokens(states([1, 2, 3, 0, 1]), states([1, 3, 3, 0, 2]));
      answer = { turned: [...turned], count, none: page.turnedTokens(states([1]), null) };
    """
    assert work_out(tmp_path, program) == {"turned": [0, 1, 0, 0, 1], "count": 2, "none": None}


def test_the_old_number_stands_beside_the_new_one_where_it_was_another(tmp_path: Path) -> None:
    program = "answer = [[44, 61], [5, 5], [undefined, 7]].map((pair) => page.wasAndIs(...pair));"
    assert work_out(tmp_path, program) == ["44 → 61", "5", "7"]


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ({"tokens": 768, "outside": 44, "zero": 17}, "was_ratio: 44 → 61 of 768, 17 → 30"),
        ({"tokens": 768, "outside": 61, "zero": 17}, "was_ratio: 61 of 768, 17 → 30"),
        ({"tokens": 768, "outside": 61, "zero": 30}, "ratio: 61 of 768, 30"),
        (None, "ratio: 61 of 768, 30"),
    ],
)
def test_the_head_says_what_it_was_and_what_it_is(tmp_path: Path, then: dict[str, int] | None, said: str) -> None:
    program = """
      const counts = { tokens: 768, outside: 61, zero: 30 };
      const batch = { ...clip, update: 1, counts, rescored: { gamma: [1, 0.5] } };
      answer = page.sentence(boardOf({ words, batch, ghost: then ? { update: 1, counts: then } : {} }), batch);
    """
    assert work_out(tmp_path, program, clip=CLIP, then=then) == said


def test_what_a_token_came_to_under_either_scoring(tmp_path: Path) -> None:
    # rho = 1.5, A = 2: held at 1.2 * 2 before; the plain 1.5 * 2 where nothing clips.
    program = """
      const scoring = (own, state) => ({ ...own, states: view([state], Uint8Array), response_ratios: null });
      const both = [scoring(clip, 3), scoring({ ...clip, objective: "unclipped" }, 2)];
      const found = both.map((own) => page.outcome(own, 0, 0, 1.5, 2, 0.1));
      answer = found.map(({ total, verdict }) => [total, verdict]);
    """
    held, free = work_out(tmp_path, program, clip=CLIP)
    assert held == [pytest.approx(2.4), "no_gradient"]
    assert free == [pytest.approx(3.0), "gradient_flows"]
