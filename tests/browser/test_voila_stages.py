"""The article's five steps in the browser: which is lit, what is said of each, and that nothing need move."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from explorer.text import labels
from tests.browser.explorer_page import ExplorerPage
from tests.browser.witness import Witness

pytestmark = pytest.mark.browser


@pytest.fixture
def still(chromium: Browser, witness: Witness, voila_url: str) -> Iterator[ExplorerPage]:
    """A page whose reader wants no motion."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, locale="en-US", reduced_motion="reduce")
    context.set_default_timeout(60_000)
    witness.watch(context)
    page: Page = context.new_page()
    page.goto(voila_url)
    explorer = ExplorerPage(page)
    explorer.wait_until_ready()
    yield explorer
    context.close()


def test_the_articles_five_steps_stand_in_a_row(explorer: ExplorerPage) -> None:
    pills = explorer.player.locator(".ex-pill")
    assert pills.all_inner_texts() == ["1 Initialise", "2 Collect", "3 Advantage", "4 Optimise", "5 Repeat"]
    tops = {round(pill.bounding_box()["y"]) for pill in pills.all()}  # type: ignore[index]
    assert len(tops) == 1
    titles = pills.evaluate_all("(pills) => pills.map((pill) => pill.title)")
    assert titles[0] == labels("en")["stages"]["initialise"]["now"] and len(set(titles)) == 5
    expect(pills.first).to_have_class(re.compile("ex-past"))  # the policy is there
    explorer.press("language")
    expect(pills.first).to_have_text("1 初始化")
    assert all(re.search("[一-鿿]", text) for text in pills.all_inner_texts())
    explorer.press("language")
    expect(pills.first).to_have_text("1 Initialise")


def test_each_step_says_how_long_it_took_in_the_update_on_screen(explorer: ExplorerPage) -> None:
    explorer.train_to(1)
    titles = explorer.player.locator(".ex-pill").evaluate_all("(pills) => pills.map((pill) => pill.title)")
    times = [re.findall(r"([a-z][a-z’ ]+) [\d.]+ ms", title.partition("\n")[2]) for title in titles]
    passes = ["sampling", "old policy’s pass", "reference’s pass", "scoring"]
    assert times == [[], passes, ["reward and advantage"], ["all epochs"], ["last pass and records"]]
    assert all(f"Update {explorer.update}: " in title for title in titles[1:])


def test_each_stage_says_what_it_did_with_this_batchs_numbers(explorer: ExplorerPage) -> None:
    explorer.train_to(1)
    caption = explorer.player.locator(".ex-caption")
    said = []
    for _ in range(4):
        before = caption.text_content()
        explorer.press("stage")
        expect(caption).not_to_have_text(before or "")
        expect(explorer.player).to_have_attribute("data-mode", "paused")
        said.append(caption.inner_text())
    sample, score, reward, advantage = said
    tokens = int(re.findall(r"32 responses, (\d+) tokens, sampled by the old policy", sample)[0])
    assert tokens == explorer.tokens.count()
    scores = explorer.scores
    mean = sum(scores) / len(scores)
    assert _number(score) == pytest.approx(mean, abs=0.011)
    worst = f"{min(scores):+.2f}" if min(scores) else "0.00"  # what rounds to 0 has no sign
    assert f"worst has {worst}".replace("-", "−") in score
    assert _number(reward) == _number(score) and re.search(r"KL penalty [−+]?0\.\d\d a response", reward)
    found = re.search(r"(\d+) advantages, mean 0\.00, sd 1\.00 after whitening; (\d+) are above 0", advantage)
    assert found and int(found[1]) == tokens and 0 < int(found[2]) < tokens
    assert caption.locator("[aria-live=polite]").count() == 1
    expect(explorer.player.locator('.ex-pill[aria-current="step"]')).to_have_attribute("data-stage", "advantage")
    expect(explorer.player.locator(".ex-pill.ex-past")).to_have_count(2)
    # Nothing has moved yet: a token's formula is filled in all the same, with a ratio of exactly 1.
    explorer.token(0, 1).hover()
    formula = explorer.part("objective").locator(".ex-formula")
    expect(formula.locator("b.ex-ratio")).to_have_text("1.000")
    expect(formula).to_contain_text("gradient flows")
    explorer.page.mouse.move(0, 0)
    explorer.press("stage")
    expect(caption).to_contain_text(re.compile(r"epoch 1 of 4: It began with 0\.0 % .* gradient norm \d\.\d\d"))
    explorer.press("stage")
    expect(caption).to_contain_text(re.compile(r"epoch 2 of 4: It began with \d+\.\d %"))
    explorer.press("language")
    expect(caption).to_contain_text(re.compile(r"第 2/4 轮：开始时 \d+\.\d% 的词元在区间之外"))
    explorer.press("language")
    expect(caption).to_contain_text("epoch 2 of 4:")
    for words in ("epoch 3 of 4:", "epoch 4 of 4:", "Done:"):
        explorer.press("stage")
        expect(caption).to_contain_text(words)
    explorer.settle()
    clip = explorer.clip  # of the policy after the last step, as the sentence is
    said_outside = re.search(r"(\d+\.\d) % of the tokens end outside", caption.inner_text())
    assert said_outside and float(said_outside[1]) == pytest.approx(100 * clip.outside / clip.tokens, abs=0.051)


