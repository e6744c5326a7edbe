"""Sorting, filtering, grouping and searching responses, walking by key, and fitting a scale: run in node."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explorer.widgets.scripts import script

#: Four responses of at most three tokens, made by hand. States: 0 padding, 1 inside, 2 outside, 3 without gradient.
BATCH: dict[str, Any] = {
    "update": 3,
    "finished": True,
    "rows": 4,
    "length": 3,
    "prompts": ["The cat", "A dog", "The cat", "A dog"],
    "tokens": [[" sat", ".", " Ca"], [" ran"], [" ate", "\n"], [" and", " a cat", "!"]],
    "scores": [0.5, -0.25, 0.5, 0.75],
    "components": {"length": [0.0, 1.0, -1.0, 0.5]},
    "states": [1, 1, 2, 3, 0, 0, 1, 1, 0, 2, 3, 3],
    "arrays": {
        "ratio": [1.0, 1.1, 1.5, 0.5, 0.0, 0.0, 0.9, 1.0, 0.0, 2.0, 0.7, 4.0],
        "log_ratio": [0.0, 0.1, 0.4, -0.7, 0.0, 0.0, -0.1, 0.0, 0.0, 0.7, -0.4, 1.4],
        "ref_kl": [0.1, 0.1, 0.1, 0.2, 0.0, 0.0, -0.5, 0.3, 0.0, 0.0, 0.0, 0.9],
    },
}

PROGRAM = """
  import * as page from "./tokens.mjs";
  Object.assign(globalThis, page);
  import { readFileSync } from "node:fs";
  const { batch, ask } = JSON.parse(readFileSync("asked.json", "utf-8"));
  batch.states = new DataView(Uint8Array.from(batch.states).buffer);
  for (const name in batch.arrays) batch.arrays[name] = new DataView(Float32Array.from(batch.arrays[name]).buffer);
  const board = (traits) => ({
    ...traits, get: (name) => (name === "batch" ? batch : traits[name]), set: (name, value) => (traits[name] = value),
    save_changes: () => {},
  });
  console.log(JSON.stringify(eval(ask)));
"""


def ask(expression: str, folder: Path, **changes: Any) -> Any:
    """What an expression of the script's functions comes to, with ``batch`` as above but for the changes."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node on the PATH: the order was NOT worked out")
    names = "orderOf, metricOf, sortsOf, filtersOf, cutOf, rangeWords, fittedEnds, foundIn, walk, samplesOf, clipWord"
    (folder / "tokens.mjs").write_text(f"{script('tokens')}\nexport {{ {names} }};", encoding="utf-8")
    (folder / "asked.json").write_text(json.dumps({"batch": BATCH | changes, "ask": expression}), encoding="utf-8")
    (folder / "ask.mjs").write_text(PROGRAM, encoding="utf-8")
    done = subprocess.run([node, "ask.mjs"], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("by", "highest_first"),
    [
        ("sampled", [0, 1, 2, 3]),
        ("score", [3, 0, 2, 1]),  # 0 and 2 score alike and stay as they were sampled
        ("component/length", [1, 3, 0, 2]),
        ("length", [0, 3, 2, 1]),
        ("ref_kl", [3, 0, 1, 2]),  # sums: 0.9, 0.3, 0.2, -0.2
        ("outside", [1, 3, 0, 2]),  # 1, 1, 1/3, 0
        ("zero", [1, 3, 0, 2]),  # 1, 2/3, 0, 0
        ("moved", [3, 1, 0, 2]),  # 0.83, 0.7, 0.17, 0.05
    ],
)
def test_responses_are_sorted_both_ways(by: str, highest_first: list[int], tmp_path: Path) -> None:
    found = ask(f"[true, false].map((d) => orderOf(batch, {{ by: '{by}', descending: d }}).order)", tmp_path)
    assert found[0] == highest_first
    values = ask(f"'{by}' === 'sampled' ? [0, 0, 0, 0] : metricOf(batch, '{by}')", tmp_path)
    assert found[1] == sorted(range(4), key=lambda row: (values[row], row))


