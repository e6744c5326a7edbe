"""Where a fork parts from its parent: planted differences are found, the earliest first, and equals are equal."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from explorer.ppo.records import Credit, Epoch, Rollout
from explorer.ppo.trainer import Trainer
from explorer.recording.branches import Parting, first_difference, parting
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording


@pytest.fixture
def snapshots(make_trainer: Callable[..., Trainer], snapshot_of: Callable[..., Snapshot]) -> list[Snapshot]:
    """Three updates."""
    trainer = make_trainer()
    return [snapshot_of(trainer) for _ in range(3)]


def recording(snapshots: list[Snapshot], kept: tuple[int, ...] | None = None) -> Recording:
    return Recording.in_memory(
        snapshots if kept is None else [snapshots[i] for i in kept],
        info={},
        metrics={s.update: s.metrics for s in snapshots},
        configs={s.update: s.config for s in snapshots},
    )


def planted(snapshot: Snapshot, record: str, field: str, place: tuple[int, ...], value: Any) -> Snapshot:
    """The snapshot with one number changed; ``record`` is ``rollout``, ``credit`` or ``epochs/K``."""
    name, _, k = record.partition("/")
    old = snapshot.epochs[int(k)] if k else getattr(snapshot, name)
    array = np.array(getattr(old, field))
    array[place] = value
    new = dataclasses.replace(old, **{field: array})
    if k:
        new = tuple(new if i == int(k) else epoch for i, epoch in enumerate(snapshot.epochs))
    return dataclasses.replace(snapshot, **{name: new})


def test_equal_runs_do_not_part(snapshots: list[Snapshot]) -> None:
    assert parting(recording(snapshots), recording(snapshots)) is None


@pytest.mark.parametrize(
    ("record", "field", "stage"),
    [
        ("rollout", "response_ids", "sample"),
        ("rollout", "ref_logprobs", "sample"),
        ("credit", "rewards", "shape"),
        ("credit", "advantages", "advantage"),
        ("epochs/0", "new_logprobs", "epoch 1"),
        ("epochs/1", "zero_gradient", "epoch 2"),
        ("epochs/2", "ratios", "final"),
    ],
)
def test_a_planted_number_is_found(snapshots: list[Snapshot], record: str, field: str, stage: str) -> None:
    holder = snapshots[1].epochs[int(record[-1])] if "/" in record else getattr(snapshots[1], record)
    old = getattr(holder, field)[5, 2].item()
    new = (not old) if isinstance(old, bool) else old + 1
    fork = [snapshots[0], planted(snapshots[1], record, field, (5, 2), new), snapshots[2]]
    found = parting(recording(snapshots), recording(fork))
    assert found is not None
    assert (found.update, found.stage, found.quantity) == (2, stage, field)
    assert (found.response, found.token, found.parent) == (5, 2, old)
    assert found.child == pytest.approx(new)


@pytest.mark.parametrize("record", [Rollout, Credit, Epoch])
def test_no_array_is_left_out(snapshots: list[Snapshot], record: type) -> None:
    """Whatever an update records is compared: a number planted into any array of it parts the two runs."""
    judged = [
        dataclasses.replace(s, credit=dataclasses.replace(s.credit, judge=s.credit.scores)) for s in snapshots[:1]
    ]
    where = {Rollout: "rollout", Credit: "credit", Epoch: "epochs/1"}[record]
    holder = judged[0].epochs[1] if record is Epoch else getattr(judged[0], where)
    names = [field.name for field in dataclasses.fields(record) if hasattr(getattr(holder, field.name), "shape")]
    assert len(names) > 6 and (record is not Credit or "judge" in names)
    for name in names:
        array = getattr(holder, name)
        place = (0,) * array.ndim
        new = not array[place] if array.dtype == bool else array[place] + 1
        found = parting(recording(judged), recording([planted(judged[0], where, name, place, new)]))
        assert found is not None and found.quantity == name


def test_the_earliest_of_several_is_told(snapshots: list[Snapshot]) -> None:
    late = planted(snapshots[2], "rollout", "response_ids", (0, 0), 7)
    middle = planted(snapshots[1], "epochs/1", "ratios", (0, 0), 7.0)
    middle = planted(middle, "epochs/0", "ratios", (6, 1), 7.0)
    middle = planted(middle, "epochs/0", "ratios", (4, 3), 7.0)
    middle = planted(middle, "epochs/0", "ratios", (4, 5), 7.0)
    found = parting(recording(snapshots), recording([snapshots[0], middle, late]))
    assert found is not None
    assert (found.update, found.stage, found.quantity, found.response, found.token) == (2, "epoch 1", "ratios", 4, 3)


def test_a_number_of_a_response_has_no_token(snapshots: list[Snapshot]) -> None:
    found = parting(recording(snapshots), recording([planted(snapshots[0], "credit", "scores", (3,), 9.0)]))
    assert found is not None
    assert (found.stage, found.quantity, found.response, found.token, found.child) == ("score", "scores", 3, None, 9.0)


def test_a_last_bit_counts_and_zero_has_a_sign(snapshots: list[Snapshot]) -> None:
    old = snapshots[0].epochs[0].ratios[1, 0]
    for value in (np.nextafter(old, np.float32(9)), -old):
        found = parting(recording(snapshots), recording([planted(snapshots[0], "epochs/0", "ratios", (1, 0), value)]))
        assert found is not None
        assert found.parent != found.child
    assert first_difference(np.array([0.0]), np.array([-0.0])) == ((0,), 0.0, -0.0)
    assert first_difference(np.array([np.nan, 1.0]), np.array([np.nan, 1.0])) is None


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((2, 3), (2, 3), None),
        ((2, 3), (4, 3), ((2, 0), None, 6)),
        ((4, 3), (2, 3), ((2, 0), 6, None)),
        ((2, 3), (2, 2), ((0, 2), 2, None)),
        ((3, 1), (2, 2), ((0, 1), None, 1)),
    ],
)
def test_what_only_one_has_is_none_in_the_other(one: Any, other: Any, expected: Any) -> None:
    rows = np.arange(12).reshape(4, 3)
    ours, theirs = rows[: one[0], : one[1]], rows[: other[0], : other[1]]
    assert first_difference(ours, theirs) == expected


def test_a_place_that_neither_has_is_no_difference() -> None:
    tall, wide = np.zeros((3, 1)), np.zeros((2, 2))
    found = first_difference(tall[2:], wide[:0])
    assert found == ((0, 0), 0.0, None)
    assert first_difference(np.zeros((0, 2)), np.zeros((2, 0))) is None


def test_updates_that_only_one_has_are_left_out(snapshots: list[Snapshot]) -> None:
    changed = planted(snapshots[0], "credit", "scores", (3,), 9.0)
    assert parting(recording([changed, *snapshots[1:]]), recording(snapshots[1:], (0, 1))) is None
    assert parting(recording(snapshots[:1], (0,)), recording(snapshots[1:], (0, 1))) is None


def test_where_a_snapshot_is_not_kept_the_metrics_tell_and_wall_time_does_not(snapshots: list[Snapshot]) -> None:
    def other(name: str, value: float) -> Snapshot:
        return dataclasses.replace(snapshots[1], metrics={**snapshots[1].metrics, name: value})

    slower = [snapshots[0], other("throughput/seconds", 99.0), snapshots[2]]
    assert parting(recording(snapshots), recording(slower, (0, 2))) is None
    better = [snapshots[0], other("objective/score", 99.0), snapshots[2]]
    assert parting(recording(snapshots), recording(better, (0, 2))) == Parting(
        update=2,
        stage="metrics",
        quantity="objective/score",
        response=None,
        token=None,
        parent=snapshots[1].metrics["objective/score"],
        child=99.0,
    )
