"""The notebook in Notebook 7: it draws in its cell, trains, a token is pinned, and a dark theme makes it dark."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.explorer_page import AT_ONCE, ExplorerPage
from tests.browser.notebook_page import Notebook, choose_theme

pytestmark = [pytest.mark.browser, pytest.mark.kernel]


@pytest.fixture
def explorer(in_notebook_7: Notebook) -> ExplorerPage:
    """The Explorer under the first cell, paused."""
    explorer = in_notebook_7.explorer(0)
    explorer.tidy()
    return explorer


def test_it_draws_in_the_cell(explorer: ExplorerPage) -> None:
    assert explorer.root.get_attribute("data-host") == "cell"
    explorer.part("curves").locator(".main-svg").first.wait_for()
    output = explorer.page.locator(".jp-OutputArea-output").first.bounding_box()
    assert output is not None
    for key in ("player", "controls", "tokens", "objective", "advantages", "kl", "curves"):
        box = explorer.part(key).bounding_box()
        assert box is not None and box["height"] > 50
        assert output["x"] <= box["x"] and box["x"] + box["width"] <= output["x"] + output["width"] + 1
    assert explorer.clip.tokens == explorer.tokens.count()


def test_it_trains_and_a_slider_rescores(explorer: ExplorerPage) -> None:
    explorer.train()
    explorer.wait_for_update(2)
    explorer.slide("clip_range", 0.05)
    explorer.wait_for_region(0.05)
    explorer.stop()
    assert explorer.newest >= 2


def test_a_token_is_pinned_and_walked_from(explorer: ExplorerPage) -> None:
    explorer.train_to(1)
    token = explorer.token(1, 2)
    if explorer.pinned != (1, 2):
        token.click()
    expect(token).to_have_class(re.compile("ex-pinned"), timeout=AT_ONCE)
    expect(explorer.part("objective").locator(".ex-formula .ex-word")).to_have_text(f"“{token.inner_text().strip()}”")
    explorer.page.keyboard.press("ArrowDown")
    expect(explorer.token(2, 2)).to_have_class(re.compile("ex-pinned"), timeout=AT_ONCE)


def test_a_panel_folds_in_the_cell_and_the_cell_shrinks(explorer: ExplorerPage) -> None:
    before = explorer.root.bounding_box()
    explorer.press("fold-kl")
    expect(explorer.part("kl").locator("svg").first).to_be_hidden()
    after = explorer.root.bounding_box()
    assert before is not None and after is not None and after["height"] < before["height"] - 80
    explorer.press("fold-kl")
    expect(explorer.part("kl").locator("svg").first).to_be_visible()


def test_the_dark_theme_makes_it_dark(explorer: ExplorerPage) -> None:
    choose_theme(explorer.page, "JupyterLab Dark")
    try:
        expect(explorer.root).to_have_attribute("data-theme", "dark")
        colour = explorer.part("tokens").evaluate("(node) => getComputedStyle(node).backgroundColor")
        assert max(int(part) for part in re.findall(r"\d+", colour)[:3]) < 60
    finally:
        choose_theme(explorer.page, "JupyterLab Light")
    expect(explorer.root).to_have_attribute("data-theme", "light")
