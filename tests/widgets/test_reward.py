"""The stacked bars and the form of the reward's panel: run in node."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from explorer.recipes import KINDS, checked_recipes
from explorer.widgets.scripts import script
from tests.node import node

NAMES = "stretches, reachOf, letterOf, recipeOf, numberOf, freeName"


def ask(expression: str, folder: Path) -> Any:
    """What an expression of the script's functions comes to."""
    kinds = json.dumps({kind: [*asked, *besides] for kind, (asked, besides) in KINDS.items()})
    (folder / "reward.mjs").write_text(f"{script('reward')}\nexport {{ {NAMES} }};", encoding="utf-8")
    program = (
        f'import {{ {NAMES} }} from "./reward.mjs";\nconst kinds = {kinds};\nconsole.log(JSON.stringify({expression}));'
    )
    (folder / "ask.mjs").write_text(program, encoding="utf-8")
    done = subprocess.run([node(), "ask.mjs"], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_positive_parts_lie_right_of_zero_and_negative_ones_left_in_the_order_of_the_letters(tmp_path: Path) -> None:
    parts = ask(
        "stretches(['a', 'b', 'c', 'd', 'e'], { a: [0, 0.5], b: [0, -1], c: [0, 0.25], d: [0, -0.5], e: [0, 1] },"
        " { a: 1, b: 0.5, c: -2, d: -1 }, 1)",
        tmp_path,
    )
    found = [(part["nth"], part["from"], part["to"]) for part in parts]
    assert found == [(0, 0, 0.5), (1, 0, -0.5), (2, -0.5, -1.0), (3, 0.5, 1.0)]  # e has no weight
    assert sum(part["to"] - part["from"] for part in parts) == 0.5 - 0.5 - 0.5 + 0.5


def test_a_component_without_values_is_left_out(tmp_path: Path) -> None:
    assert ask("stretches(['new', 'a'], { a: [0.5] }, { new: 1, a: 1 }, 0).map(({ nth }) => nth)", tmp_path) == [1]


@pytest.mark.parametrize(
    ("values", "reach"),
    [
        ("[0.2, -0.91]", 1),
        ("[1]", 1),
        ("[1.2]", 1.5),
        ("[-2.4]", 3),
        ("[31]", 50),
        ("[0, NaN]", 1),
        ("[]", 1),
        ("[0.034]", 0.05),
    ],
)
def test_the_scale_takes_all_in_and_steps_seldom(values: str, reach: float, tmp_path: Path) -> None:
    assert ask(f"reachOf({values})", tmp_path) == pytest.approx(reach)


def test_letters_go_on_as_numbers(tmp_path: Path) -> None:
    assert ask("[0, 25, 26].map(letterOf)", tmp_path) == ["A", "Z", "1"]


@pytest.mark.parametrize(
    ("kind", "typed", "recipe"),
    [
        ("expression", {"expression": " words + 1"}, {"expression": " words + 1"}),
        ("keywords", {"words": "dog, a cat ，兔子,,", "enough": "1"}, {"words": ["dog", "a cat", "兔子"], "enough": 1}),
        ("keywords", {"words": "dog", "enough": ""}, {"words": ["dog"]}),
        ("format", {"pattern": "\\bdog$"}, {"pattern": "\\bdog$"}),
        ("repetition", {}, {}),
        ("copy", {"of": "length", "length_target": "12"}, {"of": "length", "length_target": 12}),
        ("copy", {"of": "sentiment", "length_target": "12"}, {"of": "sentiment"}),
    ],
)
def test_what_is_typed_becomes_a_recipe(kind: str, typed: Any, recipe: Any, tmp_path: Path) -> None:
    found = ask(f"recipeOf(kinds, {json.dumps(kind)}, (key) => ({json.dumps(typed)})[key] ?? '')", tmp_path)
    assert found == {"kind": kind, **recipe}
    assert dict(checked_recipes({"mine": found})["mine"]) == found


def test_what_is_no_number_stays_as_typed_for_the_kernel_to_refuse(tmp_path: Path) -> None:
    assert ask("['−0,5', ' 2 ', 'two', ''].map(numberOf)", tmp_path) == [-0.5, 2, "two", ""]
    assert (
        ask("recipeOf(kinds, 'keywords', (key) => ({ words: 'a', enough: 'two' })[key])", tmp_path)["enough"] == "two"
    )


def test_a_duplicate_gets_a_free_name(tmp_path: Path) -> None:
    assert ask("[freeName('loud', ['loud']), freeName('loud', ['loud', 'loud 2'])]", tmp_path) == ["loud 2", "loud 3"]
