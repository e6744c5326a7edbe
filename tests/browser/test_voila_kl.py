"""The KL of each token in four ways: exact as a bar, the estimators as marks, the one that is charged told apart."""

from __future__ import annotations

import re

import numpy as np
import pytest
from playwright.sync_api import Locator, expect

from explorer.bundled import asset_path
from explorer.recording.storage import Recording
from explorer.text import labels
from tests.browser.explorer_page import AT_ONCE, ExplorerPage

pytestmark = pytest.mark.browser

UPDATE = 12
SHAPES = ("k1", "k2", "k3")


@pytest.fixture(scope="module")
def recorded(recorded: ExplorerPage) -> ExplorerPage:
    """A page that shows an update of the bundled run."""
    recorded.scrub(UPDATE)
    return recorded


@pytest.fixture(scope="module")
def known() -> dict[str, np.ndarray]:
    """The recorded update's numbers, ``[B, T]``."""
    recording = Recording.load(asset_path("recording"))
    rollout = recording[recording.updates.index(UPDATE)].rollout
    moved = rollout.old_logprobs.astype(float) - rollout.ref_logprobs
    ratios = np.exp(-moved)
    return {"exact_kl": rollout.exact_ref_kl, "k1": moved, "k2": moved**2 / 2, "k3": ratios - 1 + moved}


def _legend(explorer: ExplorerPage) -> Locator:
    return explorer.part("kl").locator(".ex-kl-legend .ex-key")


def _numbers(explorer: ExplorerPage) -> dict[str, float]:
    """What the legend says of the token in hand."""
    return {
        entry.get_attribute("data-kl") or "": float(entry.locator("b").inner_text().replace("−", "-"))
        for entry in _legend(explorer).all()
    }


def _heights(explorer: ExplorerPage, name: str) -> list[float]:
    """How far above the axis each mark of an estimator is drawn, from the left; in the picture's units."""
    picture = explorer.part("kl").locator(".ex-chart-tokens .ex-picture")
    axis = float(picture.locator(".ex-axis").get_attribute("y1") or "nan")
    places: list[tuple[float, float]] = []
    for path in picture.locator(f"path.ex-kl-{name}").all():
        found = re.findall(r"M([-.\d]+) ([-.\d]+)", path.get_attribute("d") or "")
        places += [(float(x), axis - float(y)) for x, y in found]
    return [height for _, height in sorted(places)]


def test_the_four_numbers_of_a_token_are_the_recorded_ones(
    recorded: ExplorerPage, known: dict[str, np.ndarray]
) -> None:
    lowest = np.unravel_index(int(known["k1"][:4].argmin()), known["k1"][:4].shape)
    for row, t in ((0, 2), (1, 5), (int(lowest[0]), int(lowest[1]))):
        recorded.token(row, t).hover()
        tip = recorded.part("tokens").locator(".ex-tip")
        expect(tip).to_be_visible(timeout=AT_ONCE)
        assert _numbers(recorded) == pytest.approx({name: values[row, t] for name, values in known.items()}, abs=0.0051)
        told = dict(
            zip(
                tip.locator(".ex-numbers span").all_inner_texts(),
                tip.locator(".ex-numbers b").all_inner_texts(),
                strict=True,
            )
        )
        for name, values in known.items():
            number, unit = told[labels("en")["quantities"][name]["label"]].replace("−", "-").split()
            assert (float(number), unit) == (pytest.approx(values[row, t], abs=0.00051), "nats")
    assert _numbers(recorded)["k1"] < 0
    recorded.page.mouse.move(0, 0)


def test_every_token_has_a_bar_and_three_marks(recorded: ExplorerPage, known: dict[str, np.ndarray]) -> None:
    recorded.token(1, 0).click()
    expect(recorded.token(1, 0)).to_have_class(re.compile("ex-pinned"), timeout=AT_ONCE)
    count = len(recorded.part("tokens").locator('.ex-token[data-row="1"]').all())
    bars = recorded.part("kl").locator(".ex-chart-tokens rect")
    expect(bars).to_have_count(count, timeout=AT_ONCE)
    drawn = {name: np.array(_heights(recorded, name)) for name in SHAPES}
    drawn["exact_kl"] = np.array([float(bar.get_attribute("height") or "nan") for bar in bars.all()])
    inside = np.abs(known["k1"][1, :count]) < 1  # beyond the ends of the axis marks lie at its ends
    for name, heights in drawn.items():
        assert len(heights) == count, name
        values = known[name][1, :count]
        far = inside & (np.abs(values) > 0.02)
        assert far.any(), name
        assert (np.sign(heights[far]) == np.sign(values[far])).all(), name
        # One scale for all four: the square of a height is so many nats.
        per_nat = heights[far] ** 2 / np.abs(values[far])
        assert per_nat.max() < 1.5 * per_nat.min(), name
    assert (drawn["k1"] < -1).any()
    assert min(drawn["k2"].min(), drawn["k3"].min()) > -0.2


