"""axe-core on the explorer's own root: no serious violation of WCAG 2.2 AA, in any tab, in both themes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.explorer_page import ExplorerPage

pytestmark = pytest.mark.browser

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
TWO_FRAMES = "() => new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(go))))"


@pytest.fixture(params=["light", "dark"])
def themed(explorer: ExplorerPage, request: pytest.FixtureRequest) -> Iterator[ExplorerPage]:
    """The page in a theme, with an update of its own."""
    explorer.train_to(1)
    if explorer.root.get_attribute("data-theme") != request.param:
        explorer.press("theme")
    expect(explorer.part("tokens")).to_have_attribute("data-theme", request.param)
    yield explorer
    if explorer.root.get_attribute("data-theme") != "light":
        explorer.press("theme")


def violations(explorer: ExplorerPage, context: str | dict[str, list[str]] = ".explorer") -> list[str]:
    """What axe-core finds that is serious or critical, in a part of the page or ``{"include": …, "exclude": …}``."""
    explorer.page.evaluate(TWO_FRAMES)
    found: list[dict[str, Any]] = (
        Axe().run(explorer.page, context=context, options={"runOnly": RULES}).response["violations"]
    )
    return [
        f"{rule['id']}: {node['html'][:120]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def test_every_tab_is_clean(themed: ExplorerPage) -> None:
    tabs = themed.part("advantages").locator(".ex-tab").evaluate_all("(tabs) => tabs.map((t) => t.className)")
    keys = [name.split("explorer-tab-")[1] for name in tabs]
    assert len(keys) >= 7
    found = {"page": violations(themed)}
    for key in keys:
        themed.tab(key)
        found[key] = violations(themed, f".explorer-{key}")  # the rest of the page is the same in every tab
    assert not any(found.values()), found


def test_so_are_open_drawers_the_other_clip_picture_and_what_opens_over_the_page(themed: ExplorerPage) -> None:
    for drawer in themed.part("controls").locator("details").all():
        drawer.evaluate("(drawer) => (drawer.open = true)")
    themed.press("view-probabilities")
    themed.press("save-tokens")
    expect(themed.part("save-as-png")).to_be_focused()
    assert violations(themed, ".ex-menu") == []  # what it lies over cannot be pressed before it is closed
    themed.page.keyboard.press("Escape")
    assert violations(themed) == []
    themed.type("clip_range", "7")
    expect(themed.part("error")).to_be_visible()
    assert violations(themed) == []
    themed.press("dismiss")
    themed.press("view-objective")
    for drawer in themed.part("controls").locator("details").all():
        drawer.evaluate("(drawer) => (drawer.open = false)")


def test_axe_sees_what_is_wrong(themed: ExplorerPage) -> None:
    """A button whose name is taken away is found: the check can fail."""
    button = themed.part("save-tokens")
    name, title = button.get_attribute("aria-label"), button.get_attribute("title")
    button.evaluate("(node) => { node.removeAttribute('aria-label'); node.title = ''; node.textContent = ''; }")
    assert any("button-name" in line for line in violations(themed))
    button.evaluate(
        "(node, [name, title]) => { node.ariaLabel = name; node.title = title; node.textContent = '⤓'; }", [name, title]
    )


def test_sliders_are_the_browsers_own(themed: ExplorerPage) -> None:
    assert themed.root.locator(".noUi-handle, .jp-Slider, .widget-slider").count() == 0
    for slider in themed.root.locator("input[type=range]:visible").all():
        assert slider.get_attribute("aria-label") or slider.evaluate("(node) => node.labels.length")