def test_slow_motion_keeps_each_sentence_until_the_next(explorer: ExplorerPage) -> None:
    caption = explorer.player.locator(".ex-caption")
    explorer.train_to(1)
    explorer.press("slow")
    expect(caption).to_contain_text("Update")  # what has happened last is said already
    explorer.page.evaluate(WATCH, explorer.root.element_handle())
    explorer.press("train")
    for words in ("Repeat:", "Sample:", "Score:", "Reward:"):
        expect(caption).to_contain_text(words)
    explorer.press("train")
    expect(explorer.player).to_have_attribute("data-mode", "paused")
    heard = explorer.page.evaluate("window.heard")
    kept = [then - now for (now, text), (then, _) in itertools.pairwise(heard) if text.startswith(("Sample", "Score"))]
    assert kept and min(kept) > 2500, heard  # milliseconds: long enough to be read
    explorer.press("slow")


def test_nothing_moves_for_a_reader_who_wants_no_motion(still: ExplorerPage) -> None:
    still.press("slow")
    still.page.evaluate(MOVING, still.root.element_handle())
    still.press("stage")
    caption = still.player.locator(".ex-caption")
    expect(caption).to_contain_text("Sample:")
    for words in ("Score:", "Reward:", "Advantage:", "epoch 1 of 4:", "epoch 2 of 4:", "epoch 3 of 4:"):
        still.press("stage")
        expect(caption).to_contain_text(words)
    assert still.page.evaluate("window.moved") == []
    assert still.page.evaluate("document.getAnimations().length") == 0
    lit = still.player.locator(".ex-pill.ex-on")
    assert lit.evaluate("(pill) => getComputedStyle(pill).transitionDuration") == "0s"


def _number(sentence: str) -> float:
    found = re.search(r"[Mm]ean score ([+−]?\d+\.\d+)", sentence)
    assert found, sentence
    return float(found[1].replace("−", "-"))


#: Notes when each sentence came.
WATCH = """(root) => {
  window.heard = [];
  const told = root.querySelector('.ex-caption [aria-live]');
  new MutationObserver(() => window.heard.push([performance.now(), told.textContent]))
    .observe(told, { childList: true, characterData: true, subtree: true });
}"""

#: Notes every moment at which the tokens of the clip picture are on their way.
MOVING = """(root) => {
  window.moved = [];
  const picture = root.querySelector('.explorer-objective .ex-picture');
  new MutationObserver(() => picture.dataset.moving === 'true' && window.moved.push(performance.now()))
    .observe(picture, { attributes: true, attributeFilter: ['data-moving'] });
}"""