def test_every_menu_entry_sorts(tmp_path: Path) -> None:
    entries = ask("sortsOf(batch)", tmp_path)
    assert {"score", "component/length", "length", "ref_kl", "outside", "zero", "moved", "shown"} <= set(entries)
    shown = "[0, 0, 0, 9, 0, 0, 1, 1, 0, 3, 3, 3]"
    orders = ask(f"sortsOf(batch).map((by) => orderOf(batch, {{ by }}, {shown}).order)", tmp_path)
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    assert orders[entries.index("shown")] == [1, 3, 2, 0]  # by the mean of what colours them: 9, 3, 1, 0


def test_what_is_not_there_yet_leaves_the_responses_as_sampled(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"scores": None, "components": {}, "arrays": {}}
    asked = "['score', 'component/length', 'ref_kl', 'moved', 'shown'].map((by) => orderOf(batch, { by }).order)"
    assert ask(asked, tmp_path, **changes) == [[0, 1, 2, 3]] * 5
    holed = ask("orderOf(batch, { by: 'score' }).order", tmp_path, scores=[None, 1.0, None, 2.0])
    assert holed == [3, 1, 0, 2]  # without a score: last


@pytest.mark.parametrize(("only", "left"), [("all", [0, 1, 2, 3]), ("outside", [0, 1, 3]), ("zero", [1, 3])])
def test_a_filter_keeps_the_responses_with_such_a_token(only: str, left: list[int], tmp_path: Path) -> None:
    assert ask(f"orderOf(batch, {{ only: '{only}' }}).order", tmp_path) == left


@pytest.mark.parametrize(
    ("by", "limit", "at_least", "at_most"),
    [
        ("score", 0.5, [0, 2, 3], [0, 1, 2]),  # the limit itself is within, both ways
        ("score", -0.5, [0, 1, 2, 3], []),
        ("component/length", 0.25, [1, 3], [0, 2]),
        ("length", 3, [0, 3], [0, 1, 2, 3]),
        ("ref_kl", 0.25, [0, 3], [1, 2]),
        ("outside", 0.5, [1, 3], [0, 2]),
        ("zero", 0.5, [1, 3], [0, 2]),
        ("moved", 0.5, [1, 3], [0, 2]),
        ("shown", 2, [1, 3], [0, 2]),
    ],
)
def test_responses_are_filtered_by_any_number(
    by: str, limit: float, at_least: list[int], at_most: list[int], tmp_path: Path
) -> None:
    shown = "[0, 0, 0, 9, 0, 0, 1, 1, 0, 3, 3, 3]"
    limits = json.dumps({f"{by}/ratio" if by == "shown" else by: {"limit": limit}})
    asked = (
        f"[true, false].map((least) => {{ const cut = cutOf({{ only: 'by/{by}', limits: {limits} }}, 'ratio'); "
        f"return orderOf(batch, {{ cut: {{ ...cut, least }} }}, {shown}).order; }})"
    )
    assert ask(asked, tmp_path) == [at_least, at_most]


def test_whatever_sorts_filters_and_beside_it_stand_the_lowest_and_the_highest(tmp_path: Path) -> None:
    sorts, filters = ask("[sortsOf(batch), filtersOf(batch)]", tmp_path)
    assert filters == ["all", "outside", "zero", *(f"by/{by}" for by in sorts if by != "sampled")]
    found = ask("orderOf(batch, { only: 'by/score', cut: { by: 'score', least: true, limit: null } })", tmp_path)
    assert found["order"] == [0, 1, 2, 3]  # no limit yet
    assert found["range"] == {"low": -0.25, "high": 0.75, "middle": 0.5}
    words = ask(
        "[[-0.25, 0.75], [3, 24], [0.00012, 0.00034], [7, 7]].map(([low, high]) => rangeWords({ low, high }))", tmp_path
    )
    assert [(one["low"], one["high"]) for one in words] == [
        ("−0.25", "0.75"),
        ("3", "24"),
        ("0.0001", "0.0003"),
        ("7", "7"),
    ]


def test_a_number_that_the_batch_has_not_got_hides_nothing(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"scores": None, "components": {}, "arrays": {}}
    asked = (
        "['score', 'component/length', 'ref_kl', 'shown']"
        ".map((by) => orderOf(batch, { cut: { by, least: true, limit: 9 } }))"
    )
    for found in ask(asked, tmp_path, **changes):
        assert (found["order"], found["range"]) == ([0, 1, 2, 3], None)
    holed = ask(
        "orderOf(batch, { cut: { by: 'score', least: false, limit: 1.5 } }).order",
        tmp_path,
        scores=[None, 1.0, None, 2.0],
    )
    assert holed == [1]  # where others have the number, one without it is not within


