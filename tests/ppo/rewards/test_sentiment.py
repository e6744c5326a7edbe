from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.ppo.rewards import REWARDS

sentiment = REWARDS["sentiment"]


@pytest.mark.parametrize(
    ("text", "compound"),
    [  # the demonstration in VADER's own README
        ("VADER is smart, handsome, and funny.", 0.8316),
        ("VADER is not smart, handsome, nor funny.", -0.7424),
        ("The book was good.", 0.4404),
        ("At least it isn't a horrible book.", 0.431),
        ("Today SUX!", -0.5461),
    ],
)
def test_published_values(batch_of, text, compound):
    assert sentiment(batch_of(texts=[text])).item() == pytest.approx(compound, abs=1e-4)


def test_nothing_to_feel(batch_of):
    assert sentiment(batch_of(texts=["", "   ", "The table is in the room.", "\ufffd"])).tolist() == [0.0] * 4


def test_the_prompt_does_not_count(batch_of):
    batch = batch_of(texts=["a red box.", "a red box."], prompts=["Happy, happy Tim found ", "Sad, angry Tim found "])
    assert sentiment(batch).tolist() == [0.0, 0.0]


@given(st.lists(st.text(max_size=60), min_size=1, max_size=4))
def test_range_and_batch_order(batch_of, texts):
    scores = sentiment(batch_of(texts=texts)).tolist()
    assert all(-1 <= score <= 1 for score in scores)
    assert sentiment(batch_of(texts=texts[::-1])).tolist() == scores[::-1]
