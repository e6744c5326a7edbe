"""The panel of the reward, as a person uses it: a component is written, mended, scored, weighed, renamed, removed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import OpenPage
from tests.browser.explorer_page import ExplorerPage
from tests.browser.servers import ROOT, replaying

pytestmark = pytest.mark.browser

WRONG = 'min(3, count("!")) + * words'
RIGHT = "0.1 * words - 1"

#: Larger than any number that a response can score.
HUGE = f"{'9' * 38} * words * 10000"


@pytest.fixture
def reward(explorer: ExplorerPage) -> Iterator[Locator]:
    """The panel in front, a live update on screen; what a test added is taken away again."""
    explorer.train_to(1)
    explorer.tab("reward")
    panel = explorer.part("reward")
    yield panel
    explorer.tidy()
    if not panel.is_visible():
        explorer.tab("reward")
    if panel.locator(".explorer-reward-cancel").is_visible():
        panel.locator(".explorer-reward-cancel").click()
    for name in ("loud", "noisy", "length 2", "pets", "huge"):
        if line(panel, name).count():
            choose(panel, name)
            panel.locator(".explorer-reward-remove").click()
            expect(line(panel, name)).to_have_count(0)
    explorer.tab("advantages")


def line(panel: Locator, name: str) -> Locator:
    """A component's line in the table."""
    return panel.locator("li.ex-reward-line", has=panel.page.locator(f'[data-name="{name}"]'))


def choose(panel: Locator, name: str) -> None:
    panel.locator(f'[data-name="{name}"]').click()
    expect(panel.locator(f'[data-name="{name}"]')).to_have_attribute("aria-pressed", "true")


def add(panel: Locator, kind: str, name: str, weight: str = "1", **fields: str) -> None:
    """Fill in the form and send it."""
    panel.locator(".explorer-reward-add").click()
    panel.locator(".explorer-reward-kind").select_option(kind)
    panel.locator(".explorer-reward-name").fill(name)
    panel.locator(".explorer-reward-weight").fill(weight)
    for key, value in fields.items():
        panel.locator(f".explorer-reward-{key}").fill(value)
    panel.locator(".explorer-reward-save").click()


def weigh(panel: Locator, name: str, weight: str) -> None:
    """Type a weight into a component's line."""
    number = line(panel, name).locator(".ex-number")
    number.fill(weight)
    number.press("Enter")


def test_a_mistake_is_pointed_at_and_what_was_typed_stays(explorer: ExplorerPage, reward: Locator) -> None:
    add(reward, "expression", "loud", "0.5", expression=WRONG)
    pointed = reward.locator(".ex-pointed")
    expect(pointed).to_be_visible()
    text, mark = (pointed.text_content() or "").split("\n")
    assert (text, mark.index("^")) == (WRONG, WRONG.index("* words"))
    assert "mono" in pointed.evaluate("(node) => getComputedStyle(node).fontFamily").lower()
    expect(reward.locator(".explorer-reward-problem")).to_contain_text("'*' does not belong here")
    expect(reward.locator(".explorer-reward-expression")).to_have_value(WRONG)
    expect(reward.locator(".explorer-reward-name")).to_have_value("loud")
    explorer.tab("ledger")
    explorer.tab("reward")
    expect(reward.locator(".explorer-reward-expression")).to_have_value(WRONG)
    expect(line(reward, "loud")).to_have_count(0)


def test_one_is_added_seen_at_once_and_trained_on_from_the_next_update(explorer: ExplorerPage, reward: Locator) -> None:
    before = explorer.scores
    add(reward, "expression", "loud", "0.5", expression=RIGHT)
    expect(reward.locator(".ex-reward-status")).to_contain_text("“loud” counts from the next update on")
    expect(reward.locator(".explorer-reward-state")).to_contain_text("what-if")
    expect(explorer.part("weight-loud").locator(".ex-number")).to_have_value("0.50")
    expect(explorer.part("tokens").locator(".ex-badge")).not_to_be_empty()
    told = re.search(r"Response (\d+): (\S+) × 0\.50", reward.locator(".explorer-reward-value").inner_text())
    assert told
    row, value = int(told[1]) - 1, float(told[2].replace("−", "-"))
    score = reward.locator(f'.ex-reward-row[data-row="{row}"] .ex-reward-score').get_attribute("data-score")
    assert float(score or "nan") == pytest.approx(before[row] + 0.5 * value, abs=0.011)
    explorer.step()
    expect(reward.locator(".explorer-reward-state")).to_have_count(0)
    expect(explorer.part("tokens").locator(".ex-badge")).to_be_empty()
    expect(line(reward, "loud").locator(".ex-reward-mean")).not_to_have_text("–")
    expect(line(reward, "loud").locator(".ex-reward-spark")).to_have_attribute(
        "aria-label", re.compile("loud over the run")
    )


