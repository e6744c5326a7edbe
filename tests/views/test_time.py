"""The picture of time: what the histograms count, which updates are looked at, and which answers are shown."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from explorer.recording.snapshot import Snapshot
from explorer.session.glances import Glance
from explorer.views.time import (
    BINS,
    LOOKS,
    STRETCHES,
    answers_picture,
    beside,
    next_to_read,
    steps_picture,
    stretches,
    time_picture,
)

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer

KEPT = [1, 2, *range(4, 41, 2)]


@pytest.fixture(scope="module")
def moved(make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot]) -> Snapshot:
    """A second update with large steps."""
    trainer = make_trainer()
    snapshot_of(trainer)
    return snapshot_of(trainer, trainer.config.replace(learning_rate=1e-2))


def counts(epoch: dict[str, Any], name: str = "fresh") -> np.ndarray:
    return np.frombuffer(epoch[name], dtype=np.uint32)


def note(update: int, *prompts: str, score: float = 0.5) -> Glance:
    answers = {prompt: ((score, f"{prompt} {update} a"), (score + 1, f"{prompt} {update} b")) for prompt in prompts}
    return Glance(update=update, answers=answers, kls=(0.0, update / 100), rows={update: 2})


def test_before_the_first_step_every_token_stands_in_the_middle(moved: Snapshot) -> None:
    first = time_picture(moved)["epochs"][0]
    tokens = int(moved.rollout.response_mask.sum())
    assert counts(first)[BINS // 2] == tokens == first["tokens"]
    assert counts(first).sum() == tokens
    assert (first["outside"], first["below"], first["above"]) == (0, 0, 0)


def test_every_epoch_counts_every_token_and_what_was_recorded_outside(moved: Snapshot) -> None:
    picture = time_picture(moved, 1)
    assert (picture["update"], picture["epoch"]) == (2, 2)
    assert len(picture["epochs"]) == len(moved.epochs) == 3
    for drawn, epoch in zip(picture["epochs"], moved.epochs, strict=True):
        assert counts(drawn).sum() == drawn["tokens"] == moved.rollout.response_mask.sum()
        assert drawn["outside"] == epoch.outside_range.sum()
    assert picture["epochs"][-1]["outside"] > 0
    assert picture["rows"] == [[2, 8]]
    assert not counts(picture["epochs"][0], "replayed").any()


def test_a_bar_counts_the_ratios_between_its_edges_and_the_ends_all_beyond(moved: Snapshot) -> None:
    last = time_picture(moved)["epochs"][-1]
    ratios = moved.final.ratios[moved.rollout.response_mask]
    # Two bars by hand: the middle one is a thirty-first of the way from ½ to 2, around 1.
    half = math.log(4) / 31 / 2
    assert counts(last)[15] == sum(1 for r in ratios.tolist() if -half <= math.log(r) < half)
    assert counts(last)[30] == sum(1 for r in ratios.tolist() if math.log(r) >= math.log(2) - 2 * half)
    assert last["above"] == sum(1 for r in ratios.tolist() if r > 2)
    assert last["below"] == sum(1 for r in ratios.tolist() if r < 0.5)


def test_replayed_rows_are_counted_apart_and_named_by_their_updates(
    make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot]
) -> None:
    trainer = make_trainer()
    config = trainer.config.replace(replay_rollouts=3, learning_rate=5e-3)
    snapshot = [snapshot_of(trainer, config) for _ in range(4)][-1]
    picture = time_picture(snapshot)
    assert picture["rows"] == [[4, 8], [3, 8], [2, 8]]
    first = picture["epochs"][0]
    assert counts(first)[BINS // 2] == snapshot.rollout.response_mask.sum()  # the fresh ones begin at 1
    older = counts(first, "replayed")
    assert older.sum() == first["tokens"] - counts(first).sum() > 0
    assert older[BINS // 2] < older.sum()  # the replayed ones do not
    assert first["outside"] == snapshot.epochs[0].outside_range.sum() > 0


def test_under_gspo_a_token_stands_where_its_response_does(
    make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot]
) -> None:
    trainer = make_trainer()
    snapshot = snapshot_of(trainer, trainer.config.replace(objective="gspo", learning_rate=1e-2))
    last = time_picture(snapshot)["epochs"][-1]
    assert (counts(last) > 0).sum() <= 8
    assert last["outside"] == snapshot.final.outside_range.sum() > 0


def test_an_unfinished_update_has_the_epochs_that_it_has(moved: Snapshot) -> None:
    class Unfinished:
        update, rollout, epochs, config = 3, moved.rollout, (), moved.config

    picture = time_picture(Unfinished())
    assert (picture["epochs"], picture["epoch"], picture["rows"]) == ([], 0, [[3, 8]])


@pytest.mark.parametrize(
    ("update", "expected"),
    [(1, [1, 2, 4]), (20, [16, 18, 20, 22, 24]), (40, [36, 38, 40]), (41, [38, 40, 41]), (3, [1, 2, 3, 4, 6])],
)
def test_the_updates_beside_one(update: int, expected: list[int]) -> None:
    assert beside(KEPT, update) == expected


def test_a_run_falls_into_few_stretches_that_stay_where_they_are() -> None:
    assert [part[0] for part in stretches(KEPT)] == [40, 30, 20, 10, 1]
    assert stretches([]) == [] and stretches([7]) == [[7]]
    ends: set[int] = set()
    for last in range(2, 3000):
        parts = stretches(range(1, last + 1))
        assert len(parts) <= STRETCHES + 1
        assert [n for part in parts for n in part] == [*range(last, 1, -1), 1]
        ends.update(part[0] for part in parts[1:-1])
    assert all(str(end).strip("0") in {*"123456789", "15", "25"} for end in ends)  # 1, 2 and 5 times a power of ten


def test_all_that_is_asked_for_is_read_once_and_the_neighbours_first() -> None:
    notes: dict[int, Glance | None] = {}
    order = []
    while (update := next_to_read(KEPT, 20, "The cat", notes)) is not None:
        order.append(update)
        notes[update] = note(update, "The cat")
    assert order == [16, 18, 20, 22, 24, 40, 30, 10, 1]
    assert next_to_read(KEPT, 20, None, dict.fromkeys(range(16, 25, 2))) is None


def test_a_prompt_that_is_rare_is_looked_for_in_so_many_updates_and_no_more() -> None:
    kept = list(range(1, 2001))
    notes: dict[int, Glance | None] = {}
    while (update := next_to_read(kept, 1000, "The cat", notes)) is not None:
        notes[update] = note(update, *(["The cat"] if update == 1497 else ["The dog"]))
    assert len(notes) <= STRETCHES * LOOKS + 1 + 5
    assert [line["update"] for line in answers_picture(kept, 1000, "The cat", 0, notes)] == [1497]


def test_answers_come_newest_first_from_every_stretch_and_the_update_on_screen() -> None:
    notes: dict[int, Glance | None] = {n: note(n, "The cat") for n in KEPT}
    lines = answers_picture(KEPT, 22, "The cat", 1, notes)
    assert [line["update"] for line in lines] == [40, 30, 22, 20, 10, 1]
    assert lines[0] == {"update": 40, "score": 1.5, "text": "The cat 40 b", "mean": 1.0, "count": 2}
    assert answers_picture(KEPT, 22, "The cat", 9, notes)[0]["text"] == "The cat 40 b"  # the group was smaller there
    assert answers_picture(KEPT, 22, "The dog", 0, notes) == []


def test_steps_are_of_what_is_known_in_the_order_of_the_run() -> None:
    notes: dict[int, Glance | None] = {20: note(20), 16: note(16), 18: None}
    assert steps_picture(KEPT, 20, notes) == [{"update": 16, "kls": [0.0, 0.16]}, {"update": 20, "kls": [0.0, 0.2]}]
