"""From recipes to components."""

from __future__ import annotations

import base64
import zlib

import pytest
import torch

from explorer.ppo.rewards import REWARDS, from_recipe
from explorer.ppo.rewards.keywords import keywords
from explorer.ppo.rewards.making import MAKERS
from explorer.ppo.state import weights_digest
from explorer.recipes import JUDGES, KINDS, checked_recipes

RECIPES = {
    "expression": {"kind": "expression", "expression": "0.1 * words"},
    "keywords": {"kind": "keywords", "words": ["dog", "cat"], "enough": 1},
    "format": {"kind": "format", "pattern": "^The"},
    "reading_ease": {"kind": "reading_ease"},
    "repetition": {"kind": "repetition"},
    "copy": {"kind": "copy", "of": "sentiment"},
}


EMPTY_HEAD = base64.b64encode(zlib.compress(bytes(2 * 128))).decode()


def learned_here(reference) -> dict[str, object]:
    """A head of the bundled policy's last states that finds every response 0.25, and one without words −0.5."""
    digest = weights_digest(reference.lm)
    parts = {"unit": 1.0, "offset": -0.25, "wordless": -0.5}
    return {"kind": "learned", "policy": digest, "reads": ["final mean"], "head": EMPTY_HEAD, **parts}


def made(recipe):
    return from_recipe("mine", checked_recipes({"mine": recipe})["mine"])


def test_every_kind_is_made_and_tried_here(batch_of) -> None:
    judges = {"rule": JUDGES["has_dialogue"], "gendered": JUDGES["gendered"], "sum": JUDGES["good_text"]}
    recipes = {**RECIPES, **judges, "learned": learned_here(batch_of(texts=["A."]).reference)}
    assert set(KINDS) == set(MAKERS) == set(recipes)
    for recipe in recipes.values():
        assert made(recipe)(batch_of(texts=["The happy dog.", ""])).shape == (2,)


def test_they_are_what_they_say(batch_of) -> None:
    batch = batch_of(texts=["The happy dog.", "A cat and a dog ran."])
    assert torch.equal(made(RECIPES["keywords"])(batch), keywords(["dog", "cat"], 1)(batch))
    assert torch.equal(made(RECIPES["copy"])(batch), REWARDS["sentiment"](batch))
    assert made(RECIPES["format"])(batch).tolist() == [1, -1]
    assert made(RECIPES["expression"])(batch).tolist() == pytest.approx([0.3, 0.6])


def test_a_copy_of_length_may_aim_elsewhere(batch_of) -> None:
    batch = batch_of(mask=[[True] * 4, [True, False, False, False]], length_target=4)
    assert made({"kind": "copy", "of": "length"})(batch).tolist() == [1, -0.5]
    assert made({"kind": "copy", "of": "length", "length_target": 1})(batch).tolist() == [-1, 1]


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"kind": "expression", "expression": "words +"}, "At character 8"),
        ({"kind": "format", "pattern": "("}, "cannot be read"),
        ({"kind": "keywords", "words": []}, "empty"),
        ({"kind": "copy", "of": "beauty"}, "no built-in component 'beauty'"),
        ({"kind": "copy", "of": "sentiment", "length_target": 3}, "a copy of length"),
    ],
)
def test_what_cannot_be_made_names_the_component(recipe, words: str) -> None:
    with pytest.raises(ValueError, match="The component 'mine' cannot be made") as caught:
        made(recipe)
    assert words in str(caught.value)
