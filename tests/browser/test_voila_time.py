"""Time: the ratios by epoch, where new samples begin, one prompt over the run; and the frontier."""

from __future__ import annotations

import re

import numpy as np
import pytest
from playwright.sync_api import Locator, expect

from explorer.bundled import asset_path
from explorer.recording.storage import Recording
from explorer.text import labels
from tests.browser.explorer_page import AT_ONCE, ExplorerPage
from tests.browser.test_voila_inspector import FITS

pytestmark = pytest.mark.browser

#: Where the frontier's axis begins, in pixels from the left.
LEFT = 38


@pytest.fixture(scope="module")
def recording() -> Recording:
    return Recording.load(asset_path("recording"))


@pytest.fixture
def explorer(replay: ExplorerPage) -> ExplorerPage:
    """The page at update 20, after its last step, with a token pinned and the panel open."""
    replay.page.set_viewport_size({"width": 1280, "height": 800})
    if replay.part("language").inner_text() == "English":
        replay.press("language")
    replay.scrub(20)
    replay.part("epoch").select_option("-1")
    if replay.pinned != (1, 2):
        replay.token(1, 2).click()
    if not replay.part("time").is_visible():
        replay.tab("time")
    replay.part("curves").locator(".explorer-view-curves").click()
    expect(replay.part("time")).to_have_attribute("data-update", "20")
    return replay


def epochs(explorer: ExplorerPage) -> Locator:
    return explorer.part("time").locator(".ex-epoch")


# --- the run's curves ---


def test_a_click_on_a_curve_goes_to_that_update_and_the_arrows_go_on(explorer: ExplorerPage) -> None:
    plot, tokens = explorer.part("curves").locator(".ex-plot"), explorer.part("tokens")
    for chart, update in ((0, 30), (4, 8)):
        explorer.point_at(chart, update, explorer.charts[chart].value)
        explorer.page.mouse.down()
        explorer.page.mouse.up()
        expect(tokens).to_have_attribute("data-update", str(update))
        explorer.wait_for_charts(update)
    expect(plot).to_have_attribute("title", labels("en")["ui"]["charts"]["go"])
    plot.focus()
    for key, update in (("ArrowRight", 10), ("ArrowLeft", 8), ("PageUp", 28), ("End", 40), ("Home", 1)):
        explorer.page.keyboard.press(key)
        expect(tokens).to_have_attribute("data-update", str(update))
    expect(plot).to_have_attribute("aria-valuenow", "1")
    explorer.page.mouse.move(0, 0)


# --- the ratios by epoch ---


def test_the_ratios_spread_from_epoch_to_epoch_as_recorded(explorer: ExplorerPage, recording: Recording) -> None:
    snapshot = recording.at(20)
    tokens = int(snapshot.rollout.response_mask.sum())
    expect(epochs(explorer)).to_have_count(5)
    for button, epoch in zip(epochs(explorer).all(), snapshot.epochs, strict=True):
        outside = int(epoch.outside_range.sum())
        expect(button.locator("b")).to_have_text(f"{100 * outside / tokens:.1f} %")
        assert f"{outside} of {tokens} tokens outside 0.80 to 1.20" in (button.get_attribute("aria-label") or "")
    assert epochs(explorer).locator("span").all_inner_texts() == [*(f"before {k}" for k in range(1, 5)), "after"]
    expect(explorer.part("time-rows")).to_have_text("32 responses of update 20")
    # Before the first step there is one bar alone, in the middle; later some on both sides.
    first = epochs(explorer).first
    assert (first.locator(".ex-spread-inside").get_attribute("d") or "").count("M") == 1
    for side in ("low", "high"):
        assert epochs(explorer).last.locator(f".ex-spread-{side}").get_attribute("d")


def test_clicking_an_epoch_shows_it_in_every_panel_and_the_keys_light_it(explorer: ExplorerPage) -> None:
    expect(epochs(explorer).last).to_have_attribute("aria-pressed", "true")
    epochs(explorer).nth(1).click()
    expect(epochs(explorer).nth(1)).to_have_attribute("aria-pressed", "true", timeout=AT_ONCE)
    expect(explorer.part("time").locator('.ex-epoch[aria-pressed="true"]')).to_have_count(1)
    expect(explorer.part("epoch")).to_have_value("1")
    expect(explorer.part("clip-epoch")).to_have_text("before epoch 2")
    explorer.page.keyboard.press("]")
    expect(epochs(explorer).nth(2)).to_have_attribute("aria-pressed", "true", timeout=AT_ONCE)
    epochs(explorer).last.click()
    expect(explorer.part("epoch")).to_have_value("-1")


