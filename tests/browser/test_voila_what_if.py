"""A what-if in the browser: the scoring as trained stays in sight as a ghost, and one press goes back to it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from explorer.text import labels
from tests.browser.explorer_page import AT_ONCE, ExplorerPage

pytestmark = pytest.mark.browser

WORDS = labels("en")["ui"]


@pytest.fixture
def page(recorded: ExplorerPage) -> ExplorerPage:
    """That page with nothing changed, and a token pinned that epsilon holds back."""
    recorded.tidy()
    recorded.press("view-objective")
    if not recorded.pinned:
        recorded.token(0, 0).click()
    recorded.page.mouse.move(0, 0)
    expect(recorded.part("tokens").locator(".ex-badge")).to_be_empty()
    return recorded


def _ghosts(page: ExplorerPage, kind: str, view: str = "objective") -> Locator:
    return page.part(view).locator(f".ex-ghost-{kind}")


def test_dragging_epsilon_leaves_the_old_band_and_curve_in_sight(page: ExplorerPage) -> None:
    before = page.clip
    curve = page.part("objective").locator(".ex-curve").first.get_attribute("d")
    for kind in ("edge", "curve"):
        expect(_ghosts(page, kind)).to_have_count(0)
    places = page.root.evaluate(PLACES)
    page.slide("clip_range", 0.05)
    page.wait_for_region(0.05)
    now = page.clip
    assert now.outside > before.outside and now.tokens == before.tokens
    # Old edges for A > 0 and for A < 0, old curve, old numbers beside the new ones.
    edges = _ghosts(page, "edge").evaluate_all("(lines) => lines.map((line) => line.dataset.edge)")
    assert edges == [f"{before.low:.4f}", f"{before.high:.4f}"] * 2
    assert _ghosts(page, "curve").first.get_attribute("d") != page.part("objective").locator(
        ".ex-curve"
    ).first.get_attribute("d")
    assert _points(_ghosts(page, "curve").first.get_attribute("d")) == pytest.approx(_points(curve), abs=0.11)
    hint = page.part("objective").locator(".ex-hint").first
    expect(hint).to_have_text(
        f"{before.outside} → {now.outside} of {now.tokens} outside 0.95–1.05, "
        f"{before.zero} → {now.zero} without gradient"
    )
    # In the lane of the ratio the old band too; nothing else on the page has moved.
    assert _ghosts(page, "edge", "advantages").count() == 2
    assert page.root.evaluate(PLACES) == places
    page.press("view-probabilities")
    expect(_ghosts(page, "edge")).to_have_count(4)


def test_tokens_that_have_changed_their_state_are_marked_and_counted(page: ExplorerPage) -> None:
    states = "(spans) => spans.map((span) => span.dataset.state)"
    before = page.tokens.evaluate_all(states)
    expect(page.part("turned")).to_be_hidden()
    page.slide("clip_range", 0.05)
    expect(page.part("turned")).to_be_visible(timeout=AT_ONCE)
    page.wait_for_region(0.05)
    after = page.tokens.evaluate_all(states)
    changed = [old != new for old, new in zip(before, after, strict=True)]
    marked = page.tokens.evaluate_all("(spans) => spans.map((span) => span.hasAttribute('data-turned'))")
    assert marked == changed and 0 < sum(changed) < len(changed)
    expect(page.part("turned")).to_have_text(WORDS["ghost"]["turned"].format(count=sum(changed)))


def test_lambda_leaves_the_old_advantages_as_outlines_and_the_old_number_in_the_formula(page: ExplorerPage) -> None:
    formula = page.part("objective").locator(".ex-formula")
    old = formula.locator("b.ex-adv").inner_text()
    scale = page.part("advantages").locator(".ex-tick").all_inner_texts()
    expect(_ghosts(page, "bars", "advantages")).to_have_count(0)
    page.slide("gae_lambda", 0.3)
    expect(formula.locator(".ex-was").first).to_have_text(f"{old} → ", timeout=AT_ONCE)
    assert formula.locator("b.ex-adv").inner_text() != old
    lanes = _ghosts(page, "bars", "advantages")
    expect(lanes).to_have_count(1)  # the advantages have moved, the rewards have not
    assert int(lanes.get_attribute("data-count") or 0) > 5
    expect(_ghosts(page, "edge")).to_have_count(0)  # nor has the band
    assert page.part("advantages").locator(".ex-tick").all_inner_texts() == scale
    page.slide("kl_coef", 0.4)
    expect(lanes).to_have_count(2, timeout=AT_ONCE)


def test_back_to_the_runs_own_settings(page: ExplorerPage) -> None:
    before = page.clip
    back = page.page.get_by_role("button", name=WORDS["ghost"]["back"])
    expect(back).to_be_hidden()
    page.slide("clip_range", 0.05)
    page.slide("gae_lambda", 0.3)
    page.part("epochs").locator("input[type=range]").evaluate(
        "(input) => { input.value = '6'; input.dispatchEvent(new Event('input', { bubbles: true })); }"
    )
    expect(page.part("epochs").locator(".ex-number")).to_have_value("6")
    expect(back).to_be_visible(timeout=AT_ONCE)
    box = back.bounding_box()
    assert box is not None and min(box["width"], box["height"]) >= 24
    back.click()
    page.wait_for_region(0.2)
    expect(page.part("tokens").locator(".ex-badge")).to_be_empty()
    assert page.clip == before and page.value("gae_lambda") == "0.95"
    assert page.value("epochs") == "6"  # what trains is no part of a what-if
    expect(page.root.locator("[data-turned], .ex-ghost-edge, .ex-ghost-curve, .ex-ghost-bars, .ex-was")).to_have_count(
        0
    )
    expect(back).to_be_hidden()


def test_of_a_fast_drag_only_the_newest_value_is_computed(page: ExplorerPage) -> None:
    drawn = page.page.evaluate(DRAG, [page.root.element_handle(), 60])
    page.wait_for_region(0.6)
    assert page.value("clip_range") == "0.60"
    assert 1 <= drawn < 40, drawn  # 60 movements within a fifth of a second


def test_what_a_batch_lacks_is_named(page: ExplorerPage) -> None:
    badge = page.part("tokens").locator(".ex-badge")
    page.part("estimator").locator("select").select_option("remax")
    expect(badge).to_have_text(f"estimator: from the next update ({WORDS['lacks']['greedy']})", timeout=AT_ONCE)
    page.press("own")
    expect(badge).to_be_empty()
    expect(page.part("estimator").locator("select")).to_have_value("gae")
    page.part("critic").locator("select").evaluate(
        "(menu) => { menu.value = 'separate'; menu.dispatchEvent(new Event('change')); }"
    )
    expect(badge).to_have_text(f"critic: with a run of its own ({WORDS['lacks']['critic']})", timeout=AT_ONCE)
    page.part("critic").locator("select").evaluate(
        "(menu) => { menu.value = 'shared'; menu.dispatchEvent(new Event('change')); }"
    )
    expect(badge).to_be_empty()


def test_every_control_says_when_it_takes_effect(page: ExplorerPage) -> None:
    groups = page.part("controls").evaluate(HEADINGS)
    words = {effect: WORDS["groups"][effect] for effect in ("what_if", "next_update", "reset")}
    assert {effect for effect, _ in groups} == set(words)
    for effect, heading in groups:
        assert heading == words[effect] or (effect == "what_if" and heading == WORDS["groups"]["weights"])


@pytest.mark.parametrize("width", [1280, 1024])
def test_the_formula_is_whole_whatever_the_objective(page: ExplorerPage, width: int) -> None:
    formula = page.part("objective").locator(".ex-formula")
    page.page.set_viewport_size({"width": width, "height": 800})
    for preset in ("gspo", "grpo", "dapo_clip_higher"):  # of which the second has the KL in the loss: a line more
        page.part("preset").select_option(preset)
        expect(formula.locator(".ex-was").first).to_be_visible(timeout=AT_ONCE)
        page.slide("clip_range", 0.02)
        for t in (2, 5, 9):
            page.token(1, t).hover()
            assert formula.evaluate(CUT) == 0, preset
            foot, *inner = (page.part("objective").locator(part).bounding_box() for part in FOOT)
            assert foot and all(box and box["y"] + box["height"] <= foot["y"] + foot["height"] + 1 for box in inner)
    page.part("preset").select_option("learn")
    page.page.set_viewport_size({"width": 1280, "height": 800})


def test_a_symbol_has_one_colour_everywhere(page: ExplorerPage) -> None:
    formula = page.part("objective").locator(".ex-formula")
    rho, advantage = (
        formula.locator("i.ex-ratio").first.evaluate(PAINT),
        formula.locator("i.ex-adv").first.evaluate(PAINT),
    )
    assert rho != advantage
    assert formula.locator("b.ex-ratio").evaluate(PAINT) == rho
    assert formula.locator("b.ex-adv").evaluate(PAINT) == advantage
    for part, row, colour in (
        ("objective", ".ex-axis-label.ex-of-ratio", rho),
        ("advantages", ".ex-of-ratio", rho),
        ("advantages", ".ex-of-advantage", advantage),
    ):
        assert page.part(part).locator(row).first.evaluate(PAINT) == colour
    formula.locator("b.ex-ratio").click()
    expect(page.part("ledger")).to_be_visible()
    symbol = page.part("ledger").locator("math .ex-ratio").first
    assert symbol.evaluate("(node) => getComputedStyle(node).color") == rho
    page.tab("advantages")


def test_the_cat_opens_beside_the_formula_as_a_toy_to_drag(page: ExplorerPage) -> None:
    page.press("open-toy")
    expect(page.part("toy")).to_be_visible()
    expect(page.part("toy").locator("h3").first).to_contain_text("The cat")
    slider = page.part("toy-drag")
    expect(slider).to_be_focused()
    ratio = page.part("toy").locator('[data-word="is"] .ex-toy-ratio').first
    before = ratio.inner_text()
    page.page.keyboard.press("ArrowRight")
    expect(ratio).not_to_have_text(before)
    page.tab("advantages")


#: Panel, a number or a picture in it, and the ledger's line that it opens.
OPENS = (
    ("objective", ".ex-formula b.ex-adv", "whitened"),
    ("objective", '.ex-formula [data-ledger="old_probability"]', "old_probability"),
    ("kl", '.ex-kl-legend [data-kl="k3"]', "k3"),
    ("kl", ".ex-chart-tokens_old h3 b", "step"),
    ("kl", ".ex-chart-tokens_old .ex-picture", "step"),
    ("tokens", '.ex-score[tabindex="0"]', "score"),
    ("advantages", '[data-ledger="value"]', "value"),
    ("reward", ".explorer-reward-value .ex-opens", "score"),
    ("reward", '.ex-reward-token [tabindex="0"]', "ref_probability"),
    ("inspector", '[data-fact="k1"]', "k1"),
    ("inspector", '[data-fact="entropy"]', "entropy"),
    ("inspector", '[data-ledger="advantage"]', "whitened"),
    ("inspector", '.ex-inspect-own [data-ledger="new_probability"]', "new_probability"),
    ("ladder", ".explorer-ladder-check .ex-opens", "advantage"),
    ("ladder", "[data-estimator] [data-ledger]", "advantage"),
)


def test_every_number_of_a_token_opens_the_ledger_by_key(page: ExplorerPage) -> None:
    page.tab("reward")
    page.part("reward").locator('.ex-reward-name[data-name="coherence"]').click()
    ledger = page.part("ledger")
    for i, (panel, value, line) in enumerate(OPENS):
        page.tab(panel if panel not in ("objective", "kl", "tokens") else "advantages")
        number = page.part(panel).locator(value).first
        number.focus()
        expect(number).to_be_focused()
        assert "ledger" in (number.get_attribute("aria-label") or ""), value
        page.page.keyboard.press("Space" if number.get_attribute("role") == "button" and i % 2 else "Enter")
        expect(ledger).to_be_visible()
        expect(ledger.locator(".ex-asked"), value).to_have_attribute("data-line", line)
        expect(ledger.locator(".ex-asked")).to_be_focused()
    page.tab("advantages")


def test_a_number_of_another_response_pins_it_and_opens_its_ledger(page: ExplorerPage) -> None:
    ledger = page.part("ledger")
    page.part("tokens").locator(".ex-score").nth(5).click()
    expect(ledger.locator(".ex-ledger-whose")).to_contain_text("response 6, token 1")
    expect(ledger.locator(".ex-asked")).to_have_attribute("data-line", "score")
    page.press("view-response")
    entry = page.part("kl").locator('.ex-kl-legend [data-kl="exact_kl"]')
    expect(entry).to_have_attribute("aria-label", re.compile("response 6: open it in the ledger"))
    entry.click()
    expect(ledger.locator(".ex-asked")).to_have_attribute("data-line", "response_exact_kl")
    asked = ledger.locator('[data-line="response_exact_kl"]')
    asked.locator("[data-fold]").click()
    terms = asked.locator("td[data-value]").evaluate_all("(cells) => cells.map((cell) => Number(cell.dataset.value))")
    assert len(terms) == page.part("tokens").locator('.ex-token[data-row="5"]').count()
    whole = float(asked.locator(".ex-ledger-value").get_attribute("data-value") or "nan")
    assert sum(terms) == pytest.approx(whole, abs=1e-9) and whole > 0
    page.press("view-token")
    page.tab("reward")
    page.part("reward").locator(".ex-reward-row").nth(1).locator('[data-ledger="score"]').click()
    expect(ledger.locator(".ex-ledger-whose")).to_contain_text("response 2, token 1")
    page.part("kl").locator(".ex-chart-tokens .ex-picture").dblclick()
    expect(ledger.locator(".ex-asked")).to_have_attribute("data-line", "exact_kl")
    page.tab("advantages")


def test_the_focus_stays_on_a_number_while_the_token_changes(page: ExplorerPage) -> None:
    page.token(0, 2).click()
    number = page.part("kl").locator('.ex-kl-legend [data-kl="k3"]')
    number.focus()
    page.page.keyboard.press("ArrowRight")
    expect(page.token(0, 3)).to_have_class(re.compile("ex-pinned"), timeout=AT_ONCE)
    expect(number).to_be_focused()
    page.tab("inspector")
    number = page.part("inspector").locator('[data-fact="k2"]')
    number.focus()
    page.page.keyboard.press("ArrowRight")
    expect(page.part("inspector")).to_have_attribute("data-token", "0,4", timeout=AT_ONCE)
    expect(number).to_be_focused()
    page.tab("advantages")


def _points(path: str | None) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.?\d*", path or "")]


#: Where the things are that a drag must not move.
PLACES = """(root) => ['.ex-responses', '.explorer-clip_range', '.explorer-objective .ex-picture', '.ex-clip-foot',
  '.explorer-advantages .ex-picture'].map((name) => {
  const { x, y, width, height } = root.querySelector(name).getBoundingClientRect();
  return [x, y, width, height];
})"""

#: Moves epsilon from 0.01 to 0.6 in so many steps, a few milliseconds apart; gives how often the picture was drawn.
DRAG = """async ([root, steps]) => {
  const input = root.querySelector('.explorer-clip_range input[type=range]');
  const picture = root.querySelector('.explorer-objective .ex-picture');
  const seen = new Set();
  const watcher = new MutationObserver(() => seen.add(root.querySelector('.explorer-region')?.dataset.high));
  watcher.observe(picture, { childList: true, subtree: true });
  for (let i = 1; i <= steps; i += 1) {
    input.value = String(i / 100);
    input.dispatchEvent(new Event('input', { bubbles: true }));
    await new Promise((done) => setTimeout(done, 3));
  }
  const there = () => root.querySelector('.explorer-region').dataset.high === '1.6000';
  while (!there()) await new Promise((done) => setTimeout(done, 5));
  watcher.disconnect();
  return seen.size;
}"""

#: What stands below the clip picture, and what must not be cut off there.
FOOT = (".ex-clip-foot", ".ex-formula", ".explorer-open-toy")

#: How many parts of the formula are cut off.
CUT = """(formula) => [formula, ...formula.querySelectorAll('*')]
  .filter((node) => node.clientWidth && node.scrollWidth > node.clientWidth + 1).length"""

#: The colour of a letter, in a picture too.
PAINT = "(node) => getComputedStyle(node)[node instanceof SVGElement ? 'fill' : 'color']"

#: The effect of every control, with the heading under which it stands.
HEADINGS = """(panel) => [...panel.querySelectorAll('.ex-control')].map((control) => {
  let node = control;
  while (node && !node.matches('h4')) node = node.previousElementSibling;
  const group = control.closest('.ex-group');
  return [control.dataset.effect, (node ?? group.querySelector('h3, summary')).textContent];
})"""
