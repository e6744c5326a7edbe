"""Best-of-n by hand, and against every choice of n one by one."""

from __future__ import annotations

import math
from itertools import combinations
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.ppo.best_of_n import best_of_n, best_of_n_kl

SCORES, VALUES = np.array([[0.0, 2.0, 1.0]]), np.array([[5.0, 1.0, 0.0]])


@pytest.mark.parametrize(
    ("n", "best"),
    # Of {0, 2}, {0, 1} and {2, 1} the best scores are 2, 1 and 2, and are worth 1, 0 and 1.
    [(1, (1.0, 2.0)), (2, (5 / 3, 2 / 3)), (3, (2.0, 1.0))],
)
def test_three_answers_by_hand(n: int, best: tuple[float, float]) -> None:
    assert best_of_n(SCORES, VALUES, n) == pytest.approx(best)


def test_prompts_count_alike() -> None:
    scores, values = np.array([[0.0, 2.0], [10.0, 20.0]]), np.array([[1.0, 3.0], [7.0, 5.0]])
    assert best_of_n(scores, values, 2) == pytest.approx((11.0, 4.0))


def test_answers_that_share_the_best_score_are_taken_alike() -> None:
    assert best_of_n(np.array([[1.0, 1.0, 0.0]]), np.array([[4.0, 0.0, 9.0]]), 3) == pytest.approx((1.0, 2.0))


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-9, 9)), min_size=1, max_size=7), st.data())
def test_it_is_the_mean_over_every_choice(answers: list[tuple[int, int]], data: st.DataObject) -> None:
    n = data.draw(st.integers(1, len(answers)))

    def taken(chosen: tuple[tuple[int, int], ...]) -> tuple[float, float]:
        top = max(score for score, _ in chosen)
        return top, fmean(value for score, value in chosen if score == top)

    every = [taken(chosen) for chosen in combinations(answers, n)]
    expected = fmean(score for score, _ in every), fmean(value for _, value in every)
    scores, values = np.array([answers], dtype=float).transpose(2, 0, 1)
    assert best_of_n(scores, values, n) == pytest.approx(expected)


@pytest.mark.parametrize("n", [0, 4])
def test_more_than_there_are_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match=f"n is {n}, but must be from 1 to the 3 answers"):
        best_of_n(SCORES, VALUES, n)


@pytest.mark.parametrize("n", [1, 2, 4, 16])
def test_its_kl_is_that_of_the_largest_of_n_uniform_numbers(n: int) -> None:
    # Whatever the score's distribution, its place in it is uniform; the largest of n has the density n u^(n - 1).
    u = (np.arange(2_000_000) + 0.5) / 2_000_000
    density = n * u ** (n - 1)
    assert best_of_n_kl(n) == pytest.approx(float(np.mean(density * np.log(density))), abs=1e-4)
    assert best_of_n_kl(1) == 0 and best_of_n_kl(2) == pytest.approx(math.log(2) - 0.5)
