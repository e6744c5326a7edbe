"""Keywords, reading ease, repetition and format."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.ppo.rewards.keywords import keywords
from explorer.ppo.rewards.matching import matching
from explorer.ppo.rewards.patterns import LONGEST, PatternError, pattern, spans
from explorer.ppo.rewards.reading_ease import flesch, reading_ease
from explorer.ppo.rewards.repetition import repeated_share, repetition

WORDS = st.lists(st.sampled_from("a big cat sat on the mat".split()), max_size=30)


# ---------------------------------------------------------------- keywords


def test_two_of_the_list_make_the_best_score(batch_of) -> None:
    batch = batch_of(texts=["A dog.", "Dogs.", "A dog and a CAT!", "dog dog dog", "cat, dog, big bear", ""])
    assert keywords(["dog", "cat", "big bear"])(batch).tolist() == [0, -1, 1, 0, 1, -1]


def test_of_a_list_of_one_the_one_is_enough(batch_of) -> None:
    assert keywords(["dog"])(batch_of(texts=["a dog", "a cat"])).tolist() == [1, -1]


def test_mentions_say_where() -> None:
    text = "The cat saw a cat."
    assert [text[start:end] for _, (start, end) in keywords(["CAT", "saw"]).mentions(text)] == ["cat", "cat", "saw"]


def test_letters_that_mean_something_in_a_pattern_are_letters(batch_of) -> None:
    assert keywords(["a.c"])(batch_of(texts=["abc", "a.c"])).tolist() == [-1, 1]


@pytest.mark.parametrize(
    ("word", "whole", "part"),
    [
        ("été", "Un été chaud", "les étés"),
        ("Mr.", "Then Mr. Fox ran", "xMr. Fox"),
        ("C++", "in C++ too", "ObjC++"),
        ("dog", "dog_s? A dog!", "a dog_s"),
        ("狗", "一只狗跑了", "一只猫跑了"),
    ],
)
def test_a_keyword_is_a_whole_word_in_any_script(batch_of, word: str, whole: str, part: str) -> None:
    assert keywords([word])(batch_of(texts=[whole, part])).tolist() == [1, -1]


@pytest.mark.parametrize(("words", "enough"), [([], 2), (["  "], 2), (["a"], 0), (["x" * LONGEST], 1)])
def test_a_list_that_cannot_be(words: list[str], enough: int) -> None:
    with pytest.raises(ValueError, match="keyword"):
        keywords(words, enough)


# ---------------------------------------------------------------- reading ease


def test_flesch_by_hand() -> None:
    # Six words of one syllable in one sentence: 206.835 - 6.09 - 84.6.
    assert flesch("The cat sat on the mat.") == pytest.approx(116.145)
    # Two sentences of three words; "happy" and "rabbit" have two syllables: 206.835 - 3.045 - 84.6 * 8 / 6.
    assert flesch("The happy cat. A rabbit sat!") == pytest.approx(90.99)
    # Cut off: what comes after the last mark is a sentence too.
    assert flesch("The cat sat. It") == pytest.approx(206.835 - 1.015 * 2 - 84.6)


def test_longer_words_and_longer_sentences_are_harder(batch_of) -> None:
    texts = ["The cat sat.", "The cat sat on the mat and then it sat on the bed.", "Extraordinary animals congregated."]
    easy, long, hard = reading_ease(batch_of(texts=texts)).tolist()
    assert easy > long > hard == -1
    assert reading_ease(batch_of(texts=["", "... 12!"])).tolist() == [0, 0]


@given(WORDS)
def test_ease_is_in_range(batch_of, words: list[str]) -> None:
    assert -1 <= reading_ease(batch_of(texts=[" ".join(words)])).item() <= 1


# ---------------------------------------------------------------- repetition


def test_repeated_shares_by_hand() -> None:
    assert repeated_share("so happy, so happy!") == 0.5
    assert repeated_share("The the THE") == pytest.approx(2 / 3)
    assert repeated_share("a b c d e f g h a") == pytest.approx(1 / 9)  # the eighth before it still counts
    assert repeated_share("a b c d e f g h i a") == 0
    assert repeated_share("") == repeated_share("One.") == 0


def test_a_quarter_repeated_is_the_worst(batch_of) -> None:
    batch = batch_of(texts=["a b c c", "a b c d e f g g", "a b c d", "x x x x", ""])
    assert repetition(batch).tolist() == [-1, -0.5, 0, -1, 0]


@given(st.lists(st.sampled_from("a big cat sat on the mat".split()), min_size=1, max_size=8))
def test_saying_up_to_eight_words_all_again_is_the_worst(batch_of, words: list[str]) -> None:
    assert repetition(batch_of(texts=[" ".join(words + words)])).item() == -1


# ---------------------------------------------------------------- format


def test_a_pattern_is_found_or_not(batch_of) -> None:
    batch = batch_of(texts=['"Hi," she said.', "No speech.", ""])
    assert matching('"[^"]+"')(batch).tolist() == [1, -1, -1]
    assert matching("^no .*\\.$")(batch).tolist() == [-1, 1, -1]


@pytest.mark.parametrize("source", ["", "(", "(?=a)", "a{1000}{1000}", "x" * (LONGEST + 1)])
def test_what_is_no_pattern_says_why(source: str) -> None:
    with pytest.raises(PatternError, match="regular expression"):
        matching(source)


@given(st.text(alphabet="ab é€", max_size=20))
def test_spans_are_in_characters(text: str) -> None:
    assert [text[start:end] for start, end in spans(pattern("a+"), text)] == [run for run in _runs(text) if run]


def _runs(text: str) -> list[str]:
    return "".join(letter if letter == "a" else " " for letter in text).split()
