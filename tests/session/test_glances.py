"""Glances at other updates: what they say, that they are read one by one, kept in a bounded number, and let go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from explorer.bundled import asset_path
from explorer.recording.history import History
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording
from explorer.session import glances as module
from explorer.session.glances import Glances, glance, sampled_in
from explorer.session.loop import Loop


class Steps:
    """A loop whose callbacks wait until the test lets them run."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, Callable[..., None], tuple[Any, ...]]] = []

    def later(self, seconds: float, fn: Callable[..., None], *args: Any) -> None:
        self.waiting.append((seconds, fn, args))

    def run(self, most: int = 1000) -> list[float]:
        """Let so many callbacks run; gives the seconds that each had asked to wait."""
        waited = []
        while self.waiting and len(waited) < most:
            seconds, fn, args = self.waiting.pop(0)
            waited.append(seconds)
            fn(*args)
        return waited


@pytest.fixture(scope="module")
def recording() -> Recording:
    return Recording.load(asset_path("recording"))


@pytest.fixture
def steps() -> Steps:
    return Steps()


@pytest.fixture
def told() -> list[Any]:
    return []


@pytest.fixture
def glances(steps: Steps, told: list[Any]) -> Glances:
    return Glances(steps, lambda: told.append("more"), told.append)  # type: ignore[arg-type]


def asking(numbers: list[int], notes: Glances, history: History) -> Callable[[], int | None]:
    return lambda: next((n for n in numbers if n not in notes.of(history)), None)


def test_a_glance_has_the_answers_and_the_recorded_distances(recording: Recording) -> None:
    snapshot = recording[3]
    found = glance(snapshot)
    assert found.update == snapshot.update
    assert [len(answers) for answers in found.answers.values()] == [4] * 8
    answers = [pair for answers in found.answers.values() for pair in answers]
    assert sorted(score for score, _ in answers) == sorted(snapshot.credit.scores.tolist())
    first = found.answers[snapshot.tokens.prompts[0]][0]
    assert first == (snapshot.credit.scores[0], "".join(snapshot.tokens.responses[0]))
    # The trainer has noted the same distances in its own way: after the last step, and the mean over the epochs.
    assert found.kls[-1] == pytest.approx(snapshot.metrics["policy/approx_kl_final"], rel=1e-5)
    assert np.mean(found.kls[:-1]) == pytest.approx(snapshot.metrics["policy/approx_kl"], rel=1e-5)
    assert found.kls[0] == 0
    assert dict(found.rows) == {snapshot.update: 32}


def test_replayed_rows_are_of_earlier_updates() -> None:
    assert list(sampled_in(9, np.array([0, 0, 0, 2, 2, 5])).items()) == [(9, 3), (7, 2), (4, 1)]


def test_nothing_is_read_before_the_page_rests_and_then_one_update_a_turn(
    glances: Glances, steps: Steps, told: list[Any], recording: Recording
) -> None:
    history = History(recorded=recording)
    glances.ask(asking([2, 4, 6], glances, history))
    assert not glances.of(history)
    assert steps.run(1) == [module.REST]
    assert list(glances.of(history)) == [2]
    assert steps.run() == [0.0, 0.0, 0.0]
    assert list(glances.of(history)) == [2, 4, 6] and told == ["more"]


def test_who_asks_for_something_else_is_read_that_and_no_more_of_the_first(
    glances: Glances, steps: Steps, recording: Recording
) -> None:
    history = History(recorded=recording)
    glances.of(history)
    glances.ask(asking([2, 4], glances, history))
    glances.ask(asking([10], glances, history))
    steps.run()
    assert list(glances.of(history)) == [10]


def test_what_is_there_is_not_read_again(glances: Glances, steps: Steps, told: list[Any], recording: Recording) -> None:
    history = History(recorded=recording)
    glances.of(history)
    glances.take(recording.at(4))
    glances.ask(asking([4], glances, history))
    assert not steps.waiting and not told


def test_another_run_or_one_that_was_rewound_begins_anew(
    glances: Glances, recording: Recording, make_trainer: Any, snapshot_of: Callable[..., Snapshot]
) -> None:
    history = History(recorded=recording)
    assert not glances.of(history)
    glances.take(recording.at(4))
    assert list(glances.of(history)) == [4]
    assert not glances.of(History(recorded=recording))
    own, trainer = History(), make_trainer()
    for _ in range(2):
        own.append(snapshot_of(trainer))
    glances.of(own)
    glances.take(own.at(2))  # type: ignore[arg-type]
    own.append(own.at(1))  # type: ignore[arg-type]
    assert not glances.of(own)


def test_a_damaged_update_is_told_once_and_the_rest_is_read(
    glances: Glances, steps: Steps, told: list[Any], recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(recorded=recording)
    at = history.at

    def damaged(update: int) -> Snapshot | None:
        if update == 4:
            raise ValueError("damaged")
        return at(update)

    monkeypatch.setattr(history, "at", damaged)
    glances.of(history)
    glances.ask(asking([2, 4, 6], glances, history))
    steps.run()
    found = glances.of(history)
    assert list(found) == [2, 4, 6] and found[4] is None
    assert [str(each) for each in told] == ["damaged", "more"]


def test_only_so_many_are_kept(
    glances: Glances, steps: Steps, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIMIT", 3)
    history = History(recorded=recording)
    glances.of(history)
    for update in recording.updates[:5]:
        glances.take(recording.at(update))
    assert list(glances.of(history)) == recording.updates[2:5]


def test_without_a_loop_all_is_read_at_once(recording: Recording, told: list[Any]) -> None:
    history = History(recorded=recording)
    notes = Glances(Loop(), lambda: told.append("more"), told.append)
    notes.of(history)
    notes.ask(asking([2, 4], notes, history))
    assert list(notes.of(history)) == [2, 4] and told == ["more"]