def test_it_is_renamed_and_removed_and_its_slider_goes_with_it(explorer: ExplorerPage, reward: Locator) -> None:
    add(reward, "expression", "loud", "0.5", expression=RIGHT)
    expect(line(reward, "loud")).to_have_count(1)
    reward.locator(".explorer-reward-change").click()
    expect(reward.locator(".explorer-reward-expression")).to_have_value(RIGHT)
    reward.locator(".explorer-reward-name").fill("noisy")
    reward.locator(".explorer-reward-save").click()
    expect(line(reward, "noisy")).to_have_count(1)
    expect(line(reward, "loud")).to_have_count(0)
    expect(explorer.part("weight-noisy").locator(".ex-number")).to_have_value("0.50")
    expect(explorer.part("weight-loud")).to_have_count(0)
    choose(reward, "noisy")
    reward.locator(".explorer-reward-remove").click()
    expect(line(reward, "noisy")).to_have_count(0)
    expect(explorer.part("weight-noisy")).to_have_count(0)
    reward.locator(".explorer-reward-undo").click()
    expect(explorer.part("weight-noisy").locator(".ex-number")).to_have_value("0.50")


def test_one_that_fails_is_named_and_set_aside_and_the_run_goes_on(explorer: ExplorerPage, reward: Locator) -> None:
    before = explorer.newest
    add(reward, "expression", "huge", "0.1", expression=HUGE)
    expect(line(reward, "huge")).to_have_count(1)
    explorer.step()
    expect(explorer.part("error")).to_contain_text("'huge'")
    expect(explorer.part("error")).to_contain_text("It is set aside, and the run goes on without it.")
    choose(reward, "huge")
    expect(reward.locator(".explorer-reward-aside")).to_contain_text("set aside: left out of the score")
    expect(line(reward, "huge")).to_have_class(re.compile("ex-aside"))
    # The update was made without it, and those before it are there.
    assert explorer.newest == before + 1 and explorer.part("curves").is_visible()
    explorer.scrub(before)
    explorer.press("follow")
    # Mended, it counts again.
    reward.locator(".explorer-reward-change").click()
    reward.locator(".explorer-reward-expression").fill(RIGHT)
    reward.locator(".explorer-reward-save").click()
    expect(reward.locator(".explorer-reward-aside")).to_have_count(0)
    expect(explorer.part("error")).to_be_hidden()


def test_a_built_in_one_is_taken_off_the_list_and_back_and_duplicated(explorer: ExplorerPage, reward: Locator) -> None:
    again = reward.locator(".explorer-reward-again")
    expect(again).to_be_hidden()
    choose(reward, "sentiment")
    reward.locator(".explorer-reward-remove").click()
    expect(line(reward, "sentiment")).to_have_count(0)
    expect(explorer.part("weight-sentiment").locator(".ex-number")).to_have_value("0.00")
    reward.locator(".explorer-reward-undo").click()
    expect(line(reward, "sentiment")).to_have_count(1)
    expect(explorer.part("weight-sentiment").locator(".ex-number")).to_have_value("1.00")
    choose(reward, "length")
    expect(reward.locator(".explorer-reward-change")).to_be_disabled()
    reward.locator(".explorer-reward-remove").click()
    expect(line(reward, "length")).to_have_count(0)
    again.select_option("length")
    expect(line(reward, "length")).to_have_count(1)
    expect(again).to_be_hidden()
    choose(reward, "length")
    reward.locator(".explorer-reward-duplicate").click()
    expect(reward.locator(".explorer-reward-name")).to_have_value("length 2")
    reward.locator(".explorer-reward-length_target").fill("4")
    reward.locator(".explorer-reward-save").click()
    expect(line(reward, "length 2")).to_have_count(1)
    assert (
        line(reward, "length 2").locator(".ex-reward-mean").inner_text()
        != line(reward, "length").locator(".ex-reward-mean").inner_text()
    )


def test_two_weights_doubled_are_said_to_move_the_balance_alone(explorer: ExplorerPage, reward: Locator) -> None:
    weigh(reward, "coherence", "0.5")
    expect(explorer.part("weight-coherence").locator(".ex-number")).to_have_value("0.50")
    explorer.train_as_set()
    order = reward.locator(".ex-reward-row").evaluate_all(RANKED)
    note = reward.locator(".explorer-reward-note")
    weigh(reward, "coherence", "1")
    expect(explorer.part("weight-coherence").locator(".ex-number")).to_have_value("1.00")
    expect(note).not_to_contain_text("All weights")
    weigh(reward, "sentiment", "2")
    expect(note).to_contain_text("All weights × 2")
    expect(note).to_contain_text("β now weighs as 0.025 did before")
    expect(explorer.part("scaled")).to_be_visible()
    assert reward.locator(".ex-reward-row").evaluate_all(RANKED) == order
    explorer.part("whiten").locator("input").click()
    expect(note).not_to_contain_text("All weights")
    explorer.part("whiten").locator("input").click()


