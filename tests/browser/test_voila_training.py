"""Training in the page: the update number rises, buttons do what they say, and ε re-scores the batch meanwhile."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from playwright.sync_api import expect

from tests.browser.explorer_page import AT_ONCE, NEWEST, WHILE_TRAINING, ExplorerPage

pytestmark = pytest.mark.browser


def test_train_raises_the_update_number_and_pause_stops_it(explorer: ExplorerPage) -> None:
    started = explorer.newest if explorer.live else 0
    explorer.train()
    assert "training" in explorer.status
    explorer.wait_for_update(started + 1)
    explorer.wait_for_update(started + 2)
    expect(explorer.part("train")).to_contain_text("Pause")
    expect(explorer.part("status")).to_have_text(re.compile(r"update \d+ · training · \d+(\.\d)? updates/s"))
    explorer.press("train")
    expect(explorer.player).to_have_attribute("data-mode", "paused")
    expect(explorer.part("train")).to_contain_text("Train")
    expect(explorer.part("status")).to_contain_text("paused")
    paused = explorer.newest
    explorer.step()
    assert explorer.newest - paused in (1, 2)  # the stage that was running may have been the last of its update


def test_epsilon_rescores_the_batch_at_once_while_training(explorer: ExplorerPage) -> None:
    explorer.train_to(2)
    explorer.train()
    before = explorer.update
    tries = [
        explorer.page.evaluate(SLIDE_AND_WATCH, [explorer.root.element_handle(), to, AT_ONCE])
        for to in (0.03, 0.4, 0.03, 0.4)
    ]
    for tried in tries:
        assert tried["milliseconds"] < WHILE_TRAINING
        assert tried["after"]["low"] == f"{1 - tried['to']:.4f}"
        assert tried["after"]["high"] == f"{1 + tried['to']:.4f}"
        assert tried["widths"][0] == pytest.approx(tried["widths"][1]) and tried["widths"][0] > 0
    same = [tried for tried in tries if tried["before"]["update"] == tried["after"]["update"]]
    assert same, "every re-scoring met a new update: none shows the same batch"
    for tried in same:
        smaller = tried["to"] < 0.2
        assert (tried["after"]["outside"] > tried["before"]["outside"]) == smaller
        assert tried["after"]["badge"] == "same samples, new scoring"
    explorer.wait_for_update(max(tried["after"]["update"] for tried in tries) + 2)
    assert explorer.player.get_attribute("data-mode") == "running"
    assert explorer.update > before
    assert explorer.clip.high == 1.4  # still re-scored, or by now trained so


def test_epsilon_moves_every_panel_and_back(explorer: ExplorerPage) -> None:
    explorer.train_as_set()
    trained = explorer.clip
    assert (trained.low, trained.high) == (0.8, 1.2)
    assert _states(explorer) == (trained.outside, trained.zero)
    badge = explorer.part("tokens").locator(".ex-badge")
    expect(badge).to_be_empty()
    band = explorer.part("advantages").locator(".ex-region")
    wide = band.bounding_box()

    explorer.slide("clip_range", 0.05)
    expect(badge).to_have_text("same samples, new scoring", timeout=AT_ONCE)
    explorer.wait_for_region(0.05)
    narrow = explorer.clip
    assert narrow.outside > trained.outside and narrow.zero > trained.zero and narrow.tokens == trained.tokens
    assert _states(explorer) == (narrow.outside, narrow.zero)
    band_now = band.bounding_box()
    assert wide is not None and band_now is not None and band_now["height"] < wide["height"]

    explorer.slide("clip_range", 0.2)
    expect(badge).to_be_empty(timeout=AT_ONCE)
    assert explorer.clip == trained


def test_step_does_one_update_and_no_more(explorer: ExplorerPage) -> None:
    explorer.train_to(1)
    before = explorer.newest
    explorer.press("step")
    explorer.wait_for_update(before + 1)
    expect(explorer.player).to_have_attribute("data-mode", "paused")
    explorer.press("step")
    explorer.wait_for_update(before + 2)
    explorer.settle()
    assert explorer.newest == before + 2


def test_stage_by_stage_through_one_update(explorer: ExplorerPage) -> None:
    explorer.train_to(1)
    before = explorer.newest
    caption = explorer.player.locator(".ex-caption")
    lit = explorer.player.locator(".ex-pill.ex-on")
    bar = explorer.player.locator(".ex-progress")
    seen, done = [], []
    for words in (
        "Sample",
        "Score",
        "Reward",
        "Advantage",
        "epoch 1 of 4",
        "epoch 2 of 4",
        "epoch 3 of 4",
        "epoch 4 of 4",
    ):
        explorer.press("stage")
        expect(caption).to_contain_text(f"{words}:")
        expect(explorer.player).to_have_attribute("data-mode", "paused")
        seen.append((lit.get_attribute("data-stage"), lit.get_attribute("data-part")))
        done.append(float(bar.evaluate("(node) => node.value")))
        assert explorer.newest == before
    assert done[0] > 0 and done[-1] < 1
    assert all(earlier < later for earlier, later in pairwise(done))
    assert seen[:4] == [("collect", "Sample"), ("collect", "Score"), ("collect", "Reward"), ("advantage", "")]
    assert seen[4:] == [("epoch", f"{epoch}/4") for epoch in (1, 2, 3, 4)]
    explorer.press("stage")
    expect(explorer.player.locator(".ex-place")).to_have_text(f"{before + 1} / {before + 1}")
    expect(caption).to_contain_text("Done:")  # it stays, and with it the place of all that is below
    expect(lit).to_have_attribute("data-stage", "repeat")
    explorer.settle()
    assert explorer.newest == before + 1


def test_slow_says_what_happens(explorer: ExplorerPage) -> None:
    caption = explorer.player.locator(".ex-caption")
    explorer.press("slow")
    expect(explorer.part("slow")).to_have_attribute("aria-pressed", "true")
    explorer.train()
    expect(caption).to_be_visible()
    expect(caption).to_contain_text(re.compile(r"Sample: 32 responses, \d+ tokens, sampled by the old policy"))
    expect(caption).to_contain_text("Next: Score")
    expect(explorer.player.locator(".ex-pill.ex-on")).to_have_attribute("data-stage", "collect")
    explorer.press("train")  # Pause answers within the stage, not after the moment that slow motion waits
    expect(explorer.player).to_have_attribute("data-mode", "paused", timeout=AT_ONCE)
    explorer.press("slow")
    expect(explorer.part("slow")).to_have_attribute("aria-pressed", "false")


def test_train_for_ten_updates(explorer: ExplorerPage) -> None:
    explorer.train_to(1)
    before = explorer.newest
    explorer.part("train-for").select_option("n")
    explorer.part("train-number").fill("10")
    explorer.train()
    explorer.when(NEWEST, before + 10)
    explorer.settle()
    explorer.part("train-for").select_option("0")
    assert explorer.newest == before + 10
    explorer.part("kl").locator(".explorer-view-update").click()
    points = explorer.part("kl").locator(".ex-chart-reference .ex-line").get_attribute("d") or ""
    assert points.count("L") + 1 == before + 10
    explorer.part("kl").locator(".explorer-view-token").click()


def test_the_kl_is_in_sight_while_beta_follows_it(explorer: ExplorerPage) -> None:
    """β takes the place of the KL's chart only where the KL panel draws it too."""
    explorer.part("controls").locator("details").evaluate_all("(all) => all.forEach((group) => (group.open = true))")
    explorer.type("kl_target", "2")
    explorer.step()
    title = explorer.part("curves").locator(".ex-plot-title").nth(1)
    expect(title).to_contain_text("β in force")
    explorer.press("fold-kl")
    expect(title).to_have_text(re.compile(r"KL, nats −?\d+\.\d\d β 0\.\d{3}"))
    explorer.press("fold-kl")
    expect(title).to_contain_text("β in force")
    explorer.type("kl_target", "–")
    explorer.step()
    expect(title).to_have_text(re.compile(r"KL, nats −?\d+\.\d\d *$"))


