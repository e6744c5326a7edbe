from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.ppo.rewards import REWARDS

length = REWARDS["length"]


def lengths(batch_of, counts, target):
    width = max([*counts, 1])
    mask = [[position < count for position in range(width)] for count in counts]
    return length(batch_of(mask=mask, length_target=target)).tolist()


def test_known_values(batch_of):
    assert lengths(batch_of, [0, 1, 2, 3, 4, 5, 6, 8, 30], 4) == [-1.0, -0.5, 0.0, 0.5, 1.0, 0.5, 0.0, -1.0, -1.0]


@given(st.integers(1, 60), st.lists(st.integers(0, 70), min_size=1, max_size=6))
def test_range_and_best_at_the_target(batch_of, target, counts):
    scores = lengths(batch_of, counts, target)
    assert all(-1 <= score <= 1 for score in scores)
    assert [score == 1 for score in scores] == [count == target for count in counts]


@given(st.integers(2, 40), st.data())
def test_closer_is_never_worse(batch_of, target, data):
    near = data.draw(st.integers(0, 80))
    far = data.draw(st.integers(0, 80).filter(lambda count: abs(count - target) >= abs(near - target)))
    closer, further = lengths(batch_of, [near, far], target)
    assert closer >= further - 1e-6


def test_reads_the_mask_and_not_the_ids(batch_of):
    batch = batch_of(ids=[[0, 0, 7, 9]], mask=[[True, True, False, False]], length_target=2)
    assert length(batch).item() == pytest.approx(1.0)
