"""The exact parts of the gradient for the browser: in even shares, with their sum."""

from __future__ import annotations

import numpy as np
import pytest

from explorer.session.parts import Answer
from explorer.views.parts import parts_picture


def test_parts_are_counted_in_even_shares() -> None:
    mask = np.array([[True, True, False], [True, True, True]])
    parts = np.array([[0.5, -0.1, 0.0], [0.2, 0.2, 0.2]], dtype=np.float32)
    found = parts_picture(Answer(state="there", update=7, parts=parts), mask)
    # Five tokens: an even share is a fifth.
    assert np.frombuffer(found["values"], dtype=np.float32) == pytest.approx([2.5, -0.5, 0.0, 1.0, 1.0, 1.0])
    assert (found["state"], found["update"], found["tokens"]) == ("there", 7, 5)
    assert found["sum"] == pytest.approx(1.0)


def test_the_sum_is_computed_and_not_taken_for_granted() -> None:
    found = parts_picture(Answer(state="there", parts=np.zeros((1, 2), dtype=np.float32)), np.ones((1, 2), dtype=bool))
    assert found["sum"] == 0.0  # as where the whole gradient is 0


def test_without_parts_it_says_why() -> None:
    assert parts_picture(Answer(state="gone", update=3, nearest=4)) == {"state": "gone", "update": 3, "nearest": 4}
    assert parts_picture(Answer())["state"] == ""