def test_a_click_on_a_bar_pins_its_response_and_the_bars_stand_as_the_strip_does(
    explorer: ExplorerPage, reward: Locator
) -> None:
    explorer.part("sort").select_option("score")
    rows = reward.locator(".ex-reward-row")
    explorer.when(SAME_ORDER)
    assert explorer.order != sorted(explorer.order)
    assert [int(row) for row in rows.evaluate_all("(all) => all.map((row) => row.dataset.row)")] == explorer.order
    rows.nth(2).click()
    expect(rows.nth(2)).to_have_attribute("aria-selected", "true")
    assert explorer.pinned and explorer.pinned[0] == explorer.order[2]
    expect(reward.locator(".explorer-reward-value")).to_contain_text(f"Response {explorer.order[2] + 1}:")


def test_what_coherence_bias_and_keywords_find(explorer: ExplorerPage, reward: Locator) -> None:
    explorer.token(0, 0).click()
    choose(reward, "coherence")
    expect(reward.locator(".ex-reward-token")).to_have_count(
        len(explorer.part("tokens").locator('[data-row="0"]').all())
    )
    choose(reward, "unbiasedness")
    expect(reward.locator(".explorer-reward-hole")).to_contain_text("mentions nobody")
    expect(reward.locator(".explorer-reward-twin").or_(reward.get_by_text("No word with a gender"))).to_be_visible()
    word = (explorer.token(0, 0).text_content() or "").strip()
    add(reward, "keywords", "pets", words=f"{word}, zebra", enough="1")
    expect(reward.locator(".ex-reward-text mark").first).to_be_visible()


def test_names_and_words_are_text_and_nothing_else(explorer: ExplorerPage, reward: Locator) -> None:
    add(reward, "keywords", "pets", words="<img src=x onerror=alert(1)>")
    expect(line(reward, "pets")).to_have_count(1)
    assert "<img src=x onerror=alert(1)>" in reward.locator(".ex-reward-detail code").inner_text()
    assert explorer.root.locator("img").count() == 0


def test_a_weight_that_cannot_be_is_said_and_stays_typed(explorer: ExplorerPage, reward: Locator) -> None:
    weigh(reward, "length", "7")
    expect(explorer.part("error")).to_contain_text("must be from -2 to 2")
    expect(line(reward, "length").locator(".ex-number")).to_have_value("7")
    weigh(reward, "length", "0")


def test_the_tabs_and_the_table_fit_in_both_languages(explorer: ExplorerPage, reward: Locator) -> None:
    for train in ("训练", "Train"):
        explorer.press("language")
        expect(explorer.part("train")).to_contain_text(train)
        explorer.when(FITS)


def test_a_replay_shows_and_edits_nothing(open_page: OpenPage, tmp_path: Path) -> None:
    with replaying(tmp_path, ROOT / "assets" / "recording") as address:
        page = open_page()
        page.goto(address)
        explorer = ExplorerPage(page)
        expect(explorer.tokens.first).to_be_visible()
        explorer.tab("reward")
        panel = explorer.part("reward")
        expect(panel.locator(".ex-reward-row")).to_have_count(explorer.rows)
        expect(panel.locator(".explorer-reward-add")).to_be_hidden()
        choose(panel, "unbiasedness")
        expect(panel.locator(".ex-reward-detail")).to_contain_text("train an update of your own")
        choose(panel, "coherence")
        expect(panel.locator(".ex-reward-token").first).to_be_visible()
        page.close()


RANKED = """(rows) => rows.map((row) => [Number(row.querySelector('[data-score]').dataset.score), row.dataset.row])
  .sort((a, b) => b[0] - a[0]).map(([, row]) => row)"""

FITS = """(root) => {
  const panel = root.querySelector('.explorer-reward');
  const tabs = panel.querySelector('.ex-tabs');
  const last = tabs.lastElementChild.getBoundingClientRect();
  const inside = last.right <= panel.getBoundingClientRect().right && tabs.scrollWidth <= tabs.clientWidth + 1;
  const parts = [...panel.querySelectorAll('.ex-reward-list, .ex-reward-do')];
  return inside && parts.every((node) => node.scrollWidth <= node.clientWidth + 1);
}"""

#: The strip and the bars have the responses in the same order, by score, and not as sampled any more.
SAME_ORDER = """(root) => {
  const rows = (parts) => [...root.querySelectorAll(parts)].map((node) => node.dataset.row).join();
  const strip = rows('.explorer-tokens .ex-token[data-t="0"]');
  return strip === rows('.ex-reward-row') && !strip.startsWith('0,1,2,3,');
}"""
