"""One selection for all panels: hovered anywhere, walked and let go by key, spoken, joined by a line where pinned."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.explorer_page import AT_ONCE, ExplorerPage

pytestmark = pytest.mark.browser


@pytest.fixture
def explorer(replay: ExplorerPage) -> ExplorerPage:
    replay.page.set_viewport_size({"width": 1280, "height": 800})
    replay.scrub(20)
    replay.part("epoch").select_option("-1")
    replay.part("find").fill("")
    if replay.pinned != (1, 2):
        replay.token(1, 2).click()
    replay.page.mouse.move(0, 0)
    expect(replay.token(1, 2)).to_have_class(re.compile("ex-pinned"))
    return replay


@pytest.mark.parametrize("panel", ["tokens", "objective", "advantages", "kl"])
def test_hovering_in_one_panel_previews_in_all(explorer: ExplorerPage, panel: str) -> None:
    places: dict[str, Locator] = {
        "tokens": explorer.token(1, 5),
        "objective": explorer.part("objective").locator(".ex-ring-pinned"),
        "advantages": explorer.part("advantages").locator(".ex-words text").nth(5),
        "kl": explorer.part("kl").locator(".ex-chart-tokens rect").nth(5),
    }
    box = places[panel].bounding_box()
    assert box is not None
    across = box["x"] + (
        box["width"] - 3 if panel == "advantages" else box["width"] / 2
    )  # a slanted word ends at its column
    high = explorer.part("advantages").locator(".ex-picture").bounding_box()
    assert high is not None
    explorer.page.mouse.move(across, high["y"] + 20 if panel == "advantages" else box["y"] + box["height"] / 2)
    hovered = explorer.part("tokens").locator(".ex-token.ex-hovered")
    expect(hovered).to_have_count(1, timeout=AT_ONCE)
    if panel != "objective":  # there another token may be as near
        assert (hovered.get_attribute("data-row"), hovered.get_attribute("data-t")) == ("1", "5")
    word = hovered.inner_text().strip()
    expect(explorer.part("objective").locator(".ex-ring-hovered")).to_have_count(1)
    expect(explorer.part("objective").locator(".ex-formula .ex-word")).to_have_text(f"“{word}”")
    expect(explorer.part("advantages").locator(".ex-column-hovered")).to_have_count(1)
    expect(explorer.part("kl").locator(".ex-chart-tokens .ex-strong")).to_have_count(1)
    assert explorer.pinned == (1, 2)
    explorer.page.mouse.move(0, 0)
    expect(hovered).to_have_count(0)


@pytest.fixture
def lower(explorer: ExplorerPage) -> Iterator[ExplorerPage]:
    """The page, of which a test shows another panel of the lower half."""
    yield explorer
    explorer.page.mouse.move(0, 0)
    explorer.tab("advantages")


def test_a_term_of_the_ledger_is_previewed_everywhere_and_a_token_in_the_ledger(lower: ExplorerPage) -> None:
    lower.tab("ledger")
    ledger = lower.part("ledger")
    expect(ledger).to_have_attribute("data-token", "1,2")
    ledger.locator('[data-fold="advantage"]').click()
    term = ledger.locator('[data-line="advantage"] [data-place="1,5"]')
    term.hover()
    _expect_hovered(lower, 1, 5)
    expect(ledger).to_have_attribute("data-token", "1,2")  # the sum that it is a term of stays
    lower.page.mouse.move(0, 0)
    expect(lower.part("tokens").locator(".ex-hovered")).to_have_count(0, timeout=AT_ONCE)
    lower.token(1, 4).hover()
    expect(ledger).to_have_attribute("data-token", "1,4", timeout=AT_ONCE)
    expect(ledger.locator(".ex-ledger-whose")).to_contain_text("response 2, token 5")
    lower.page.mouse.move(0, 0)
    expect(ledger).to_have_attribute("data-token", "1,2", timeout=AT_ONCE)
    assert lower.pinned == (1, 2)


def test_a_bar_of_the_reward_is_previewed_everywhere_and_a_token_in_the_reward(lower: ExplorerPage) -> None:
    lower.tab("reward")
    reward = lower.part("reward")
    bar = reward.locator('.ex-reward-row[data-row="3"]')
    bar.hover()
    _expect_hovered(lower, 3, 0)
    expect(bar).to_have_class(re.compile("ex-hovered-row"))
    expect(reward.locator(".explorer-reward-value")).to_contain_text("Response 2")  # what stands below stays
    lower.page.mouse.move(0, 0)
    lower.token(0, 4).hover()
    expect(reward.locator('.ex-reward-row[data-row="0"]')).to_have_class(re.compile("ex-hovered-row"), timeout=AT_ONCE)
    expect(reward.locator(".explorer-reward-value")).to_contain_text("Response 1")
    reward.locator('[data-name="coherence"]').click()
    reward.locator('.ex-reward-token[data-t="6"]').hover()
    _expect_hovered(lower, 1, 6)
    assert lower.pinned == (1, 2)


def test_the_token_that_the_inspector_leads_to_is_previewed_everywhere(lower: ExplorerPage) -> None:
    lower.tab("inspector")
    inspector = lower.part("inspector")
    expect(inspector).to_have_attribute("data-token", "1,2")
    button = inspector.locator(".explorer-inspector-furthest")
    button.hover()
    hovered = lower.part("tokens").locator(".ex-token.ex-hovered")
    expect(hovered).to_have_count(1, timeout=AT_ONCE)
    place = tuple(int(hovered.get_attribute(name) or -1) for name in ("data-row", "data-t"))
    expect(inspector).to_have_attribute("data-token", "1,2")
    button.click()
    expect(lower.token(*place)).to_have_class(re.compile("ex-pinned"), timeout=AT_ONCE)


def _expect_hovered(explorer: ExplorerPage, row: int, t: int) -> None:
    """A token is previewed in the strip, in the clip picture and in the KL."""
    expect(explorer.token(row, t)).to_have_class(re.compile("ex-hovered"), timeout=AT_ONCE)
    expect(explorer.part("objective").locator(".ex-ring-hovered")).to_have_count(1)
    word = explorer.token(row, t).inner_text().strip()
    expect(explorer.part("objective").locator(".ex-formula .ex-word")).to_have_text(f"“{word}”")


@pytest.mark.parametrize("panel", ["tokens", "objective", "advantages", "kl", "curves", "player"])
def test_keys_act_from_every_panel(explorer: ExplorerPage, panel: str) -> None:
    root, press = explorer.part(panel), explorer.page.keyboard.press
    root.focus()  # as a click on an empty place of it does
    press("ArrowRight")
    expect(explorer.token(1, 3)).to_have_class(re.compile("ex-pinned"), timeout=AT_ONCE)
    press(",")
    expect(explorer.part("tokens")).to_have_attribute("data-update", "18")
    press(".")
    press(".")
    expect(explorer.part("tokens")).to_have_attribute("data-update", "22")
    press("[")
    expect(explorer.part("epoch")).to_have_value("3")
    press("[")
    expect(explorer.part("epoch")).to_have_value("2")
    press("]")
    press("]")
    press("]")
    expect(explorer.part("epoch")).to_have_value("-1")
    press("Escape")
    expect(explorer.part("tokens").locator(".ex-pinned")).to_have_count(0, timeout=AT_ONCE)


def test_the_ends_stop_a_walk(explorer: ExplorerPage) -> None:
    explorer.part("tokens").focus()
    explorer.scrub(1)
    explorer.page.keyboard.press(",")
    explorer.page.keyboard.press("[")
    expect(explorer.part("epoch")).to_have_value("3")
    for _ in range(5):
        explorer.page.keyboard.press("[")
    expect(explorer.part("epoch")).to_have_value("0")
    assert explorer.part("tokens").get_attribute("data-update") == "1"
    explorer.scrub(40)
    explorer.page.keyboard.press(".")
    explorer.page.keyboard.press("]")
    expect(explorer.part("epoch")).to_have_value("1")
    assert explorer.part("tokens").get_attribute("data-update") == "40"


def test_typing_in_a_box_stays_typing(explorer: ExplorerPage) -> None:
    find = explorer.part("find")
    find.click()
    explorer.page.keyboard.type("a.,[]")
    expect(find).to_have_value("a.,[]")
    explorer.page.keyboard.press("ArrowLeft")
    find.fill("")
    explorer.page.keyboard.press("Escape")
    expect(explorer.token(1, 2)).to_have_class(re.compile("ex-pinned"))
    assert explorer.part("tokens").get_attribute("data-update") == "20"


def test_keys_are_heard_under_the_pointer_and_nowhere_else(explorer: ExplorerPage) -> None:
    page = explorer.page
    page.evaluate("document.activeElement.blur()")
    explorer.part("curves").hover()
    page.keyboard.press(",")
    expect(explorer.part("tokens")).to_have_attribute("data-update", "18")
    page.evaluate(OUTSIDE)
    page.locator("#outside").focus()
    for key in (",", "[", "ArrowRight", "Escape"):
        page.keyboard.press(key)
    assert page.evaluate("window.heard") == [",", "[", "ArrowRight", "Escape"]  # another's keys reach it
    assert explorer.pinned == (1, 2)
    assert explorer.part("tokens").get_attribute("data-update") == "18"
    page.locator("#outside").evaluate("(node) => node.remove()")


def test_every_step_by_key_is_spoken(explorer: ExplorerPage) -> None:
    spoken = explorer.part("tokens").locator(".ex-spoken")
    assert spoken.get_attribute("aria-live") == "polite"
    explorer.part("objective").focus()
    explorer.page.keyboard.press("ArrowRight")
    word = explorer.token(1, 3).inner_text().strip()
    expect(spoken).to_contain_text(f"“{word}”, response 2, token 4: ratio ρ")
    expect(spoken).not_to_contain_text("update")
    explorer.page.keyboard.press("[")
    expect(spoken).to_contain_text("update 20, epoch 4, before its steps. “")
    explorer.page.keyboard.press(".")
    expect(spoken).to_contain_text("update 22, epoch 4")
    said = spoken.inner_text()
    explorer.page.wait_for_function(
        "(at) => performance.now() - at > 3000", arg=explorer.page.evaluate("performance.now()")
    )
    explorer.scrub(26)  # not by key: the update is on screen, and nobody is interrupted
    assert spoken.inner_text() == said


def test_the_pinned_token_is_joined_to_its_marks(explorer: ExplorerPage) -> None:
    _joined(explorer, 3)
    ends = explorer.root.evaluate(ENDS)
    assert all(distance < 3 for distance in ends["starts"])
    assert sorted(ends["reached"]) == ["advantages", "kl", "objective"]
    layer = explorer.root.locator(".ex-joins")
    assert layer.evaluate("(layer) => getComputedStyle(layer).pointerEvents") == "none"
    before = explorer.root.evaluate(BOXES)
    explorer.page.keyboard.press("Escape")
    _joined(explorer, 0)
    assert explorer.root.evaluate(BOXES) == before  # no panel moves for it


def test_no_line_leads_to_what_is_out_of_sight(explorer: ExplorerPage) -> None:
    _joined(explorer, 3)
    responses = explorer.part("tokens").locator(".ex-responses")
    responses.evaluate("(list) => (list.scrollTop = list.scrollHeight)")
    _joined(explorer, 0)
    responses.evaluate("(list) => (list.scrollTop = 0)")
    _joined(explorer, 3)
    explorer.tab("samples")
    _joined(explorer, 2)
    explorer.tab("advantages")
    _joined(explorer, 3)
    explorer.page.set_viewport_size({"width": 640, "height": 900})
    expect(explorer.root).to_have_attribute("data-columns", "1")
    _joined(explorer, 0)


def _joined(explorer: ExplorerPage, lines: int) -> None:
    explorer.when(LINES_ARE, lines, milliseconds=AT_ONCE)


LINES_ARE = "(root, n) => (root.querySelector('.ex-joins path').getAttribute('d')?.match(/M/g) ?? []).length === n"

#: How far each line begins from the pinned token, and in which panel it ends.
ENDS = """(root) => {
  const origin = root.getBoundingClientRect();
  const token = root.querySelector('.ex-token.ex-pinned').getBoundingClientRect();
  const lines = root.querySelector('.ex-joins path').getAttribute('d').split('M').slice(1)
    .map((line) => line.match(/[-.\\d]+/g).map(Number));
  const panel = ([x, y]) => ['objective', 'advantages', 'kl'].find((key) => {
    const box = root.querySelector(`.explorer-${key}`).getBoundingClientRect();
    return x > box.left && x < box.right && y > box.top && y < box.bottom;
  });
  const off = ([x, y]) => Math.hypot(x + origin.left - (token.left + token.right) / 2, y + origin.top - token.bottom);
  return {
    starts: lines.map(off),
    reached: lines.map((line) => panel([line.at(-2) + origin.left, line.at(-1) + origin.top])),
  };
}"""

BOXES = """(root) => [...root.querySelectorAll('.explorer-view')].map((view) => {
  const { x, y, width, height } = view.getBoundingClientRect();
  return [x, y, width, height];
})"""

OUTSIDE = """() => {
  const box = document.createElement('div');
  box.id = 'outside';
  box.tabIndex = 0;
  window.heard = [];
  box.addEventListener('keydown', (event) => window.heard.push(event.key));
  document.body.append(box);
}"""
