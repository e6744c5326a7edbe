from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from explorer.ppo.rewards import REWARDS, bias
from explorer.ppo.rewards.bias import gender_twins, swaps
from explorer.ppo.rewards.gender_pairs import NAMES, ONE_WAY, WORDS

unbiasedness = REWARDS["unbiasedness"]
PLAIN = ["the", "theory", "shell", "mango", "heroic", "Sirius", "ushers", "history", "kingdom", "sandman", "tim", "dog"]
TWO_WAY = [word for pair in WORDS for word in pair]
FORMS = [
    *TWO_WAY,
    *map(str.capitalize, TWO_WAY),
    *map(str.upper, TWO_WAY),
    *(name for pair in NAMES for name in pair),
]


class Judge:
    """A reference that knows the log-probabilities of a few texts and takes each for ten tokens."""

    lm = SimpleNamespace(config=SimpleNamespace(vocab_size=100))

    def __init__(self, known):
        self.known, self.calls = known, 0

    def text_logprobs(self, texts):
        self.calls += 1
        return torch.tensor([self.known[text] for text in texts]), torch.full((len(texts),), 10)


def judged(batch_of, known, texts):
    batch = batch_of(texts=texts)
    return unbiasedness(type(batch)(**{**vars(batch), "reference": Judge(known)})).tolist()


@pytest.mark.parametrize(
    ("text", "twins"),
    [
        ("He met a girl.", ["She met a boy."]),
        ("MOM said: she's late, he'll go.", ["DAD said: he's late, she'll go."]),
        ("Tim's mum saw Lily", ["Lily's dad saw Tim"]),
        ("his dog, not hers", ["her dog, not his"]),
        ("The dog was his.", ["The dog was hers."]),
        ("I saw him. HIS hat!", ["I saw her. HER hat!"]),
        ("the old lady", ["the old man"]),
        ("I saw her", ["I saw his", "I saw him"]),
        ("Her cat", ["His cat", "Him cat"]),
        ("", []),
    ],
)
def test_swaps(text, twins):
    assert swaps(text) == twins


def test_three_hers_are_tried_and_the_rest_go_by_the_next_word():
    assert len(swaps("her her her")) == 8
    twins = swaps("her x her x her x her cat saw her. It bit her and her dog, then her")
    assert len(twins) == 8
    assert {twin.split(" x ")[3] for twin in twins} == {"his cat saw him. It bit him and his dog, then his"}


@given(st.lists(st.sampled_from(FORMS + PLAIN), max_size=12), st.sampled_from([" ", ", ", "-", "\n", "'s "]))
def test_swapping_twice_changes_nothing(words, between):
    text = between.join(words)
    twins = swaps(text)
    assert len(twins) == (1 if set(words) & set(FORMS) else 0)
    for twin in twins:
        assert swaps(twin) == [text]
        assert all((mine == theirs) == (mine in PLAIN) for mine, theirs in zip(words, twin.split(between), strict=True))


@given(st.lists(st.sampled_from(PLAIN), max_size=12))
def test_text_without_gender_scores_exactly_zero(batch_of, words):
    text = " ".join(words)
    assert swaps(text) == []
    assert unbiasedness(batch_of(texts=[text, text])).tolist() == [0.0, 0.0]


def test_every_word_is_listed_once():
    words = Counter([*TWO_WAY, *ONE_WAY, "her", "his"])
    names = Counter(name for pair in NAMES for name in pair)
    assert [word for word, times in (words + names).items() if times > 1] == []


def test_known_scores(batch_of):
    known = {"He ran": -20.0, "She ran": -22.0, "A boy": -20.0, "A girl": -19.0, "Mom": -3.0, "Dad": -60.0}
    scores = judged(batch_of, known, ["He ran", "She ran", "A boy", "A dog", "Mom"])
    assert scores == pytest.approx([-0.4, -0.4, -0.2, 0.0, -1.0])


def test_her_becomes_the_likelier(batch_of):
    known = {"saw her": -5.0, "saw his": -9.0, "saw him": -6.0}
    assert judged(batch_of, known, ["saw her"]) == pytest.approx([-0.2])


@pytest.mark.parametrize(
    ("text", "twin"),
    [
        ("She gave her a hug", "He gave him a hug"),
        ("She loved her dog", "He loved his dog"),
        (
            "She went to the park with her mom. Her friend saw her.",
            "He went to the park with his dad. His friend saw him.",
        ),
    ],
)
def test_her_resolves_under_the_bundled_policy(reference, text, twin):
    assert [found.twin for found in gender_twins([text], reference)] == [twin]


def test_logprobs_agree_with_the_language_model(reference):
    texts = ["Tim was sad. He cried.", "The dog ran."]
    twins = gender_twins(texts, reference)
    assert [twin.twin for twin in twins] == ["Lily was sad. She cried.", "The dog ran."]

    def oracle(text):
        ids = [0, *reference.tokenizer(text)["input_ids"]]
        loss = reference.lm(torch.tensor([ids]), labels=torch.tensor([ids])).loss.item()
        return -loss * (len(ids) - 1), len(ids) - 1

    for text, twin in zip(texts, twins, strict=True):
        assert (twin.logprob, twin.tokens) == pytest.approx(oracle(text), abs=1e-3)
        assert twin.twin_logprob == pytest.approx(oracle(twin.twin)[0], abs=1e-3)


def test_a_story_and_its_twin_score_alike(batch_of):
    # Pairs of as many tokens: the difference is divided by the number of tokens of the text itself.
    pairs = [("Tim was happy.", "Lily was happy."), ("The boy saw his mom.", "The girl saw her dad.")]
    for story, twin in pairs:
        one, other = unbiasedness(batch_of(texts=[story, twin])).tolist()
        assert one == pytest.approx(other, abs=1e-5)
        assert -1 <= one < 0


def test_the_prompt_is_part_of_the_story(batch_of):
    whole = unbiasedness(batch_of(texts=["He met a girl and ran."])).item()
    split = unbiasedness(batch_of(texts=[" met a girl and ran."], prompts=["He"])).item()
    assert split == pytest.approx(whole, abs=1e-6)
    assert whole < 0


TEXTS = [
    "Tim saw her. He gave her a toy.",
    "The sun was hot.",
    "The king and his daughter went to her house to see her and her dog.",
    "Mom smiled.",
]


def test_batch_order(batch_of):
    scores = unbiasedness(batch_of(texts=TEXTS))
    assert torch.allclose(unbiasedness(batch_of(texts=TEXTS[::-1])).flip(0), scores, atol=1e-5)


def test_one_forward_for_the_batch(batch_of):
    texts = ["He ran"] * 32
    batch = batch_of(texts=texts)
    judge = Judge({"He ran": -5.0, "She ran": -5.0})
    unbiasedness(type(batch)(**{**vars(batch), "reference": judge}))
    assert judge.calls == 1


def test_several_small_forwards_say_the_same(batch_of, monkeypatch):
    scores = unbiasedness(batch_of(texts=TEXTS))
    monkeypatch.setattr(bias, "LOGITS_AT_ONCE", 1)
    assert torch.allclose(unbiasedness(batch_of(texts=TEXTS)), scores, atol=1e-5)


def test_text_beyond_the_positions(batch_of):
    (score,) = unbiasedness(batch_of(texts=["He met a girl and " * 100])).tolist()
    assert -1 <= score <= 0
