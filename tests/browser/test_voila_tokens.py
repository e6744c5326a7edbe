"""Tokens: hovered, pinned, walked through, coloured; the scrubber, which takes every panel back; the run's curves."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from explorer.bundled import asset_path
from explorer.ppo.metrics import METRICS
from explorer.recording.storage import Recording
from explorer.text import LANGUAGES, labels
from explorer.views.curves import CHARTS
from explorer.views.curves import told as metrics_told
from tests.browser.conftest import OpenPage
from tests.browser.explorer_page import AT_ONCE, ExplorerPage

pytestmark = pytest.mark.browser


def test_hovering_shows_the_numbers_of_a_token(explorer: ExplorerPage) -> None:
    explorer.train_as_set()
    tip = explorer.part("tokens").locator(".ex-tip")
    expect(tip).to_be_hidden()
    explorer.token(1, 3).hover()
    expect(tip).to_be_visible(timeout=AT_ONCE)
    labels = tip.locator(".ex-numbers span").all_inner_texts()
    values = [_number(text) for text in tip.locator(".ex-numbers b").all_inner_texts()]
    shown = dict(zip(labels, values, strict=True))
    assert len(labels) >= 10
    before, now = shown["probability before"], shown["probability now"]
    if min(before, now) > 0.05:  # shown with three digits
        assert shown["ratio ρ"] == pytest.approx(now / before, rel=0.05)
    assert shown["return R"] == pytest.approx(shown["raw advantage"] + shown["value V"], abs=0.002)
    assert 0 < before < 1 and 0 < now < 1 and shown["entropy"] >= 0
    expect(tip).to_contain_text("What else it could have said")
    expect(explorer.part("objective").locator(".ex-ring-hovered")).to_have_count(_has_a_place(shown))
    explorer.page.mouse.move(0, 0)
    expect(tip).to_be_hidden(timeout=AT_ONCE)


def test_a_click_pins_a_token_in_all_panels(explorer: ExplorerPage) -> None:
    explorer.train_as_set()
    row, t = _token_off_one(explorer)
    token = explorer.token(row, t)
    text = token.inner_text().strip()
    if explorer.pinned != (row, t):
        token.click()
    explorer.page.mouse.move(0, 0)
    expect(token).to_have_class(re.compile("ex-pinned"), timeout=AT_ONCE)
    expect(token).to_have_attribute("aria-selected", "true")
    assert explorer.pinned == (row, t)

    expect(explorer.part("objective").locator(".ex-ring-pinned")).to_have_count(1)
    formula = explorer.part("objective").locator(".ex-formula")
    expect(formula).to_contain_text(f"“{text}” ρ = ")
    ratio, advantage = (_number(formula.locator(part).inner_text()) for part in ("b.ex-ratio", "b.ex-adv"))
    plain, clipped = (_number(branch.split("=")[1]) for branch in formula.locator(".ex-branch").all_inner_texts())
    low, high = explorer.clip.low, explorer.clip.high
    assert plain == pytest.approx(ratio * advantage, abs=0.02)
    assert clipped == pytest.approx(min(max(ratio, low), high) * advantage, abs=0.02)
    expect(formula.locator(".ex-wins")).to_have_count(1)

    column = explorer.part("advantages").locator(".ex-column:not(.ex-column-hovered)")
    expect(column).to_have_count(1)
    columns = explorer.part("advantages").locator(".ex-words text")
    assert columns.count() == explorer.part("tokens").locator(f'.ex-token[data-row="{row}"]').count()
    box, word = column.bounding_box(), columns.nth(t).bounding_box()
    assert box is not None and word is not None
    assert box["x"] - 2 <= word["x"] + word["width"] <= box["x"] + box["width"] + 4
    expect(explorer.part("kl").locator(".ex-chart-tokens .ex-strong")).to_have_count(1)
    assert explorer.part("kl").locator(".ex-chart-tokens rect").count() == columns.count()


def test_a_click_in_the_advantages_and_on_the_clip_picture_pins_too(explorer: ExplorerPage) -> None:
    explorer.train_as_set()
    _unpin(explorer)
    picture = explorer.part("advantages").locator(".ex-picture")
    word = explorer.part("advantages").locator(".ex-words text").nth(4).bounding_box()
    box = picture.bounding_box()
    assert word is not None and box is not None
    picture.click(position={"x": word["x"] + word["width"] - box["x"] - 4, "y": 30})
    explorer.when("(root) => root.querySelector('.ex-token.ex-pinned')", milliseconds=AT_ONCE)
    pinned = explorer.pinned
    assert pinned is not None and pinned[0] == 0

    ring = explorer.part("objective").locator(".ex-ring-pinned")
    expect(ring).to_have_count(1)
    expect(explorer.part("objective").locator(".ex-picture")).to_have_attribute("data-moving", "false")
    at = (ring.get_attribute("cx"), ring.get_attribute("cy"))
    _unpin(explorer)
    explorer.part("objective").locator(".ex-picture").click(position={"x": float(at[0] or 0), "y": float(at[1] or 0)})
    explorer.when("(root) => root.querySelector('.ex-token.ex-pinned')", milliseconds=AT_ONCE)
    for name, value in zip(("cx", "cy"), at, strict=True):  # or that of a token close by
        assert float(ring.get_attribute(name) or "nan") == pytest.approx(float(value or "nan"), abs=14)


def test_no_click_is_lost_to_what_is_drawn_anew_under_the_pointer(explorer: ExplorerPage) -> None:
    explorer.train_as_set()
    _pin(explorer, 0, 4)
    mouse, root = explorer.page.mouse, explorer.root
    for panel, mark in (("objective", ".ex-ring-pinned"), ("advantages", ".ex-column:not(.ex-column-hovered)")):
        box = explorer.part(panel).locator(mark).bounding_box()
        assert box is not None
        mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        mouse.down()
        root.evaluate("(root) => root.querySelector('.explorer-tokens .ex-responses').focus()")
        explorer.page.keyboard.press("Escape")  # which takes the mark away, and others with it
        expect(explorer.part("tokens").locator(".ex-pinned")).to_have_count(0)
        mouse.up()
        explorer.when("(root) => root.querySelector('.ex-token.ex-pinned')", milliseconds=AT_ONCE)


def test_arrow_keys_move_and_escape_lets_go(explorer: ExplorerPage) -> None:
    explorer.train_as_set()
    _pin(explorer, 1, 3)
    for key, to in [("ArrowRight", (1, 4)), ("ArrowDown", (2, 4)), ("ArrowLeft", (2, 3)), ("ArrowUp", (1, 3))]:
        explorer.page.keyboard.press(key)
        expect(explorer.token(*to)).to_have_class(re.compile("ex-pinned"), timeout=AT_ONCE)
        assert explorer.pinned == to
    tip = explorer.part("tokens").locator(".ex-tip")
    expect(tip).to_be_visible()  # by keyboard the numbers are shown as well
    spoken = explorer.part("tokens").locator(".ex-spoken")
    expect(spoken).to_contain_text("ratio ρ")

    explorer.page.keyboard.press("Escape")
    expect(explorer.part("tokens").locator(".ex-pinned")).to_have_count(0, timeout=AT_ONCE)
    explorer.page.mouse.move(0, 0)
    expect(tip).to_be_hidden()
    expect(explorer.part("objective").locator(".ex-ring")).to_have_count(0)
    expect(explorer.part("objective").locator(".ex-formula")).to_contain_text("Click a token to pin it")
    expect(explorer.part("advantages").locator(".ex-column")).to_have_count(0)


def test_a_pinned_token_stays_pinned_while_training(explorer: ExplorerPage) -> None:
    explorer.train_to(1)
    _pin(explorer, 2, 1)
    started = explorer.newest
    explorer.train()
    explorer.wait_for_update(started + 2)
    assert explorer.pinned == (2, 1)
    explorer.stop()
    text = explorer.token(2, 1).inner_text().strip()
    expect(explorer.part("objective").locator(".ex-formula .ex-word")).to_have_text(f"“{text}”")


def test_another_quantity_colours_the_tokens_anew(explorer: ExplorerPage) -> None:
    explorer.train_to(2)  # before the first update the policy is the reference
    explorer.train_as_set()
    menu, legend = explorer.part("quantity"), explorer.part("tokens").locator(".ex-scale")
    menu.select_option("entropy")
    explorer.when("(root) => root.querySelector('.ex-scale').title !== ''")
    colours = {}
    for name in [option.get_attribute("value") for option in menu.locator("option").all()]:
        assert name is not None
        explained = legend.get_attribute("title")
        menu.select_option(name)
        explorer.when("(root, was) => root.querySelector('.ex-scale').title !== was", explained, milliseconds=AT_ONCE)
        if name == "gradient_part":  # computed on demand
            expect(explorer.part("parts")).to_have_attribute("data-state", "there")
        label = menu.locator(f'option[value="{name}"]').inner_text()
        colours[name] = tuple(
            explorer.tokens.evaluate_all("(spans) => spans.map((span) => span.className.match(/ex-tint-.*/)?.[0])")
        )
        assert any(colours[name]) or name in EVEN, f"{label} colours no token"
    assert colours.pop("score") == colours["component/sentiment"]  # the only one with a weight: 1
    assert not any(colours.pop("age"))  # all that is on screen is fresh
    colours.pop("component/length")
    assert colours.pop("ref_kl") == colours["k1"]  # what is charged is one of the four
    assert len(set(colours.values())) == len(colours)
    # The ratio's legend marks 1 ± ε; blue is above 1 and orange below.
    menu.select_option("ratio")
    expect(legend.locator("i")).to_have_count(2)
    outside = explorer.part("tokens").locator('.ex-token[data-state="2"], .ex-token[data-state="3"]')
    for token in outside.all()[:5]:
        token.hover()
        ratio = _number(explorer.part("tokens").locator(".ex-tip .ex-numbers b").first.inner_text())
        assert ("more" if ratio > 1 else "less") in (token.get_attribute("class") or "")


def test_the_scrubber_takes_every_panel_back(explorer: ExplorerPage) -> None:
    explorer.train_to(6)
    explorer.train_as_set()
    newest = explorer.newest
    latest = _seen(explorer)
    explorer.scrub(2)
    expect(explorer.part("status")).to_contain_text("update 2 ")
    expect(explorer.player.locator(".ex-place")).to_have_text(f"2 / {newest}")
    expect(explorer.part("follow")).to_have_attribute("aria-pressed", "false")
    _wait_for_change(explorer, latest)
    earlier = _seen(explorer)
    assert {part for part in latest if latest[part] == earlier[part]} == set()

    explorer.scrub(1)
    _wait_for_change(explorer, earlier)
    first = _seen(explorer)
    assert first["tokens"] != earlier["tokens"] and first["step"] != earlier["step"]

    explorer.press("follow")
    expect(explorer.part("follow")).to_have_attribute("aria-pressed", "true")
    expect(explorer.part("status")).to_contain_text(f"update {newest} ")
    _wait_for_change(explorer, first)
    assert _seen(explorer) == latest


def test_it_stays_at_an_earlier_update_while_training(explorer: ExplorerPage) -> None:
    explorer.train_to(3)
    newest = explorer.newest
    explorer.train()
    explorer.scrub(1)
    texts = explorer.texts
    explorer.when("(root, n) => Number(root.querySelector('.ex-place').dataset.newest) >= n", newest + 2)
    assert explorer.texts == texts
    assert explorer.update == 1
    explorer.stop()
    explorer.press("follow")
    expect(explorer.part("tokens")).to_have_attribute("data-update", str(explorer.newest))


def test_an_epoch_of_the_update_can_be_looked_at(explorer: ExplorerPage) -> None:
    explorer.train_as_set()
    assert explorer.clip.outside > 0
    explorer.part("epoch").select_option("0")
    explorer.when("(root) => /^0 of/.test(root.querySelector('.explorer-objective .ex-hint').textContent)")
    assert (explorer.clip.outside, explorer.clip.zero) == (0, 0)  # before the first step every ratio is 1
    explorer.part("epoch").select_option("-1")
    explorer.when("(root) => !/^0 of/.test(root.querySelector('.explorer-objective .ex-hint').textContent)")


# --- the run's curves ---


def test_the_curves_show_the_numbers_of_the_update_on_screen(recorded: ExplorerPage) -> None:
    rows = {int(row["update"]): row for row in Recording.load(asset_path("recording")).metrics.to_pylist()}
    for update in (12, 1, 40):
        recorded.scrub(update)
        recorded.wait_for_charts(update)
        for chart, drawn in zip(CHARTS, recorded.charts, strict=True):
            value = rows[update][chart.metrics[0]]
            assert _number(drawn.number) == pytest.approx(value, abs=0.0051)
            assert drawn.value == pytest.approx(value, abs=0.002 * (drawn.high - drawn.low))
        beside = recorded.part("curves").locator(".ex-beside").all_inner_texts()
        assert [_number(text) for text in beside if text.strip()] == [
            pytest.approx(rows[update]["value/explained_variance"], abs=0.0051)
        ]
    kl = next(drawn for chart, drawn in zip(CHARTS, recorded.charts, strict=True) if chart.key == "ref_kl")
    recorded.part("kl").locator(".explorer-view-update").click()
    expect(recorded.part("kl").locator(".ex-chart-reference .ex-tick")).to_have_count(2)
    ends = recorded.part("kl").locator(".ex-chart-reference .ex-tick").all_text_contents()
    assert [float(end) for end in ends] == [kl.high, kl.low]  # the panel above draws it on the same axis
    recorded.part("kl").locator(".explorer-view-token").click()


def test_neither_a_drag_nor_the_scrubber_moves_an_axis(explorer: ExplorerPage) -> None:
    explorer.train_to(3)
    newest, mouse = explorer.newest, explorer.page.mouse
    explorer.wait_for_charts(newest)
    ticks = explorer.root.evaluate(TICKS)
    assert len(ticks) > 24
    box = explorer.part("curves").locator(".ex-plot").bounding_box()
    assert box is not None
    mouse.move(box["x"] + 50, box["y"] + 30)
    mouse.down()
    mouse.move(box["x"] + 100, box["y"] + 60, steps=5)
    assert explorer.part("curves").locator(".zoomlayer > *").count() == 0  # plotly's frame around what it would show
    mouse.up()
    mouse.dblclick(box["x"] + 50, box["y"] + 30)
    explorer.scrub(1)
    explorer.wait_for_charts(1)
    assert explorer.root.evaluate(TICKS) == ticks


def test_a_point_of_a_line_is_told(explorer: ExplorerPage) -> None:
    explorer.train_to(1)
    newest = explorer.newest
    explorer.wait_for_charts(newest)
    place = [chart.key for chart in CHARTS].index("entropy")
    entropy = explorer.charts[place]
    explorer.point_at(place, newest, entropy.value)
    label, plots = (explorer.part("curves").locator(part) for part in (".hoverlayer .hovertext", ".ex-plots"))
    expect(label).to_have_count(1)
    first, second = label.locator("tspan").all_text_contents()
    assert first == f"update {newest}"
    assert second.endswith(labels("en")["metrics"]["policy/entropy"]["label"])
    assert _number(second) == pytest.approx(_number(entropy.number), abs=0.006)
    inner, outer = label.bounding_box(), plots.bounding_box()
    assert inner is not None and outer is not None
    assert outer["x"] <= inner["x"] and inner["x"] + inner["width"] <= outer["x"] + outer["width"]


def test_every_title_of_a_chart_explains_its_lines(explorer: ExplorerPage) -> None:
    explorer.train_to(1)
    curves = explorer.part("curves")
    tip = curves.locator(".ex-tip")
    for language in LANGUAGES:
        words = labels(language)
        if language == "zh":
            explorer.press("language")
        for chart, title in zip(CHARTS, curves.locator(".ex-plot-title").all(), strict=True):
            expect(title).to_contain_text(words["ui"]["charts"][chart.key])
            title.hover()
            expect(tip).to_be_visible()
            told = tip.text_content() or ""
            assert told.startswith(words["ui"]["charts"][chart.key])
            for key in metrics_told(chart):
                if key == "objective/judge":  # nobody judges here: a line that is not drawn is not explained
                    assert METRICS[key] not in told
                    continue
                assert METRICS[key] in told
                assert words["metrics"][key]["look_for"].replace("{name}", "…") in told
                if key != "component/NAME":
                    assert words["metrics"][key]["label"] in told
            explorer.page.mouse.move(0, 0)
            expect(tip).to_be_hidden()


def test_lines_of_a_chart_can_be_told_apart_without_colour(explorer: ExplorerPage) -> None:
    explorer.train_to(2)
    explorer.wait_for_charts(explorer.newest)
    curves = explorer.part("curves")
    for nth, title in enumerate(curves.locator(".ex-plot-title").all()):
        title.hover()
        subplot = "xy" if nth == 0 else f"x{nth + 1}y{nth + 1}"
        drawn, told = (
            curves.locator(lines).evaluate_all("(lines) => lines.map((line) => getComputedStyle(line).strokeDasharray)")
            for lines in (f".subplot.{subplot} .js-line", ".ex-tip .ex-stroke line")
        )
        assert len(set(drawn)) == len(drawn) >= 1
        assert drawn == told


def test_curves_that_cannot_be_loaded_say_so(voila_url: str, open_page: OpenPage) -> None:
    page = open_page()
    page.add_init_script("delete window.DecompressionStream")  # as in a browser from before 2023
    page.goto(voila_url)
    curves = ExplorerPage(page).part("curves")
    expect(curves.locator(".ex-plot")).to_contain_text("That did not work: DecompressionStream is not defined")
    last = Recording.load(asset_path("recording")).metrics["objective/score"][-1].as_py()
    expect(curves.locator(".ex-plot-title b").first).to_have_text(f"{last:.2f}")
    page.close()


#: Quantities that may colour no token: nothing on screen is old, and 24 tokens score 0 where 16 are aimed at.
EVEN = {"age", "component/length"}


def _number(text: str) -> float:
    found = re.search(r"[+−-]?[\d.]+(e[+−-]?\d+)?", text)
    assert found, text
    return float(found[0].replace("−", "-"))


def _has_a_place(shown: dict[str, float]) -> int:
    """Whether a token is on the clip picture: only one without advantage is in neither of its panels."""
    return int(shown["advantage A"] != 0)


def _token_off_one(explorer: ExplorerPage) -> tuple[int, int]:
    """A token of the first responses that ended outside 1 ± ε, so that the formula has something to show."""
    span = explorer.part("tokens").locator('.ex-token[data-state="2"], .ex-token[data-state="3"]').first
    return int(span.get_attribute("data-row") or -1), int(span.get_attribute("data-t") or -1)


def _pin(explorer: ExplorerPage, row: int, t: int) -> None:
    if explorer.pinned == (row, t):
        explorer.token(row, t).click()
        expect(explorer.token(row, t)).not_to_have_class(re.compile("ex-pinned"))
    explorer.token(row, t).click()
    expect(explorer.token(row, t)).to_have_class(re.compile("ex-pinned"), timeout=AT_ONCE)


def _unpin(explorer: ExplorerPage) -> None:
    explorer.part("tokens").locator(".ex-responses").focus()
    explorer.page.keyboard.press("Escape")
    expect(explorer.part("tokens").locator(".ex-pinned")).to_have_count(0, timeout=AT_ONCE)


def _seen(explorer: ExplorerPage) -> dict[str, object]:
    """What each panel draws, and where the markers of the update stand."""
    seen: dict[str, object] = explorer.root.evaluate(SEEN)
    return seen


def _wait_for_change(explorer: ExplorerPage, before: dict[str, object]) -> None:
    """Wait until the last of the panels, the curves, has moved too."""
    explorer.when(f"(root, marker) => ({SEEN})(root).marker !== marker", before["marker"])


#: What every tick of the run's charts says, and where it is.
TICKS = """(root) => [...root.querySelectorAll('.explorer-curves g[class$="tick"] text')].map((text) =>
  [text.textContent, text.getAttribute('x'), text.getAttribute('y'), text.getAttribute('transform')].join(' '))"""

SEEN = """(root) => {
  const all = (selector, read) => [...root.querySelectorAll(selector)].map(read).join('|');
  const inner = (selector) => root.querySelector(selector).innerHTML;
  return {
    tokens: all('.ex-token', (span) => span.textContent),
    scores: all('.ex-score', (span) => span.textContent),
    objective: all('.explorer-objective .ex-glyphs', (path) => path.getAttribute('d')),
    advantages: inner('.explorer-advantages .ex-picture'),
    kl: inner('.ex-chart-tokens .ex-picture'),
    step: inner('.ex-chart-tokens_old .ex-picture'),
    marker: all('.explorer-curves .point', (point) => point.getAttribute('transform')),
  };
}"""
