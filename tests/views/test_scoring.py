"""The scoring of the batch on screen, and its ghost: what the update was trained with, whatever a slider says now."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from explorer.config import Config
from explorer.recording.snapshot import Snapshot
from explorer.recording.what_if import what_if
from explorer.views.batch import batch_picture
from explorer.views.scoring import HAUNTING, ghost_picture

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer, RunUpdate

CONFIG = Config(batch_size=6, group_size=2, response_length=5, epochs=2, stop_sentences=1, learning_rate=1e-2)


@pytest.fixture(scope="module")
def snapshot(make_trainer: MakeTrainer, run_update: RunUpdate, snapshot_of: Callable[..., Snapshot]) -> Snapshot:
    """A second update, with padding, and with tokens outside the band."""
    trainer = make_trainer(CONFIG)
    run_update(trainer)
    found = snapshot_of(trainer)
    assert found.final.outside_range.any()
    return found


@pytest.mark.parametrize("epoch", [0, 1, -1])
def test_the_ghost_is_what_the_page_showed_before_the_slider_was_moved(snapshot: Snapshot, epoch: int) -> None:
    before, ghost = batch_picture(snapshot, epoch), ghost_picture(snapshot, epoch)
    assert {name: before[name] for name in ghost if name != "arrays"} == {
        name: value for name, value in ghost.items() if name != "arrays"
    }
    assert ghost["arrays"] == {name: before["arrays"][name] for name in HAUNTING}


@pytest.mark.parametrize(
    ("changes", "moved"),
    [
        ({"clip_range": 0.01}, {"states", "counts", "clip", "curve"}),
        ({"gae_lambda": 0.2}, {"advantage", "return"}),
        ({"gamma": 0.5}, {"advantage", "return"}),
        ({"kl_coef": 0.5}, {"kl_coef", "reward", "advantage", "return"}),
        ({"weight_length": 1.0}, {"scores", "reward", "advantage", "return"}),
        ({"estimator": "rloo"}, {"advantage", "return"}),
        ({"objective": "unclipped"}, {"objective", "states", "counts", "curve"}),
        ({"whiten": False}, {"advantage"}),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_a_setting_moves_is_in_the_ghost(snapshot: Snapshot, changes: dict[str, Any], moved: set[str]) -> None:
    now, ghost = batch_picture(what_if(snapshot, CONFIG.replace(**changes), epoch=-1)), ghost_picture(snapshot)
    plain = {name for name, value in ghost.items() if name != "arrays" and value != now[name]}
    arrays = {name for name, value in ghost["arrays"].items() if value != now["arrays"][name]}
    assert plain | arrays >= moved
    # And nothing that the browser draws of a scoring moves without a ghost of what it was.
    assert {"update", "length"} <= ghost.keys()
    assert np.frombuffer(ghost["states"], np.uint8).size == now["rows"] * now["length"]
