"""The still of the page: drawn from the batch and the run that are on screen, small, in words of both languages."""

from __future__ import annotations

import base64
import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from explorer.bundled import asset_path
from explorer.config import Config
from explorer.presets import PRESETS
from explorer.recording.history import History
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording
from explorer.recording.what_if import what_if
from explorer.text import LANGUAGES
from explorer.views.batch import batch_picture
from explorer.views.curves import Series
from explorer.views.still import still_html, still_line, still_svg

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def recorded() -> Snapshot:
    """The last update of the recording that ships."""
    recording = Recording.load(asset_path("recording"))
    return recording[len(recording) - 1]


@pytest.fixture(scope="module")
def series(recorded: Snapshot) -> dict[str, Any]:
    """Its run as the curves have it."""
    history = History(recorded=Recording.load(asset_path("recording")))
    return Series(list(recorded.config.weights)).picture(history, recorded.update)


def drawn(svg: str) -> ElementTree.Element:
    """The picture, parsed: it must be whole."""
    return ElementTree.fromstring(svg)


def marks(picture: ElementTree.Element) -> dict[int, int]:
    """How many tokens are drawn in each clip state."""
    found: dict[int, int] = {}
    for path in picture.iter(f"{SVG}path"):
        if "data-state" in path.attrib:
            state, count = int(path.attrib["data-state"]), int(path.attrib["data-count"])
            assert path.attrib["d"].count("M") == count
            found[state] = found.get(state, 0) + count
    return found


def words(picture: ElementTree.Element) -> list[str]:
    return [node.text or "" for node in picture.iter(f"{SVG}text")]


def test_every_token_that_is_pulled_is_on_it_in_its_clip_state(recorded: Snapshot, series: dict[str, Any]) -> None:
    mask, final = recorded.rollout.response_mask, recorded.final
    held, outside = final.zero_gradient & mask, final.outside_range & mask
    assert (recorded.credit.whitened_advantages[mask] != 0).all()
    found = marks(drawn(still_svg(batch_picture(recorded), series, "en")))
    assert found == {1: int((mask & ~outside).sum()), 2: int((outside & ~held).sum()), 3: int(held.sum())}


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_says_which_update_it_is_and_how_to_go_live(
    language: str, recorded: Snapshot, series: dict[str, Any]
) -> None:
    batch = batch_picture(recorded)
    told = words(drawn(still_svg(batch, series, language)))
    assert any(str(recorded.update) in one for one in told)
    assert f"{recorded.metrics['objective/score']:.2f}" in told
    assert f"{recorded.metrics['objective/ref_kl']:.2f}" in told
    assert any(re.search("[一-鿿]", one) for one in told) == (language == "zh")
    live = {"en": "Run the cell to go live", "zh": "运行单元格"}[language]
    assert live in still_line(batch, language) and live in still_html(batch, series, language, "m")


def test_it_is_small_and_neither_runs_nor_asks_for_anything(recorded: Snapshot, series: dict[str, Any]) -> None:
    html = still_html(batch_picture(recorded), series, "en", "m")
    assert len(html) < 200_000
    images = [base64.b64decode(one).decode() for one in re.findall(r"base64,([^\")]*)", html)]
    assert len(images) == 2 and len(set(images)) == 2  # one for each theme
    for svg in (html, *images):
        assert (
            re.findall(r"<script|javascript:|\son\w+=|@import|url\((?!.data:)|https?://(?!www\.w3\.org/2000/svg)", svg)
            == []
        )


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_s_objective_can_be_drawn_within_the_picture(
    name: str, recorded: Snapshot, series: dict[str, Any]
) -> None:
    shown = what_if(recorded, PRESETS[name])
    picture = drawn(still_svg(batch_picture(shown), series, "en"))
    assert sum(marks(picture).values()) > 0
    for path in picture.iter(f"{SVG}path"):
        for x, y in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path.attrib["d"]):
            assert 0 <= float(x) <= 900 and 20 <= float(y) <= 250


def test_tokens_stand_on_the_line(recorded: Snapshot, series: dict[str, Any]) -> None:
    """Those without gradient lie where the line is flat: at one height, but for how they are stacked."""
    batch = batch_picture(recorded)
    heights = [
        float(y) + 3.4 * sign
        for path, sign in zip(
            [p for p in drawn(still_svg(batch, series, "en")).iter(f"{SVG}path") if p.attrib.get("data-state") == "3"],
            (1, -1),
            strict=True,
        )
        for _, y in re.findall(r"M([-\d.]+) ([-\d.]+)", path.attrib["d"])
    ]
    assert len(heights) > 10
    assert np.ptp(heights) <= 28 + 0.2


def test_a_clip_of_a_few_ten_thousandths_can_be_seen(recorded: Snapshot, series: dict[str, Any]) -> None:
    bands = []
    for config in (recorded.config, PRESETS["gspo"]):
        picture = drawn(still_svg(batch_picture(what_if(recorded, config)), series, "en"))
        bands.append([float(box.attrib["width"]) for box in picture.iter(f"{SVG}rect") if "fill-opacity" in box.attrib])
    usual, narrow = bands
    assert len(narrow) == len(usual) == 2
    assert min(narrow) > 20 and min(usual) > 20


def test_before_the_first_update_it_says_so(series: dict[str, Any]) -> None:
    empty = Series([]).picture(History(), 0)
    assert marks(drawn(still_svg({}, empty, "en"))) == {}
    assert "before the first update" in still_html({}, empty, "en", "m")


def test_a_still_of_another_size_of_batch(make_trainer: Any, snapshot_of: Any) -> None:
    shown = snapshot_of(make_trainer(Config(batch_size=2, group_size=1, response_length=3, epochs=1)))
    history = History()
    history.append(shown)
    picture = drawn(still_svg(batch_picture(shown), Series([]).picture(history, 1), "zh"))
    assert 0 < sum(marks(picture).values()) <= 6
