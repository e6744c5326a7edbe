"""Every picture says what it shows, in which units, and what to look for."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.explorer_page import ExplorerPage

pytestmark = pytest.mark.browser

#: Panels with pictures, and words that name their axes or units.
AXES = {
    "objective": ("objective", "ratio ρ (log scale)"),
    "advantages": ("score", ", sd", "×;", "across: its tokens"),
    "kl": ("nats",),
    "curves": ("update 0", "nats"),
    "ladder": ("token",),
    "inspector": ("probability", "0 to 1"),
}


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("key", [*AXES, "reward", "annotate", "ledger", "time", "samples", "toy", "runs", "tokens"])
def test_a_panel_says_what_it_shows_and_what_to_look_for(explorer: ExplorerPage, key: str, language: str) -> None:
    explorer.train_to(1)
    if key not in ("tokens", "objective", "kl", "curves"):
        explorer.tab(key)
    if language == "zh":
        explorer.press("language")
        expect(explorer.part("language")).to_have_text("English")
    panel = explorer.part(key)
    explorer.page.evaluate(TWO_FRAMES)
    said = panel.evaluate(SAID)
    assert said["name"] and said["heading"], "no title"
    assert len(said["hint"]) >= (8 if language == "zh" else 20), "nothing to look for"
    if language == "en":
        assert [words for words in AXES.get(key, ()) if words not in said["words"]] == []
    for picture in said["pictures"]:
        assert picture, "a picture without a description for who cannot see it"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_hint_beside_the_tabs_is_cut_off(explorer: ExplorerPage, language: str) -> None:
    explorer.train_to(1)
    if language == "zh":
        explorer.press("language")
        expect(explorer.part("language")).to_have_text("English")
    for view in ("token", "response", "update", "frontier", "curves"):
        explorer.press(f"view-{view}")
        expect(explorer.part(f"view-{view}")).to_have_attribute("aria-selected", "true")
        explorer.page.evaluate(TWO_FRAMES)
        assert explorer.root.evaluate(CUT_OFF) == [], view


def test_the_second_clip_picture_names_its_axes(explorer: ExplorerPage) -> None:
    explorer.train_to(1)
    explorer.press("view-probabilities")
    picture = explorer.part("objective").locator(".ex-picture")
    expect(picture).to_have_attribute("data-view", "probabilities")
    words = picture.evaluate("(svg) => [...svg.querySelectorAll('text')].map((t) => t.textContent).join(' ')")
    explorer.press("view-objective")
    assert "before" in words or "old" in words
    assert "after" in words or "new" in words


def test_the_frontier_and_the_gauge_name_their_axes(explorer: ExplorerPage) -> None:
    explorer.train_to(1)
    said = {}
    for view in ("frontier", "gauge"):
        explorer.press(f"view-{view}")
        hint = explorer.part("curves").locator(".ex-head-line .ex-hint:not(.ex-others)")
        expect(hint).not_to_be_empty()
        explorer.page.evaluate(TWO_FRAMES)
        said[view] = explorer.part("curves").evaluate(SAID)
        assert len(hint.get_attribute("title") or "") >= 20, "no title"
    explorer.press("view-curves")
    assert "√KL to the reference" in said["frontier"]["words"] and "score" in said["frontier"]["words"].lower()
    assert all(said["frontier"]["pictures"])
    assert "judge" in said["gauge"]["words"]  # none is held out: what to do stands there


def test_a_small_chart_says_how_it_is_computed_and_what_to_look_for(explorer: ExplorerPage) -> None:
    explorer.train_to(1)
    titles = explorer.part("curves").locator(".ex-plot-title")
    tip = explorer.part("curves").locator(".ex-tip:not([hidden])")
    for i in range(titles.count()):
        titles.nth(i).focus()
        expect(tip).to_be_visible()
        assert tip.locator("code").count() >= 1
        hints = tip.locator(".ex-hint").all_text_contents()
        assert hints and all(len(hint) > 15 for hint in hints)
    explorer.page.evaluate("document.activeElement.blur()")


TWO_FRAMES = "() => new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(go))))"

#: The words beside the tabs of the KL and the run, over the run's charts, and the policy's name, that end in "…".
CUT_OFF = """(root) => {
  const said = '.explorer-kl .ex-hint, .explorer-curves .ex-hint, .ex-plot-title, .explorer-policy';
  const cut = (node) => node.checkVisibility() && node.scrollWidth > node.clientWidth + 1;
  return [...root.querySelectorAll(said)].filter(cut).map((node) => node.textContent);
}"""

#: The panel's name, heading, hint and words, and the descriptions of its pictures.
SAID = """(panel) => {
  const shown = (node) => node.checkVisibility();
  const first = (parts) => [...panel.querySelectorAll(parts)].filter(shown)[0]?.textContent ?? '';
  const hints = [...panel.querySelectorAll('.ex-hint, .ex-legend, .ex-ledger-whose')].filter(shown);
  const pictures = [...panel.querySelectorAll('svg.ex-picture')].filter(shown);
  return {
    name: panel.getAttribute('aria-label'),
    heading: first('h2:not(.ex-folded-name), .ex-tab[aria-selected=true]'),
    hint: hints.map((node) => node.textContent).sort((a, b) => b.length - a.length)[0] ?? '',
    words: panel.textContent,
    pictures: pictures.map((node) => node.closest('[aria-label]')?.getAttribute('aria-label')),
  };
}"""
