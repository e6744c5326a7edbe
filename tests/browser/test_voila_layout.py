"""The page's room: three panels at first, others on demand and remembered, a big page; nothing moves in training."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.browser.explorer_page import ExplorerPage

pytestmark = pytest.mark.browser

PANELS = ("tokens", "objective", "advantages", "kl", "curves")


@pytest.fixture(scope="module")
def visitor(voila_url: str, open_page: OpenPage) -> Iterator[ExplorerPage]:
    """The page of somebody who has never been there."""
    page = open_page(first_visit=True)
    page.goto(voila_url)
    explorer = ExplorerPage(page)
    explorer.wait_until_ready()
    yield explorer
    page.close()


def test_three_panels_are_open_at_first_and_another_on_demand(visitor: ExplorerPage) -> None:
    assert _open(visitor) == {"tokens", "objective", "curves"}
    for key, name in (("advantages", "Response"), ("kl", "KL")):  # folded: its name is there, and takes little room
        box = visitor.part(key).bounding_box()
        assert box is not None and box["height"] < 45
        expect(visitor.part(key)).to_contain_text(name)
    before = _heights(visitor)
    visitor.press("fold-kl")
    expect(visitor.part("kl").locator(".ex-kl-exact_kl").first).to_be_visible()
    expect(visitor.part("fold-kl")).to_have_attribute("aria-expanded", "true")
    visitor.press("fold-kl")
    expect(visitor.part("kl").locator("svg").first).to_be_hidden()
    assert _heights(visitor) == before


def test_a_tab_of_the_folded_half_unfolds_it_and_a_folded_panel_leaves_its_room(visitor: ExplorerPage) -> None:
    tall = _heights(visitor)["tokens"]
    visitor.tab("advantages")
    expect(visitor.part("advantages").locator(".ex-bar-more").first).to_be_visible()
    assert _heights(visitor)["tokens"] < 0.7 * tall
    visitor.press("fold-advantages")
    expect(visitor.part("advantages").locator(".ex-bar-more").first).to_be_hidden()
    assert _heights(visitor)["tokens"] == pytest.approx(tall, abs=1)


def test_what_was_unfolded_is_remembered(visitor: ExplorerPage) -> None:
    visitor.press("fold-kl")
    visitor.press("fold-curves")
    visitor.page.reload()
    expect(visitor.part("train")).to_be_enabled()
    assert _open(visitor) == {"tokens", "objective", "kl"}
    visitor.press("fold-kl")
    visitor.press("fold-curves")
    visitor.wait_until_ready()
    assert _open(visitor) == {"tokens", "objective", "curves"}


NAMES = "(nodes) => nodes.map((node) => node.className.match(/explorer-([\\w-]+)/)[1])"


@pytest.mark.parametrize("unfolded", [False, True])
@pytest.mark.parametrize(("width", "height"), [(1024, 768), (1280, 800), (1920, 1080)])
@pytest.mark.parametrize("big", [False, True])
def test_it_holds_at_every_width(visitor: ExplorerPage, big: bool, width: int, height: int, unfolded: bool) -> None:
    visitor.page.set_viewport_size({"width": width, "height": height})
    if big:
        visitor.press("big")
    folded = visitor.root.locator(".ex-tool[aria-expanded=false]:visible")
    touched = []
    try:
        while unfolded and (names := folded.evaluate_all(NAMES)):
            touched.append(names[0])
            visitor.root.locator(f".explorer-{names[0]}:visible").click()
            visitor.page.evaluate(TWO_FRAMES)
        visitor.page.evaluate(TWO_FRAMES)
        assert visitor.page.evaluate("document.scrollingElement.scrollWidth") <= width
        assert visitor.root.evaluate(OVERLAPPING) == []
        if not unfolded:
            assert visitor.root.evaluate(CUT) == []
    finally:
        for key in touched:
            visitor.root.locator(f".explorer-{key}:visible").click()
        if big:
            visitor.press("big")
        visitor.page.set_viewport_size({"width": 1280, "height": 800})


def test_the_big_page_has_larger_words_and_marks_and_fewer_panels(visitor: ExplorerPage) -> None:
    visitor.page.set_viewport_size({"width": 1920, "height": 1080})
    small = {part: _drawn_height(visitor, part) for part in (".ex-token", ".explorer-train", ".ex-ring-pinned")}
    visitor.press("big")
    expect(visitor.part("big")).to_have_attribute("aria-pressed", "true")
    expect(visitor.part("advantages").locator(".ex-bar-more").first).to_be_visible()
    assert _open(visitor) == {"tokens", "objective", "advantages"}
    for part, height in small.items():
        assert _drawn_height(visitor, part) > 1.3 * height, part
    # What the pointer points at is what it finds, though everything is enlarged.
    ring = visitor.part("objective").locator(".ex-ring-pinned").bounding_box()
    assert ring is not None
    visitor.page.mouse.move(ring["x"] + ring["width"] / 2, ring["y"] + ring["height"] / 2)
    expect(visitor.part("objective").locator(".ex-ring-hovered")).to_have_count(1)
    visitor.token(1, 2).hover()
    tip, at = visitor.part("tokens").locator(".ex-tip"), visitor.token(1, 2).bounding_box()
    expect(tip).to_be_visible()
    box = tip.bounding_box()
    assert at is not None and box is not None
    assert min(abs(box["y"] - at["y"] - at["height"]), abs(box["y"] + box["height"] - at["y"])) < 40
    visitor.page.reload()
    expect(visitor.part("train")).to_be_enabled()
    expect(visitor.part("big")).to_have_attribute("aria-pressed", "true")
    visitor.press("big")
    assert _open(visitor) == {"tokens", "objective", "curves"}
    visitor.page.set_viewport_size({"width": 1280, "height": 800})


def test_a_link_can_ask_for_the_big_page(visitor: ExplorerPage, voila_url: str) -> None:
    visitor.page.goto(f"{voila_url}?big")
    expect(visitor.part("train")).to_be_enabled()
    expect(visitor.root).to_have_attribute("data-big", "true")
    visitor.press("big")
    visitor.page.goto(voila_url)
    expect(visitor.part("train")).to_be_enabled()
    expect(visitor.root).to_have_attribute("data-big", "false")


def test_nothing_moves_and_nothing_flickers_while_it_trains(explorer: ExplorerPage) -> None:
    explorer.train_to(1)
    explorer.train()
    started = explorer.newest
    explorer.root.evaluate(WATCH)
    explorer.wait_for_update(started + 4)
    seen = explorer.root.evaluate("(root) => root.exWatched()")
    explorer.stop()
    assert seen["frames"] > 20
    assert seen["shifts"] == []
    assert seen["boxes"] == [], "panels that changed place or size"
    assert seen["blank"] == [], "pictures that were empty in between"


def _open(explorer: ExplorerPage) -> set[str]:
    views = explorer.root.locator(".explorer-view[data-folded=false]:visible")
    return set(views.evaluate_all("(views) => views.map((view) => view.classList[1].slice(9))"))


def _heights(explorer: ExplorerPage) -> dict[str, float]:
    explorer.page.evaluate(TWO_FRAMES)
    boxes = {key: explorer.part(key).bounding_box() for key in PANELS}
    return {key: box["height"] for key, box in boxes.items() if box is not None}


def _drawn_height(explorer: ExplorerPage, part: str) -> float:
    box = explorer.root.locator(part).first.bounding_box()
    assert box is not None
    return box["height"]


TWO_FRAMES = "() => new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(go))))"

#: Panels that lie over each other, or past the edge of the window.
OVERLAPPING = """(root) => {
  const views = [...root.querySelectorAll('.explorer-view')].filter((view) => view.checkVisibility());
  const boxes = views.map((view) => [view.classList[1], view.getBoundingClientRect()]);
  const found = boxes.filter(([, box]) => box.left < -1 || box.right > innerWidth + 1).map(([name]) => name);
  boxes.forEach(([one, a], i) => boxes.slice(i + 1).forEach(([other, b]) => {
    const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (across > 1 && down > 1) found.push(`${one} ${other}`);
  }));
  return found;
}"""

#: What its panel cuts off, across or down, or what lies under the panel's corner.
CUT = """(root) => {
  const parts = '.ex-bar-row > *, .ex-picture, .ex-control > *, h2, .ex-formula, .ex-clip-head > *, .ex-tab, .ex-plots';
  const cut = (node) => {
    if (!node.checkVisibility() || node.closest('.ex-spoken')) return false;
    const [own, panel] = [node, node.closest('.explorer-view')].map((one) => one.getBoundingClientRect());
    const corner = node.closest('.explorer-view').querySelector(':scope > .ex-tools')?.getBoundingClientRect();
    const under = corner && !node.closest('.ex-tabs') && own.left < corner.right - 1 && own.right > corner.left + 1 &&
      own.top < corner.bottom - 4 && own.bottom > corner.top + 4;
    const scrolls = node.closest('.ex-tabs, .explorer-controls');
    const past = own.right > panel.right + 1 || own.left < panel.left - 1 || own.bottom > panel.bottom + 1;
    return under || (!scrolls && past);
  };
  const told = (node) => `${node.className.baseVal ?? node.className}: ${node.textContent.slice(0, 40)}`;
  return [...root.querySelectorAll(parts)].filter(cut).map(told);
}"""

#: From now on, every frame: where each panel is, whether its picture holds anything, and the shifts that the browser
#: itself counts. The texts of the responses are new with each update; what moves within their list is their own.
WATCH = """(root) => {
  const [shifts, boxes, blank] = [[], new Set(), new Set()];
  const nameOf = (node) => `${node?.nodeName} ${node?.className?.baseVal ?? node?.className}`;
  const observer = new PerformanceObserver((list) => list.getEntries().forEach(({ sources }) => {
    const ours = sources.map(({ node }) => (node?.nodeType === 3 ? node.parentElement : node));
    shifts.push(...ours.filter((node) => node && root.contains(node) && !node.closest('.ex-responses')).map(nameOf));
  }));
  observer.observe({ type: 'layout-shift' });
  const parts = '.explorer-view, .ex-picture, .ex-plots, .ex-formula, .ex-responses, .ex-control, .ex-pill';
  const nodes = () => [...root.querySelectorAll(parts)].filter((node) => node.checkVisibility());
  const boxOf = (node) => Object.values(node.getBoundingClientRect().toJSON()).slice(0, 4).map(Math.round).join();
  const first = new Map(nodes().map((node) => [node, boxOf(node)]));
  const full = ':is(.explorer-objective, .explorer-advantages, .explorer-kl) .ex-picture, .ex-responses';
  let frames = 0;
  const look = () => {
    frames += 1;
    first.forEach((box, node) => box !== boxOf(node) && boxes.add(`${nameOf(node)}: ${box} → ${boxOf(node)}`));
    const empty = (node) => node.checkVisibility() && node.childElementCount < 2;
    [...root.querySelectorAll(full)].filter(empty).forEach((node) => blank.add(nameOf(node)));
    next = requestAnimationFrame(look);
  };
  let next = requestAnimationFrame(look);
  root.exWatched = () => {
    cancelAnimationFrame(next);
    observer.disconnect();
    return { frames, shifts: [...new Set(shifts)], boxes: [...boxes], blank: [...blank] };
  };
}"""
