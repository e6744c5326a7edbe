"""The exact part of the gradient: chosen in the menu, computed when the run is paused, and said where it cannot be."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.explorer_page import ExplorerPage

pytestmark = pytest.mark.browser

COLOURED = "(root) => root.querySelectorAll('.ex-token[class*=ex-tint]').length"


def test_the_tokens_are_coloured_by_their_parts(explorer: ExplorerPage) -> None:
    explorer.train_as_set()
    explorer.part("quantity").select_option("gradient_part")
    line = explorer.part("parts")
    expect(line).to_have_attribute("data-state", "there")
    found = re.search(r"1/(\d+); all parts sum to (\d\.\d+)", line.inner_text())
    assert found and float(found[2]) == pytest.approx(1.0, abs=2e-3)
    assert int(found[1]) == explorer.clip.tokens
    explorer.when(f"(root) => ({COLOURED})(root) > 50")
    explorer.token(0, 2).hover()
    tip = explorer.part("tokens").locator(".ex-tip")
    expect(tip).to_contain_text("exact part of gradient")
    assert re.search(r"exact part of gradient\s*[+−]?\d+\.\d{3} even shares", tip.inner_text())
    explorer.part("quantity").select_option("ratio")
    expect(line).to_have_count(0)


def test_each_update_has_its_own_and_an_earlier_one_too(explorer: ExplorerPage) -> None:
    explorer.train_to(3)
    explorer.part("quantity").select_option("gradient_part")
    line = explorer.part("parts")
    expect(line).to_have_attribute("data-state", "there")
    newest = explorer.root.evaluate(COLOURS)
    explorer.scrub(explorer.newest - 1)
    explorer.when(f"(root, was) => ({COLOURS})(root) !== was && ({STATE})(root) === 'there'", newest)
    explorer.press("follow")
    explorer.when(f"(root, was) => ({COLOURS})(root) === was", newest)


def test_while_it_trains_the_line_says_to_pause(explorer: ExplorerPage) -> None:
    explorer.train_to(1)
    explorer.part("quantity").select_option("gradient_part")
    line = explorer.part("parts")
    expect(line).to_have_attribute("data-state", "there")
    explorer.train()
    expect(line).to_have_text("pause to see the parts: each update has its own")
    explorer.when(f"(root) => ({COLOURED})(root) === 0")
    explorer.stop()
    expect(line).to_have_attribute("data-state", "there")
    explorer.when(f"(root) => ({COLOURED})(root) > 50")


def test_a_recorded_run_says_that_it_has_no_weights(open_page: OpenPage, voila_url: str) -> None:
    page: Page = open_page()
    page.goto(voila_url)
    explorer = ExplorerPage(page)
    explorer.wait_until_ready()
    explorer.part("quantity").select_option("gradient_part")
    expect(explorer.part("parts")).to_have_text(
        "A recorded run has no weights to take a gradient of: train, then pause."
    )
    assert explorer.root.evaluate(COLOURED) == 0
    expect(explorer.part("error")).to_be_hidden()
    page.context.close()


COLOURS = """(root) =>
  [...root.querySelectorAll('.ex-token')].map((token) => token.className.match(/ex-tint-.*/)?.[0]).join()"""

STATE = "(root) => root.querySelector('.explorer-parts').dataset.state"
