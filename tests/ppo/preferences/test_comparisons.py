from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.ppo.preferences.comparisons import CHOICES, MAX_CHARACTERS, Comparison, PreferenceError, counts

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
comparisons = st.builds(Comparison, texts, texts, texts, st.sampled_from(CHOICES))


def test_the_common_form_of_a_decided_comparison():
    made = Comparison("The cat", " sat.", " ran.", "b")
    assert json.loads(made.to_line()) == {"prompt": "The cat", "chosen": " ran.", "rejected": " sat.", "choice": "b"}


@pytest.mark.parametrize("choice", ["tie", "skip"])
def test_what_the_common_form_cannot_say_is_said_beside_it(choice):
    line = json.loads(Comparison("The cat", " sat.", " ran.", choice).to_line())
    assert line == {"prompt": "The cat", "a": " sat.", "b": " ran.", "choice": choice}
    assert not {"chosen", "rejected"} & set(line)


def test_a_line_of_another_tool_is_read():
    found = Comparison.from_json({"prompt": "p", "chosen": "good", "rejected": "bad", "score_chosen": 3})
    assert found == Comparison("p", "good", "bad", "a")


@given(comparisons)
def test_there_and_back(comparison):
    line = comparison.to_line()
    assert line.count("\n") == 1 and line.isascii()
    assert Comparison.from_json(json.loads(line)) == comparison


@given(comparisons)
def test_swapping_changes_places_and_nothing_else(comparison):
    assert comparison.swapped.swapped == comparison
    assert comparison.swapped.a == comparison.b
    assert comparison.swapped.decided == comparison.decided
    if comparison.decided:
        assert (comparison.swapped.chosen, comparison.swapped.rejected) == (comparison.chosen, comparison.rejected)


def test_markup_is_text_like_any_other():
    nasty = '<img src=x onerror="alert(1)">\u2028\x00{"choice": "b"}'
    assert Comparison.from_json(json.loads(Comparison(nasty, nasty, "", "a").to_line())).a == nasty


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ([1], "it is a list"),
        ("a text", "it is a text"),
        (None, "it is null"),
        ({"chosen": "a", "rejected": "b"}, "it has no 'prompt'"),
        ({"prompt": "p", "chosen": "a"}, "it has no 'rejected'"),
        ({"prompt": "p", "chosen": "a", "rejected": "b", "choice": "tie"}, "it has no 'a'"),
        ({"prompt": "p", "chosen": ["a"], "rejected": "b"}, "'chosen' is a list: it must be a text"),
        ({"prompt": 3, "chosen": "a", "rejected": "b"}, "'prompt' is a number"),
        ({"prompt": "p", "chosen": "a", "rejected": None}, "'rejected' is null"),
        ({"prompt": "p", "chosen": "a", "rejected": "b", "choice": "c"}, "'choice' is 'c': make it one of a, b"),
        ({"prompt": "p", "chosen": "a", "rejected": "b", "choice": 1}, "'choice' is 1"),
        ({"prompt": "p", "chosen": "x" * (MAX_CHARACTERS + 1), "rejected": "b"}, "has 20001 characters"),
        ({"prompt": "p", "chosen": "\ud800", "rejected": "b"}, "half of a character pair"),
    ],
)
def test_what_cannot_be_says_what_is_wrong(found, reason):
    with pytest.raises(PreferenceError, match=reason):
        Comparison.from_json(found)


def test_counts():
    made = [Comparison("p", "a", "b", choice) for choice in ("a", "a", "tie", "b", "a")]
    assert counts(made) == {"a": 3, "b": 1, "tie": 1, "skip": 0}
