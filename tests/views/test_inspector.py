"""The inspector's picture: the snapshot's own numbers, and promises worked out by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from explorer.config import Config
from explorer.recording.snapshot import Snapshot
from explorer.recording.what_if import what_if
from explorer.views.batch import batch_picture
from explorer.views.inspector import AGAINST, AS_WANTED, NEUTRAL, UNMOVED, inspector_picture, promises

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer


@pytest.fixture(scope="module")
def snapshot(make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot], tiny_config: Config) -> Snapshot:
    """A second update, with replayed rows that are not on screen."""
    trainer = make_trainer(tiny_config.replace(replay_rollouts=2, learning_rate=1e-2))
    snapshot_of(trainer)
    return snapshot_of(trainer)


def floats(data: bytes | None, shape: tuple[int, ...]) -> Any:
    assert data is not None
    return np.frombuffer(data, dtype=np.float32).reshape(shape)


def test_every_number_is_the_snapshots(snapshot: Snapshot) -> None:
    rollout, shape = snapshot.rollout, snapshot.rollout.top_ids.shape
    found = inspector_picture(snapshot)
    for name, recorded in {
        "old": rollout.old_logprobs,
        "ref": rollout.ref_logprobs,
        "new": snapshot.final.new_logprobs[: shape[0]],
        "new_entropy": snapshot.final.entropies[: shape[0]],
        "ref_top": rollout.ref_top_logprobs,
        "new_top": snapshot.final.top_logprobs,
    }.items():
        assert np.array_equal(floats(found[name], recorded.shape), recorded), name
    assert len(snapshot.final.new_logprobs) > shape[0]  # so the replayed rows were left out


def test_the_token_is_found_among_its_alternatives(snapshot: Snapshot) -> None:
    rollout = snapshot.rollout
    places = np.frombuffer(inspector_picture(snapshot)["place"], dtype=np.int8).reshape(rollout.response_ids.shape)
    seen = set()
    for row, t in zip(*np.nonzero(rollout.response_mask), strict=True):
        ids = rollout.top_ids[row, t].tolist()
        own = int(rollout.response_ids[row, t])
        assert places[row, t] == (ids.index(own) if own in ids else -1)
        seen.add(bool(places[row, t] >= 0))
    assert seen == {True, False}


@pytest.mark.parametrize("epoch", [0, 1, -1])
def test_it_belongs_to_the_batch_of_the_same_epoch(snapshot: Snapshot, epoch: int) -> None:
    found, batch = inspector_picture(snapshot, epoch), batch_picture(snapshot, epoch)
    assert (found["update"], found["epoch"]) == (batch["update"], batch["epoch"])
    assert (found["new_top"] is None) is (epoch != -1)


def test_what_is_not_recorded_or_not_there_is_none(snapshot: Snapshot) -> None:
    rollout = dataclasses.replace(snapshot.rollout, ref_top_logprobs=None)
    last = dataclasses.replace(snapshot.final, top_logprobs=None)
    older = inspector_picture(dataclasses.replace(snapshot, rollout=rollout, epochs=(*snapshot.trained, last)))
    assert older["ref_top"] is None and older["new_top"] is None and older["new"] is not None
    early = inspector_picture(dataclasses.replace(snapshot, epochs=()))
    assert {name for name, value in early.items() if value is None} == {"new", "new_top", "new_entropy", "promise"}


def test_promises_by_hand() -> None:
    advantages = np.array([[1.0, 1.0, -2.0, -2.0], [0.5, -0.5, 0.0, 3.0]])
    moved = np.array([[0.2, -0.1, 0.3, -0.4], [1e-6, -1e-6, 0.7, -9.0]])
    mask = np.array([[True] * 4, [True, True, True, False]])
    found = promises(advantages, moved, mask)
    assert list(found["states"]) == [AS_WANTED, AGAINST, AGAINST, AS_WANTED, UNMOVED, UNMOVED, NEUTRAL, NEUTRAL]
    counts = ("as_wanted", "against", "unmoved", "neutral")
    assert [found[name] for name in counts] == [2, 2, 2, 1]  # the masked one is none of them
    assert found["furthest"] == [0, 2]
    assert promises(advantages, advantages, mask)["furthest"] is None


def test_before_the_first_step_nothing_has_moved(snapshot: Snapshot) -> None:
    new = snapshot.epochs[0].new_logprobs.copy()
    new[: len(snapshot.rollout.stopped)] = snapshot.rollout.old_logprobs
    once = dataclasses.replace(snapshot.epochs[0], new_logprobs=new)
    found = inspector_picture(dataclasses.replace(snapshot, epochs=(once, *snapshot.epochs[1:])), 0)["promise"]
    assert found["as_wanted"] == found["against"] == 0
    assert found["unmoved"] + found["neutral"] == snapshot.rollout.response_mask.sum()


def test_turned_round_advantages_turn_every_promise_round(snapshot: Snapshot) -> None:
    plain = inspector_picture(snapshot)["promise"]
    weights = {name: -weight for name, weight in snapshot.config.weights.items()}
    turned = what_if(snapshot, snapshot.config.replace(weights=weights, kl_coef=0.0, estimator="monte_carlo"))
    straight = what_if(snapshot, snapshot.config.replace(kl_coef=0.0, estimator="monte_carlo"))
    one, other = (inspector_picture(s)["promise"] for s in (straight, turned))
    assert (one["as_wanted"], one["against"]) == (other["against"], other["as_wanted"])
    assert plain["as_wanted"] + plain["against"] > 0
