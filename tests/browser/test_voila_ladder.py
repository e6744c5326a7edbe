"""The ladder: a pinned token's advantage as a stack, restacked as λ and γ move; four estimators; the critic."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.explorer_page import AT_ONCE, ExplorerPage
from tests.browser.test_voila_inspector import FITS

pytestmark = pytest.mark.browser


@pytest.fixture
def ladder(explorer: ExplorerPage) -> Iterator[Locator]:
    """The ladder on screen, over an update of the page's own, as it was trained, with a token pinned."""
    explorer.train_to(3)  # by then the critic says something
    explorer.train_as_set()
    explorer.tab("ladder")
    if explorer.pinned != (0, 4):
        explorer.token(0, 4).click()
    explorer.page.mouse.move(0, 0)
    expect(explorer.part("ladder")).to_have_attribute("data-token", "0,4", timeout=AT_ONCE)
    yield explorer.part("ladder")
    explorer.tidy()


def rungs(ladder: Locator) -> list[float]:
    """What each rung adds, from the pinned token on."""
    found: list[float] = ladder.locator("path[data-part]").evaluate_all(PARTS)
    return found


def value(ladder: Locator, estimator: str) -> float:
    """The number at the right of an estimator's lane: the pinned token's advantage by it."""
    return float(ladder.locator(f'[data-estimator="{estimator}"] [data-value]').get_attribute("data-value") or "nan")


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def test_the_rungs_add_up_to_the_stored_advantage(explorer: ExplorerPage, ladder: Locator) -> None:
    later = explorer.part("tokens").locator('.ex-token[data-row="0"]').count() - 4
    check = explorer.part("ladder-check")
    expect(check).to_have_attribute("data-holds", "true")
    stack, stored = re.findall(r"([+−]?\d\.\d{4})", check.inner_text())
    assert len(rungs(ladder)) == later
    assert sum(rungs(ladder)) == pytest.approx(number(stored), abs=6e-5) == number(stack)
    assert value(ladder, "gae") == pytest.approx(number(stored), abs=6e-5)


def test_moving_lambda_and_gamma_restacks_at_once(explorer: ExplorerPage, ladder: Locator) -> None:
    check, before = explorer.part("ladder-check"), rungs(ladder)
    explorer.slide("gae_lambda", 0)
    explorer.when(SUM_IS, value(ladder, "one_step_td"), milliseconds=AT_ONCE)  # λ = 0: the token's own δ alone
    assert rungs(ladder)[0] == pytest.approx(before[0]) and not any(rungs(ladder)[1:])
    expect(check).to_have_attribute("data-holds", "true")
    explorer.slide("gae_lambda", 1)
    explorer.when(SUM_IS, value(ladder, "monte_carlo_value"), milliseconds=AT_ONCE)
    assert len(set(ladder.locator("path[data-part]").evaluate_all(WEIGHTS))) == 1
    explorer.slide("gamma", 0.9)
    explorer.when("(root) => root.querySelector('path[data-l=\"1\"]').dataset.weight === '0.9'", milliseconds=AT_ONCE)
    expect(check).to_have_attribute("data-holds", "true")
    assert sum(rungs(ladder)) == pytest.approx(value(ladder, "gae"), abs=1e-5)


def test_an_estimator_that_is_no_stack_says_so(explorer: ExplorerPage, ladder: Locator) -> None:
    explorer.part("estimator").locator("select").select_option("rloo")
    check = explorer.part("ladder-check")
    expect(check).to_have_attribute("data-holds", "none", timeout=AT_ONCE)
    expect(check).to_contain_text("RLOO")
    expect(ladder.locator('[data-estimator="rloo"] .ex-lane-title')).to_contain_text("RLOO ●")


def test_a_rung_tells_its_arithmetic_and_keeps_the_pinned_token(explorer: ExplorerPage, ladder: Locator) -> None:
    bar = ladder.locator('path[data-l="3"]')
    expected = float(bar.get_attribute("data-part") or "nan")
    box = bar.bounding_box()
    assert box is not None
    explorer.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 2)
    tip = ladder.locator(".ex-tip")
    expect(tip).to_be_visible()
    weight, delta, part = map(number, re.findall(r"([+−]?\d\.\d{3})", tip.inner_text()))
    assert weight * delta == pytest.approx(part, abs=1e-3) and part == pytest.approx(expected, abs=6e-4)
    assert "3 later" in tip.inner_text()
    expect(ladder).to_have_attribute("data-token", "0,4")


def test_the_critic_is_drawn_with_every_token(explorer: ExplorerPage, ladder: Locator) -> None:
    expect(ladder.locator(".ex-ladder-dots")).to_have_attribute("data-count", str(explorer.clip.tokens))
    text = explorer.part("ladder-explained").inner_text()
    (share,) = re.findall(r"[+−]?\d\.\d{3}", text)
    (charted,) = re.findall(r"EV ([+−]?\d\.\d\d)", explorer.part("curves").inner_text())
    assert number(share) == pytest.approx(number(charted), abs=0.006)


def test_all_of_it_is_on_screen_in_both_languages(explorer: ExplorerPage, ladder: Locator) -> None:
    for size in ({"width": 1920, "height": 1080}, {"width": 1280, "height": 800}):
        explorer.page.set_viewport_size(size)
        for _ in range(2):
            explorer.press("language")
            explorer.when(FITS, ".explorer-ladder")


PARTS = "(rungs) => rungs.map((rung) => Number(rung.dataset.part))"
WEIGHTS = "(rungs) => rungs.map((rung) => rung.dataset.weight)"

SUM_IS = """(root, expected) =>
  Math.abs(Number(root.querySelector('.ex-ladder-sum').dataset.sum) - expected) < 1e-5"""
