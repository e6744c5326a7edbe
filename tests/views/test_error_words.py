"""Errors name a setting as its slider does."""

from __future__ import annotations

import pytest

from explorer.views.error_words import in_words


@pytest.mark.parametrize(
    ("message", "changed", "says"),
    [
        ("clip_range is 7, but must be from 0 to 1.", (), "“ε clip range” is 7, but must be from 0 to 1."),
        ("seed is 1.5.", (), "“seed” is 1.5."),
        ("An apple seed is no number.", (), "An apple seed is no number."),
        ("An apple seed is no number.", ("seed",), "An apple “seed” is no number."),
        ("my_clip_range is unknown.", (), "my_clip_range is unknown."),  # somebody's own name
        ("“ε clip range” is 7.", ("clip_range",), "“ε clip range” is 7."),
    ],
)
def test_a_setting_is_named_as_on_the_page(message: str, changed: tuple[str, ...], says: str) -> None:
    assert in_words(message, "en", changed) == says


def test_the_name_is_that_of_the_pages_language() -> None:
    english, chinese = (in_words("learning_rate is 7.", language) for language in ("en", "zh"))
    assert english != chinese
    assert "learning_rate" not in english + chinese
