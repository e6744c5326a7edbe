"""The settings: typed, dragged, refused, set back; presets, the two languages, the two themes."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from explorer.config import CHOICES
from explorer.presets import PRESETS
from explorer.text import labels
from tests.browser.explorer_page import AT_ONCE, ExplorerPage

pytestmark = pytest.mark.browser


def test_a_reward_weight_scores_the_batch_anew(explorer: ExplorerPage) -> None:
    explorer.train_as_set()
    before = _scores(explorer)
    explorer.slide("weight-coherence", 0.5)
    expect(explorer.part("tokens").locator(".ex-badge")).not_to_be_empty(timeout=AT_ONCE)
    assert explorer.value("weight-coherence") == "0.50"
    after = _scores(explorer)
    assert sum(new != old for new, old in zip(after, before, strict=True)) > len(before) / 2
    explorer.slide("weight-sentiment", 0)
    explorer.slide("weight-coherence", 0)
    explorer.when("(root) => [...root.querySelectorAll('.ex-score')].every((span) => span.textContent === '0.00')")
    explorer.slide("weight-sentiment", 1)
    expect(explorer.part("tokens").locator(".ex-badge")).to_be_empty(timeout=AT_ONCE)
    assert _scores(explorer) == before


def test_other_settings_rescore_the_advantages(explorer: ExplorerPage) -> None:
    explorer.train_to(2)  # before the first update the policy is the reference, and β has nothing to weigh
    explorer.train_as_set()
    lanes = explorer.part("advantages").locator(".ex-lane")
    reward, advantage, ratio = (lanes.nth(i).inner_html() for i in (0, 2, 3))
    explorer.slide("gae_lambda", 0)
    expect(explorer.part("tokens").locator(".ex-badge")).not_to_be_empty(timeout=AT_ONCE)
    explorer.when("(root, was) => root.querySelectorAll('.ex-lane')[2].innerHTML !== was", advantage)
    assert lanes.nth(0).inner_html() == reward  # λ weighs the same rewards otherwise
    assert lanes.nth(3).inner_html() == ratio  # and the ratios are those of the training that happened
    explorer.slide("kl_coef", 0.5)
    explorer.when("(root, was) => root.querySelectorAll('.ex-lane')[0].innerHTML !== was", reward)
    assert lanes.nth(3).inner_html() == ratio


def test_an_estimator_rescores_every_advantage_of_the_batch_on_screen_at_once(explorer: ExplorerPage) -> None:
    explorer.train_to(2)
    explorer.train_as_set()
    explorer.part("quantity").select_option("advantage")
    menu, badge = explorer.part("estimator").locator("select"), explorer.part("tokens").locator(".ex-badge")
    options = menu.locator("option").evaluate_all("(nodes) => nodes.map((node) => node.value)")
    assert set(options) == set(CHOICES["estimator"])
    lanes = explorer.part("advantages").locator(".ex-lane")
    ratio, texts, update = lanes.nth(3).inner_html(), explorer.texts, explorer.update
    seen = {"gae": _colours(explorer)}
    for name in ("monte_carlo", "grpo", "rloo", "gae"):
        before = seen[list(seen)[-1]]
        menu.select_option(name)
        explorer.when(f"(root, was) => ({COLOURS})(root).flat().join() !== was", before, milliseconds=AT_ONCE)
        now = _colours(explorer)
        rows = [set(row) for row in explorer.root.evaluate(COLOURS)]
        # Of a group's estimator all tokens of a response have one advantage, and so one colour.
        assert all(len(row) == 1 for row in rows) == (name in ("grpo", "rloo"))
        assert len(set().union(*rows)) > 2
        if name == "gae":
            assert now == seen.pop("gae")
            expect(badge).to_be_empty(timeout=AT_ONCE)
        else:
            expect(badge).not_to_be_empty(timeout=AT_ONCE)
        seen[name] = now
    assert (explorer.texts, explorer.update, lanes.nth(3).inner_html()) == (texts, update, ratio)  # the same samples


def test_an_objective_draws_its_own_line_and_formula_at_once(explorer: ExplorerPage) -> None:
    explorer.train_as_set()
    explorer.token(0, 0).click()
    panel, menu = explorer.part("objective"), explorer.part("objective-choice").locator("select")
    assert menu.locator("option").count() == len(CHOICES["objective"])
    lines, formula = panel.locator(".ex-curve"), panel.locator(".ex-formula > div").last
    drawn = "(paths) => paths.map((path) => path.getAttribute('d')).join(' ')"  # for A > 0 and for A < 0
    seen = {lines.evaluate_all(drawn)}
    for name, written, high in (
        ("unclipped", "ρA", "1.2000"),
        ("policy_gradient", "A log ρ", "1.2000"),
        ("clip_higher", "clip(ρ, 0.80, 1.28)A", "1.2800"),
        ("kl_penalty", "b·KL", "1.2000"),
        ("gspo", "clip(s, 0.80, 1.28)A", "1.2800"),
        ("cispo", "clip(ρ, 0.80, 1.28)A log ρ", "1.2800"),
        ("sapo", "σ(τ(ρ−1))", "1.2000"),
        ("dual_clip", "clip(ρ, 0.80, 1.20)A", "1.2000"),
        ("two_sided", "min(ρ, 4.00)A", "1.2000"),
    ):
        menu.select_option(name)
        expect(formula).to_contain_text(written, timeout=AT_ONCE)
        expect(panel.locator(".explorer-region").first).to_have_attribute("data-high", high)
        expect(panel.locator(".ex-truth")).to_have_text(labels("en")["clip"]["truth"][name])
        seen.add(lines.evaluate_all(drawn))
        expect(panel.locator("header .ex-hint")).to_contain_text(re.compile(rf"0\.80( to |–){float(high):.2f}"))
        axis = panel.locator(".ex-axis-label", has_text="ratio").first
        expect(axis).to_contain_text("ratio s" if name == "gspo" else "ratio ρ")
        flat = panel.locator(".ex-flat").count()
        assert flat >= 2 if name in ("clip_higher", "gspo", "dual_clip", "two_sided") else flat == 0
    assert len(seen) == len(CHOICES["objective"])


def test_gspos_tiny_range_can_be_typed_and_is_shown(explorer: ExplorerPage) -> None:
    explorer.train_as_set()
    panel, menu = explorer.part("objective"), explorer.part("objective-choice").locator("select")
    menu.select_option("gspo")
    drawer = explorer.part("clip_range_high").locator("xpath=ancestor::details")
    if not drawer.evaluate("node => node.open"):
        drawer.locator("summary").click()
    for field, typed, shown in [("clip_range", "3e-4", "0.0003"), ("clip_range_high", "0,0004", "0.0004")]:
        explorer.type(field, typed)
        expect(explorer.part(field).locator("input[type=text]")).to_have_value(shown, timeout=AT_ONCE)
    region = panel.locator(".explorer-region").first
    expect(region).to_have_attribute("data-low", "0.9997", timeout=AT_ONCE)
    expect(region).to_have_attribute("data-high", "1.0004", timeout=AT_ONCE)
    assert panel.locator(".ex-positive .ex-edge").all_text_contents() == ["0.9997", "1.0004"]
    expect(explorer.part("clip_range").locator("input[type=range]")).to_have_value("0.01")  # as far as it reaches


def test_values_can_be_typed(explorer: ExplorerPage) -> None:
    for field, typed, shown in [
        ("clip_range", "0.33", "0.33"),
        ("kl_coef", "0,125", "0.125"),
        ("epochs", "2", "2"),
        ("learning_rate", "0.0005", "5.0e-4"),
        ("weight-length", "−0.5", "-0.50"),
    ]:
        explorer.type(field, typed)
        back = explorer.part(field).locator(".ex-back")
        expect(back).to_be_visible()
        expect(explorer.part(field).locator(".ex-number")).to_have_value(shown, timeout=AT_ONCE)
        assert explorer.part("error").is_hidden()
    slider = explorer.part("learning_rate").locator("input[type=range]")
    assert float(slider.input_value()) == pytest.approx(-3.3, abs=0.02)  # log10(0.0005)
    expect(explorer.part("objective").locator(".explorer-region").first).to_have_attribute("data-high", "1.3300")


def test_a_dragged_slider_writes_its_number(explorer: ExplorerPage) -> None:
    explorer.slide("learning_rate", -3)
    assert explorer.value("learning_rate") == "1.0e-3"
    explorer.slide("temperature", 1.35)
    assert explorer.value("temperature") == "1.35"
    expect(explorer.part("temperature").locator(".ex-back")).to_be_visible()


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("clip_range", "7"),
        ("weight-sentiment", "nan"),
        ("epochs", "2.5"),
        ("learning_rate", "fast"),
        ("minibatches", "33"),
        ("gamma", ""),
    ],
)
def test_a_bad_value_is_refused_in_one_sentence(explorer: ExplorerPage, field: str, typed: str) -> None:
    explorer.part("controls").locator(".ex-group-advanced").evaluate("(group) => (group.open = true)")
    before, batch = explorer.value(field), explorer.clip
    explorer.type(field, typed)
    error = explorer.part("error")
    expect(error).to_be_visible()
    sentence = error.locator("span").inner_text()
    assert explorer.part(field).locator("label").inner_text() in sentence
    assert re.search(r"must be|choose", sentence) and sentence.endswith(".")
    assert re.search(r"Error|Traceback|\n", sentence) is None
    expect(explorer.part(field).locator(".ex-number")).to_have_value(before)
    assert explorer.part(field).locator(".ex-back").is_hidden()
    assert explorer.clip == batch
    explorer.press("dismiss")
    expect(error).to_be_hidden()


def test_the_dot_sets_a_value_back_to_the_preset(explorer: ExplorerPage) -> None:
    back = explorer.part("clip_range").locator(".ex-back")
    assert back.is_hidden()
    explorer.slide("clip_range", 0.4)
    expect(back).to_be_visible()
    assert "0.20" in (back.get_attribute("title") or "")
    back.click()
    expect(back).to_be_hidden()
    assert explorer.value("clip_range") == "0.20"
    expect(explorer.part("objective").locator(".explorer-region").first).to_have_attribute("data-high", "1.2000")


def test_presets(explorer: ExplorerPage) -> None:
    explorer.slide("clip_range", 0.5)  # a preset sets every setting
    explorer.slide("gamma", 0.8)
    expect(explorer.part("gamma").locator(".ex-back")).to_be_visible()
    for name in ("see_the_clip", "balanced", "hack_the_reward", "learn"):
        explorer.part("preset").select_option(name)
        preset = PRESETS[name].flat()
        fields = ["clip_range", "gamma", "kl_coef", "learning_rate", "epochs"]
        for field in [*fields, *(field for field in preset if field.startswith("weight_"))]:
            explorer.when(SHOWS, [field.replace("weight_", "weight-"), preset[field]])
        expect(explorer.part("controls").locator(".ex-back:not([hidden])")).to_have_count(0)


def test_a_setting_says_what_it_does(explorer: ExplorerPage) -> None:
    tip = explorer.part("controls").locator(".ex-tip")
    explorer.part("clip_range").locator("label").hover()
    expect(tip).to_be_visible()
    for words in ("ratio ρ", "▲", "▼", "same samples, new scoring", "from 0.00 to 1.00"):
        expect(tip).to_contain_text(words)
    explorer.part("epochs").locator("label").hover()
    expect(tip).to_contain_text("from the next update")
    explorer.page.mouse.move(640, 300)
    expect(tip).to_be_hidden()


@pytest.mark.parametrize(
    ("field", "part", "words"),
    [
        ("clip_range", "input[type=range]", "same samples, new scoring"),
        ("epochs", "input.ex-number", "from the next update"),
        ("estimator", "select", "same samples, new scoring"),
        ("whiten", "input[type=checkbox]", "same samples, new scoring"),
    ],
)
def test_every_kind_of_control_says_it_on_the_keyboards_focus(
    explorer: ExplorerPage, field: str, part: str, words: str
) -> None:
    tip, control = explorer.part("controls").locator(".ex-tip"), explorer.part(field)
    control.locator(part).focus()
    _leave_and_come_back(explorer)
    expect(control.locator(part)).to_be_focused()
    expect(tip).to_be_visible()
    expect(tip.locator("strong")).to_have_text(control.locator("label").inner_text())
    expect(tip).to_contain_text(words)
    box, panel = tip.bounding_box(), control.bounding_box()
    assert box is not None and panel is not None
    assert box["x"] >= panel["x"] + panel["width"] and box["y"] >= 0 and box["y"] + box["height"] <= 800
    explorer.page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    expect(control.locator(part)).to_be_focused()
    _leave_and_come_back(explorer)
    expect(tip).to_be_visible()
    control.locator(part).blur()
    expect(tip).to_be_hidden()


def test_escape_hides_what_the_pointer_has_opened_and_a_click_into_a_number_opens_nothing(
    explorer: ExplorerPage,
) -> None:
    tip = explorer.part("controls").locator(".ex-tip")
    explorer.part("clip_range").locator("label").hover()
    expect(tip).to_be_visible()
    explorer.page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    number = explorer.part("epochs").locator(".ex-number")
    number.click()
    expect(number).to_be_focused()
    assert tip.is_hidden()
    number.blur()


def test_the_language_changes_in_place(explorer: ExplorerPage) -> None:
    explorer.train_as_set()
    tokens = explorer.texts
    _pin_first(explorer)
    labels = explorer.root.evaluate(LABELS)
    explorer.press("language")
    expect(explorer.part("train")).to_contain_text("训练")
    expect(explorer.part("status")).to_contain_text(re.compile(r"第 \d+ 次更新 · 已暂停"))
    # The views take turns at drawing: each of them has to have had its own.
    for view in ("tokens h2", "objective h2", "kl h2", "curves h2", "controls h3", "advantages .ex-tab"):
        name, _, part = view.partition(" ")
        expect(explorer.part(name).locator(part).first).to_contain_text(re.compile("[一-鿿]"))
    chinese = explorer.root.evaluate(LABELS)
    assert [label for label in chinese if re.search("[A-Za-z]{4,}", _without_names(label))] == []
    assert len(chinese) == len(labels)
    assert explorer.texts == tokens
    assert explorer.pinned == (0, 0)

    explorer.press("language")
    expect(explorer.part("train")).to_contain_text("Train")
    expect(explorer.part("curves").locator("h2").first).to_contain_text("The run")
    assert explorer.root.evaluate(LABELS) == labels


def test_the_theme_changes_in_place(explorer: ExplorerPage) -> None:
    light = _background(explorer)
    explorer.press("theme")
    expect(explorer.root).to_have_attribute("data-theme", "dark")
    for key in ("tokens", "objective", "advantages", "kl", "controls", "player"):
        expect(explorer.part(key)).to_have_attribute("data-theme", "dark")
    assert explorer.theme_sign == "☀"  # what a press would bring
    dark = _background(explorer)
    assert sum(dark) < 0.2 * sum(light)
    title = explorer.part("curves").locator("h2").first
    explorer.when(LIGHT_TICKS)
    expect(title).to_be_visible()
    explorer.press("theme")
    expect(explorer.root).to_have_attribute("data-theme", "light")
    assert _background(explorer) == light


def _leave_and_come_back(explorer: ExplorerPage) -> None:
    explorer.page.keyboard.press("Shift+Tab")
    explorer.page.keyboard.press("Tab")


def _scores(explorer: ExplorerPage) -> list[str]:
    return explorer.part("tokens").locator(".ex-score").all_inner_texts()


def _pin_first(explorer: ExplorerPage) -> None:
    if explorer.pinned != (0, 0):
        explorer.token(0, 0).click()
        expect(explorer.token(0, 0)).to_have_class(re.compile("ex-pinned"))


def _background(explorer: ExplorerPage) -> list[int]:
    colour = explorer.part("tokens").evaluate("(node) => getComputedStyle(node).backgroundColor")
    return [int(part) for part in re.findall(r"\d+", colour)[:3]]


def _colours(explorer: ExplorerPage) -> str:
    """The colours of all tokens, row by row, as one text."""
    return ",".join(colour for row in explorer.root.evaluate(COLOURS) for colour in row)


def _without_names(label: str) -> str:
    """A label without what is spelled alike in both languages: methods have one name everywhere."""
    return re.sub(r"English|clip\(|bundled|[A-Z]{4,}|ReMax|InstructGPT|OpenAI", "", label)


SHOWS = """(root, [field, value]) =>
  Math.abs(Number(root.querySelector(`.explorer-${field} .ex-number`).value) - value) < 1e-9"""

LIGHT_TICKS = """(root) => {
  const tick = root.querySelector('.explorer-curves .xtick text');
  return getComputedStyle(tick).fill.match(/\\d+/g)[0] > 120;
}"""

#: The colour of every token, response by response.
COLOURS = """(root) => [...root.querySelectorAll('.explorer-tokens .ex-response')].map((response) =>
  [...response.querySelectorAll('.ex-token')].map((token) =>
    getComputedStyle(token).backgroundColor.replaceAll(',', '')))"""

#: What is written on the page, but for the model's own texts.
LABELS = """(root) => {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const own = walker.currentNode.parentElement;
    if (own.closest('.ex-response, .ex-words, .ex-word, .ex-tip, .ex-spoken')) continue;
    if (own.closest('.explorer-samples, .explorer-error, style')) continue;
    if (own.closest('.explorer-slot[hidden]')) continue; // written anew when it comes to the front
    if (own.matches('tspan + tspan')) continue; // the second line of one label; its first may be all of it elsewhere
    if (walker.currentNode.textContent.trim()) found.push(walker.currentNode.textContent.trim());
  }
  return found;
}"""