# --- where new samples begin ---


def test_new_samples_begin_at_every_boundary_and_a_step_can_be_clicked(
    explorer: ExplorerPage, recording: Recording
) -> None:
    steps = explorer.part("time-steps")
    expect(steps.locator(".ex-boundary")).to_have_count(5, timeout=AT_ONCE)
    named = steps.locator(".ex-boundary").evaluate_all("(lines) => lines.map((line) => line.dataset.update)")
    assert named == ["16", "18", "20", "22", "24"]
    assert steps.locator(".ex-boundary.ex-skips").count() == 4  # between them, updates were not kept
    expect(steps.locator(".ex-in-batch")).to_have_count(1)
    floor = float(steps.locator(".ex-axis").get_attribute("y1") or "nan")
    for update in named:
        dots = steps.locator(f'.ex-step[data-update="{update}"]')
        high = [floor - float(dot.get_attribute("cy") or "nan") for dot in dots.all()]
        assert high[0] == pytest.approx(0, abs=0.01)  # the samples are the policy's own: no KL yet
        last, metrics = high[-1], recording.at(int(update)).metrics
        per_nat = last**2 / metrics["policy/approx_kl_final"]
        assert (np.diff(high[:3]) > 0).all() and per_nat == pytest.approx(
            high[1] ** 2 / _kl(recording, int(update), 1), rel=0.02
        )
    box = steps.locator('.ex-step[data-update="22"][data-epoch="3"]').bounding_box()
    assert box is not None
    explorer.page.mouse.click(box["x"] + 2, box["y"] - 4)
    expect(explorer.part("tokens")).to_have_attribute("data-update", "22")
    expect(explorer.part("epoch")).to_have_value("2")
    explorer.part("epoch").select_option("-1")


# --- the same prompt over the run ---


def test_the_pinned_prompts_answers_over_the_run(explorer: ExplorerPage, recording: Recording) -> None:
    prompt = recording.at(20).tokens.prompts[1]
    panel = explorer.part("time")
    answers = panel.locator(".ex-answer")
    expect(answers).to_have_count(5, timeout=AT_ONCE)
    assert answers.evaluate_all("(rows) => rows.map((row) => row.dataset.update)") == ["40", "30", "20", "10", "1"]
    expect(panel).to_contain_text(f"Answers to “{prompt}”")
    expect(explorer.part("time-kept")).to_have_text("21 of 40 updates kept, from 1")
    for row in answers.all():
        snapshot = recording.at(int(row.get_attribute("data-update") or 0))
        second = [i for i, own in enumerate(snapshot.tokens.prompts) if own == prompt][1]
        expect(row.locator(".ex-answer-text")).to_have_text("".join(snapshot.tokens.responses[second]).strip())
        score = float(row.locator(".ex-score").inner_text().replace("−", "-"))
        assert score == pytest.approx(float(snapshot.credit.scores[second]), abs=0.0051)
    expect(panel.locator('.ex-answer[aria-current="true"]')).to_have_attribute("data-update", "20")
    explorer.token(3, 0).click()  # the fourth answer to the same prompt
    fourth = "".join(recording.at(20).tokens.responses[3]).strip()
    expect(panel.locator('.ex-answer[aria-current="true"] .ex-answer-text')).to_have_text(fourth, timeout=AT_ONCE)
    answers.nth(3).click()
    expect(explorer.part("tokens")).to_have_attribute("data-update", "10")
    expect(panel.locator('.ex-answer[aria-current="true"]')).to_have_attribute("data-update", "10", timeout=AT_ONCE)


def test_without_a_pinned_token_it_says_what_to_do(explorer: ExplorerPage) -> None:
    explorer.part("tokens").locator(".ex-responses").focus()
    explorer.page.keyboard.press("Escape")
    expect(explorer.part("time").locator(".ex-time-head").nth(1)).to_contain_text("Click a token", timeout=AT_ONCE)
    expect(explorer.part("time").locator(".ex-answer")).to_have_count(0)