def test_reset_asks_first(explorer: ExplorerPage) -> None:
    explorer.train_to(2)
    updates, texts = explorer.newest, explorer.texts
    explorer.press("reset")
    expect(explorer.part("confirm")).to_contain_text(f"update {updates}")
    explorer.press("confirm-no")
    expect(explorer.part("confirm")).to_be_hidden()
    assert (explorer.newest, explorer.texts) == (updates, texts)

    explorer.press("reset")
    explorer.press("confirm-yes")
    expect(explorer.part("status")).to_contain_text("update 0 ")
    expect(explorer.tokens).to_have_count(0)
    expect(explorer.part("tokens")).to_contain_text("No update yet")
    # What the objective does stands there all the same, and can be dragged.
    curves, region = (explorer.part("objective").locator(part) for part in (".ex-curve", ".explorer-region"))
    expect(curves).to_have_count(2)
    expect(region.first).to_have_attribute("data-high", "1.2000")
    explorer.slide("clip_range", 0.3)
    expect(region.first).to_have_attribute("data-high", "1.3000", timeout=AT_ONCE)
    explorer.slide("clip_range", 0.2)
    expect(region.first).to_have_attribute("data-high", "1.2000", timeout=AT_ONCE)
    explorer.step()
    assert explorer.newest == 1


