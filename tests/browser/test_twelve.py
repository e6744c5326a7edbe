"""The page's twelve parts in Voila, JupyterLab and Notebook 7: of each the main gesture, and what it brings on screen.

Over the bundled recording, in one page a host; the details of each part are in ``test_voila_*.py``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from explorer.bundled import asset_path
from explorer.recording.storage import Recording
from tests.browser.conftest import TWELVE, OpenPage
from tests.browser.explorer_page import AT_ONCE, ExplorerPage
from tests.browser.notebook_page import open_in_lab, open_in_notebook_7
from tests.browser.test_voila_axe import violations
from tests.browser.witness import Witness

pytestmark = [pytest.mark.browser, pytest.mark.kernel]


@pytest.fixture(scope="module", params=["voila", "lab", "notebook_7"])
def opened(request: pytest.FixtureRequest, open_page: OpenPage, witness: Witness) -> Iterator[ExplorerPage]:
    """The explorer in one of its hosts, a page and a kernel of its own."""
    address, page = request.getfixturevalue(f"{request.param}_url"), open_page()
    if request.param == "voila":
        page.goto(address)
        explorer = ExplorerPage(page)
    elif request.param == "lab":
        explorer = open_in_lab(page, f"{address}/workspaces/twelve/tree/{TWELVE}?reset").explorer(0)
    else:
        explorer = open_in_notebook_7(page, f"{address}/notebooks/{TWELVE}", witness).explorer(0)
    explorer.wait_until_ready()
    yield explorer
    page.close()


@pytest.fixture
def page(opened: ExplorerPage) -> ExplorerPage:
    """That page after the bundled run's last update, its settings as they were, the token (1, 2) pinned."""
    back = opened.part("clip_range").locator(".ex-back")
    if back.is_visible():
        back.click()
    if opened.part("follow").get_attribute("aria-pressed") == "false":
        opened.press("follow")
    opened.part("epoch").select_option("-1")
    if opened.pinned != (1, 2):
        opened.token(1, 2).click()
    opened.page.mouse.move(0, 0)
    expect(opened.token(1, 2)).to_have_class(re.compile("ex-pinned"))
    return opened


def test_1_hover_previews_a_click_pins_keys_walk_and_esc_lets_go(page: ExplorerPage) -> None:
    token, rings = page.token(1, 4), page.part("objective").locator(".ex-ring-hovered")
    line = page.root.locator(".ex-joins path")
    whole = page.root.get_attribute("data-columns") == "3"  # in fewer columns the line's ends may be out of sight
    if whole:
        expect(line).to_have_attribute("d", re.compile("^M.*M"))  # to the clip picture and to the KL or the response
    joined = line.get_attribute("d") or ""
    token.hover()
    expect(page.part("advantages").locator(".ex-column-hovered")).to_have_count(1, timeout=AT_ONCE)
    expect(page.part("objective").locator(".ex-formula .ex-word")).to_have_text(f"“{token.inner_text().strip()}”")
    if whole:  # all of them still begin at the pinned token: the one that is pointed at has none
        begins = re.findall(r"M[\d.]+ [\d.]+", joined + (line.get_attribute("d") or ""))
        assert len(set(begins)) == 1
    token.click()
    page.page.mouse.move(0, 0)
    expect(rings).to_have_count(0)
    page.page.keyboard.press("ArrowDown")
    expect(page.token(2, 4)).to_have_class(re.compile("ex-pinned"), timeout=AT_ONCE)
    expect(page.part("tokens").locator(".ex-spoken")).to_contain_text("response 3, token 5: ratio ρ")
    page.page.keyboard.press("[")
    expect(page.part("epoch")).to_have_value("3")
    page.page.keyboard.press("]")
    expect(page.part("epoch")).to_have_value("-1")
    for key, update in ((",", re.compile("^3[0-9]$")), (".", "40")):
        page.page.keyboard.press(key)
        expect(page.part("tokens")).to_have_attribute("data-update", update)
    page.page.keyboard.press("Escape")
    expect(page.tokens.and_(page.root.locator(".ex-pinned"))).to_have_count(0, timeout=AT_ONCE)
    expect(line).to_have_attribute("d", "")


