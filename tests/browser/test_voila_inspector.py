"""The inspector: what a reader pins is seen under three policies, and whether the update kept its promise."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.explorer_page import AT_ONCE, ExplorerPage

pytestmark = pytest.mark.browser


@pytest.fixture
def inspector(explorer: ExplorerPage) -> Iterator[Locator]:
    """The inspector on screen, over an update of the page's own, as it was trained."""
    explorer.train_as_set()
    explorer.tab("inspector")
    yield explorer.part("inspector")
    explorer.tidy()


def pin(explorer: ExplorerPage, row: int, t: int) -> None:
    if explorer.pinned != (row, t):
        explorer.token(row, t).click()
    explorer.page.mouse.move(0, 0)
    expect(explorer.part("inspector")).to_have_attribute("data-token", f"{row},{t}", timeout=AT_ONCE)


def chances(inspector: Locator, policy: str) -> list[float]:
    """The bars of a policy, from top to bottom, as long as they are drawn on the scale from 0 to 1."""
    return [float(value) for value in inspector.locator(f'rect[data-policy="{policy}"]').evaluate_all(VALUES)]


def test_a_pinned_token_is_seen_under_three_policies(explorer: ExplorerPage, inspector: Locator) -> None:
    pin(explorer, 0, 3)
    own = inspector.locator(".ex-inspect-own")
    expect(own).to_have_count(1)
    assert (own.get_attribute("data-word") or "").strip() == explorer.token(0, 3).inner_text().strip()
    for policy in ("old", "new", "ref"):
        bars = chances(inspector, policy)
        assert len(bars) in (9, 10)  # eight alternatives, the token if it is none of them, and all others
        assert sum(bars) == pytest.approx(1, abs=1e-4)
    # The same numbers stand in the formula: "ρ = new / old".
    new, old = re.findall(r"ρ = ([\d.]+) / ([\d.]+)", explorer.part("objective").inner_text())[0]
    for policy, number in (("new", new), ("old", old)):
        bar = own.locator(f'rect[data-policy="{policy}"]').get_attribute("data-value")
        assert float(bar or "nan") == pytest.approx(float(number), rel=2e-3)


def test_the_promise_and_what_became_of_it(explorer: ExplorerPage, inspector: Locator) -> None:
    furthest = inspector.locator(".explorer-inspector-furthest")
    furthest.click()
    verdict = inspector.locator(".ex-verdict")
    expect(verdict).to_have_attribute("data-promise", "against", timeout=AT_ONCE)
    assert "✗" in verdict.inner_text() and "Against its advantage" in verdict.inner_text()
    wanted, happened = (inspector.locator(f'[data-way="{key}"]').inner_text() for key in ("wanted", "happened"))
    assert ("▲" in wanted) is ("A +" in wanted) is ("▼" in happened) is ("Δlog π −" in happened)
    against, total = map(int, re.findall(r"\d+", inspector.locator(".explorer-inspector-against").inner_text()))
    assert 0 < against < total == explorer.clip.tokens


def test_an_earlier_epoch_says_what_it_has_not(explorer: ExplorerPage, inspector: Locator) -> None:
    pin(explorer, 0, 3)
    after = chances(inspector, "new")
    explorer.part("epoch").select_option("0")
    expect(inspector.locator('rect[data-policy="new"]')).to_have_count(1, timeout=AT_ONCE)
    expect(inspector.locator('text[data-policy="new"]')).to_have_text("words: last step")
    assert sum(chances(inspector, "old")) == pytest.approx(1, abs=1e-4)
    explorer.part("epoch").select_option("-1")
    expect(inspector.locator('rect[data-policy="new"]')).to_have_count(len(after), timeout=AT_ONCE)


def test_keys_walk_and_the_words_are_spoken(explorer: ExplorerPage, inspector: Locator) -> None:
    pin(explorer, 1, 2)
    inspector.locator(".explorer-inspector-words").focus()
    explorer.page.keyboard.press("ArrowRight")
    expect(inspector).to_have_attribute("data-token", "1,3", timeout=AT_ONCE)
    spoken = inspector.locator(".ex-spoken")
    expect(spoken).to_contain_text("reference")
    assert spoken.inner_text() == (
        f"{inspector.locator('.explorer-inspector-words').get_attribute('aria-label')} "
        f"{inspector.locator('.ex-verdict').text_content()}"
    )
    explorer.page.keyboard.press("Escape")
    expect(inspector.locator(".ex-empty")).to_contain_text("Click a token", timeout=AT_ONCE)
    pin(explorer, 0, 3)


def test_all_of_it_is_on_screen_in_both_languages(explorer: ExplorerPage, inspector: Locator) -> None:
    pin(explorer, 0, 3)
    for size in ({"width": 1920, "height": 1080}, {"width": 1280, "height": 800}):
        explorer.page.set_viewport_size(size)
        for _ in range(2):
            explorer.press("language")
            explorer.when(FITS, ".explorer-inspector")


VALUES = "(bars) => bars.map((bar) => bar.dataset.value)"

#: Nothing in a panel is cut off: not below, not at the right, no line of text, and no text of a picture.
FITS = """(root, panel) => {
  const node = root.querySelector(panel);
  const fits = (inner) => inner.scrollHeight <= inner.clientHeight + 1 && inner.scrollWidth <= inner.clientWidth + 1;
  const inside = (text) => {
    const [one, all] = [text.getBoundingClientRect(), text.ownerSVGElement.getBoundingClientRect()];
    const [across, down] = [one.left >= all.left - 2 && one.right <= all.right + 2, one.top >= all.top - 2];
    return across && down && one.bottom <= all.bottom + 2;
  };
  const told = 'p:not([hidden]), h3, .ex-inspect-facts, .ex-inspect-way, .ex-ladder-check > span';
  const lines = [...node.querySelectorAll(told)];
  return node.getBoundingClientRect().bottom <= innerHeight && fits(node) && lines.every(fits)
    && [...node.querySelectorAll('svg text')].every(inside);
}"""