def test_each_number_keeps_its_limit_and_the_mean_of_the_colour_one_a_quantity(tmp_path: Path) -> None:
    limits = "{ score: { least: false, limit: 0.5 }, 'shown/ratio': { limit: 1.1 } }"
    cuts = ask(
        "[['by/score', 'ratio'], ['by/shown', 'ratio'], ['by/shown', 'entropy'], ['by/length', 'ratio'], "
        f"['zero', 'ratio']].map(([only, quantity]) => cutOf({{ only, limits: {limits} }}, quantity))",
        tmp_path,
    )
    assert cuts == [
        {"by": "score", "key": "score", "least": False, "limit": 0.5},
        {"by": "shown", "key": "shown/ratio", "least": True, "limit": 1.1},
        {"by": "shown", "key": "shown/entropy", "least": True, "limit": None},
        {"by": "length", "key": "length", "least": True, "limit": None},
        None,
    ]


def test_text_is_found_across_tokens_and_in_prompts(tmp_path: Path) -> None:
    found = ask(
        "(({ order, found, matches }) => "
        "[order, matches, found.map((f) => [f.count, f.prompt, [...f.tokens], f.first])])"
        "(orderOf(batch, { find: 'CA' }))",
        tmp_path,
    )
    assert found == [
        [0, 2, 3],
        4,
        [[2, [[4, 6]], [2], 2], [0, [], [], None], [1, [[4, 6]], [], None], [1, [], [1], 1]],
    ]
    across = ask("[...orderOf(batch, { find: 't. c' }).found[0].tokens]", tmp_path)
    assert across == [0, 1, 2]  # "sa-t", ".", " C-a"
    assert ask("orderOf(batch, { find: '' }).order", tmp_path) == [0, 1, 2, 3]
    assert ask("orderOf(batch, { find: 'cow' }).order", tmp_path) == []


@pytest.mark.parametrize("signs", [".", "!", "(", "[a", "a|b", "\\", "^", "$", "a-b", "*+?", "{2}", "/"])
def test_signs_are_only_text(signs: str, tmp_path: Path) -> None:
    prompts = ["plain", f"x{signs}y", "plain", "plain"]
    found = ask(f"orderOf(batch, {{ find: {json.dumps(signs)} }}).found.map((f) => f.count)", tmp_path, prompts=prompts)
    assert found == [
        f"{prompt}{''.join(tokens)}".count(signs) for prompt, tokens in zip(prompts, BATCH["tokens"], strict=True)
    ]


def test_groups_keep_their_order_inside_and_begin_with_the_first(tmp_path: Path) -> None:
    found = ask("orderOf(batch, { by: 'score', grouped: true })", tmp_path)
    assert found["groups"] == [{"prompt": "A dog", "rows": [3, 1]}, {"prompt": "The cat", "rows": [0, 2]}]
    assert found["order"] == [3, 1, 0, 2]
    assert ask("orderOf(batch, { by: 'score' }).groups", tmp_path) is None


def test_the_order_belongs_to_the_samples_and_not_to_how_they_are_scored(tmp_path: Path) -> None:
    stamp = ask("samplesOf(batch)", tmp_path)
    again: dict[str, Any] = {"scores": [9.0, 8.0, 7.0, 6.0], "states": [1] * 12, "arrays": {}}
    assert ask("samplesOf(batch)", tmp_path, **again) == stamp
    others: tuple[dict[str, Any], ...] = (
        {"update": 4},
        {"tokens": [[" sat", ".", " Cu"], *BATCH["tokens"][1:]]},
        {"scores": None},
        {"finished": False},
    )
    for other in others:
        assert ask("samplesOf(batch)", tmp_path, **other) != stamp


WALK = """((keys, pinned, order) => {
  const page = board({ pinned });
  page.exStrip = order && { order };
  return keys.map((key) => [walk(page, key), page.get("pinned")]);
})"""


