"""The reward's components as the page has them, and whether a change of the weights is one of scale alone."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest

from explorer.config import Config
from explorer.presets import PRESETS
from explorer.recipes import KINDS, TYPED
from explorer.recording.snapshot import Snapshot
from explorer.text import LANGUAGES, labels
from explorer.views.reward import reward_picture, scaled

WORDS = {"kind": "expression", "expression": "words"}
LETTERS = {"kind": "expression", "expression": "characters"}


Trained: TypeAlias = Callable[[Config], Snapshot]


@pytest.fixture
def trained_on(make_trainer: Callable[..., Any], snapshot_of: Callable[..., Snapshot]) -> Trained:
    """A first update under a config."""
    return lambda config: snapshot_of(make_trainer(config))


def states(
    config: Config, snapshot: Snapshot, shown: Snapshot | None = None, **more: Any
) -> dict[str, tuple[str, str]]:
    """``{name: (kind, state)}`` of the components in the picture."""
    session = SimpleNamespace(config=config, shown=shown or snapshot, recorded=snapshot, **more)
    return {one["name"]: (one["kind"], one["state"]) for one in reward_picture(session)["components"]}


def test_what_the_batch_knows_of_each_component(trained_on: Trained, tiny_config: Config) -> None:
    trained = tiny_config.replace(component_wordy=WORDS, component_old=WORDS)
    snapshot = trained_on(trained)
    assert set(snapshot.credit.reward_components) >= {"wordy", "old"}
    now = trained.replace(component_old=LETTERS, component_new=WORDS, component_bad=WORDS, weight_mine=1.0)
    found = states(now.replace(set_aside=["bad"]), snapshot)
    assert found["sentiment"] == ("built_in", "recorded")
    assert found["wordy"] == ("expression", "recorded")
    assert found["old"] == ("expression", "what_if")  # its values are there, and of another recipe
    assert found["new"] == ("expression", "next_update")
    assert found["bad"] == ("expression", "aside")
    assert found["mine"] == ("function", "next_update")


def test_what_has_gone_is_told_until_the_next_update(trained_on: Trained, tiny_config: Config) -> None:
    trained = tiny_config.replace(component_wordy=WORDS)
    snapshot = trained_on(trained)
    session = SimpleNamespace(config=tiny_config, shown=snapshot, recorded=snapshot)
    picture = reward_picture(session)
    assert picture["leaving"] == ["wordy"]
    assert "wordy" not in [one["name"] for one in picture["components"]]


def test_why_one_was_set_aside_and_what_is_seen_closely(trained_on: Trained, tiny_config: Config) -> None:
    snapshot = trained_on(tiny_config)
    lab = SimpleNamespace(reasons={"sentiment": "no luck"}, closely={"tokens": [1]}, removed=("length",))
    session = SimpleNamespace(config=snapshot.config, shown=snapshot, recorded=snapshot, components=lab)
    picture = reward_picture(session)
    assert [one["why"] for one in picture["components"] if one["name"] == "sentiment"] == ["no luck"]
    assert (picture["closely"], picture["update"]) == ({"tokens": [1]}, snapshot.update)
    assert picture["removed"] == ["length"] and "length" not in [one["name"] for one in picture["components"]]


def test_before_there_is_anything_all_wait_for_an_update() -> None:
    session = SimpleNamespace(config=Config(), shown=None, recorded=None)
    assert {one["state"] for one in reward_picture(session)["components"]} == {"next_update"}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"weight_sentiment": 1.4, "weight_coherence": 2.0, "weight_diversity": 2.0}, None),
        (
            {"weight_sentiment": 0.35, "weight_coherence": 0.5, "weight_diversity": 0.6, "weight_unbiasedness": 0.5},
            (0.5, 0.06),
        ),
        ({"weight_sentiment": 0.35}, None),
        ({"weight_length": 0.1}, None),
        ({"kl_coef": 0.5}, None),
        ({f"weight_{n}": -0.5 for n in ("sentiment", "coherence", "diversity", "unbiasedness")}, None),
    ],
)
def test_one_factor_for_all_weights_is_found(changes: dict[str, float], found: tuple[float, float] | None) -> None:
    trained = PRESETS["balanced"]  # 0.7, 1, 1.2, 1, and β 0.03
    now = scaled(trained.replace(**changes), trained)
    numbers = found and {"factor": pytest.approx(found[0]), "beta": pytest.approx(found[1])}
    assert now == (None if numbers is None else {**numbers, "in_loss": False})


def test_doubling_two_weights_is_told_with_the_second_and_with_whitening_alone() -> None:
    trained = Config(weights={"sentiment": 0.5, "length": 0.25}, kl_coef=0.1)
    first = trained.replace(weight_sentiment=1.0)
    both = first.replace(weight_length=0.5)
    assert scaled(first, trained) is None
    assert scaled(both, trained) == {"factor": 2.0, "beta": 0.05, "in_loss": False}
    # In the loss β stands beside whitened advantages, which are no larger than before.
    assert scaled(both.replace(kl_in="loss"), trained) == {"factor": 2.0, "beta": 0.1, "in_loss": True}
    assert scaled(both.replace(whiten=False), trained) is None
    assert scaled(both.replace(whiten=False, estimator="reinforce_pp"), trained) is not None
    assert scaled(both, None) is None


def test_the_ranking_stays_as_it_says(trained_on: Trained, tiny_config: Config) -> None:
    from explorer.recording.what_if import what_if

    trained = tiny_config.replace(weights={"sentiment": 0.5, "length": 0.25})
    snapshot = trained_on(trained)
    now = trained.replace(weight_sentiment=1.0, weight_length=0.5)
    assert scaled(now, trained) is not None
    before, after = snapshot.credit.scores, what_if(snapshot, now).credit.scores
    assert after == pytest.approx(2 * before)
    assert list(before.argsort(kind="stable")) == list(after.argsort(kind="stable"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_and_every_part_of_a_recipe_has_its_words(language: str) -> None:
    words = labels(language)["ui"]["reward"]
    assert set(words["kinds"]) == {"built_in", "function", *KINDS}
    assert all(words["kinds"][kind]["definition"] for kind in ("function", *KINDS))
    assert set(words["fields"]) == {part for kind in TYPED for names in KINDS[kind] for part in names}
