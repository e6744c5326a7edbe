from __future__ import annotations

from itertools import pairwise

import pytest

from explorer.ppo.preferences.choosing import WAYS, choose_pairs
from explorer.ppo.preferences.comparisons import Comparison, PreferenceError
from explorer.ppo.preferences.reward_model import fit_reward_model


@pytest.fixture(scope="module")
def model(features, pool, label):
    return fit_reward_model(features, label(pool, "mentions_animal", 30))


def as_labels(pool, chosen):
    return [Comparison(pool.prompts[a], pool.texts[a], pool.texts[b], "skip") for (a, b), _, _ in chosen]


@pytest.mark.parametrize("way", WAYS)
def test_pairs_of_one_prompt_never_asked_twice(way, model, other_pool):
    first = choose_pairs(other_pool, 30, way=way, model=model)
    assert len(first) == 30 and {pair.way for pair in first} == {way}
    assert all(other_pool.prompts[a] == other_pool.prompts[b] for (a, b), _, _ in first)
    done = [frozenset([(c.prompt, c.a), (c.prompt, c.b)]) for c in as_labels(other_pool, first)]
    assert len(set(done)) == 30
    again = choose_pairs(other_pool, 30, way=way, model=model, done=done)
    assert not {frozenset([(c.prompt, c.a), (c.prompt, c.b)]) for c in as_labels(other_pool, again)} & set(done)


def test_the_closest_are_closer_than_others(model, other_pool):
    chosen = choose_pairs(other_pool, 20, way="closest", model=model, seed=4)
    by_chance = choose_pairs(other_pool, 200, seed=4)
    distance = (model.probabilities(as_labels(other_pool, chosen)) - 0.5).abs()
    assert distance.tolist() == pytest.approx([pair.value for pair in chosen])
    assert all(a.value <= b.value for a, b in pairwise(chosen))
    assert distance.max() < (model.probabilities(as_labels(other_pool, by_chance)) - 0.5).abs().median()


def test_the_ensemble_disagrees_most_about_the_chosen(model, other_pool):
    chosen = choose_pairs(other_pool, 20, way="disagreement", model=model, seed=4)
    spread = model.member_probabilities(as_labels(other_pool, chosen)).std(1)
    assert spread.tolist() == pytest.approx([pair.value for pair in chosen])
    by_chance = model.member_probabilities(as_labels(other_pool, choose_pairs(other_pool, 200, seed=4))).std(1)
    assert spread.min() > by_chance.median()


@pytest.mark.parametrize("way", ["closest", "disagreement"])
def test_no_text_comes_twice_among_the_first(way, model, other_pool):
    rows = [row for pair in choose_pairs(other_pool, 30, way=way, model=model) for row in pair.rows]
    assert len({(other_pool.prompts[row], other_pool.texts[row]) for row in rows}) == 60


def test_without_a_model_it_is_chance_and_says_so(other_pool):
    assert {pair.way for pair in choose_pairs(other_pool, 5, way="disagreement")} == {"random"}


def test_the_seed_decides(other_pool, model):
    for way in WAYS:
        one, same, other = (
            [p.rows for p in choose_pairs(other_pool, 5, way=way, model=model, seed=s)] for s in (1, 1, 2)
        )
        assert one == same != other


def test_a_pool_that_is_used_up_gives_fewer(other_pool):
    few = other_pool[[row for row, prompt in enumerate(other_pool.prompts) if prompt == other_pool.prompts[0]][:3]]
    assert len(choose_pairs(few, 10)) == 3


@pytest.mark.parametrize("way", WAYS)
def test_where_every_pair_has_been_asked_there_is_none_and_no_warning(way, other_pool, model):
    few = other_pool[[row for row, prompt in enumerate(other_pool.prompts) if prompt == other_pool.prompts[0]][:3]]
    asked = [frozenset((few.prompts[row], few.texts[row]) for row in pair.rows) for pair in choose_pairs(few, 10)]
    assert choose_pairs(few, 10, way=way, model=model, done=asked) == []


def test_what_cannot_be(other_pool, features, pool, label):
    with pytest.raises(PreferenceError, match="way is 'best'"):
        choose_pairs(other_pool, 1, way="best")
    alone = fit_reward_model(features, label(pool, "sentiment", 5), members=0)
    with pytest.raises(PreferenceError, match="no ensemble"):
        choose_pairs(other_pool, 1, way="disagreement", model=alone)