def test_2_the_strip_is_coloured_sorted_and_filtered(page: ExplorerPage) -> None:
    tints = "(spans) => spans.map((span) => span.className)"
    before = page.tokens.evaluate_all(tints)
    page.part("quantity").select_option("entropy")
    expect(page.part("tokens").locator(".ex-scale")).to_contain_text("unsure", timeout=AT_ONCE)
    assert page.tokens.evaluate_all(tints) != before
    page.part("sort").select_option("score")
    page.when("(root) => root.querySelector('.ex-token').dataset.row !== '0'", milliseconds=AT_ONCE)
    assert page.scores == sorted(page.scores, reverse=True)
    scores = page.scores
    page.part("only").select_option("by/score")
    bound = scores[2] - 0.005  # they are written with two digits
    page.part("cut-limit").fill(f"{bound:.3f}")
    kept = [score for score in scores if score >= bound]
    expect(page.part("tokens").locator(".ex-shown")).to_have_text(f"{len(kept)} of {len(scores)}")
    assert page.scores == kept
    for menu, value in (("only", "all"), ("sort", "sampled"), ("quantity", "ratio")):
        page.part(menu).select_option(value)


def test_3_the_cloud_moves_with_the_epochs_and_an_edge_is_moved_by_key(page: ExplorerPage) -> None:
    after = page.root.evaluate(GLYPHS)
    page.part("epoch").select_option("0")
    page.when("(root) => root.querySelector('.explorer-objective .ex-picture').dataset.epoch === '1'")
    assert (page.clip.outside, page.root.evaluate(GLYPHS) == after) == (0, False)
    page.part("handle-high").first.focus()
    page.page.keyboard.press("ArrowRight")
    page.wait_for_region(0.21)
    page.press("view-probabilities")
    expect(page.part("objective").locator(".ex-picture")).to_have_attribute("data-view", "probabilities")
    expect(page.part("objective")).to_contain_text("can never clip upward")
    page.press("view-objective")


def test_4_the_formula_has_the_token_s_numbers_and_follows_the_objective(page: ExplorerPage) -> None:
    formula = page.part("objective").locator(".ex-formula")
    new, old, ratio = map(float, re.findall(r"ρ = ([\d.]+) / ([\d.]+) = ([\d.]+)", formula.inner_text())[0])
    assert new / old == pytest.approx(ratio, abs=0.001)
    expect(formula.locator(".ex-wins")).to_have_count(1)
    menu = page.part("objective-choice").locator("select")
    menu.select_option("unclipped")
    expect(formula).not_to_contain_text("min(", timeout=AT_ONCE)
    menu.select_option("clip")
    expect(formula).to_contain_text("min(", timeout=AT_ONCE)
    page.press("open-toy")
    expect(page.part("toy").locator('.ex-toy-word[data-word="is"] .ex-toy-ratio b')).to_have_text("1.1667")


def test_5_the_ledger_opens_where_a_number_is_clicked_and_every_line_holds(page: ExplorerPage) -> None:
    page.part("objective").locator(".ex-formula b.ex-adv").click()
    ledger = page.part("ledger")
    expect(ledger.locator(".ex-ledger-verdict")).to_have_text(re.compile(r"^✓ .*\d+"))
    assert ledger.locator('.ex-ledger-mark[data-holds="true"]').count() >= 8
    expect(ledger.locator('[data-line="whitened"]')).to_have_class(re.compile("ex-asked"))
    for number, line in (('.explorer-kl [data-kl="k1"]', "k1"), ('.ex-score[tabindex="0"]', "score")):
        page.root.locator(number).focus()
        page.page.keyboard.press("Enter")
        expect(ledger.locator(".ex-asked")).to_have_attribute("data-line", line)
        expect(ledger.locator(".ex-asked")).to_be_focused()