def test_a_change_of_seed_asks_first(explorer: ExplorerPage) -> None:
    explorer.train_to(1)
    explorer.part("controls").locator(".ex-group-reset").evaluate("(group) => (group.open = true)")
    updates = explorer.newest
    explorer.type("seed", "5")
    expect(explorer.part("confirm")).to_be_visible()
    explorer.press("confirm-no")
    expect(explorer.part("seed").locator(".ex-number")).to_have_value("0")
    assert explorer.newest == updates

    explorer.type("seed", "5")
    expect(explorer.part("confirm")).to_contain_text("seed → 5")
    explorer.type("kl_coef", "0.1")  # something else takes the question back
    expect(explorer.part("confirm")).to_be_hidden()
    expect(explorer.part("seed").locator(".ex-number")).to_have_value("0")

    for seed in ("5", "0"):
        explorer.type("seed", seed)
        explorer.press("confirm-yes")
        expect(explorer.part("status")).to_contain_text("update 0 ")
        expect(explorer.part("seed").locator(".ex-number")).to_have_value(seed)
        explorer.step()
        if seed == "5":
            other = explorer.texts
    assert explorer.texts != other


def _states(explorer: ExplorerPage) -> tuple[int, int]:
    """How many token strips are drawn as outside the range, and how many of these as without gradient."""
    flows, zero = (explorer.part("tokens").locator(f'.ex-token[data-state="{state}"]').count() for state in (2, 3))
    return flows + zero, zero


#: Moves ε as a drag does and waits for the frame in which its region has moved; what was seen before and in that frame.
SLIDE_AND_WATCH = """([root, to, patience]) => new Promise((done) => {
  const look = () => {
    const region = root.querySelector('.explorer-region');
    const sentence = root.querySelector('.explorer-objective .ex-hint').textContent;
    const [outside] = sentence.replace(/\\d+ → /g, '').match(/\\d+/g).map(Number);
    const badge = root.querySelector('.explorer-tokens .ex-badge').textContent;
    const update = Number(root.querySelector('.explorer-tokens').dataset.update);
    return { low: region.dataset.low, high: region.dataset.high, outside, badge, update };
  };
  const before = look();
  const input = root.querySelector('.explorer-clip_range input[type=range]');
  const started = performance.now();
  input.value = String(to);
  input.dispatchEvent(new Event('input', { bubbles: true }));
  const wait = () => requestAnimationFrame(() => {
    const milliseconds = performance.now() - started;
    const after = look();
    if (after.high === before.high && milliseconds < patience) return wait();
    const regions = [...root.querySelectorAll('.explorer-objective .explorer-region')];
    const widths = regions.map((node) => Number(node.getAttribute('width')));
    // The picture answers first; the other panels, and with them the badge, follow within a few frames.
    const follow = () => {
      if (!look().badge && performance.now() - started < patience) return requestAnimationFrame(follow);
      return done({ to, before, after: look(), milliseconds, widths });
    };
    setTimeout(follow, 0);
  });
  wait();
})"""