def test_pointing_at_a_bar_shows_its_token(recorded: ExplorerPage) -> None:
    recorded.token(1, 2).click()
    expect(recorded.token(1, 2)).to_have_class(re.compile("ex-pinned"), timeout=AT_ONCE)
    box = recorded.part("kl").locator(".ex-chart-tokens rect").nth(4).bounding_box()
    assert box is not None
    recorded.page.mouse.move(box["x"] + box["width"] / 2, box["y"] - 3)
    expect(recorded.token(1, 4)).to_have_class(re.compile("ex-hovered"), timeout=AT_ONCE)
    recorded.page.mouse.down()
    recorded.page.mouse.up()
    expect(recorded.token(1, 4)).to_have_class(re.compile("ex-pinned"), timeout=AT_ONCE)
    recorded.page.mouse.move(0, 0)


def test_reference_and_old_policy_have_an_axis_each_at_every_level(recorded: ExplorerPage) -> None:
    panel = recorded.part("kl")
    snapshot = Recording.load(asset_path("recording")).at(UPDATE)
    metrics = snapshot.metrics
    for level, charts in (("token", 2), ("response", 2), ("update", 2)):
        panel.locator(f".explorer-view-{level}").click()
        expect(panel.locator(f".explorer-view-{level}")).to_have_attribute("aria-selected", "true")
        expect(panel.locator(".ex-chart .ex-picture")).to_have_count(charts)
        for title, whose in zip(panel.locator(".ex-chart h3").all(), ("reference", "old policy"), strict=True):
            expect(title).to_contain_text(whose)
    reference, old = panel.locator(".ex-chart h3 b").all_inner_texts()
    assert float(reference) == pytest.approx(metrics["objective/ref_kl"], abs=6e-4)
    assert float(old) == pytest.approx(metrics["policy/approx_kl_final"], abs=6e-4)
    panel.locator(".explorer-view-token").click()


def test_a_response_is_found_by_its_bar_and_pinned_there(recorded: ExplorerPage, known: dict[str, np.ndarray]) -> None:
    panel = recorded.part("kl")
    recorded.token(0, 2).click()
    panel.locator(".explorer-view-response").click()
    bars = panel.locator(".ex-chart-responses rect")
    expect(bars).to_have_count(32, timeout=AT_ONCE)
    heights = np.array([float(bar.get_attribute("height") or "nan") for bar in bars.all()])
    assert (np.argsort(heights) == np.argsort(known["exact_kl"].sum(1))).all()
    furthest = int(heights.argmax())
    assert furthest > 3  # one that is not the pinned one
    box = bars.nth(furthest).bounding_box()
    assert box is not None
    recorded.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    told = {name: values[furthest].sum() for name, values in known.items()}
    expect(panel.locator(".ex-kl-legend b").first).to_have_text(f"{told['exact_kl']:.2f}", timeout=AT_ONCE)
    assert _numbers(recorded) == pytest.approx(told, abs=0.0051 * 10)  # large ones have one digit less
    recorded.page.mouse.down()
    recorded.page.mouse.up()
    expect(recorded.token(furthest, 2)).to_have_class(re.compile("ex-pinned"), timeout=AT_ONCE)
    expect(panel.locator(".ex-chart-responses_old .ex-kl-too")).to_have_count(1)
    recorded.page.mouse.move(0, 0)
    panel.locator(".explorer-view-token").click()
    recorded.token(0, 2).click()


def test_the_one_that_is_charged_stands_out_and_can_be_changed(
    recorded: ExplorerPage, known: dict[str, np.ndarray]
) -> None:
    charged = recorded.part("kl").locator(".ex-kl-legend .ex-charged")
    expect(charged).to_have_attribute("data-kl", "k1")
    expect(charged).to_contain_text("in the reward")
    recorded.part("controls").locator(".ex-group-advanced").evaluate("(group) => (group.open = true)")
    menu = recorded.part("kl_estimator").locator("select")
    menu.select_option("exact")
    expect(charged).to_have_attribute("data-kl", "exact_kl")
    expect(recorded.part("tokens").locator(".ex-badge")).to_contain_text("same samples, new scoring")
    recorded.part("quantity").select_option("ref_kl")
    recorded.token(1, 5).hover()
    paid = recorded.part("tokens").locator(".ex-tip .ex-numbers b").nth(4)
    expect(paid).to_contain_text(f"{known['exact_kl'][1, 5]:+.3f} nats", timeout=AT_ONCE)
    # The loss has none: the sentence says what to do, and nothing changes.
    recorded.part("kl_in").locator("select").select_option("loss")
    expect(recorded.part("error")).to_contain_text("choose k1, k2 or k3, or put the KL into the reward")
    expect(charged).to_contain_text("in the reward")
    recorded.press("dismiss")
    menu.select_option("k3")
    expect(charged).to_have_attribute("data-kl", "k3")
    expect(recorded.part("kl").locator(".ex-chart-tokens .ex-kl-k3.ex-charged")).to_have_count(1)