def test_6_the_ladder_adds_up_and_lambda_restacks_it(page: ExplorerPage) -> None:
    page.tab("ladder")
    check = page.part("ladder-check")
    expect(check).to_have_attribute("data-holds", "true")
    before = check.inner_text()
    page.slide("gae_lambda", 0)
    expect(check).not_to_have_text(before, timeout=AT_ONCE)
    expect(check).to_have_attribute("data-holds", "true")
    page.slide("gae_lambda", 0.95)
    expect(check).to_have_text(before, timeout=AT_ONCE)
    rung = page.part("ladder").locator('path[data-l="1"]')
    expect(rung).to_have_attribute("data-weight", "0.95")
    page.slide("gamma", 0.8)
    expect(rung).to_have_attribute("data-weight", re.compile(r"^0\.76(0*\d)?$"), timeout=AT_ONCE)
    expect(check).to_have_attribute("data-holds", "true")
    page.slide("gamma", 1)
    expect(check).to_have_text(before, timeout=AT_ONCE)


def test_7_the_inspector_shows_three_policies_and_the_promise(page: ExplorerPage) -> None:
    page.tab("inspector")
    inspector = page.part("inspector")
    expect(inspector).to_have_attribute("data-token", "1,2")
    for policy in ("old", "new", "ref"):
        bars = inspector.locator(f'rect[data-policy="{policy}"]')
        shares = bars.evaluate_all("(bars) => bars.map((bar) => Number(bar.dataset.value))")
        assert len(shares) >= 9 and sum(shares) == pytest.approx(1, abs=1e-3)
    inspector.locator(".explorer-inspector-furthest").click()
    expect(inspector.locator(".ex-verdict")).to_have_attribute("data-promise", "against", timeout=AT_ONCE)


def test_8_the_kl_at_three_levels_and_the_frontier(page: ExplorerPage) -> None:
    kl, told = page.part("kl"), Recording.load(asset_path("recording")).at(40)
    old, ref, new = told.rollout.old_logprobs, told.rollout.ref_logprobs, told.final.new_logprobs
    away, moved = old.astype(float) - ref, new.astype(float) - old
    exact, k1, step = told.rollout.exact_ref_kl[1], away[1], moved[1] ** 2 / 2
    steps = moved[told.rollout.response_mask] ** 2 / 2
    levels = {  # what is read of the pinned token, of its response, of the update: to the reference, to the old policy
        "token": (("tokens", "tokens_old"), (exact[2], k1[2]), step[2]),
        "response": (("responses", "responses_old"), (exact.sum(), k1.sum()), step.sum()),
        "update": (("reference", "old"), (), steps.mean()),
    }
    for view, (charts, reference, to_old) in levels.items():
        page.press(f"view-{view}")
        for chart in charts:  # an axis each
            expect(kl.locator(f".ex-chart-{chart} .ex-picture text").first).to_be_visible()
        read = [_number(kl.locator(f'[data-kl="{name}"] b')) for name in ("exact_kl", "k1")[: len(reference)]]
        assert read == pytest.approx(reference, abs=0.0051 if view == "token" else 0.051), view
        assert _number(kl.locator(f".ex-chart-{charts[1]} h3 b")) == pytest.approx(to_old, abs=0.0006), view
    assert _number(kl.locator(".ex-chart-reference h3 b")) == pytest.approx(
        told.metrics["objective/ref_kl"], abs=0.0051
    )
    page.press("view-token")
    expect(kl.locator(".ex-chart-tokens .ex-strong")).to_have_count(1)
    page.press("view-frontier")
    expect(page.part("frontier")).to_be_visible()
    expect(page.part("frontier").locator(".ex-frontier-line").first).to_be_attached()
    page.press("view-curves")


def test_9_the_scrubber_an_epoch_and_follow(page: ExplorerPage) -> None:
    latest = page.texts
    page.scrub(20)
    expect(page.part("follow")).to_have_attribute("aria-pressed", "false")
    assert page.texts != latest
    page.tab("time")
    epochs = page.part("time").locator(".ex-epoch")
    expect(epochs).to_have_count(5)
    epochs.nth(1).click()
    expect(page.part("clip-epoch")).to_have_text("before epoch 2")
    page.press("follow")
    expect(page.part("tokens")).to_have_attribute("data-update", "40")
    assert page.texts == latest


