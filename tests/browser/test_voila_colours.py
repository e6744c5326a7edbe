"""Blue and orange stay apart for a reader without red or green cones: real screenshots, seen as that reader sees them.

The simulation is daltonlens' (Brettel, Viénot and Mollon 1997), full strength. Differences are CIE 1976 ΔE in L*a*b*,
of which about 2.3 can just be told apart: marks must be 40 apart, and the palest thing that is told by colour alone,
the two ends of the tokens' scale, 20.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import numpy as np
import pytest
from daltonlens.simulate import Deficiency, Simulator_Brettel1997
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, expect

from tests.browser.explorer_page import ExplorerPage

pytestmark = pytest.mark.browser

MARKS_APART, TINTS_APART = 40.0, 20.0
SEEN_WITHOUT = {"deuteranopia": Deficiency.DEUTAN, "protanopia": Deficiency.PROTAN}

Pixels = NDArray[np.uint8]


@pytest.fixture(params=["light", "dark"])
def themed(explorer: ExplorerPage, request: pytest.FixtureRequest) -> Iterator[ExplorerPage]:
    """The page in a theme, with an update of its own."""
    explorer.train_to(1)
    if explorer.root.get_attribute("data-theme") != request.param:
        explorer.press("theme")
    expect(explorer.part("objective")).to_have_attribute("data-theme", request.param)
    yield explorer
    if explorer.root.get_attribute("data-theme") != "light":
        explorer.press("theme")


def test_the_measure_is_the_published_one() -> None:
    """L*a*b* of sRGB's corners under D65, as colour tables print them; red and green come close without green cones."""
    tabled = {
        (255, 255, 255): (100.0, 0.0, 0.0),
        (255, 0, 0): (53.24, 80.09, 67.20),
        (0, 0, 255): (32.30, 79.19, -107.86),
    }
    for rgb, lab in tabled.items():
        assert _lab(np.array([rgb])) == pytest.approx(np.array([lab]), abs=0.05)
    red, green = np.array([[[200, 60, 40]]], np.uint8), np.array([[[120, 130, 30]]], np.uint8)
    plain = _apart(red, green)
    assert _apart(_without("deuteranopia", red), _without("deuteranopia", green)) < 0.45 * plain


@pytest.mark.parametrize("sight", SEEN_WITHOUT)
def test_the_marks_of_the_clip_picture_stay_apart(themed: ExplorerPage, sight: str) -> None:
    seen = _screenshot(themed.part("objective"))
    blue, orange = (_where(seen, _colour(themed, name)) for name in ("--ex-blue", "--ex-orange"))
    assert blue.sum() > 60 and orange.sum() > 60
    simulated = _without(sight, seen)
    assert _apart(simulated[blue], simulated[orange]) > MARKS_APART


@pytest.mark.parametrize("sight", SEEN_WITHOUT)
def test_the_ends_of_the_tokens_scale_stay_apart(themed: ExplorerPage, sight: str) -> None:
    ramp = _without(sight, _screenshot(themed.part("tokens").locator(".ex-ramp")))
    row = ramp[ramp.shape[0] // 2]
    assert _apart(row[3:6], row[-6:-3]) > TINTS_APART


@pytest.mark.parametrize("sight", SEEN_WITHOUT)
def test_tokens_that_became_likelier_and_rarer_stay_apart(themed: ExplorerPage, sight: str) -> None:
    """The strongest tint of either colour on screen, each half of the scale or more."""
    themed.part("quantity").select_option("advantage")
    papers = themed.root.evaluate(STRONGEST)
    themed.part("quantity").select_option("ratio")
    assert min(papers["steps"]) >= 10
    more, less = (np.array([[papers[side]]], np.uint8) for side in ("more", "less"))
    apart = _apart(_without(sight, more), _without(sight, less))
    assert apart > TINTS_APART * min(papers["steps"]) / 20


def _screenshot(node: Locator) -> Pixels:
    return np.array(Image.open(io.BytesIO(node.screenshot())).convert("RGB"))


def _colour(explorer: ExplorerPage, variable: str) -> tuple[int, ...]:
    text = explorer.part("objective").evaluate(f"(node) => getComputedStyle(node).getPropertyValue('{variable}')")
    return (
        tuple(int(text.strip()[i : i + 2], 16) for i in (1, 3, 5))
        if "#" in text
        else tuple(map(int, re.findall(r"\d+", text)))
    )


def _where(pixels: Pixels, colour: tuple[int, ...]) -> NDArray[np.bool_]:
    close: NDArray[np.bool_] = (np.abs(pixels.astype(int) - np.array(colour)) <= 2).all(axis=-1)
    return close


def _without(sight: str, pixels: Pixels) -> Pixels:
    simulated: Pixels = Simulator_Brettel1997().simulate_cvd(np.ascontiguousarray(pixels), SEEN_WITHOUT[sight], 1.0)
    return simulated


def _apart(one: Pixels, other: Pixels) -> float:
    means = [_lab(pixels.reshape(-1, 3)).mean(axis=0) for pixels in (one, other)]
    return float(np.linalg.norm(means[0] - means[1]))


def _lab(rgb: NDArray[np.generic]) -> NDArray[np.float64]:
    """CIE L*a*b* of sRGB colours, ``[N, 3]``; white point D65."""
    share = np.asarray(rgb, float) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    matrix = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    xyz = linear @ matrix.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


#: The colours that the strongest tint of each side has on its card, and how many twentieths of the scale they are.
STRONGEST = """(root) => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const card = parse(getComputedStyle(root.querySelector('.explorer-tokens')).backgroundColor);
  const found = { steps: [] };
  for (const side of ['more', 'less']) {
    const stepOf = (node) => Number(node.className.match(/ex-tint-(\\d+)/)[1]);
    const steps = [...root.querySelectorAll(`.ex-token.ex-tint-${side}`)].map((node) => [stepOf(node), node]);
    const [step, node] = steps.reduce((a, b) => (b[0] > a[0] ? b : a));
    const [r, g, b, a = 1] = parse(getComputedStyle(node).backgroundColor);
    found[side] = [r, g, b].map((part, i) => Math.round(part * a + card[i] * (1 - a)));
    found.steps.push(step);
  }
  return found;
}"""
