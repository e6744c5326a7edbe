from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from explorer.ppo.rewards import REWARDS
from explorer.ppo.rewards.diversity import repeated_shares

diversity = REWARDS["diversity"]
ROWS = st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=1, max_size=6)


def shares(ids, mask=None):
    ids = torch.tensor(ids)
    mask = torch.ones_like(ids, dtype=torch.bool) if mask is None else torch.tensor(mask)
    own, others = repeated_shares(ids, mask)
    return own.tolist(), others.tolist()


def test_repeating_oneself(batch_of):
    # 12 21 12 has one repeat in three; 34 45 56 has none.
    own, others = shares([[1, 2, 1, 2], [3, 4, 5, 6]])
    assert own == pytest.approx([1 / 3, 0])
    assert others == [0, 0]
    assert diversity(batch_of(ids=[[1, 2, 1, 2], [3, 4, 5, 6]])).tolist() == pytest.approx([-1 / 3, 1])


def test_repeating_others():
    # Of 12 and 23, one of the two other responses contains the first and none the second.
    own, others = shares([[1, 2, 3], [1, 2, 4], [5, 6, 7]])
    assert own == [0, 0, 0]
    assert others == pytest.approx([1 / 4, 1 / 4, 0])


def test_how_often_another_says_it_does_not_matter():
    _, others = shares([[1, 2, 8, 9], [1, 2, 1, 2]])
    assert others == pytest.approx([1 / 3, 1 / 2])


def test_score_against_the_batch(batch_of):
    # Rows 0 and 1 share one of their two bigrams; each has 8 others, so 1/8 and 0, on average 1/16.
    ids = [[1, 2, 3], [1, 2, 4], *([n, n + 1, n + 2] for n in range(10, 80, 10))]
    assert diversity(batch_of(ids=ids)).tolist() == pytest.approx([0.5, 0.5] + [1.0] * 7)


def test_saying_all_the_same_is_worst(batch_of):
    assert diversity(batch_of(ids=[[1, 2, 3, 4]] * 5)).tolist() == [-1.0] * 5
    assert diversity(batch_of(ids=[[7] * 12, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]])).tolist() == [-1.0, 1.0]


def test_fewer_than_two_tokens_is_neutral(batch_of):
    ids = [[1, 2, 3], [4, 2, 3], [5, 6, 7]]
    mask = [[True, False, False], [False, False, False], [True, True, True]]
    assert diversity(batch_of(ids=ids, mask=mask)).tolist() == [0.0, 0.0, 1.0]


def test_a_response_of_one_token_a_row_has_no_bigrams(batch_of):
    assert diversity(batch_of(ids=[[1], [2]])).tolist() == [0.0, 0.0]


def test_a_batch_of_one_has_no_others():
    assert shares([[1, 2, 3]]) == ([0.0], [0.0])


def test_what_is_masked_does_not_count(batch_of):
    mask = [[True, True, True, False], [True, True, False, False]]
    one = diversity(batch_of(ids=[[1, 2, 3, 0], [2, 4, 0, 0]], mask=mask))
    two = diversity(batch_of(ids=[[1, 2, 3, 2], [2, 4, 1, 2]], mask=mask))
    assert torch.equal(one, two)


@given(ROWS)
def test_sets_of_words_say_the_same(rows):
    """An oracle by Python sets, one response at a time."""
    bigrams = [list(pairwise(row)) for row in rows]
    own, others = shares(rows)
    for index, mine in enumerate(bigrams):
        rest = [set(theirs) for position, theirs in enumerate(bigrams) if position != index]
        contained = [sum(pair in theirs for theirs in rest) / len(rest) for pair in set(mine)] if rest else [0.0]
        assert own[index] == pytest.approx(1 - len(set(mine)) / len(mine))
        assert others[index] == pytest.approx(sum(contained) / len(contained), abs=1e-6)


@given(ROWS, st.randoms())
def test_range_and_batch_order(batch_of, rows, random):
    order = list(range(len(rows)))
    random.shuffle(order)
    scores = diversity(batch_of(ids=rows))
    assert bool((scores.abs() <= 1).all())
    assert torch.allclose(diversity(batch_of(ids=[rows[i] for i in order])), scores[order])