def test_10_a_slider_rescores_leaves_a_ghost_and_says_what_has_to_wait(page: ExplorerPage) -> None:
    then = page.clip
    page.slide("clip_range", 0.05)
    page.wait_for_region(0.05)
    assert page.clip.outside > then.outside
    expect(page.part("objective").locator(".ex-ghost-edge").first).to_have_attribute("data-edge", f"{then.low:.4f}")
    expect(page.part("tokens").locator(".ex-badge")).not_to_be_empty()
    expect(page.part("turned")).to_be_visible()
    page.part("estimator").locator("select").select_option("remax")
    expect(page.part("tokens").locator(".ex-badge")).to_contain_text("ReMax")  # no greedy answers in this batch
    page.part("estimator").locator("select").select_option("gae")
    page.part("clip_range").locator(".ex-back").click()
    page.wait_for_region(0.2)


def test_12_themes_big_folds_and_saving(page: ExplorerPage, tmp_path: Path) -> None:
    page.press("theme")
    expect(page.root).to_have_attribute("data-theme", "dark")
    ground = page.part("tokens").evaluate("(node) => getComputedStyle(node).backgroundColor")
    assert max(int(part) for part in re.findall(r"\d+", ground)[:3]) < 60
    page.press("theme")
    page.press("big")
    expect(page.root).to_have_attribute("data-big", "true")
    page.press("big")
    page.press("fold-kl")
    expect(page.part("kl").locator("svg").first).to_be_hidden()
    page.press("fold-kl")
    expect(page.part("kl").locator("svg").first).to_be_visible()
    page.press("save-tokens")
    with page.page.expect_download() as coming:
        page.press("save-as-csv")
    coming.value.save_as(tmp_path / "tokens.csv")
    with (tmp_path / "tokens.csv").open(encoding="utf-8", newline="") as file:
        assert sum(1 for _ in csv.DictReader(file)) == page.tokens.count()
    assert _box(page.part("tokens"))["width"] <= _box(page.root)["width"]
    # WCAG 2.2 AA in this host's own surroundings; a thousand tokens more would be the same ten over.
    found = violations(page, {"include": [".explorer"], "exclude": [".ex-response:nth-child(n + 3)"]})
    assert found == []


def test_11_a_stage_is_lit_and_said_with_this_batchs_numbers(page: ExplorerPage) -> None:
    """The last one: it leaves an update half made."""
    pills = page.player.locator(".ex-pill")
    assert [text[0] for text in pills.all_inner_texts()] == list("12345")
    page.press("slow")
    page.press("train")
    caption = page.player.locator(".ex-caption")
    said = page.page.wait_for_function(SAMPLED, arg=caption.element_handle()).json_value()
    page.press("train")  # pauses
    expect(page.player.locator(".ex-pill.ex-on")).to_have_attribute("data-stage", "collect")
    expect(page.tokens).to_have_count(int(said))
    expect(page.player).to_have_attribute("data-mode", "paused")
    if "sampled by the old policy" in caption.inner_text():
        page.press("stage")
    expect(caption).to_contain_text("mean score", ignore_case=True)
    expect(page.part("tokens").locator(".ex-score").first).not_to_be_empty()
    mean = _number(caption, r"[Mm]ean score ([+−]?\d+\.\d+)")
    assert mean == pytest.approx(sum(page.scores) / len(page.scores), abs=0.011)


#: How many tokens the sentence of the first stage counts.
SAMPLED = "(caption) => caption.textContent.match(/32 responses, (\\d+) tokens, sampled by the old policy/)?.[1]"

#: Where every glyph of the cloud is drawn.
GLYPHS = "(root) => [...root.querySelectorAll('.explorer-objective .ex-glyphs')].map((p) => p.getAttribute('d')).join()"


def _number(part: Locator, pattern: str = r"([+−]?\d+(?:\.\d+)?)$") -> float:
    """The number that a part ends with, or that a pattern finds in it."""
    found = re.search(pattern, part.inner_text().strip())
    assert found, part.inner_text()
    return float(found[1].replace("−", "-"))


def _box(part: Locator) -> dict[str, float]:
    box = part.bounding_box()
    assert box is not None
    return dict(box)  # type: ignore[call-overload, no-any-return]
