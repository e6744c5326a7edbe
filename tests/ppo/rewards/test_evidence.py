"""What a component shows for its value of a response."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from explorer.ppo.policy import Policy
from explorer.ppo.rewards.bias import unbiasedness
from explorer.ppo.rewards.evidence import differing, evidence, places
from explorer.ppo.rewards.expression import expression
from explorer.ppo.rewards.keywords import keywords
from explorer.ppo.rewards.matching import matching
from explorer.ppo.rewards.sentiment import sentiment

TOKENS = [" A", " little", " dog", "gy", " ran", ".", "<|endoftext|>"]
TEXT = " A little doggy ran."


@pytest.fixture
def reference(make_tiny_policy: Callable[[], Policy]) -> Policy:
    return make_tiny_policy().frozen_copy()


def test_places_are_the_tokens_that_share_a_character_with_a_span() -> None:
    assert places(TOKENS, [(10, 15)]) == [2, 3]  # "doggy" is one word of two tokens
    assert places(TOKENS, [(0, 1), (19, 20)]) == [0, 5]
    assert places(TOKENS, []) == []


def test_keywords_and_matches_are_found_as_whole_tokens(reference: Policy) -> None:
    assert evidence(keywords(["doggy", "a"]), "Once", TEXT, TOKENS, reference) == {"tokens": [0, 2, 3]}
    assert evidence(keywords(["dog"]), "Once", TEXT, TOKENS, reference) == {"tokens": []}  # whole words only
    assert evidence(matching(r"\.$"), "Once", TEXT, TOKENS, reference) == {"tokens": [5]}  # the end is the text's


def test_what_an_expression_counts_and_contains_is_marked(reference: Policy) -> None:
    found = evidence(expression('count("dog+y|ran") - 2 * contains("A LIT")'), "Once", TEXT, TOKENS, reference)
    assert found == {"tokens": [0, 1, 2, 3, 4]}
    assert evidence(expression('0 * contains("cat")'), "Once", TEXT, TOKENS, reference) == {"tokens": []}
    assert evidence(expression("words + length"), "Once", TEXT, TOKENS, reference) == {}


def test_what_is_contained_is_marked_wherever_it_begins(reference: Policy) -> None:
    assert expression('contains("aa")').found("xAaa") == [(1, 3), (2, 4)]
    assert expression('contains("s")').found("ßs") == [(1, 2)]  # small letters may be more than capitals


def test_what_has_nothing_to_show_shows_nothing(reference: Policy) -> None:
    assert evidence(sentiment, "Once", TEXT, TOKENS, reference) == {}
    assert evidence(None, "Once", TEXT, TOKENS, reference) == {}


def test_a_text_and_its_twin_in_pieces() -> None:
    assert differing("The boy ran to his mom.", "The girl ran to her dad.") == [
        ("The ", None),
        ("boy", "girl"),
        (" ran to ", None),
        ("his", "her"),
        (" ", None),
        ("mom", "dad"),
        (".", None),
    ]
    assert differing("He ran.", "He ran.") == [("He ran.", None)]


def test_the_twins_numbers_are_those_of_the_reference(reference: Policy) -> None:
    twin = evidence(unbiasedness, "A little boy", " and a dog", [" and", " a", " dog"], reference)["twin"]
    assert [pair for pair in twin["pieces"] if pair[1]] == [("boy", "girl")]
    own, other = reference.text_logprobs(["A little boy and a dog", "A little girl and a dog"])[0].tolist()
    assert (twin["logprob"], twin["twin_logprob"]) == (pytest.approx(own, abs=1e-4), pytest.approx(other, abs=1e-4))