@pytest.mark.parametrize("width", [1280, 1920])
def test_all_of_it_and_every_tab_is_on_screen_in_both_languages(explorer: ExplorerPage, width: int) -> None:
    explorer.page.set_viewport_size({"width": width, "height": width * 5 // 8})
    expect(explorer.part("time").locator(".ex-answer")).to_have_count(5, timeout=AT_ONCE)
    for _ in range(2):
        explorer.press("language")
        explorer.when(FITS, ".explorer-time")
        explorer.when(ON_ONE_LINE)


# --- the frontier ---


def test_the_frontier_has_a_dot_an_update_and_a_click_goes_there(explorer: ExplorerPage, recording: Recording) -> None:
    panel = explorer.part("curves")
    panel.locator(".explorer-view-frontier").click()
    picture = explorer.part("frontier")
    expect(picture).to_be_visible()
    expect(panel.locator(".ex-plots")).to_be_hidden()
    expect(picture.locator(".ex-frontier-dots").first).to_be_attached()
    counts = picture.locator(".ex-frontier-dots").evaluate_all("(paths) => paths.map((path) => path.dataset.count)")
    assert sum(map(int, counts)) == 40
    strengths = picture.locator(".ex-frontier-dots").evaluate_all(
        "(paths) => paths.map((path) => path.getAttribute('opacity'))"
    )
    assert [float(each) for each in strengths] == sorted(map(float, strengths)) and strengths[0] != strengths[-1]
    now = picture.locator(".ex-frontier-now")
    expect(now).to_have_attribute("data-update", "20")
    # The marked dot is where the run's own numbers are, between the axes' ends as they are written there.
    metrics = {n: recording.at(n).metrics for n in (20, 40)}
    places = {}
    for update in (20, 40):
        explorer.scrub(update)
        expect(now).to_have_attribute("data-update", str(update))
        places[update] = [float(now.get_attribute(name) or "nan") for name in ("cx", "cy")]
    roots = {n: metrics[n]["objective/ref_kl"] ** 0.5 for n in metrics}
    assert (places[40][0] - LEFT) / (places[20][0] - LEFT) == pytest.approx(roots[40] / roots[20], rel=0.01)
    higher = metrics[40]["objective/score"] > metrics[20]["objective/score"]
    assert (places[40][1] < places[20][1]) is higher
    # The first update is alone at the lower left: point at it, read it, go there.
    first = recording.at(1).metrics
    start = (picture.locator(".ex-frontier-dots").first.get_attribute("d") or "").removeprefix("M").split("h")[0]
    box = picture.bounding_box()
    assert box is not None
    x, y = (float(part) for part in start.split())
    explorer.page.mouse.move(box["x"] + x + 2, box["y"] + y + 2)
    tip = panel.locator(".ex-tip:visible")
    expect(tip).to_contain_text(f"update 1: score {first['objective/score']:.2f}".replace("-", "−"))
    explorer.page.mouse.click(box["x"] + x + 2, box["y"] + y + 2)
    expect(explorer.part("tokens")).to_have_attribute("data-update", "1")
    expect(now).to_have_attribute("data-update", "1", timeout=AT_ONCE)
    explorer.page.mouse.move(0, 0)
    for _ in range(2):
        explorer.press("language")
        explorer.when(FITS, ".explorer-curves")
    panel.locator(".explorer-view-curves").click()
    explorer.wait_for_charts(1)


def test_follow_goes_to_the_newest_and_scrubbing_lets_it_go(explorer: ExplorerPage) -> None:
    expect(explorer.part("follow")).to_have_attribute("aria-pressed", "false")
    explorer.press("follow")
    expect(explorer.part("time")).to_have_attribute("data-update", "40", timeout=AT_ONCE)
    expect(explorer.part("follow")).to_have_attribute("aria-pressed", "true")
    answer = explorer.part("time").locator('.ex-answer[data-update="30"]')
    expect(answer).to_be_visible()
    answer.click()
    expect(explorer.part("follow")).to_have_attribute("aria-pressed", "false")
    assert re.search(r"update 30\b", explorer.status)


def _kl(recording: Recording, update: int, epoch: int) -> float:
    """How far an epoch has seen the policy move, as its record says."""
    return recording.at(update).epochs[epoch].approx_kl


#: All tabs of the open panel stand side by side in one line, inside it.
ON_ONE_LINE = """(root) => {
  const tabs = [...root.querySelectorAll('.explorer-time .ex-tabs .ex-tab')].map((tab) => tab.getBoundingClientRect());
  const panel = root.querySelector('.explorer-time').getBoundingClientRect();
  return tabs.length >= 7 && tabs.every(({ top, right }) => top === tabs[0].top && right <= panel.right - 12);
}"""
