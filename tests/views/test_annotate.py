"""The annotator as the browser gets it."""

from __future__ import annotations

import pytest

from explorer.ppo.preferences.choosing import WAYS as CHOOSING
from explorer.ppo.preferences.rules import RULES
from explorer.session.annotator import SOURCES, WAYS
from explorer.session.session import Session
from explorer.text import LANGUAGES, labels
from explorer.views.annotate import annotate_picture, learning_table


@pytest.fixture
def session(make_tiny_policy, tiny_config):
    made = Session(make_tiny_policy(), tiny_config, prompts=["The cat", "Lily went to the"], threaded=False)
    yield made
    made.close()


def test_the_component_is_told_beside_the_fit(session: Session) -> None:
    annotator = session.annotator
    annotator.wanted = True
    assert annotate_picture(session)["component"] == {
        "name": "learned",
        "there": False,
        "current": False,
        "decided": None,
        "weight": None,
        "aside": False,
    }
    for choice in "aabab":
        annotator.choose(annotator.state["queue"][0]["id"], choice)
    annotator.train_on_it(0.5)
    found = annotate_picture(session)
    assert "recipe" not in found
    assert found["component"] | {"aside": 0} == {
        "name": "learned",
        "there": True,
        "current": True,
        "decided": 5,
        "weight": 0.5,
        "aside": 0,
    }
    annotator.choose(annotator.state["queue"][0]["id"], "a")
    now = annotate_picture(session)
    assert (now["component"]["current"], now["component"]["decided"], now["fitted"]["decided"]) == (False, 5, 6)


def test_the_bundled_table_is_measured_for_every_rule() -> None:
    table = learning_table()
    assert {row[0] for row in table["rows"]} == set(RULES)
    for _, _, *numbers in table["rows"]:
        assert len(numbers) in (3, 6)
        for mean, low, high in zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True):
            assert low <= mean <= high <= 1
    assert {row[0] for row in table["rows"] if len(row) == 8} == {"sentiment", "short_words"}
    by_pairs = {(rule, pairs): mean for rule, pairs, mean, *_ in table["rows"]}
    for rule in RULES:
        assert by_pairs[rule, 200] > by_pairs[rule, 20] or by_pairs[rule, 20] > 0.97


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_choice_has_its_words(language: str) -> None:
    words = labels(language)["ui"]["annotate"]
    assert set(words["way"]) == {"label", *WAYS} == {"label", *CHOOSING}
    assert set(words["source"]) == {"label", *SOURCES}
    assert set(words["who"]) == {"label", "you", *RULES}
    assert set(words["chosen"]) == {"again", *CHOOSING}
