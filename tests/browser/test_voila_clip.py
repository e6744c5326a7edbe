"""The clip picture in the browser: edges dragged, epochs played, the second view read, and how long a redraw takes."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from explorer.bundled import asset_path
from explorer.config import CHOICES
from explorer.recording.storage import Recording
from explorer.recording.what_if import what_if
from explorer.text import labels
from tests.browser.explorer_page import AT_ONCE, ExplorerPage

pytestmark = pytest.mark.browser


@pytest.fixture
def clip(recorded: ExplorerPage) -> ExplorerPage:
    """That page with nothing changed."""
    recorded.tidy()
    recorded.press("view-objective")
    for name, value in (("data-view", "objective"), ("data-epoch", "5"), ("data-moving", "false")):
        expect(_picture(recorded)).to_have_attribute(name, value)
    return recorded


def _picture(explorer: ExplorerPage) -> Locator:
    return explorer.part("objective").locator(".ex-picture")


def _states(explorer: ExplorerPage) -> list[int]:
    """How many glyphs of each state the picture has, A > 0 first."""
    paths = explorer.part("objective").locator("[data-count]")
    return paths.evaluate_all("(paths) => paths.map((path) => Number(path.dataset.count))")


def _glyphs(explorer: ExplorerPage) -> str:
    paths = explorer.part("objective").locator("[data-count]")
    return str(paths.evaluate_all("(paths) => paths.map((path) => path.getAttribute('d')).join(' ')"))


def _drag(explorer: ExplorerPage, handle: Locator, by: float) -> None:
    box = handle.bounding_box()
    assert box is not None and min(box["width"], box["height"]) >= 24  # as large as a finger needs
    x, y, mouse = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, explorer.page.mouse
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + by, y - 40, steps=8)  # off the handle: the pointer is captured
    expect(explorer.part("tokens").locator(".ex-badge")).to_have_text(labels("en")["ui"]["held"])
    mouse.up()


def test_an_edge_is_dragged_and_epsilon_follows(clip: ExplorerPage) -> None:
    before, pinned = _states(clip), clip.pinned
    low, high = (clip.part(f"handle-{side}").first for side in ("low", "high"))
    start = [handle.bounding_box() for handle in (low, high)]
    _drag(clip, high, -14)
    assert start[1]
    clip.when(ARRIVED, start[1]["x"] + start[1]["width"] / 2 - 14)
    epsilon = float(clip.value("clip_range"))
    assert 0.01 <= epsilon < 0.19
    clip.wait_for_region(epsilon)
    now = clip.clip
    assert (now.low, now.high) == pytest.approx((1 - epsilon, 1 + epsilon))  # one ε: both edges move
    ends = [handle.bounding_box() for handle in (low, high)]
    assert start[0] and start[1] and ends[0] and ends[1]
    assert ends[0]["x"] > start[0]["x"] + 5 and ends[1]["x"] < start[1]["x"] - 5
    expect(high).to_have_attribute("aria-valuenow", f"{1 + epsilon:g}")
    after = _states(clip)
    assert sum(after) == sum(before) and after[0] < before[0]  # fewer inside
    assert clip.pinned == pinned  # a drag is no click on a token
    expect(clip.part("tokens").locator(".ex-badge")).to_have_text(labels("en")["ui"]["what_if_badge"])


def test_under_each_objective_the_picture_counts_the_tokens_as_the_kernel_does(clip: ExplorerPage) -> None:
    recording = Recording.load(asset_path("recording"))
    shown = recording[len(recording) - 1]
    menu = clip.part("objective-choice").locator("select")
    mask, seen = shown.rollout.response_mask, set()
    for name in (*CHOICES["objective"][1:], CHOICES["objective"][0]):
        final = what_if(shown, shown.config.replace(objective=name)).final
        placed = [mask & (final.advantages > 0), mask & (final.advantages < 0)]
        flows, held = final.outside_range & ~final.zero_gradient, final.zero_gradient
        states = (mask & ~flows & ~held, flows, held)
        expected = [int((sign & state).sum()) for sign in placed for state in states]
        menu.select_option(name)
        clip.when(COUNTS, expected, milliseconds=AT_ONCE)
        assert sum(expected) == mask.sum()
        seen.add(tuple(expected))
    assert len(seen) > 3  # without a clip, with one, and with two kinds of others


def test_an_edge_is_moved_by_key(clip: ExplorerPage) -> None:
    high, low = clip.part("handle-high").first, clip.part("handle-low").first
    high.focus()
    pinned = clip.pinned
    for key, epsilon in (("ArrowRight", 0.21), ("ArrowUp", 0.22), ("PageDown", 0.17), ("Home", 0.01), ("End", 0.6)):
        clip.page.keyboard.press(key)
        expect(clip.part("clip_range").locator(".ex-number")).to_have_value(f"{epsilon:.2f}", timeout=AT_ONCE)
        clip.wait_for_region(epsilon)
        expect(high).to_have_attribute("aria-valuenow", f"{1 + epsilon:g}")
        expect(high).to_be_focused()  # a redraw takes nothing away
    assert clip.pinned == pinned  # the arrows were the handle's
    low.focus()
    clip.page.keyboard.press("ArrowRight")  # to the right: nearer to 1
    expect(clip.part("clip_range").locator(".ex-number")).to_have_value("0.59", timeout=AT_ONCE)
    assert re.search(r"0\.41.*ε clip range 0\.59", low.get_attribute("aria-valuetext") or "")
    limits = [float(low.get_attribute(f"aria-value{end}") or "nan") for end in ("min", "now", "max")]
    assert limits == pytest.approx([0.4, 0.41, 0.99])


def test_where_the_upper_side_is_its_own_each_handle_moves_its_edge(clip: ExplorerPage) -> None:
    clip.part("objective-choice").locator("select").select_option("clip_higher")
    region = clip.part("objective").locator(".explorer-region").first
    expect(region).to_have_attribute("data-high", "1.2800", timeout=AT_ONCE)
    clip.part("handle-high").first.focus()
    clip.page.keyboard.press("ArrowRight")
    expect(region).to_have_attribute("data-high", "1.2900", timeout=AT_ONCE)
    expect(region).to_have_attribute("data-low", "0.8000")
    clip.part("handle-low").first.focus()
    clip.page.keyboard.press("ArrowLeft")
    expect(region).to_have_attribute("data-low", "0.7900", timeout=AT_ONCE)
    expect(region).to_have_attribute("data-high", "1.2900")
    # The two-sided bound has a handle too, and what the settings refuse is refused, with the handle back in its place.
    clip.part("objective-choice").locator("select").select_option("two_sided")
    limit = clip.part("handle-limit")
    expect(limit).to_have_attribute("aria-valuenow", "4", timeout=AT_ONCE)
    clip.type("clip_range", "0.8")
    limit.focus()
    clip.page.keyboard.press("Home")
    expect(clip.part("error")).to_contain_text("δ of two-sided")
    expect(limit).to_have_attribute("aria-valuenow", "4", timeout=AT_ONCE)
    clip.press("dismiss")


def test_the_epochs_are_played_and_the_glyphs_move(clip: ExplorerPage) -> None:
    last, name = _glyphs(clip), clip.part("clip-epoch")
    expect(name).to_have_text("after the last step")
    clip.root.evaluate(WATCH)
    play = clip.part("play-epochs")
    play.click()
    expect(play).to_have_attribute("aria-pressed", "true")
    expect(name).to_have_text("before epoch 1")
    for epoch in (2, 3, 4):
        expect(name).to_have_text(f"before epoch {epoch}")
        assert clip.part("epoch").input_value() == str(epoch - 1)  # the menu goes along
    expect(play).to_have_attribute("aria-pressed", "false")
    expect(name).to_have_text("after the last step")
    expect(_picture(clip)).to_have_attribute("data-moving", "false")
    assert _glyphs(clip) == last
    seen = clip.root.evaluate("(root) => root.exSeen")
    assert [epoch for epoch, _ in seen] == ["5", "1", "2", "3", "4", "5"]
    assert all(places > 3 for _, places in seen[1:])  # on the way, not only at its ends


def test_stepping_by_the_menu_moves_them_too_and_playing_can_be_stopped(clip: ExplorerPage) -> None:
    clip.root.evaluate(WATCH)
    clip.part("epoch").select_option("0")
    expect(clip.part("clip-epoch")).to_have_text("before epoch 1")
    expect(_picture(clip)).to_have_attribute("data-moving", "false")
    assert clip.root.evaluate("(root) => root.exSeen.at(-1)[1]") > 3
    play = clip.part("play-epochs")
    play.click()
    expect(clip.part("clip-epoch")).to_have_text("before epoch 2")
    play.click()
    expect(play).to_have_attribute("aria-pressed", "false")
    clip.part("epoch").select_option("3")
    expect(clip.part("clip-epoch")).to_have_text("before epoch 4")


def test_whoever_wants_no_motion_sees_the_epochs_step(clip: ExplorerPage) -> None:
    clip.page.emulate_media(reduced_motion="reduce")
    clip.root.evaluate(WATCH)
    clip.part("epoch").select_option("0")
    expect(clip.part("clip-epoch")).to_have_text("before epoch 1")
    expect(_picture(clip)).to_have_attribute("data-moving", "false")
    assert clip.root.evaluate("(root) => root.exSeen.at(-1)[1]") == 1
    clip.page.emulate_media(reduced_motion="no-preference")


def test_the_second_view_has_every_token_where_its_probabilities_say(clip: ExplorerPage) -> None:
    counted = _states(clip)
    clip.press("view-probabilities")
    expect(_picture(clip)).to_have_attribute("data-view", "probabilities", timeout=AT_ONCE)
    assert _states(clip) == counted  # the same tokens in the same states
    place = clip.root.evaluate(SQUARES)
    for row, t in ((0, 1), (1, 3), (2, 0), (3, 2)):
        clip.token(row, t).hover()
        tip = clip.part("tokens").locator(".ex-tip")
        expect(tip).to_be_visible(timeout=AT_ONCE)
        names, values = (tip.locator(f".ex-numbers {part}").all_inner_texts() for part in ("span", "b"))
        told = dict(zip(names, (float(v.split()[0].replace("−", "-")) for v in values), strict=True))
        ring = clip.part("objective").locator(".ex-ring-hovered")
        expect(ring).to_have_count(1, timeout=AT_ONCE)
        square = place[0 if told["advantage A"] > 0 else 1]
        x, y = (float(ring.get_attribute(name) or "nan") for name in ("cx", "cy"))
        across, up = square["right"] - square["left"], square["bottom"] - square["top"]
        assert (x - square["left"]) / across == pytest.approx(told["probability before"], abs=0.002)
        assert (square["bottom"] - y) / up == pytest.approx(told["probability now"], abs=0.002)
        found = re.findall(r"M([-.\d]+) ([-.\d]+)", _glyphs(clip))
        # The path begins at the tip of its triangle, which is nearer for a small one, as inside the band.
        tips = [abs(float(gy) - y) for gx, gy in found if abs(float(gx) - x) < 0.2]
        inside = 0.8 <= told["probability now"] / told["probability before"] <= 1.2
        assert any(abs(tip - (2.9 if inside else 3.9)) < 0.3 for tip in tips)
    clip.page.mouse.move(0, 0)


def test_a_token_is_pinned_from_the_second_view_which_is_remembered(clip: ExplorerPage) -> None:
    clip.token(2, 1).click()
    clip.press("view-probabilities")
    ring = clip.part("objective").locator(".ex-ring-pinned")
    expect(ring).to_have_count(1, timeout=AT_ONCE)
    at = {"x": float(ring.get_attribute("cx") or 0), "y": float(ring.get_attribute("cy") or 0)}
    clip.token(0, 0).click()
    _picture(clip).click(position=at)  # type: ignore[arg-type]
    clip.when(RING_NEAR, at, milliseconds=AT_ONCE)  # on that token or one close by
    assert clip.pinned != (0, 0)
    expect(clip.part("objective").locator(".ex-formula .ex-word")).to_be_visible()
    expect(clip.part("handle-high")).to_have_count(0)  # its axis is the other view's
    never = clip.part("objective").locator(".explorer-never")
    expect(never).to_have_attribute("data-edge", "0.8333")
    expect(clip.part("objective").locator(".ex-never-note")).to_have_text("> 0.83 can never clip upward")
    clip.slide("clip_range", 0.25)
    expect(never).to_have_attribute("data-edge", "0.8000", timeout=AT_ONCE)
    for name, kind in (("kl_penalty", "no_band"), ("gspo", "response"), ("cispo", "weight"), ("two_sided", "band")):
        clip.part("objective-choice").locator("select").select_option(name)
        said = labels("en")["clip"]["wedge"]["truth"][kind].split("{edge}")[0]
        expect(clip.part("objective").locator(".ex-truth")).to_contain_text(said, timeout=AT_ONCE)
    expect(clip.part("objective").locator(".ex-limit-edge")).to_have_count(1)
    expect(clip.part("view-probabilities")).to_have_attribute("aria-selected", "true")


#: Notes in ``root.exSeen`` which epoch is drawn, and how many different places its glyphs were in.
WATCH = """(root) => {
  const picture = root.querySelector('.explorer-objective .ex-picture');
  const read = () => [...picture.querySelectorAll('[data-count]')].map((path) => path.getAttribute('d')).join(' ');
  root.exSeen = [[picture.dataset.epoch, 1]];
  let last = read();
  root.exWatch?.disconnect();
  root.exWatch = new MutationObserver(() => {
    const now = read();
    if (root.exSeen.at(-1)[0] !== picture.dataset.epoch) root.exSeen.push([picture.dataset.epoch, 0]);
    if (now !== last) root.exSeen.at(-1)[1] += 1;
    last = now;
  });
  const attributeFilter = ['d', 'data-epoch', 'data-moving'];
  root.exWatch.observe(picture, { attributes: true, subtree: true, attributeFilter });
}"""

COUNTS = """(root, expected) => {
  const paths = [...root.querySelectorAll('.explorer-objective [data-count]')];
  return paths.map((path) => Number(path.dataset.count)).join() === expected.join();
}"""

RING_NEAR = """(root, { x, y }) => {
  const ring = root.querySelector('.explorer-objective .ex-ring-pinned');
  return ring && Math.hypot(ring.getAttribute('cx') - x, ring.getAttribute('cy') - y) < 14;
}"""

#: The frames of the two squares, in the picture's units.
SQUARES = """(root) => [...root.querySelectorAll('.explorer-objective .ex-frame')].map((frame) => {
  const [x, y, width, height] = ['x', 'y', 'width', 'height'].map((name) => Number(frame.getAttribute(name)));
  return { left: x, right: x + width, top: y, bottom: y + height };
})"""

#: The upper handle stands where it was dragged to, and the setting has come to what it says: not to one on the way.
ARRIVED = """(root, x) => {
  const handle = root.querySelector('.explorer-handle-high');
  const box = handle.getBoundingClientRect();
  const number = Number(root.querySelector('.explorer-clip_range .ex-number').value);
  const said = Number(handle.getAttribute('aria-valuenow'));
  return Math.abs(box.x + box.width / 2 - x) < 2 && Math.abs(said - 1 - number) < 0.005;
}"""
