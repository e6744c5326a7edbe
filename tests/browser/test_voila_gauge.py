"""The gauge: a judge is chosen, measured and never paid for, and held against the score; claims under the curves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.explorer_page import ExplorerPage

pytestmark = pytest.mark.browser


@pytest.fixture
def panel(explorer: ExplorerPage) -> Iterator[Locator]:
    """The run's panel; the page is left without a judge and with its curves."""
    explorer.train_to(1)
    found = explorer.part("curves")
    yield found
    found.locator(".explorer-view-curves").click()
    explorer.tab("reward")
    explorer.part("judge").select_option("")
    explorer.tab("advantages")


def test_a_judge_is_chosen_and_the_score_is_held_against_it(explorer: ExplorerPage, panel: Locator) -> None:
    panel.locator(".explorer-view-gauge").click()
    said = panel.locator(".ex-gauge-said")
    expect(said).to_contain_text("No judge is held out")
    explorer.tab("reward")
    menu = explorer.part("judge")
    expect(menu.locator('option[value="sentiment"]')).to_have_count(0)  # it is paid for
    menu.select_option("diversity")  # a component: the updates before know it too
    lines = panel.locator(".ex-gauge-dots")
    expect(lines).to_have_count(2)
    expect(said).to_contain_text("“diversity”, have not parted")
    menu.select_option("gendered")
    expect(said).to_contain_text("Nothing has been measured by “somebody with a gender” yet")
    explorer.step()
    expect(lines.first).to_have_attribute("data-count", "1")
    # Best of 1, 2, 4, 8, 16 and 32 answers of the untouched policy, by score and by judge.
    expect(panel.locator(".explorer-gauge-picture .ex-gauge-best")).to_have_count(12)
    score = panel.locator(".explorer-gauge-picture rect.ex-gauge-score")
    heights = [float(mark.get_attribute("y") or "nan") for mark in score.all()]
    assert heights == sorted(heights, reverse=True)  # the best of more is better
    score.last.hover(force=True)
    expect(panel.locator(".ex-tip")).to_contain_text("best of 32 answers of the untouched policy")
    assert explorer.player.get_attribute("data-mode") == "paused"
