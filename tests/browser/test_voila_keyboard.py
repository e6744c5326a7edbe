"""The page by keyboard alone: Tab reaches every control, each with a ring and a name; tabs go by the arrows."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.explorer_page import ExplorerPage

pytestmark = pytest.mark.browser


def test_tab_walks_through_every_control_each_with_a_ring_and_a_name(explorer: ExplorerPage) -> None:
    explorer.train_to(1)
    explorer.page.mouse.click(2, 2)
    explorer.page.evaluate("document.activeElement?.blur()")
    expected = explorer.root.evaluate(CONTROLS)
    assert len(expected) > 50
    seen: dict[str, dict[str, str]] = {}
    for _ in range(len(expected) + 25):
        explorer.page.keyboard.press("Tab")
        stop = explorer.root.evaluate(STOP)
        if stop is None:
            if seen:
                break
            continue
        if stop["mark"] in seen:
            break
        seen[stop["mark"]] = stop
    missed = [what for mark, what in expected.items() if mark not in seen]
    assert missed == []
    assert [stop["what"] for stop in seen.values() if not stop["name"]] == []
    assert [stop["what"] for stop in seen.values() if not stop["ring"]] == []


def test_the_focus_goes_as_the_eye_goes(explorer: ExplorerPage) -> None:
    """The head first, then the settings, then column by column."""
    explorer.page.evaluate("document.activeElement?.blur()")
    explorer.root.evaluate(CONTROLS)
    order = explorer.root.evaluate(VIEWS_IN_ORDER)
    assert [view for i, view in enumerate(order) if i == 0 or order[i - 1] != view] == [
        *("player", "controls", "tokens", "advantages", "objective", "kl", "curves")
    ]


def test_the_focus_goes_back_to_the_tokens_when_the_ledger_s_is_let_go(explorer: ExplorerPage) -> None:
    strip = explorer.root.locator(".ex-responses")
    strip.focus()
    explorer.page.keyboard.press("ArrowRight")
    explorer.page.keyboard.press("Enter")
    expect(explorer.part("ledger").locator("li:focus")).to_have_count(1)
    explorer.page.keyboard.press("Escape")
    expect(strip).to_be_focused()
    explorer.page.keyboard.press("ArrowDown")  # and a token can be pinned again
    expect(explorer.root.locator(".ex-token[aria-selected=true], .ex-pinned").first).to_be_visible()
    explorer.page.keyboard.press("Escape")


def test_tabs_go_by_the_arrows(explorer: ExplorerPage) -> None:
    tabs = explorer.part("advantages").locator(".ex-tab")
    names = tabs.evaluate_all("(tabs) => tabs.map((tab) => tab.className.match(/explorer-tab-(\\w+)/)[1])")
    tabs.first.focus()
    assert tabs.evaluate_all("(tabs) => tabs.map((tab) => tab.tabIndex)") == [0] + [-1] * (len(names) - 1)
    for name in [*names[1:], names[0]]:  # round, and back to the first
        explorer.page.keyboard.press("ArrowRight")
        expect(explorer.part(name)).to_be_visible()
        expect(explorer.part(name).locator(f".explorer-tab-{name}")).to_be_focused()
        expect(explorer.part(name).locator(f".explorer-tab-{name}")).to_have_attribute("aria-selected", "true")
        assert explorer.root.locator("[role=tab][class*=explorer-tab-][aria-selected=true]:visible").count() == 1
    for key, name in (("End", names[-1]), ("Home", names[0]), ("ArrowLeft", names[-1]), ("ArrowRight", names[0])):
        explorer.page.keyboard.press(key)
        expect(explorer.part(name).locator(f".explorer-tab-{name}")).to_be_focused()


def test_the_menu_of_a_panel_opens_walks_and_closes_by_key(explorer: ExplorerPage) -> None:
    explorer.train_to(1)
    explorer.part("save-tokens").focus()
    explorer.page.keyboard.press("Enter")
    expect(explorer.part("save-as-png")).to_be_focused()
    explorer.page.keyboard.press("ArrowDown")
    expect(explorer.part("save-as-svg")).to_be_focused()
    explorer.page.keyboard.press("End")
    expect(explorer.part("save-as-csv")).to_be_focused()
    explorer.page.keyboard.press("ArrowDown")
    expect(explorer.part("save-as-png")).to_be_focused()
    explorer.page.keyboard.press("Escape")
    expect(explorer.part("save-as-png")).to_be_hidden()
    expect(explorer.part("save-tokens")).to_be_focused()


#: Every control that can be used: marked with a number of its own. {mark: what it is}
CONTROLS = """(root) => {
  const wanted = 'button, select, input, textarea, summary, a[href], [tabindex="0"]';
  const usable = (node) => node.checkVisibility({ visibilityProperty: true }) && !node.disabled && node.tabIndex >= 0;
  const nodes = [...root.querySelectorAll(wanted)].filter(usable);
  nodes.forEach((node, i) => (node.dataset.mark = i));
  return Object.fromEntries(nodes.map((node) => [node.dataset.mark, node.outerHTML.slice(0, 100)]));
}"""

#: The control that has the focus: its mark, its name, and whether a ring of two pixels can be seen around it.
STOP = """(root) => {
  const node = document.activeElement;
  if (!root.contains(node)) return null;
  const { outlineStyle, outlineWidth, outlineColor } = getComputedStyle(node);
  const labels = [...(node.labels ?? [])].map((label) => label.textContent).join(' ');
  const name = node.getAttribute('aria-label') || labels || node.textContent.trim() || node.title;
  const ring = outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2 && !/, 0\\)$/.test(outlineColor);
  const box = node.getBoundingClientRect();
  const what = node.outerHTML.slice(0, 100);
  return { mark: node.dataset.mark ?? what, name, ring: ring && box.width > 0, what };
}"""

VIEWS_IN_ORDER = """(root) => [...root.querySelectorAll('[data-mark]')].filter((node) => node.checkVisibility())
  .map((node) => node.closest('.explorer-view').classList[1].slice(9))"""
