"""The gauge: a judge is chosen, measured and never paid for, and held against the score; claims under the curves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from explorer.presets import CLAIMS, PARTINGS, Claim
from tests.browser.explorer_page import ExplorerPage

pytestmark = pytest.mark.browser


@pytest.fixture
def panel(explorer: ExplorerPage) -> Iterator[Locator]:
    """The run's panel; the page is left without a judge and with its curves."""
    explorer.train_to(1)
    found = explorer.part("curves")
    yield found
    found.locator(".explorer-view-curves").click()
    explorer.tab("reward")
    explorer.part("judge").select_option("")
    explorer.tab("advantages")


def test_a_judge_is_chosen_and_the_score_is_held_against_it(explorer: ExplorerPage, panel: Locator) -> None:
    panel.locator(".explorer-view-gauge").click()
    said = panel.locator(".ex-gauge-said")
    expect(said).to_contain_text("No judge is held out")
    explorer.tab("reward")
    menu = explorer.part("judge")
    expect(menu.locator('option[value="sentiment"]')).to_have_count(0)  # it is paid for
    menu.select_option("diversity")  # a component: the updates before know it too
    lines = panel.locator(".ex-gauge-dots")
    expect(lines).to_have_count(2)
    expect(said).to_contain_text("“diversity”, have not parted")
    menu.select_option("gendered")
    expect(said).to_contain_text("Nothing has been measured by “somebody with a gender” yet")
    explorer.step()
    expect(lines.first).to_have_attribute("data-count", "1")
    # Best of 1, 2, 4, 8, 16 and 32 answers of the untouched policy, by score and by judge.
    expect(panel.locator(".explorer-gauge-picture .ex-gauge-best")).to_have_count(12)
    score = panel.locator(".explorer-gauge-picture rect.ex-gauge-score")
    heights = [float(mark.get_attribute("y") or "nan") for mark in score.all()]
    assert heights == sorted(heights, reverse=True)  # the best of more is better
    score.last.hover(force=True)
    expect(panel.locator(".ex-tip")).to_contain_text("best of 32 answers of the untouched policy")
    assert explorer.player.get_attribute("data-mode") == "paused"


def test_what_a_preset_claims_is_drawn_under_the_curves_and_told(explorer: ExplorerPage, panel: Locator) -> None:
    explorer.part("preset").select_option("hack_the_reward")
    hint = panel.locator(".ex-hint").first
    expect(hint).to_contain_text("from update 1 on: press Reset")  # the run so far was made by other settings
    expect(panel.locator(".ex-expected-key")).to_have_count(0)
    explorer.press("reset")
    explorer.press("confirm-yes")
    expect(panel.locator(".ex-expected-key")).to_have_count(2)
    expect(hint).not_to_contain_text("Reset")
    explorer.step()
    explorer.when(f"(root) => ({PALE})(root).length === 4")
    pale = explorer.root.evaluate(PALE)
    score, cost = ([one for one in pale if one["chart"] == chart] for chart in (0, 1))
    assert (len(score), len(cost)) == (3, 1)
    for claim in CLAIMS["hack_the_reward"]:
        drawn = [one for one in (cost if claim.metric == "objective/ref_kl" else score) if lies(one, claim)]
        assert len(drawn) == 1, (claim, pale)
    by = PARTINGS["hack_the_reward"]
    assert any(lies(one, Claim("objective/judge", by - 1, by)) for one in score)  # from top to bottom
    panel.locator(".ex-plot-title").first.hover()
    told = panel.locator(".ex-tip .explorer-expected")
    expect(told.first).to_have_text("Expected: score at least 0.90 on average over updates 26 to 30.")
    expect(told.last).to_have_text(f"Expected: score and judge part by update {by}.")
    explorer.page.mouse.move(0, 0)
    explorer.slide("kl_coef", 0.1)  # another run than the one that it is claimed of
    expect(panel.locator(".ex-expected-key")).to_have_count(0)
    explorer.when(f"(root) => ({PALE})(root).length === 0")


def lies(drawn: dict[str, Any], claim: Claim) -> bool:
    """Whether a pale region is over the claim's updates, on the side of its edge that it asks for."""
    low, high = drawn["axis"]
    wanted = [low if claim.least is None else claim.least, high if claim.most is None else claim.most]
    close = pytest.approx(wanted, abs=(high - low) / 100)
    return bool(drawn["x"] == pytest.approx([claim.first, claim.last], abs=0.2) and drawn["y"] == close)


#: The pale regions as they are painted, read back through the axes: rectangles in the order of the charts.
PALE = """(root) => {
  const plot = root.querySelector('.explorer-curves .ex-plot');
  return [...plot.querySelectorAll('.subplot')].flatMap((subplot) => {
    const nth = subplot.classList[1].match(/^x(\\d*)y/)[1];
    const { width, height, [`xaxis${nth}`]: x, [`yaxis${nth}`]: y } = plot.layout;
    const per = ({ domain, range }, size) => (range[1] - range[0]) / (domain[1] - domain[0]) / size;
    const ends = (values) => [Math.min(...values), Math.max(...values)];
    const paths = [...subplot.querySelectorAll('.js-fill')].map((path) => path.getAttribute('d'));
    return paths.flatMap((path) => path.split('M').slice(1)).map((part) => {
      const numbers = part.match(/-?[\\d.]+/g).map(Number);
      const across = numbers.filter((_, i) => i % 2 === 0).map((value) => x.range[0] + value * per(x, width));
      const up = numbers.filter((_, i) => i % 2 === 1).map((value) => y.range[1] - value * per(y, height));
      return { chart: nth ? Number(nth) - 1 : 0, x: ends(across), y: ends(up), axis: [...y.range] };
    });
  });
}"""
