"""The panel of time: drawn while it is on screen, for what is on screen and pinned, and never stale."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from explorer.app import Explorer
from explorer.bundled import asset_path
from explorer.recording.storage import Recording
from tests.widgets.conftest import Say


@pytest.fixture(scope="module")
def recording() -> Recording:
    return Recording.load(asset_path("recording"))


@pytest.fixture
def page(recording: Recording) -> Iterator[Explorer]:
    """The bundled run, with the panel open and the first token pinned."""
    page = Explorer(recording=recording, live=False)
    page.board.pinned = [0, 0]
    page.board.lower = "time"
    yield page
    page.close()


def updates(lines: list[dict[str, Any]]) -> list[int]:
    return [line["update"] for line in lines]


def test_nothing_is_made_while_another_panel_is_there(recording: Recording) -> None:
    page = Explorer(recording=recording, live=False)
    assert page.time.picture == {} == page.time.past
    page.close()


def test_opened_it_shows_the_epochs_the_steps_beside_and_the_answers(page: Explorer, recording: Recording) -> None:
    past = page.time.past
    assert page.time.picture["update"] == past["update"] == 40
    assert updates(past["steps"]) == [36, 38, 40]
    assert updates(past["answers"]) == [40, 30, 20, 10, 1]
    assert (past["kept"], past["updates"], past["first"]) == (21, 40, 1)
    for line in past["answers"]:
        snapshot = recording.at(line["update"])
        row = snapshot.tokens.prompts.index(past["prompt"])
        assert line["text"] == "".join(snapshot.tokens.responses[row])
        assert line["score"] == snapshot.credit.scores[row]


def test_the_second_of_four_answers_stays_the_second(page: Explorer, recording: Recording) -> None:
    page.board.pinned = [5, 2]
    past = page.time.past
    assert past["prompt"] == recording.at(40).tokens.prompts[5] != recording.at(40).tokens.prompts[0]
    earlier = recording.at(10)
    group = [i for i, prompt in enumerate(earlier.tokens.prompts) if prompt == past["prompt"]]
    line = next(line for line in past["answers"] if line["update"] == 10)
    assert line["text"] == "".join(earlier.tokens.responses[group[1]])
    assert (line["count"], line["mean"]) == (4, pytest.approx(earlier.credit.scores[group].mean()))


def test_without_a_pinned_response_there_is_no_prompt(page: Explorer) -> None:
    page.board.pinned = []
    assert (page.time.past["prompt"], page.time.past["answers"]) == (None, [])
    assert updates(page.time.past["steps"]) == [36, 38, 40]


def test_it_follows_the_cursor(page: Explorer) -> None:
    page._command({"kind": "scrub", "update": 20})
    assert page.time.picture["update"] == page.time.past["update"] == 20
    assert updates(page.time.past["steps"]) == [16, 18, 20, 22, 24]
    page._command({"kind": "epoch", "epoch": 1})
    assert page.time.picture["epoch"] == 2


def test_a_click_on_an_epoch_or_a_step_goes_there(page: Explorer, from_browser: Say) -> None:
    from_browser(page.time, message={"kind": "epoch", "epoch": 2})
    assert page.board.batch["epoch"] == 3
    from_browser(page.time, message={"kind": "show", "update": 38, "epoch": 1, "token": None})
    assert (page.board.batch["update"], page.board.batch["epoch"], page.board.run["follow"]) == (38, 2, False)
    assert page.board.pinned == [0, 0]


def test_another_scoring_moves_the_band_and_what_is_outside(page: Explorer) -> None:
    pytest.importorskip("torch")
    before = page.time.picture
    page.session.load_scoring()  # type: ignore[union-attr]
    page.session._import()  # type: ignore[union-attr]  # not in its own time
    page.set(clip_range=0.05)
    after = page.time.picture
    assert after["band"] == [0.95, 1.05] != before["band"]
    assert after["epochs"][-1]["outside"] > before["epochs"][-1]["outside"]
