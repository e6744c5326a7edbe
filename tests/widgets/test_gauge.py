"""The gauge's sentences, and what a preset claims as it is drawn under a curve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from explorer.text import labels
from tests.widgets.test_inspector import run

WORDS = json.dumps({key: labels("en")[key] for key in ("ui", "judges", "components", "metrics")})

BOARD = f"""
  const traits = {{ words: {WORDS}, run: {{ claims: [] }}, series: {{ ranges: {{ score: [-1, 1] }} }} }};
  const board = {{ get: (name) => traits[name] }};
"""


def said(tmp_path: Path, exported: str, program: str) -> Any:
    return run(tmp_path, "curves", exported, BOARD + program)


@pytest.mark.parametrize(
    ("gauge", "words"),
    [
        ({"judge": "", "why": "judge"}, "No judge is held out"),
        ({"judge": "coherence", "why": "values"}, "Nothing has been measured by “coherence” yet"),
        ({"judge": '{"kind": "gendered"}', "why": "flat"}, "to the score or to “recipe”"),
        ({"judge": "good_text", "why": "", "part": None, "total": 7}, "“good text”, have not parted in 7 updates"),
        (
            {"judge": "pets", "why": "", "part": {"update": 12, "lost": 1.26, "gained": 0.04}, "total": 40},
            "They part at update 12: since then the judge, “pets”, has lost 1.3 spreads and the score has gained 0.0.",
        ),
        (
            {"judge": "pets", "why": "", "part": None, "reunion": {"update": 7, "again": 24}, "total": 40},
            "“pets”, parted at update 7 and came together again: since update 24 they have not been apart.",
        ),
        ({}, "Nothing has been measured"),  # before the kernel has said anything
    ],
)
def test_the_gauge_says_what_is_to_be_seen_or_what_is_missing(
    tmp_path: Path, gauge: dict[str, Any], words: str
) -> None:
    program = f"console.log(JSON.stringify(gaugeWords(board, {{ judge: '', why: undefined, ...{json.dumps(gauge)} }})))"
    assert words in said(tmp_path, "gaugeWords", program)


def test_a_claim_is_pale_on_the_side_where_it_wants_the_curve(tmp_path: Path) -> None:
    program = """
      const claim = (metric, least, most) => ({ metric, first: 36, last: 40, least, most });
      const [score, entropy] = ["objective/score", "policy/entropy"];
      traits.run = { claims: [claim(score, 0.9, null), claim(entropy, null, 0.5), claim(score, -9, 0.1)] };
      const pairs = [["score", score], ["grad_norm", "optim/grad_norm"]];
      const charts = pairs.map(([key, metric]) => ({ key, lines: [{ metric }] }));
      const traces = tracesExpected(board, charts, { of: () => "1 2 3" });
      console.log(JSON.stringify(traces.map(({ x, y, xaxis, fill }) => ({ x, y, xaxis, fill }))));
    """
    (trace,) = said(tmp_path, "tracesExpected", program)
    across = [36, 40, 40, 36, 36, None]
    assert trace == {
        "x": across * 2,
        "y": [0.9, 0.9, 1, 1, 0.9, None, -1, -1, 0.1, 0.1, -1, None],
        "xaxis": "x",
        "fill": "toself",
    }


def test_where_score_and_judge_are_to_part_or_to_be_together_all_is_pale(tmp_path: Path) -> None:
    program = """
      const judge = "objective/judge";
      const [least, most, first, last] = [null, null, 19, 20];
      const charts = [{ key: "score", lines: [{ metric: judge }] }];
      const made = (of) => [{ metric: judge, first, last, least, most, of }];
      const found = [made("parted"), made("together"), []].map((claims) => {
        traits.run = { claims };
        const pale = tracesExpected(board, charts, { of: () => "1 2 3" }).map(({ x, y }) => [x, y]);
        const edges = [[9, 0.5], null].map((edge) => expectedEdge(board, { edge }));
        return [pale, claimWords(board, judge, "judge"), ...edges];
      });
      console.log(JSON.stringify(found));
    """
    (parted, together, nothing) = said(tmp_path, "tracesExpected, claimWords, expectedEdge", program)
    pale = [[[19, 20, 20, 19, 19, None], [-1, -1, 1, 1, -1, None]]]
    assert parted == [pale, ["Expected: score and judge part by update 20."], [9, 0.5], None]
    words = "Expected: after update 20 score and judge are together, or together again."
    assert together == [pale, [words], None, None]  # the judge has no edge to fall below
    assert nothing == [[], [], None, None]


def test_a_claim_is_told_in_words(tmp_path: Path) -> None:
    program = """
      const claim = (first, last, least, most) => ({ metric: "policy/entropy", first, last, least, most });
      traits.run = { claims: [claim(26, 30, null, 0.5), claim(1, 2, 1, 2)] };
      console.log(JSON.stringify(claimWords(board, "policy/entropy", "entropy")));
    """
    assert said(tmp_path, "claimWords", program) == [
        "Expected: entropy at most 0.50 on average over updates 26 to 30.",
        "Expected: entropy from 1.00 to 2.00 on average over updates 1 to 2.",
    ]
