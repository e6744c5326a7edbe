"""Every control that re-scores: at once on the batch on screen, and from the next update in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from explorer.app import Explorer
from tests.recording.test_what_if import CHANGES, NEEDS
from tests.test_app import edit, make_page, page, press
from tests.widgets.conftest import to_browser

__all__ = ["make_page", "page", "to_browser"]


def test_every_control_that_re_scores_is_tried(page: Explorer) -> None:
    fields = [field for group in page.controls.groups for field in group["fields"] if field["effect"] == "what_if"]
    tried = {"weights" if name.startswith("weight_") else name for name in CHANGES}
    assert {"weights" if "component" in field else field["name"] for field in fields} == tried


@pytest.mark.parametrize("name", CHANGES)
def test_a_control_re_scores_the_batch_at_once_and_the_next_update_trains_with_it(page: Explorer, name: str) -> None:
    for number, (need, value) in enumerate(NEEDS.get(name, {}).items(), start=1):
        edit(page, number, **{need: value})
    press(page, "train", updates=1)
    before, recorded, responses = page.board.batch, page.session.recorded, page.board.batch["tokens"]
    assert page.board.ghost == {}
    edit(page, 9, **{name: CHANGES[name]})
    now, ghost = page.board.batch, page.board.ghost
    assert name in now["rescored"] and now["tokens"] == responses
    assert (ghost["counts"], ghost["curve"]) == (before["counts"], before["curve"])
    assert all(ghost["arrays"][quantity] == before["arrays"][quantity] for quantity in ghost["arrays"])
    assert page.session.recorded is recorded  # what happened stays as it happened
    press(page, "step")
    trained = page.session.recorded
    assert trained.update == 2 and trained.config.flat()[name] == CHANGES[name]
    assert page.session.shown is trained and page.board.batch["rescored"] == page.board.ghost == {}


@pytest.mark.parametrize("name", CHANGES)
def test_a_control_that_is_held_re_scores_the_batch_and_no_update_trains_with_it(page: Explorer, name: str) -> None:
    for number, (need, value) in enumerate(NEEDS.get(name, {}).items(), start=1):
        edit(page, number, **{need: value})
    press(page, "train", updates=1)
    before = page.config
    edit(page, 8, held=True, **{name: CHANGES[name]})
    assert name in page.board.batch["rescored"] and page.board.run["held"] == [name]
    assert page.controls.values[name] == CHANGES[name]  # every control shows what is being dragged
    press(page, "step")
    assert page.session.recorded.update == 2 and page.session.recorded.config == before
    assert name in page.board.batch["rescored"]  # the new batch is scored by it too
    edit(page, 9, **{name: CHANGES[name]})
    press(page, "step")
    assert page.session.recorded.config == before.replace(**{name: CHANGES[name]})
    assert page.board.run["held"] == [] and page.board.batch["rescored"] == {}


def test_what_a_drag_cannot_pass_is_said_and_the_run_goes_on(page: Explorer) -> None:
    edit(page, 1, objective="two_sided")
    press(page, "train", updates=1)
    edit(page, 2, held=True, delta=1.0)
    assert "“δ of two-sided” is 1" in page.session.error["message"]
    edit(page, 3, held=True, delta=2.0)
    assert page.session.error == {} and page.controls.values["delta"] == 2.0
    edit(page, 4, held=True, delta=1.0)
    edit(page, 5, delta=1.0)  # let go there
    assert "“δ of two-sided” is 1" in page.session.error["message"]
    assert page.controls.values["delta"] == page.config.delta == 4.0
    press(page, "step")
    assert (page.session.updates, page.session.recorded.config.delta) == (2, 4.0)


def test_while_a_slider_is_dragged_the_ghost_is_sent_but_once(
    page: Explorer, to_browser: Callable[[Any], list[dict[str, Any]]]
) -> None:
    press(page, "train", updates=2)
    sent = to_browser(page.board)
    for number, epsilon in enumerate((0.19, 0.15, 0.1, 0.05), start=1):
        edit(page, number, clip_range=epsilon)
    batches = [message for message in sent if "batch" in message.get("state", {})]
    assert len(batches) == 4
    assert ["ghost" in message["state"] for message in batches] == [True, False, False, False]
    press(page, "scrub", update=1)
    assert page.board.ghost["update"] == page.board.batch["update"] == 1


def test_back_to_the_runs_own_settings(page: Explorer) -> None:
    press(page, "train", updates=1)
    before = page.board.batch
    edit(page, 1, clip_range=0.001)
    edit(page, 2, gae_lambda=0.5)
    edit(page, 3, epochs=3)
    press(page, "own", after=3)
    assert page.board.batch == before and page.board.ghost == {}
    assert (page.config.clip_range, page.config.epochs) == (before["clip_range"], 3)
    edit(page, 3, clip_range=0.001)  # one that was still under way
    assert page.board.batch == before
