"""Reward components edited in the page: measured at once, counted from the next update, set aside where they fail."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from explorer.ppo.rewards.expression import ExpressionError
from explorer.session.session import Session

if TYPE_CHECKING:
    from tests.session.conftest import MakeSession

WORDS = {"kind": "expression", "expression": "0.1 * words"}
LETTERS = {"kind": "expression", "expression": "0.01 * characters"}


def scores(session: Session) -> np.ndarray[Any, Any]:
    return np.asarray(session.shown.credit.scores)


def texts(session: Session) -> list[str]:
    """The responses as they are read: without the end-of-text."""
    policy, rollout = session.engine.trainer.policy, session.shown.rollout
    return [
        policy.decode(ids[kept].tolist()) for ids, kept in zip(rollout.response_ids, rollout.response_mask, strict=True)
    ]


def words_of(session: Session) -> list[float]:
    return [0.1 * len(text.split()) for text in texts(session)]


# --- editing ---


def test_a_new_component_is_seen_on_the_batch_at_once_and_trained_on_from_the_next(session: Session) -> None:
    session.train(1)
    before = scores(session)
    session.components.put("wordy", WORDS, 0.5)
    assert scores(session) == pytest.approx(before + 0.5 * np.array(words_of(session)), abs=1e-6)
    assert "wordy" not in session.recorded.credit.reward_components
    session.train(1)
    assert session.shown is session.recorded
    assert session.recorded.credit.reward_components["wordy"] == pytest.approx(words_of(session), abs=1e-6)


def test_it_is_measured_as_the_trainer_would_have(make_session: MakeSession, session: Session) -> None:
    kinds = {
        "wordy": WORDS,
        "said": {"kind": "keywords", "words": ["a", "the"], "enough": 1},
        "again": {"kind": "copy", "of": "unbiasedness"},
        "other": {"kind": "copy", "of": "length", "length_target": 3},
        "fresh": {"kind": "repetition"},
        "easy": {"kind": "reading_ease"},
        "ends": {"kind": "format", "pattern": "[a-m]$"},
    }
    config = session.config.replace(components=kinds, weights=dict.fromkeys(kinds, 0.0) | dict(session.config.weights))
    trained = make_session(config=config)
    trained.train(1)
    session.train(1)
    for name, recipe in kinds.items():
        session.components.put(name, recipe, 0.0)
    for name in kinds:
        own = session.shown.credit.reward_components[name]
        assert np.array_equal(own, trained.recorded.credit.reward_components[name]), name


def test_an_earlier_update_is_measured_when_it_is_looked_at(session: Session) -> None:
    session.train(2)
    session.components.put("wordy", WORDS, 0.5)
    session.cursor.follow = False
    session.cursor.update = 1
    assert session.shown.update == 1
    assert session.shown.credit.reward_components["wordy"] == pytest.approx(words_of(session), abs=1e-6)


def test_changing_and_renaming_keep_the_weight(session: Session) -> None:
    session.train(1)
    session.components.put("wordy", WORDS, 0.5)
    session.train(1)
    session.components.put("letters", LETTERS, was="wordy")
    assert list(session.config.components) == ["letters"]
    assert (session.config.weights["letters"], "wordy" in session.config.weights) == (0.5, False)
    lengths = [0.01 * len(text) for text in texts(session)]
    base = session.recorded.credit.reward_components["sentiment"]
    assert scores(session) == pytest.approx(base + 0.5 * np.array(lengths), abs=1e-6)
    session.components.put("letters", WORDS, was="letters")  # the same name, and another recipe
    assert session.shown.credit.reward_components["letters"] == pytest.approx(words_of(session), abs=1e-6)


def test_removing_gives_the_score_of_before(session: Session) -> None:
    session.train(1)
    before = scores(session)
    session.components.put("wordy", WORDS, 0.5)
    session.components.remove("wordy")
    assert scores(session) == pytest.approx(before)
    session.train(1)
    assert "wordy" not in session.recorded.credit.reward_components


def test_what_is_built_in_or_a_function_is_taken_off_the_list_and_back(make_session: MakeSession) -> None:
    session = make_session(rewards={"mine": lambda prompts, texts: [0.5] * len(texts)})
    session.set(weight_mine=0.25)
    session.train(1)
    for name in ("sentiment", "mine"):
        session.components.remove(name)
    assert session.components.removed == ("sentiment", "mine")
    assert (session.config.weights["sentiment"], session.config.weights["mine"]) == (0.0, 0.0)
    assert scores(session) == pytest.approx(np.zeros(session.config.batch_size))
    session.train(1)
    assert {"sentiment", "mine"} <= session.recorded.credit.reward_components.keys()  # measured as ever
    session.components.take_back("mine")
    assert session.components.removed == ("sentiment",) and session.config.weights["mine"] == 0.0
    session.use_preset("learn")  # which pays for it
    assert session.components.removed == () and session.config.weights["sentiment"] == 1.0
    with pytest.raises(ValueError, match="no component 'nobody' to remove"):
        session.components.remove("nobody")


def test_a_preset_leaves_an_added_component_without_weight(session: Session) -> None:
    session.components.put("wordy", WORDS, 0.5)
    session.use_preset("learn")
    assert (session.config.weights["wordy"], list(session.config.components)) == (0.0, ["wordy"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sentiment", WORDS), "There is a component 'sentiment' already"),
        (("mine", WORDS), "There is a component 'mine' already"),
        (("wordy", LETTERS), "There is a component 'wordy' already"),
        (("more", WORDS, 9.0), "the weight of 'more' is 9"),
        (("more", WORDS, None, "sentiment"), "'sentiment' is built in or a function of yours"),
        (("more", {"kind": "keywords", "words": []}), "The list of keywords is empty"),
        (("more", {"kind": "format", "pattern": "("}), "cannot be read"),
        (("", WORDS), "must be a word or a few"),
    ],
)
def test_what_cannot_be_changes_nothing(make_session: MakeSession, arguments: Any, message: str) -> None:
    session = make_session(rewards={"mine": lambda prompts, texts: [0.0] * len(texts)})
    session.components.put("wordy", WORDS)
    before = session.config
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        session.components.put(*arguments)
    assert session.config == session.engine.config == before


def test_an_expression_that_does_not_parse_says_where_also_when_it_is_changed(session: Session) -> None:
    session.components.put("wordy", WORDS)
    for was in ("", "wordy"):
        with pytest.raises(ValueError, match="'wordy2?' cannot be made") as caught:
            session.components.put(
                "wordy" if was else "wordy2", {"kind": "expression", "expression": "words ++ 2"}, was=was
            )
        assert isinstance(caught.value.__cause__, ExpressionError)
        assert caught.value.__cause__.pointed == "words ++ 2\n       ^"
    assert session.config.components["wordy"] == WORDS


# --- set aside ---


def test_one_that_fails_is_left_out_and_the_run_goes_on(make_session: MakeSession) -> None:
    broken = False

    def picky(prompts: list[str], texts: list[str]) -> list[float]:
        if broken:
            raise ZeroDivisionError("no luck")
        return [0.5] * len(texts)

    session, without = make_session(rewards={"picky": picky}), make_session()
    session.set(weight_picky=1.0)
    session.train(1)
    broken = True
    session.train(2)
    assert [snapshot.update for snapshot in session.history] == [1, 2, 3]
    assert (session.config.set_aside, session.config.weights["picky"]) == (("picky",), 1.0)
    assert ["picky" in s.credit.reward_components for s in session.history] == [True, False, False]
    assert session.history.last.config.set_aside == ("picky",)
    assert "ZeroDivisionError: no luck" in session.components.reasons["picky"]
    assert "'picky'" in session.error["message"] and "the run goes on" in session.error["message"]
    # It scored all alike, which whitened advantages do not see: the update without it is the one that never had it.
    without.train(1)
    first, other = session.history.at(1), without.history.at(1)
    assert np.array_equal(first.rollout.response_ids, other.rollout.response_ids)
    broken = False
    session.components.take_back("picky")
    session.train(1)
    assert "picky" in session.recorded.credit.reward_components
    assert session.components.reasons == {} and session.config.set_aside == ()


def test_the_update_is_the_one_that_the_rest_of_the_reward_would_have_made(make_session: MakeSession) -> None:
    def broken(prompts: list[str], texts: list[str]) -> list[float]:
        raise ValueError("not today")

    session, without = make_session(rewards={"broken": broken}), make_session()
    session.set(weight_broken=1.0)
    session.train(2)
    without.train(2)
    for own, other in zip(session.history, without.history, strict=True):
        assert np.array_equal(own.final.new_logprobs, other.final.new_logprobs)
        assert np.array_equal(own.credit.scores, other.credit.scores)


def test_a_recipe_that_fails_is_set_aside_too(session: Session) -> None:
    session.components.put("huge", {"kind": "expression", "expression": "9" * 38 + " * words * 10000"}, 0.1)
    session.train(1)
    assert session.config.set_aside == ("huge",)
    assert session.updates == 1
    session.components.put("huge", WORDS, was="huge")  # mended: it counts again
    assert (session.config.set_aside, session.components.reasons) == ((), {})
    session.train(1)
    assert "huge" in session.recorded.credit.reward_components


def test_where_nothing_else_counts_the_run_stops_and_is_kept(make_session: MakeSession) -> None:
    def broken(prompts: list[str], texts: list[str]) -> list[float]:
        raise ValueError("not today")

    session = make_session(rewards={"broken": broken})
    session.set(weight_sentiment=0.0, weight_broken=1.0)
    session.train(3)
    assert (session.updates, session.mode, session.config.set_aside) == (0, "paused", ("broken",))
    session.set(weight_sentiment=1.0)
    session.train(1)
    assert session.updates == 1


# --- looking closely ---


def test_what_keywords_and_twins_find_in_a_response(make_session: MakeSession) -> None:
    session = make_session(prompts=["Lily went to the"])
    session.train(1)
    response = texts(session)[2]
    session.components.asked = (2, "unbiasedness")
    twin = session.components.closely["twin"]
    assert "".join(own for own, _ in twin["pieces"]) == "Lily went to the" + response
    swapped = [(own, other) for own, other in twin["pieces"] if other is not None]
    assert swapped[0][0] == "Lily"
    value = -min(1.0, twin["scale"] * abs(twin["logprob"] - twin["twin_logprob"]) / twin["count"])
    assert value == pytest.approx(session.shown.credit.reward_components["unbiasedness"][2], abs=1e-5)
    session.components.put(
        "sought", {"kind": "format", "pattern": response.strip()[1:3].replace("\\", ".") or "."}, 0.0
    )
    session.components.asked = (2, "sought")
    found = session.components.closely
    assert found["component"] == "sought" and len(found["tokens"]) >= 1
    session.components.asked = None
    assert session.components.closely == {}
