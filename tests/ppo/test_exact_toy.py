"""The toy itself: the article's ratios, dragging, and what it refuses."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from explorer.ppo.exact import Toy, sequence_probabilities
from tests.ppo.toys import ARTICLE, random_toy


def test_the_articles_ratios() -> None:
    assert ARTICLE.next_words(ARTICLE.old_logits) == pytest.approx({"is": 0.6, "was": 0.4})
    assert ARTICLE.next_words(ARTICLE.new_logits) == pytest.approx({"is": 0.7, "was": 0.3})
    assert ARTICLE.ratios() == pytest.approx({"is": 1.1667, "was": 0.75}, abs=5e-5)
    assert set(ARTICLE.ratios("A cat").values()) == {1.0}


def test_dragging_one_word_moves_the_other() -> None:
    back = ARTICLE.drag("is", 0.6)
    assert back.ratios() == pytest.approx({"is": 1.0, "was": 1.0})
    there = back.drag("was", 0.3)
    assert there.ratios() == pytest.approx({"is": 7 / 6, "was": 3 / 4})
    assert back.ratios() == pytest.approx({"is": 1.0, "was": 1.0})  # a new toy each time
    torch.testing.assert_close(there.new_logits.softmax(1), ARTICLE.new_logits.softmax(1))
    assert torch.equal(there.old_logits, ARTICLE.old_logits)


@pytest.mark.parametrize("probability", [1e-9, 0.2, 0.999])
def test_what_a_dragged_word_leaves_is_shared_in_proportion(probability: float) -> None:
    toy = random_toy()
    before, after = (t.next_words(t.new_logits, "w3") for t in (toy, toy.drag("w5", probability, "w3")))
    assert after["w5"] == pytest.approx(probability)
    assert sum(after.values()) == pytest.approx(1)
    shares = [after[word] / before[word] for word in toy.words if word != "w5"]
    assert max(shares) == pytest.approx(min(shares))
    elsewhere = torch.arange(len(toy.old_logits)) != toy.row("w3")
    assert torch.equal(toy.drag("w5", probability, "w3").new_logits[elsewhere], toy.new_logits[elsewhere])


@pytest.mark.parametrize(
    ("word", "probability", "prefix", "message"),
    [
        ("is", 0.0, None, "the probability of 'is' is 0.0, but must be greater than 0 and less than 1."),
        ("is", 1.0, None, "the probability of 'is' is 1.0, but must be"),
        ("is", math.nan, None, "the probability of 'is' is nan, but must be"),
        ("were", 0.5, None, "'were' is not a word of this toy: choose one of The, A, One, cat, "),
        ("is", 0.5, "The fish", "'fish' is not a word of this toy"),
        ("dog", 0.5, None, "'dog' cannot follow 'The cat': drag one of is, was."),
        ("is", 0.5, "The cat is", "'The cat is' leaves no word to write: give a prefix of at most 2 words."),
    ],
)
def test_a_drag_that_makes_no_sense(word: str, probability: float, prefix: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ARTICLE.drag(word, probability, prefix)


def test_the_only_word_that_can_follow_stays() -> None:
    logits = ARTICLE.old_logits.clone()
    logits[ARTICLE.row("The cat"), ARTICLE.words.index("was")] = -torch.inf
    toy = dataclasses.replace(ARTICLE, old_logits=logits, new_logits=logits)
    with pytest.raises(
        ValueError, match="'is' is the only word that can follow 'The cat', so its probability stays 1."
    ):
        toy.drag("is", 0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"words": ("The",) * 12}, "must all be different"),
        ({"words": (*ARTICLE.words[:-1], "has sung")}, "none may be empty or hold a space"),
        ({"new_logits": torch.zeros(3, 12)}, r"new_logits is \(3, 12\) of torch.float32, but must be \(157, 12\)"),
        ({"old_logits": torch.full((157, 12), -torch.inf, dtype=torch.float64)}, "old_logits must be finite, or"),
        ({"new_logits": torch.zeros(157, 12, dtype=torch.float64)}, "must allow the same words after each prefix"),
        ({"rewards": torch.full((12,) * 3, torch.nan, dtype=torch.float64)}, "rewards must be finite"),
        ({"prefix": "The cat is"}, "leaves no word to write"),
    ],
)
def test_a_toy_that_makes_no_sense(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(ARTICLE, **changes)


def test_a_vocabulary_too_large_to_list() -> None:
    with pytest.raises(ValueError, match="vocabulary is 21, but must be from 2 to 20"):
        Toy.random(0, 21)


def test_every_sentence_is_listed_once() -> None:
    for size in (12, 20):
        assert len({tuple(words) for words in Toy.random(0, size).sequences.tolist()}) == size**3
    # Two verbs after "The cat", six after each of the eight other openings.
    sentences = [" ".join(ARTICLE.words[i] for i in words) for words in ARTICLE.sequences.tolist()]
    assert len(set(sentences)) == len(sentences) == 50
    assert "The cat is" in sentences and "The cat sings" not in sentences
    for toy in (ARTICLE, random_toy()):
        for logits in (toy.old_logits, toy.new_logits):
            assert sequence_probabilities(toy, logits).sum().item() == pytest.approx(1)
