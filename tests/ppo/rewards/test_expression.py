from __future__ import annotations

import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from explorer.ppo.rewards.expression import LONGEST, ExpressionError, Reading, expression

CAT = "The cat! It sat. Good cat!"


def of(source: str, text: str = CAT, tokens: int = 9) -> float:
    return expression(source).value(Reading(text, tokens))


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("words", 6),
        ("characters", 26),
        ("length", 9),
        ('count("cat")', 2),
        ("count('CAT')", 2),
        (r'count("\b[a-z]at\b")', 3),
        ('contains("good CAT")', 1),
        ('contains("dog")', 0),
        ("2 + 3 * 4", 14),
        ("(2 + 3) * 4", 20),
        ("10 - 4 - 3", 3),
        ("-2 * -3", 6),
        ("2 × 3 − 1", 5),
        ("min(4, words, 7)", 4),
        ("max(1, min(words, 5))", 5),
        ('min(3, count("!")) - 0.5 * words', -1),
        ("1e-1 * words", 0.6),
    ],
)
def test_hand_worked(source: str, value: float) -> None:
    assert of(source) == pytest.approx(value)


def test_sentiment_is_the_component(batch_of) -> None:
    from explorer.ppo.rewards import REWARDS

    batch = batch_of(texts=["She was very happy!", "A sad, bad day.", ""])
    assert torch.equal(expression("sentiment")(batch), REWARDS["sentiment"](batch))


def test_length_counts_the_tokens_that_count(batch_of) -> None:
    batch = batch_of(texts=["one two", "three"], mask=[[True, True, True], [True, False, False]])
    assert expression("10 * words + length")(batch).tolist() == [23, 11]


@given(st.recursive(st.integers(0, 9), lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner), max_leaves=12))
def test_sums_and_products_bind_as_in_python(tree) -> None:
    """Python reads the same text of numbers: an oracle for what binds first. A bracket stands round each right side."""

    def written(node) -> str:
        if isinstance(node, int):
            return str(node)
        left, sign, right = node
        return f"{written(left)} {sign} ({written(right)})"

    source = written(tree)
    assert of(source) == eval(source)  # digits, + - * and brackets alone


@pytest.mark.parametrize(
    ("source", "position", "words"),
    [
        ("", 0, "write an expression"),
        ("   ", 0, "write an expression"),
        ("words +", 7, "something is missing"),
        ("(words", 6, "something is missing"),
        ("wrods + 1", 0, "'wrods' is no measure"),
        ("1 + wrods", 4, "'wrods' is no measure"),
        ("words words", 6, "does not belong here"),
        ("words ^ 2", 6, "does not belong here"),
        ("words / 2", 6, "does not belong here"),
        ("words + 'a", 8, "quotes"),
        ("count(words)", 0, 'write count("…")'),
        ("count", 0, 'write count("…")'),
        ('words("a")', 0, "takes no text in quotes"),
        ("min(1)", 0, "two numbers or more"),
        ("max()", 0, "two numbers or more"),
        ('1 + count("(")', 11, "missing )"),
        (r'count("(a)\1")', 7, "references back"),
        ('contains("")', 10, "a text to look for"),
        ("1e999", 0, "too large"),
        ("__import__('os')", 0, "takes no text in quotes"),
        ("words.__class__", 5, "does not belong here"),
        ("lambda: 1", 6, "does not belong here"),
    ],
)
def test_what_does_not_parse_points_at_the_place(source: str, position: int, words: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        expression(source)
    assert (caught.value.position, words in caught.value.reason) == (position, True)
    assert str(caught.value).startswith(f"At character {position + 1}, ")
    assert str(caught.value).endswith(caught.value.reason)
    assert caught.value.pointed.split("\n") == [source, " " * position + "^"]


def test_the_mark_stands_under_its_character_in_an_expression_of_several_lines() -> None:
    with pytest.raises(ExpressionError) as caught:
        expression("words\n+\t+ 1")
    assert caught.value.pointed == "words + + 1\n        ^"
    assert "\n" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_an_expression_or_an_error_with_a_place(source: str) -> None:
    place = 0
    try:
        expression(source)
    except ExpressionError as error:
        place = error.position
    assert 0 <= place <= len(source)


@pytest.mark.parametrize("source", ["-" * (LONGEST - 1) + "1", "(" * 199 + "1" + ")" * 199, "1" + "+1" * 199])
def test_the_deepest_there_can_be_is_computed(source: str) -> None:
    assert abs(of(source)) in (1, 200)


def test_longer_ones_are_refused() -> None:
    with pytest.raises(ExpressionError, match=f"longer than {LONGEST}"):
        expression("1" + "+1" * LONGEST)


def test_a_regular_expression_cannot_run_away() -> None:
    """Python's own engine takes 2 ** 40 steps for this one: the limit is of the order of nothing against that."""
    since = time.process_time()
    assert of('count("^(a+)+$")', text="a" * 40 + "b") == 0
    assert time.process_time() - since < 5


def test_empty_matches_do_not_count() -> None:
    assert of('count("x*")', text="axxbx") == 2
