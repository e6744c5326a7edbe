from __future__ import annotations

import pytest

from explorer.ppo.preferences.rules import RULES


@pytest.mark.parametrize(
    ("rule", "text", "value"),
    [
        ("has_dialogue", ' He said, "Hello!"', 1),
        ("has_dialogue", " He said “Hello”", 1),
        ("has_dialogue", " It's Tom's.", 0),
        ("mentions_animal", " a big DOG.", 1),
        ("mentions_animal", " two mice ran", 1),
        ("mentions_animal", " a hotdog for the caterpillars", 0),
        ("mentions_animal", "", 0),
        ("sentiment", "The book was good.", 0.4404),  # VADER's own README
        ("sentiment", "", 0),
        ("short_words", " I am big", -2),
        ("short_words", " It's 12 o'clock!", -5.5),
        ("short_words", " ... 3", 0),
    ],
)
def test_by_hand(rule, text, value):
    assert RULES[rule](text) == pytest.approx(value, abs=1e-4)
