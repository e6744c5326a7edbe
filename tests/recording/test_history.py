"""History: every metric, a bounded number of snapshots, and a run that can be rewound."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from explorer.recording.history import History
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording, RecordingError, RunWriter

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer

MakeSnapshot = Callable[..., Snapshot]


@pytest.fixture(scope="module")
def at(make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot]) -> MakeSnapshot:
    """``at(5)``: one recorded update that says it is the fifth, with the metrics given."""
    recorded = snapshot_of(make_trainer())

    def make(update: int, **metrics: float) -> Snapshot:
        return dataclasses.replace(recorded, update=update, metrics={"twice": 2.0 * update, **metrics})

    return make


def filled(at: MakeSnapshot, updates: int, limit: int = 400) -> History:
    history = History(limit)
    for number in range(1, updates + 1):
        history.append(at(number))
    return history


def kept(history: History) -> list[int]:
    return [snapshot.update for snapshot in history]


def test_an_empty_history_has_nothing() -> None:
    history = History()
    assert (len(history), history.updates, kept(history), history.last, history.at(3)) == (0, [], [], None, None)
    assert [part.tolist() for part in history.series("twice")] == [[], []]


def test_it_keeps_updates_in_order(at: MakeSnapshot) -> None:
    history = filled(at, 3)
    assert (len(history), history.updates, kept(history)) == (3, [1, 2, 3], [1, 2, 3])
    assert history.last is not None
    assert history.last.update == 3


def test_a_series_has_a_gap_where_an_update_lacks_the_metric(at: MakeSnapshot) -> None:
    history = History()
    history.append(at(1, extra=7.0))
    history.append(at(2))
    updates, values = history.series("extra")
    assert updates.tolist() == [1, 2]
    assert values[0] == 7.0
    assert math.isnan(values[1])
    assert history.series("twice")[1].tolist() == [2.0, 4.0]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(limit=st.integers(4, 30), updates=st.integers(1, 120))
def test_snapshots_are_bounded_and_metrics_are_not(limit: int, updates: int, at: MakeSnapshot) -> None:
    history = History(limit)
    for number in range(1, updates + 1):
        history.append(at(number))
        assert len(kept(history)) <= limit
    assert history.updates == list(range(1, updates + 1))
    assert history.series("twice")[1].tolist() == [2.0 * n for n in range(1, updates + 1)]
    assert history.last is not None
    assert history.last.update == updates
    assert kept(history) == sorted(kept(history))


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_the_smallest_limits_are_limits_too(limit: int, at: MakeSnapshot) -> None:
    history = filled(at, 12, limit=limit)
    assert len(kept(history)) <= limit
    assert history.last is not None
    assert history.last.update == 12


def test_the_newest_half_stays_whole_and_the_past_grows_coarser(at: MakeSnapshot) -> None:
    history = filled(at, 200, limit=20)
    assert kept(history)[-10:] == list(range(191, 201))
    gaps = [later - earlier for earlier, later in zip(kept(history), kept(history)[1:], strict=False)]
    assert gaps == sorted(gaps, reverse=True)
    assert kept(history)[0] == 1  # where the run began can always be seen


def test_an_update_that_was_dropped_gives_the_nearest_earlier_one(at: MakeSnapshot) -> None:
    history = filled(at, 60, limit=8)
    for update in range(1, 61):
        found = history.at(update)
        assert found is not None
        assert found.update == max(n for n in kept(history) if n <= update)


def test_before_the_first_comes_the_first_and_after_the_last_the_last(at: MakeSnapshot) -> None:
    history = History()
    for number in (5, 6):
        history.append(at(number))
    assert [found.update for found in (history.at(0), history.at(99)) if found] == [5, 6]


def test_going_on_from_an_earlier_update_forgets_what_came_after(at: MakeSnapshot) -> None:
    history = filled(at, 6)
    history.append(at(3, extra=1.0))
    assert history.updates == kept(history) == [1, 2, 3]
    assert history.series("extra")[1].tolist()[-1] == 1.0
    history.append(at(4))
    assert history.updates == [1, 2, 3, 4]


def test_a_restart_begins_at_1(at: MakeSnapshot) -> None:
    history = filled(at, 30, limit=8)
    history.append(at(1))
    assert history.updates == kept(history) == [1]


def test_clear_forgets_everything(at: MakeSnapshot) -> None:
    history = filled(at, 3)
    history.clear()
    assert (len(history), kept(history), history.last) == (0, [], None)


@pytest.fixture
def recorded(at: MakeSnapshot, tmp_path: Path) -> Recording:
    """A run of 9 updates in a folder; snapshots are kept of the first, every third, and the last."""
    with RunWriter(tmp_path / "run", {}, keep_every=3) as run:
        for number in range(1, 9):
            run.append(at(number, **({"late": 1.0} if number > 6 else {})))
    return Recording.load(tmp_path / "run")


def test_a_recorded_run_is_a_past_with_all_its_metrics(recorded: Recording) -> None:
    history = History(recorded=recorded)
    assert (len(history), history.updates, history.kept) == (8, list(range(1, 9)), [1, 3, 6, 8])
    assert kept(history) == history.kept
    assert history.series("twice")[1].tolist() == [2.0 * n for n in range(1, 9)]
    assert [math.isnan(value) for value in history.series("late")[1]] == [True] * 6 + [False] * 2
    assert np.isnan(history.series("nobody knows it")[1]).tolist() == [True] * 8
    assert [history.at(n).update for n in (0, 1, 2, 5, 6, 99)] == [1, 1, 1, 3, 6, 8]  # type: ignore[union-attr]
    assert history.last is not None and history.last.update == 8


def test_a_recorded_snapshot_is_read_when_it_is_asked_for(recorded: Recording, tmp_path: Path) -> None:
    for part in (tmp_path / "run").rglob("000003.parquet"):
        part.write_bytes(b"damaged")
    history = History(recorded=recorded)
    assert history.at(6) is history.at(7)
    with pytest.raises(RecordingError, match="damaged"):
        history.at(3)
    assert len(history) == 8  # and the others are still there
    assert history.at(1) is not None


def test_a_live_run_goes_on_from_a_recorded_one(recorded: Recording, at: MakeSnapshot) -> None:
    history = History(recorded=recorded)
    history.append(at(9, twice=-1.0))
    assert (history.updates, history.kept) == (list(range(1, 10)), [1, 3, 6, 8, 9])
    assert history.series("twice")[1].tolist() == [2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, -1.0]
    history.append(at(4, twice=-2.0))  # gone back to update 3, and on from there
    assert (history.updates, history.kept) == ([1, 2, 3, 4], [1, 3, 4])
    assert history.series("twice")[1].tolist() == [2.0, 4.0, 6.0, -2.0]
    assert [snapshot.metrics["twice"] for snapshot in history] == [2.0, 6.0, -2.0]
    history.clear()
    assert (len(history), history.kept, history.last) == (0, [], None)


def test_it_can_be_changed_while_it_is_being_read(at: MakeSnapshot) -> None:
    history = filled(at, 3)
    seen = []
    for snapshot in history:
        seen.append(snapshot.update)
        history.append(at(10 + snapshot.update))
    assert seen == [1, 2, 3]


# --- what the run's own folder has ---


class Shelved:
    """A folder that has every third update but the ninth, and remembers what was read."""

    def __init__(self, at: MakeSnapshot) -> None:
        self._at = at
        self.asked: list[int] = []

    def has(self, update: int) -> bool:
        return update % 3 == 0

    def read(self, update: int) -> Snapshot | None:
        self.asked.append(update)
        return None if update == 9 else self._at(update)


def test_what_memory_lets_go_of_is_read_from_the_folder(at: MakeSnapshot) -> None:
    history, shelved = History(4), Shelved(at)
    history.folder = shelved
    for number in range(1, 31):
        history.append(at(number))
    here = set(history._snapshots)
    assert len(here) <= 4 and not shelved.asked  # nothing is read before it is asked for
    assert history.kept == sorted(here | set(range(3, 31, 3)))
    assert (history.at(13).update, history.at(30).update) == (12, 30)  # type: ignore[union-attr]
    assert shelved.asked == ([12] if 12 not in here else [])


def test_what_the_folder_does_not_have_after_all_is_kept_no_longer(at: MakeSnapshot) -> None:
    history = History(2)
    history.folder = Shelved(at)
    for number in range(1, 21):
        history.append(at(number))
    assert 9 in history.kept
    assert history.at(10).update == 6  # type: ignore[union-attr]
    assert 9 not in history.kept
    assert [snapshot.update for snapshot in history] == history.kept


def test_after_a_rewind_the_folder_is_not_asked_for_what_comes_anew(at: MakeSnapshot) -> None:
    history, shelved = History(2), Shelved(at)
    history.folder = shelved
    for number in [*range(1, 21), 8, 9, 10]:
        history.append(at(number))
    assert max(history.kept) == 10
    assert {n for n in history.kept if n > 7} <= {8, 9, 10}
    history.clear()
    assert history.kept == []
