"""The page's first seconds: the recorded run at once, the policy later, little to transfer, everything on one screen.

In dark colours, as `serve --theme dark` shows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import expect

from explorer.bundled import asset_path
from explorer.presets import PRESETS
from explorer.recording.storage import Recording
from tests.browser.conftest import OpenPage
from tests.browser.explorer_page import ExplorerPage
from tests.browser.servers import serving
from tests.browser.witness import Traffic

pytestmark = pytest.mark.browser

#: The preset that changes most of the settings.
MOST_UNLIKE = max(PRESETS, key=lambda name: len(PRESETS[name].differences(PRESETS["learn"])))

#: Bytes that the page may receive until every panel is drawn.
FIRST_TRANSFER = 10_000_000


@pytest.fixture(scope="module")
def sent() -> list[bytes]:
    """What the page has sent to its kernel."""
    return []


@pytest.fixture(scope="module")
def opened(
    tmp_path_factory: pytest.TempPathFactory, open_page: OpenPage, sent: list[bytes]
) -> Iterator[tuple[ExplorerPage, Traffic]]:
    """A page that has just been asked for."""
    with serving(tmp_path_factory.mktemp("dark"), "--theme", "dark") as address:
        page = open_page()
        page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(_bytes(frame))))
        traffic = Traffic(page)
        page.goto(address)
        yield ExplorerPage(page), traffic
        page.close()


@pytest.fixture
def explorer(opened: tuple[ExplorerPage, Traffic]) -> ExplorerPage:
    """That page once the policy has loaded, in English, with the preset "learn"."""
    explorer, _ = opened
    explorer.wait_until_ready()
    if explorer.part("preset").input_value() != "learn" or explorer.part("language").inner_text() == "English":
        explorer.tidy()
    return explorer


def test_it_draws_a_recorded_run_before_the_policy_has_loaded(opened: tuple[ExplorerPage, Traffic]) -> None:
    explorer, _ = opened
    explorer.tokens.first.wait_for()
    status, phase = explorer.root.evaluate(STATUS_AND_PHASE)
    assert phase == "loading"
    assert "recorded" in status
    assert explorer.part("train").is_disabled()
    recorded = _recorded()
    words = [text.replace("\n", "↵") for response in recorded.tokens.responses for text in response]
    assert explorer.texts == [word[1:] if word.startswith(" ") and len(word) > 1 else word for word in words]


def test_then_train_can_be_pressed_and_every_panel_is_drawn(explorer: ExplorerPage) -> None:
    for key in ("tokens", "objective", "advantages", "kl", "curves", "controls", "player"):
        expect(explorer.part(key)).to_be_visible()
    for key in ("objective", "advantages", "kl"):
        assert explorer.part(key).locator("svg path, svg rect").count() > 10
    assert explorer.part("curves").locator(".scatterlayer .js-line").count() >= 10
    assert "recorded" in explorer.status and "press Train" in explorer.status


def test_the_kernel_hears_of_its_page_before_anything_can_be_pressed(
    opened: tuple[ExplorerPage, Traffic], sent: list[bytes], explorer: ExplorerPage
) -> None:
    """Or it would train for ever where a page is closed at once."""
    assert any(b'"heartbeat"' in frame for frame in sent)


def test_the_first_transfer_is_under_10_megabytes(opened: tuple[ExplorerPage, Traffic], explorer: ExplorerPage) -> None:
    _, traffic = opened
    print(f"first transfer: {traffic.http / 1e6:.2f} MB over HTTP, {traffic.websocket / 1e6:.2f} MB over WebSocket")
    assert 1_000_000 < traffic.total < FIRST_TRANSFER


def test_dark_is_dark(explorer: ExplorerPage) -> None:
    assert explorer.root.get_attribute("data-theme") == "dark"
    for node in (explorer.page.locator("body"), explorer.root, explorer.part("tokens"), explorer.part("objective")):
        assert _brightness(node.evaluate("(node) => getComputedStyle(node).backgroundColor")) < 0.2
    for node in (explorer.part("status"), explorer.tokens.first, explorer.part("train-for")):
        assert _brightness(node.evaluate("(node) => getComputedStyle(node).color")) > 0.6


@pytest.mark.parametrize("language", ["English", "中文"])
@pytest.mark.parametrize("preset", ["learn", MOST_UNLIKE])
@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1280, 800)])
def test_everything_is_on_one_screen(
    explorer: ExplorerPage, width: int, height: int, preset: str, language: str
) -> None:
    explorer.page.set_viewport_size({"width": width, "height": height})
    if explorer.part("language").inner_text() == language:
        explorer.press("language")
        expect(explorer.part("language")).not_to_have_text(language)
    explorer.part("preset").select_option(preset)
    changed = PRESETS[preset].differences(PRESETS["learn"])
    expect(explorer.part("recipe").locator("li")).to_have_count(len(changed))
    explorer.when(CURVES_FIT)
    page_width, page_height = explorer.page.evaluate(PAGE_SIZE)
    assert page_width <= width
    assert page_height <= height
    assert explorer.root.get_attribute("data-columns") == "3"
    assert explorer.part("health").locator("li").count() >= 8
    assert explorer.root.evaluate(OUT_OF_SIGHT) == []
    assert explorer.root.evaluate(SCROLLING) == []


def test_the_health_list_stays_in_sight_below_an_open_drawer(explorer: ExplorerPage) -> None:
    explorer.page.set_viewport_size({"width": 1280, "height": 800})
    drawer = explorer.part("controls").locator(".ex-group-advanced")
    drawer.locator("summary").click()
    last = drawer.locator(".ex-control").last
    assert explorer.root.evaluate(SCROLLING) == ["explorer-controls"]
    unscrolled = explorer.part("health").bounding_box()
    assert unscrolled is not None and unscrolled["y"] + unscrolled["height"] <= 800
    last.scroll_into_view_if_needed()
    lights, control = explorer.part("health").bounding_box(), last.bounding_box()
    assert lights is not None and control is not None
    assert control["y"] + control["height"] <= lights["y"] and lights["y"] + lights["height"] <= 800
    drawer.locator("summary").click()


def test_the_recorded_batch_is_rescored_too(explorer: ExplorerPage) -> None:
    final = _recorded().final
    mask = _recorded().rollout.response_mask
    for epsilon in (0.02, 0.3, 0.2):
        explorer.slide("clip_range", epsilon)
        explorer.wait_for_region(epsilon)
        outside = mask & ((final.ratios < 1 - epsilon) | (final.ratios > 1 + epsilon))
        assert (explorer.clip.outside, explorer.clip.tokens) == (int(outside.sum()), int(mask.sum()))
        held = outside & np.where(final.ratios > 1, final.advantages > 0, final.advantages < 0)
        assert explorer.clip.zero == int(held.sum())


def _recorded():  # type: ignore[no-untyped-def]
    """The last snapshot of the bundled recording."""
    recording = Recording.load(asset_path("recording"))
    return recording[len(recording) - 1]


def _brightness(colour: str) -> float:
    red, green, blue = (float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


STATUS_AND_PHASE = """(root) => [
  root.querySelector('.explorer-status').textContent,
  root.querySelector('.explorer-player').dataset.phase,
]"""

PAGE_SIZE = "[document.scrollingElement.scrollWidth, document.scrollingElement.scrollHeight]"

#: The curves are drawn anew a moment after their place has another size.
CURVES_FIT = """(root) => {
  const size = (part) => root.querySelector('.explorer-curves ' + part).getBoundingClientRect();
  const [place, picture] = [size('.ex-plots'), size('.main-svg')];
  return Math.abs(place.width - picture.width) < 4 && Math.abs(place.height - picture.height) < 4;
}"""

#: What a reader would have to scroll for, or could not see at all: what reaches past its panel, past the window, or
#: under the health list. The responses scroll by themselves, for there are as many as there are.
OUT_OF_SIGHT = """(root) => {
  const lights = root.querySelector('.ex-group-health');
  const cut = (node) => {
    if (!node.checkVisibility() || node.closest('.ex-responses, .ex-scroll')) return false;
    const panel = node.closest('.explorer-view');
    const [own, place] = [node.getBoundingClientRect(), panel.getBoundingClientRect()];
    const above = panel.contains(lights) && !lights.contains(node) ? lights.getBoundingClientRect().top : Infinity;
    const across = own.left < Math.max(0, place.left) - 1 || own.right > Math.min(place.right, innerWidth) + 1;
    const floor = Math.min(place.bottom, above, innerHeight);
    return across || own.top < Math.max(0, place.top) - 1 || own.bottom > floor + 1;
  };
  const parts = '.ex-bar-row > *, .ex-picture, .ex-picture text, .ex-control > *, .ex-group > h3, summary, h2, ' +
    '.ex-hint, .ex-formula > div, .ex-health li, .ex-legend > *, .ex-chart, .ex-plots, .ex-responses, .ex-tab';
  return [...root.querySelectorAll(parts)].filter(cut).map((node) => `${node.className}: ${node.textContent}`);
}"""

#: Panels that hold more than they show.
SCROLLING = """(root) => [...root.querySelectorAll('.explorer-view')].filter((view) => view.checkVisibility())
  .filter((view) => view.scrollHeight > view.clientHeight + 1 || view.scrollWidth > view.clientWidth + 1)
  .map((view) => view.classList[1])"""


def _bytes(frame: str | bytes) -> bytes:
    return frame.encode() if isinstance(frame, str) else frame
