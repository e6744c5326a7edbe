"""The labels behind "Exploit your own labels": the recipe that ships is what they teach the policy that ships."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from explorer.bundled import asset_path
from explorer.ppo.preferences.lesson import PAIRS, lesson_recipe
from explorer.ppo.preferences.packing import unpack
from explorer.ppo.state import weights_digest
from explorer.presets import PRESETS

if TYPE_CHECKING:
    from explorer.ppo.policy import Policy


def test_the_recipe_that_ships_is_of_the_policy_that_ships(policy: Policy) -> None:
    recipe = json.loads(asset_path("own_labels.json").read_text("utf-8"))
    assert recipe["policy"] == weights_digest(policy.frozen_copy().lm)
    assert recipe["decided"] == PAIRS
    assert dict(PRESETS["exploit_your_own_labels"].components["own labels"]) == recipe


@pytest.mark.slow
def test_it_is_what_the_labels_teach(policy: Policy) -> None:
    shipped = json.loads(asset_path("own_labels.json").read_text("utf-8"))
    made = json.loads(json.dumps(lesson_recipe(policy.frozen_copy())))
    assert made.keys() == shipped.keys()
    assert made["held_out"] == pytest.approx(shipped["held_out"])
    assert made["offset"] == pytest.approx(shipped["offset"], rel=1e-2)
    ours, theirs = (unpack(recipe["head"], "head") * recipe["unit"] for recipe in (made, shipped))
    assert ours.shape == theirs.shape
    # Kept in half precision, of which a fit that ends elsewhere in its last digits may turn one.
    assert (ours - theirs).abs().max() < 5e-3 * theirs.abs().max()
    numbers = ("head", "unit", "offset", "held_out", "wordless")
    assert {k: v for k, v in made.items() if k not in numbers} == {k: v for k, v in shipped.items() if k not in numbers}
    assert made["wordless"] == pytest.approx(shipped["wordless"], rel=1e-2)
