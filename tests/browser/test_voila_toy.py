"""The exact toy: dragged with the mouse, by keys and by typing; its clouds; what is refused; and that it fits."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.explorer_page import AT_ONCE, ExplorerPage

pytestmark = pytest.mark.browser


@pytest.fixture
def toy(explorer: ExplorerPage) -> Iterator[Locator]:
    """The toy on screen as the article has it."""
    explorer.tab("toy")
    expect(explorer.part("toy").locator(".ex-toy-word")).to_have_count(2)
    yield explorer.part("toy")
    explorer.part("toy-estimator").select_option("gae")
    type_probability(explorer, "0.7")
    expect(ratio(explorer.part("toy"), "is")).to_have_text("1.1667")
    explorer.tab("advantages")


def ratio(toy: Locator, word: str) -> Locator:
    return toy.locator(f'.ex-toy-word[data-word="{word}"] .ex-toy-ratio b')


def mark(toy: Locator, word: str, sign: int) -> Locator:
    return toy.locator(f'.ex-toy-ratios path[data-word="{word}"][data-sign="{sign}"]')


def type_probability(explorer: ExplorerPage, text: str) -> None:
    number = explorer.part("toy-typed")
    number.fill(text)
    number.press("Enter")


def drag_to(explorer: ExplorerPage, probability: float) -> None:
    """Take the handle with the mouse and let go of it where the bar would end; a thumb is 14 pixels wide."""
    slider = explorer.part("toy-drag")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None

    def place(value: float) -> tuple[float, float]:
        return box["x"] + 7 + (value - 0.01) / 0.98 * (box["width"] - 14), box["y"] + box["height"] / 2

    mouse = explorer.page.mouse
    mouse.move(*place(float(slider.input_value())))
    mouse.down()
    mouse.move(*place(probability), steps=8)
    mouse.up()


def test_the_articles_example_is_dragged(explorer: ExplorerPage, toy: Locator) -> None:
    expect(ratio(toy, "is")).to_have_text("1.1667")
    expect(ratio(toy, "was")).to_have_text("0.7500")
    drag_to(explorer, 0.6)
    expect(ratio(toy, "is")).to_have_text("1.0000", timeout=AT_ONCE)
    expect(explorer.part("toy-kl")).to_contain_text(" 0.0000 ")
    drag_to(explorer, 0.7)
    expect(ratio(toy, "is")).to_have_text("1.1667", timeout=AT_ONCE)
    expect(ratio(toy, "was")).to_have_text("0.7500")
    expect(explorer.part("toy-reward")).to_have_text("Expected reward 0.450 → 0.510 (+0.060)")
    expect(explorer.part("toy-kl")).to_contain_text(" 0.0068 nats")


def test_the_handle_stands_at_the_end_of_the_bar(explorer: ExplorerPage, toy: Locator) -> None:
    drag_to(explorer, 0.5)
    expect(ratio(toy, "is")).to_have_text("0.8333", timeout=AT_ONCE)
    slider, bar = explorer.part("toy-drag").bounding_box(), toy.locator(".ex-toy-bar").nth(1).bounding_box()
    assert slider is not None and bar is not None
    assert bar["x"] + bar["width"] == pytest.approx(slider["x"] + slider["width"] / 2, abs=3)


def test_keys_move_the_handle(explorer: ExplorerPage, toy: Locator) -> None:
    explorer.part("toy-drag").focus()
    for _ in range(5):
        explorer.page.keyboard.press("ArrowRight")
    expect(ratio(toy, "is")).to_have_text("1.2500", timeout=AT_ONCE)
    expect(explorer.part("toy-typed")).to_have_value("0.75")
    explorer.page.keyboard.press("Home")
    expect(ratio(toy, "was")).to_have_text("2.4750", timeout=AT_ONCE)


def test_a_word_beyond_the_clip_goes_hollow(explorer: ExplorerPage, toy: Locator) -> None:
    expect(mark(toy, "is", 1)).to_have_attribute("data-held", "false")
    expect(mark(toy, "was", -1)).to_have_attribute("data-held", "true")
    filled, hollow = (
        mark(toy, word, sign).evaluate("(node) => getComputedStyle(node).fill")
        for word, sign in (("is", 1), ("was", -1))
    )
    assert filled != hollow
    explorer.slide("clip_range", 0.3)  # the settings of the page: 0.75 is inside now
    expect(mark(toy, "was", -1)).to_have_attribute("data-held", "false", timeout=AT_ONCE)
    expect(toy.locator(".ex-toy-ratios .ex-region")).to_have_attribute("data-low", "0.7000")
    type_probability(explorer, "0,9")
    expect(mark(toy, "is", 1)).to_have_attribute("data-held", "true", timeout=AT_ONCE)
    expect(mark(toy, "is", -1)).to_have_attribute("data-held", "false")


def test_estimators_have_clouds_of_their_own_around_one_truth(explorer: ExplorerPage, toy: Locator) -> None:
    truth, numbers = toy.locator(".ex-toy-truth"), toy.locator(".ex-toy-numbers")
    cross = truth.get_attribute("d")
    seen = [explorer.root.evaluate(DOTS)]
    for name in ("rloo", "group_mean", "one_step_td"):
        before = numbers.inner_text()
        explorer.part("toy-estimator").select_option(name)
        explorer.when(f"(root, was) => ({DOTS})(root) !== was", seen[-1], milliseconds=AT_ONCE)
        seen.append(explorer.root.evaluate(DOTS))
        assert numbers.inner_text() != before
        assert truth.get_attribute("d") == cross  # one scale for all of them
    assert len(set(seen)) == 4
    assert re.search(r"along\s+−?0\.\d+ ± 0\.\d+", numbers.inner_text())
    before = numbers.inner_text()
    explorer.part("toy-critic").select_option("none")
    explorer.when("(root, was) => root.querySelector('.ex-toy-numbers').innerText !== was", before)
    explorer.part("toy-critic").select_option("perfect")
    explorer.when("(root, was) => root.querySelector('.ex-toy-numbers').innerText === was", before)


@pytest.mark.parametrize("text", ["1", "-0.2", "half"])
def test_what_is_no_probability_is_refused(explorer: ExplorerPage, toy: Locator, text: str) -> None:
    type_probability(explorer, text)
    error = explorer.part("error")
    expect(error).to_contain_text(text)
    expect(error).to_be_visible()
    assert "the probability " in error.inner_text() and "Error" not in error.inner_text()
    expect(explorer.part("toy-typed")).to_have_value("0.70")
    expect(ratio(toy, "is")).to_have_text("1.1667")
    drag_to(explorer, 0.65)
    expect(ratio(toy, "is")).to_have_text("1.0833", timeout=AT_ONCE)
    expect(error).to_be_hidden()


def test_all_of_it_is_on_screen_in_both_languages(explorer: ExplorerPage, toy: Locator) -> None:
    for size in ({"width": 1920, "height": 1080}, {"width": 1280, "height": 800}):
        explorer.page.set_viewport_size(size)
        for _ in range(2):
            explorer.press("language")
            explorer.when(FITS)


DOTS = "(root) => root.querySelector('.ex-toy-dots').getAttribute('d')"

#: Nothing in the panel is cut off: not below, not at the right, and no line of text in it.
FITS = """(root) => {
  const panel = root.querySelector('.explorer-toy');
  const fits = (node) => node.scrollHeight <= node.clientHeight + 1 && node.scrollWidth <= node.clientWidth + 1;
  const { bottom } = panel.getBoundingClientRect();
  return fits(panel) && bottom <= innerHeight && [...panel.querySelectorAll('.ex-toy-side, .ex-hint')].every(fits);
}"""
