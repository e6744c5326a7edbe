"""Components that are not built in, as plain data in the Config."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from explorer.config import DEFAULT_WEIGHTS, Config, effect_of
from explorer.recipes import KINDS, LONGEST, LONGEST_NAME, MOST

DOGS = {"kind": "keywords", "words": ["dog", "puppy"], "enough": 1}
LOUD = {"kind": "expression", "expression": 'min(3, count("!")) × 0.3'}


def test_a_component_counts_1_where_no_weight_is_given() -> None:
    config = Config(components={"dogs": DOGS, "loud": LOUD}, weights={**DEFAULT_WEIGHTS, "loud": 0.25})
    assert config.weights == {**DEFAULT_WEIGHTS, "loud": 0.25, "dogs": 1.0}
    assert dict(config.components["dogs"]) == DOGS


def test_there_and_back_as_plain_values() -> None:
    config = Config(components={"dogs": DOGS, "loud": LOUD}, clip_range=0.1)
    flat = json.loads(json.dumps(config.flat()))
    assert Config.from_flat(flat) == config == pickle.loads(pickle.dumps(config)) == copy.deepcopy(config)
    assert hash(Config.from_flat(flat)) == hash(config)
    assert json.loads(flat["component_dogs"]) == DOGS


def test_adding_changing_and_taking_away_one() -> None:
    plain = Config()
    both = plain.replace(component_dogs=DOGS).replace(component_loud=LOUD, weight_loud=0.5)
    assert set(both.differences(plain)) == {"component_dogs", "weight_dogs", "component_loud", "weight_loud"}
    other = both.replace(component_dogs={**DOGS, "enough": 2})
    assert set(other.differences(both)) == {"component_dogs"}
    assert both.replace(component_dogs=None, component_loud=None) == plain
    assert both.differences(plain)["component_loud"][1] is None
    assert effect_of("component_dogs") == "next_update"


def test_a_recipe_does_not_change_with_what_it_was_made_from() -> None:
    words = ["dog"]
    config = Config(components={"dogs": {"kind": "keywords", "words": words}})
    words.append("cat")
    assert config.components["dogs"]["words"] == ["dog"]
    with pytest.raises(TypeError):
        config.components["dogs"]["kind"] = "format"  # type: ignore[index]


@pytest.mark.parametrize(
    ("components", "words"),
    [
        ([], "must map each component's name"),
        ({"": DOGS}, "must be a word or a few"),
        ({" dogs": DOGS}, "without blanks around"),
        ({"do\ngs": DOGS}, "must be a word or a few"),
        ({3: DOGS}, "must be a word or a few"),
        ({"x" * (LONGEST_NAME + 1): DOGS}, f"{LONGEST_NAME} at most"),
        ({str(n): DOGS for n in range(MOST + 1)}, f"{MOST} at most"),
        ({"dogs": 3}, "must be a mapping with a kind"),
        ({"dogs": "{"}, "is no JSON"),
        ({"dogs": "[" * 100_000}, "is no JSON"),
        ({"dogs": {}}, "choose one of " + ", ".join(KINDS)),
        ({"dogs": {"kind": ["keywords"]}}, "choose one of"),
        ({"dogs": {"kind": "keywords"}}, "lacks 'words'"),
        ({"dogs": {**DOGS, "colour": "brown"}}, "'colour', which is not part of it"),
        ({"dogs": {**DOGS, "words": "dog"}}, "must be a list of words"),
        ({"dogs": {**DOGS, "words": [1]}}, "must be a list of words"),
        ({"dogs": {**DOGS, "enough": True}}, "must be a whole number"),
        ({"dogs": {**DOGS, "enough": 0}}, "must be a whole number"),
        ({"loud": {**LOUD, "expression": 1}}, "must be text"),
        ({"dogs": {"kind": "keywords", "words": ["x" * LONGEST]}}, f"longer than {LONGEST}"),
    ],
)
def test_what_cannot_be_a_component_says_why(components: object, words: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        Config(components=components)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400


def test_what_is_set_aside_is_kept_in_order_and_goes_with_its_component() -> None:
    config = Config(components={"loud": LOUD}, set_aside=["sentiment", "loud", "loud"])
    assert config.set_aside == ("loud", "sentiment")
    assert Config.from_flat(json.loads(json.dumps(config.flat()))) == config
    assert config.weights["loud"] == 1.0
    assert config.replace(component_loud=None).set_aside == ("sentiment",)
    with pytest.raises(TypeError, match="set_aside is 'loud', but must be a list"):
        Config(set_aside="loud")  # type: ignore[arg-type]
