"""Score and judge in one unit, and where they part."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from explorer.config import Config
from explorer.recording.history import History
from explorer.recording.snapshot import Snapshot
from explorer.session.untouched import Sample
from explorer.views.gauge import (
    Parting,
    Unit,
    axis,
    best_picture,
    counted,
    gauge_picture,
    judge_series,
    parting,
    parting_edge,
    reach,
    sample_scores,
    smoothed,
    spread_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import MakeTrainer

FIRST = np.arange(1, 21)


def floats(picture: dict[str, Any], name: str) -> list[float]:
    return np.frombuffer(picture[name], np.float32).tolist()


def test_a_mean_is_of_five_updates_and_of_fewer_at_the_beginning() -> None:
    assert smoothed(np.array([1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 0.0])).tolist() == pytest.approx([1, 2, 3, 4, 5, 7, 6.4])


def test_they_part_where_the_judge_is_best_once_it_has_fallen_and_the_score_has_not() -> None:
    # The judge is 1 up to update 8 and then 0: its mean of five is 1 from update 5 to 8, the first of which counts.
    judged = np.where(FIRST <= 8, 1.0, 0.0)
    found = parting(FIRST, FIRST / 10, judged)
    assert found is not None
    assert found.update == 5
    assert (found.lost, found.gained) == pytest.approx((1.0, 1.8 - 0.3))


@pytest.mark.parametrize(
    ("score", "judged"),
    [
        (FIRST / 10, np.where(FIRST <= 8, 0.49, 0.0)),  # less than half a spread
        (-FIRST / 10, np.where(FIRST <= 8, 1.0, 0.0)),  # the score falls with its judge
        (FIRST / 10, FIRST / 10),  # both rise
    ],
)
def test_else_they_have_not_parted(score: np.ndarray, judged: np.ndarray) -> None:
    assert parting(FIRST, score, judged) is None


def test_a_short_run_says_nothing() -> None:
    judged = np.where(FIRST <= 2, 9.0, 0.0)
    assert parting(FIRST[:9], FIRST[:9] / 10, judged[:9]) is None
    assert parting(FIRST[:10], FIRST[:10] / 10, judged[:10]) is not None


def test_the_edge_is_where_they_would_part_half_a_spread_below_the_judges_best() -> None:
    kl = FIRST**2.0
    judged = np.where(FIRST <= 8, 1.0, 0.6)
    assert parting_edge(kl[:4], judged[:4]) is None
    assert parting_edge(kl, judged) == [25.0, 0.5]
    assert parting(FIRST, FIRST / 10, judged) is None  # it has not fallen so low
    low = np.where(FIRST <= 8, 1.0, 0.499)
    assert parting_edge(kl, low) == [25.0, 0.5] and parting(FIRST, FIRST / 10, low) is not None


def test_noise_alone_parts_them_hardly_ever() -> None:
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed {seed}")
    drawn = np.random.default_rng(seed).normal(scale=32**-0.5, size=(500, 2, 40))  # means of 32 answers, in spreads
    parted = [parting(np.arange(1, 41), score, judged) is not None for score, judged in drawn]
    assert np.mean(parted) < 0.02


def test_numbers_are_counted_in_spreads_of_the_untouched_from_their_mean() -> None:
    unit = spread_of(np.array([[1.0, 3.0]]), np.array([[10.0, 10.0]]))
    assert unit == Unit((2.0, pytest.approx(2**0.5)), (10.0, 0.0), 2)
    assert counted(np.array([2.0, 4.0]), (2.0, 0.5)).tolist() == [0.0, 4.0]


def test_best_of_one_is_the_untouched_policy() -> None:
    rng = np.random.default_rng(0)
    scores, judged = rng.normal(3, 2, (4, 64)), rng.normal(-1, 5, (4, 64))
    rows = best_picture(scores, judged, spread_of(scores, judged))
    assert [row[0] for row in rows] == [1, 2, 4, 8, 16, 32]
    assert rows[0][1:] == pytest.approx([0, 0, 0], abs=1e-9)
    assert all(one[2] < other[2] and one[1] < other[1] for one, other in itertools.pairwise(rows))


def test_the_untouched_are_scored_by_the_weights() -> None:
    sample = Sample(judge="", components={"a": np.array([[1.0, 2.0]]), "b": np.array([[5.0, 7.0]])}, judged=None)
    assert sample_scores(sample, {"a": 2.0, "b": -1.0, "c": 9.0}).tolist() == [[-3.0, -3.0]]


def test_the_axes_grow_by_doubling() -> None:
    assert axis(np.array([-1.9, 2.0])) == [-2.0, 2.0]
    assert axis(np.array([-4.1, 2.1])) == [-8.0, 4.0]
    assert [reach(np.array([most])) for most in (0.1, 5.0, 5.1, 64.0)] == [5.0, 5.0, 10.0, 80.0]


@pytest.fixture(scope="module")
def snapshots(make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot], tiny_config: Config) -> list[Snapshot]:
    """Three updates: the judge changes after the second."""
    trainer = make_trainer()
    configs = [tiny_config.replace(judge=judge) for judge in ("gendered", "gendered", "short_words")]
    return [snapshot_of(trainer, config) for config in configs]


def page(snapshots: list[Snapshot], judge: str) -> Any:
    history = History()
    for snapshot in snapshots:
        history.append(snapshot)
    return SimpleNamespace(config=Config(judge=judge), history=history, recorded=snapshots[-1])


def test_only_the_updates_that_a_judge_has_judged_are_its_own(snapshots: list[Snapshot]) -> None:
    history = page(snapshots, "gendered").history
    updates, values = judge_series(history, "gendered")
    assert updates.tolist() == [1, 2, 3]
    assert values[:2].tolist() == [s.metrics["objective/judge"] for s in snapshots[:2]] and np.isnan(values[2])
    history.append(snapshots[1])  # gone back to
    assert history.judged_by("short_words").tolist() == [False, False]


def test_a_component_is_a_judge_of_updates_that_were_made_before_it_was_chosen(snapshots: list[Snapshot]) -> None:
    _, values = judge_series(page(snapshots, "diversity").history, "diversity")
    assert values.tolist() == [s.metrics["component/diversity"] for s in snapshots]


def test_the_first_update_is_the_untouched_policys(snapshots: list[Snapshot]) -> None:
    picture = gauge_picture(page(snapshots, "coherence"))
    assert (picture["why"], picture["total"], picture["part"], picture["best"]) == ("", 3, None, [])
    assert picture["edge"] is None
    assert np.frombuffer(picture["updates"], np.int32).tolist() == [1, 2, 3]
    assert picture["unit"]["answers"] == 8
    assert floats(picture, "score")[0] == pytest.approx(0, abs=1e-5)
    assert floats(picture, "judged")[0] == pytest.approx(0, abs=1e-5)


def test_what_is_missing_is_said(snapshots: list[Snapshot]) -> None:
    assert gauge_picture(page(snapshots, "")) == {"judge": "", "why": "judge"}
    assert gauge_picture(page(snapshots, "has_dialogue")) == {"judge": "has_dialogue", "why": "values"}
    assert gauge_picture(page(snapshots, "short_words")) == {"judge": "short_words", "why": "unit"}


def test_a_judge_that_finds_all_answers_alike_has_no_unit(snapshots: list[Snapshot]) -> None:
    session = page(snapshots, "gendered")
    alike = np.ones((1, 4))
    components = {name: np.array([[1.0, 2.0, 3.0, 4.0]]) for name in ("sentiment",)}
    session.untouched = SimpleNamespace(sample=Sample(judge="gendered", components=components, judged=alike))
    assert gauge_picture(session) == {"judge": "gendered", "why": "flat"}


def test_a_sample_of_the_untouched_is_the_unit_where_there_is_one(snapshots: list[Snapshot]) -> None:
    session = page(snapshots, "gendered")
    components = {"sentiment": np.linspace(-1, 1, 64)[None]}
    session.untouched = SimpleNamespace(
        sample=Sample(judge="gendered", components=components, judged=np.tile([[0.0, 1.0]], 32))
    )
    picture = gauge_picture(session)
    mean, spread = 0.5, float(np.std([0.0, 1.0] * 32, ddof=1))
    expected = [(s.metrics["objective/judge"] - mean) / spread for s in snapshots[:2]]
    assert floats(picture, "judged") == pytest.approx(expected, abs=1e-5)
    assert picture["unit"]["answers"] == 64 and [row[0] for row in picture["best"]] == [1, 2, 4, 8, 16, 32]
    assert Parting(1, 2.0, 3.0)._asdict() == {"update": 1, "lost": 2.0, "gained": 3.0}  # as the browser reads it
