"""Every text on the page can be read in both themes: WCAG 2's contrast, measured from the colours in force."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.explorer_page import ExplorerPage

pytestmark = pytest.mark.browser


@pytest.fixture(params=["light", "dark"])
def themed(explorer: ExplorerPage, request: pytest.FixtureRequest) -> Iterator[ExplorerPage]:
    """The page in a theme."""
    if explorer.root.get_attribute("data-theme") != request.param:
        explorer.press("theme")
    expect(explorer.part("tokens")).to_have_attribute("data-theme", request.param)
    explorer.page.evaluate(TWO_FRAMES)
    yield explorer
    if explorer.root.get_attribute("data-theme") != "light":
        explorer.press("theme")


def test_the_measure_is_wcags(themed: ExplorerPage) -> None:
    """Black on white is 21 : 1 and #777777 on white 4.48 : 1, as the published checkers give it; #808080 3.95 : 1."""
    white, grey = "rgb(255, 255, 255)", "rgb(119, 119, 119)"
    for ink, paper, ratio in (("rgb(0, 0, 0)", white, 21.0), (grey, white, 4.48), ("rgba(0, 0, 0, 0.5)", white, 3.95)):
        assert themed.root.evaluate(MEASURED, [ink, paper]) == pytest.approx(ratio, abs=0.03)


def test_every_text_and_every_edge_of_a_control_stands_out(themed: ExplorerPage) -> None:
    themed.train_as_set()
    themed.part("preset").select_option("gspo")
    expect(themed.part("recipe").locator("li")).to_have_count(10)
    for drawer in themed.part("controls").locator("details").all():
        drawer.evaluate("(drawer) => (drawer.open = true)")
    for quantity in ("ratio", "advantage", "ref_kl", "entropy"):
        themed.part("quantity").select_option(quantity)
        themed.page.evaluate(TWO_FRAMES)
        assert themed.root.evaluate(FAINT) == []
    assert themed.root.evaluate(MEANT) > 300
    for tab in ("samples", "toy", "runs", "advantages"):
        themed.tab(tab)
        themed.page.evaluate(TWO_FRAMES)
        assert themed.root.evaluate(FAINT) == []


def test_what_opens_over_the_page_stands_out_too(themed: ExplorerPage) -> None:
    themed.train_to(1)
    themed.token(0, 2).hover()
    expect(themed.part("tokens").locator(".ex-tip")).to_be_visible()
    themed.type("clip_range", "7")
    expect(themed.part("error")).to_be_visible()
    assert themed.root.evaluate(FAINT) == []
    themed.press("dismiss")
    themed.part("clip_range").locator("label").hover()
    expect(themed.part("controls").locator(".ex-tip")).to_be_visible()
    assert themed.root.evaluate(FAINT) == []


TWO_FRAMES = "() => new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(go))))"

#: Contrast of what lies on what: every layer over those behind it, with the opacity of all that it is in.
COLOURS = """
const parsed = (colour) => {
  const [r, g, b, a = 1] = (colour.match(/[-.\\d]+(?:e-?\\d+)?/g) ?? [0, 0, 0, 0]).map(Number);
  return [r, g, b, a];
};
const over = ([r, g, b, a], paper) => [r, g, b].map((part, i) => part * a + paper[i] * (1 - a));
const linear = (x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
const luminance = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
const contrast = (one, other) => {
  const [a, b] = [luminance(one), luminance(other)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
};
const chain = (node) => (node ? [...chain(node.parentElement), node] : []);
const seeThrough = (node) => chain(node).reduce((share, one) => share * Number(getComputedStyle(one).opacity), 1);
const shapesUnder = (node) => {
  if (!node.ownerSVGElement) return [];
  const { left, right, top, bottom } = node.getBoundingClientRect();
  const [x, y] = [(left + right) / 2, (top + bottom) / 2];
  const holds = (box) => box.left < x && box.right > x && box.top < y && box.bottom > y;
  const before = (one) => one.compareDocumentPosition(node) & Node.DOCUMENT_POSITION_FOLLOWING;
  const rects = [...node.ownerSVGElement.querySelectorAll('rect')];
  return rects.filter((one) => before(one) && holds(one.getBoundingClientRect()));
};
const paper = (node) => {
  const layers = chain(node).map((one) => parsed(getComputedStyle(one).backgroundColor));
  for (const shape of shapesUnder(node)) {
    const { fill, fillOpacity } = getComputedStyle(shape);
    const [r, g, b, a] = fill === 'none' ? [0, 0, 0, 0] : parsed(fill);
    layers.push([r, g, b, a * Number(fillOpacity) * seeThrough(shape)]);
  }
  return layers.reduce((below, layer) => over(layer, below), [255, 255, 255]);
};
"""

MEASURED = f"""(root, [ink, sheet]) => {{ {COLOURS}
  const on = over(parsed(sheet), [255, 255, 255]);
  return contrast(over(parsed(ink), on), on);
}}"""

#: Texts that are there to be read: in sight, in use, and not only for a screen reader.
TEXTS = """
const shown = (node) => node.checkVisibility({ opacityProperty: true, visibilityProperty: true });
const idle = (node) => node.closest(':disabled, .ex-idle, .ex-spoken, style, defs');
const WRITTEN_IN = 'input:not([type=range], [type=checkbox]), select, textarea';
const texts = (root) => {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const found = new Set(root.querySelectorAll(WRITTEN_IN));
  while (walker.nextNode()) {
    const own = walker.currentNode.parentElement;
    if (walker.currentNode.textContent.trim() && !own.closest(WRITTEN_IN)) found.add(own);
  }
  return [...found].filter((node) => shown(node) && !idle(node));
};
"""

MEANT = f"(root) => {{ {COLOURS} {TEXTS} return texts(root).length; }}"

#: What falls below 4.5 : 1, or 3 : 1 where letters are large or what is measured is the edge of a control.
FAINT = f"""(root) => {{ {COLOURS} {TEXTS}
  const faint = [];
  for (const node of texts(root)) {{
    const [style, sheet] = [getComputedStyle(node), paper(node)];
    const drawn = node instanceof SVGElement;
    const inked = node.placeholder && !node.value ? getComputedStyle(node, '::placeholder') : style;
    const [r, g, b, a] = parsed(drawn ? style.fill : inked.color);
    const ink = over([r, g, b, a * seeThrough(node) * (drawn ? Number(style.fillOpacity) : 1)], sheet);
    const size = parseFloat(style.fontSize);
    const mark = node.matches('.ex-beyond'); // an arrowhead, and no letter
    const least = mark || size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    const ratio = contrast(ink, sheet);
    const found = [ratio.toFixed(2), ink.map(Math.round), sheet.map(Math.round), node.outerHTML.slice(0, 90)];
    if (ratio < least) faint.push(found.join(' '));
  }}
  for (const node of root.querySelectorAll(`button, ${{WRITTEN_IN}}`)) {{
    const [style, around] = [getComputedStyle(node), paper(node.parentElement)];
    const edge = parsed(style.borderTopColor);
    if (!shown(node) || idle(node) || !parseFloat(style.borderTopWidth) || !edge[3]) continue;
    const ratio = Math.max(contrast(over(edge, around), around), contrast(paper(node), around));
    if (ratio < 3) faint.push(`${{ratio.toFixed(2)}} edge ${{style.borderTopColor}} ${{node.className}}`);
  }}
  return [...new Set(faint)];
}}"""