def test_arrows_walk_in_the_order_on_screen(tmp_path: Path) -> None:
    def walked(keys: list[str], pinned: list[int], order: list[int] | None) -> list[Any]:
        return list(ask(f"{WALK}({json.dumps(keys)}, {pinned}, {json.dumps(order)})", tmp_path))

    down = walked(["ArrowDown"] * 4, [3, 2], [3, 0, 1])
    assert down == [[True, [0, 2]], [True, [1, 0]], [True, [1, 0]], [True, [1, 0]]]  # a shorter response; the end
    assert walked(["ArrowUp", "ArrowLeft", "ArrowRight"], [0, 1], [3, 0, 1])[-1] == [True, [3, 1]]
    assert walked(["ArrowRight"], [2, 1], [3, 0, 1]) == [[True, [3, 0]]]  # the pinned one was filtered away
    assert walked(["ArrowDown"], [], [3, 0, 1]) == [[True, [3, 0]]]
    assert walked(["ArrowDown"], [0, 0], None) == [[True, [1, 0]]]  # before the strip was ever drawn
    assert walked(["ArrowDown"], [0, 0], []) == [[False, [0, 0]]]
    assert walked(["Escape", "Escape"], [0, 0], [0]) == [[True, []], [False, []]]  # the second Esc is the notebook's


def test_a_token_is_in_one_of_the_clip_states(tmp_path: Path) -> None:
    words = ask("[[0, 0], [0, 2], [1, 0], [3, 0], [3, 1], [3, 2]].map((token) => clipWord(batch, token))", tmp_path)
    assert words == ["inside", "above_flows", "below_zero", "above_flows", "below_zero", "above_zero"]
    advantages = [1.5, -0.5, 1.0, -1.0, 0.0, 0.0, 0.0, 2.0, 0.0, -1.0, 1.0, 1.0]
    asked = "[[0, 0], [0, 1], [2, 0], [0, 2], [3, 2]].map((token) => clipWord(batch, token))"
    words = ask(asked, tmp_path, arrays=BATCH["arrays"] | {"advantage": advantages})
    assert words == ["inside_up", "inside_down", "inside", "above_flows", "above_zero"]  # pushed nowhere: neither
    gspo = ask("[[1, 0], [3, 1]].map((token) => clipWord(batch, token))", tmp_path, response_ratios=[1, 1.4, 1, 0.6])
    assert gspo == ["above_zero", "below_zero"]  # the response's ratio counts, not the token's


@pytest.mark.parametrize(
    ("kind", "values", "ends"),
    [
        (
            "ratio",
            [1.0, 1.0, 1.25, 1.0, 0, 0, 0.5, 1.0, 0, 1.0, 1.0, 1.0],
            [0.5, 2.0],
        ),  # as far as the furthest, both ways
        ("diverging", [0.1, 0.2, -0.4, 0.0, 9, 9, 0.3, 0.0, 9, 0.0, 0.0, 0.0], [-0.4, 0.4]),  # padding has no say
        ("sequential", [0.1, 0.2, 0.7, 0.0, 9, 9, 0.3, 0.0, 9, 0.0, 0.0, 0.0], [0.0, 0.7]),
    ],
)
def test_a_scale_is_fitted_about_its_middle(kind: str, values: list[float], ends: list[float], tmp_path: Path) -> None:
    asked = f"fittedEnds({{ kind: '{kind}', low: 0, high: 5 }}, batch, {values})"
    assert ask(asked, tmp_path) == pytest.approx(ends)


def test_the_outermost_fiftieth_does_not_stretch_a_scale(tmp_path: Path) -> None:
    values = np.linspace(0.0, 1.0, 100).tolist()
    values[99] = 50.0
    long: dict[str, Any] = {"tokens": [["a"] * 100], "prompts": ["x"], "rows": 1, "length": 100, "states": [1] * 100}
    scale = "{ kind: 'sequential', low: 0, high: 5 }"
    assert ask(f"fittedEnds({scale}, batch, {values})", tmp_path, **long) == pytest.approx([0.0, values[97]])
    assert ask(f"fittedEnds({scale}, batch, {[0.0] * 100})", tmp_path, **long) is None  # nothing to fit to
    assert ask(f"fittedEnds({scale}, batch, null)", tmp_path) is None
